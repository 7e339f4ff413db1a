//! PKCS#11 URIs (RFC 7512).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::pin::{Pin, PinError};

/// A PKCS#11 URI, decoded. An attribute that is `None` matches anything; one that is present,
/// even empty, must be equal.
///
/// `Display` and `Debug` never show a PIN.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Uri {
    /// `token`: the token's label.
    pub token: Option<String>,
    /// `manufacturer` of the token.
    pub manufacturer: Option<String>,
    /// `model` of the token.
    pub model: Option<String>,
    /// `serial` of the token.
    pub serial: Option<String>,
    /// `slot-id`: `CK_SLOT_ID`.
    pub slot_id: Option<u64>,
    /// `slot-description`.
    pub slot_description: Option<String>,
    /// `slot-manufacturer`.
    pub slot_manufacturer: Option<String>,
    /// `library-manufacturer`.
    pub library_manufacturer: Option<String>,
    /// `library-description`.
    pub library_description: Option<String>,
    /// `library-version`: major and minor.
    pub library_version: Option<(u8, u8)>,
    /// `object`: `CKA_LABEL`.
    pub object: Option<String>,
    /// `id`: `CKA_ID`, binary.
    pub id: Option<Vec<u8>>,
    /// `type`: the object's class.
    pub object_type: Option<ObjectType>,
    /// `pin-value` or `pin-source`.
    pub pin: Option<PinSource>,
    /// `module-path`.
    pub module_path: Option<PathBuf>,
    /// `module-name`.
    pub module_name: Option<String>,
}

/// What the `type` attribute can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectType {
    /// `private`: `CKO_PRIVATE_KEY`.
    Private,
    /// `public`: `CKO_PUBLIC_KEY`.
    Public,
    /// `cert`: `CKO_CERTIFICATE`.
    Certificate,
    /// `secret-key`: `CKO_SECRET_KEY`.
    SecretKey,
    /// `data`: `CKO_DATA`.
    Data,
}

/// Where a URI says that the PIN is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// `pin-value`: in the URI itself.
    Value(Pin),
    /// `pin-source`: in a file.
    File(PathBuf),
}

/// Why a text is not a PKCS#11 URI that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Another scheme, or none.
    #[error("invalid PKCS#11 URI: it does not begin with \"pkcs11:\"")]
    Scheme,
    /// A path attribute that RFC 7512 does not define; what it would mean can't be guessed.
    #[error("invalid PKCS#11 URI: unknown attribute \"{0}\"")]
    Unknown(String),
    /// The attribute stands there twice.
    #[error("invalid PKCS#11 URI: attribute \"{0}\" is given twice")]
    Duplicate(String),
    /// No `=` in an attribute.
    #[error("invalid PKCS#11 URI: attribute \"{0}\" has no value")]
    NoValue(String),
    /// No `=` in a query attribute.
    #[error("invalid PKCS#11 URI: a query attribute has no value; a & in a PIN is written %26")]
    Query,
    /// `%` without two hexadecimal digits.
    #[error(
        "invalid PKCS#11 URI: attribute \"{0}\" has a % that is not followed by two hexadecimal digits"
    )]
    Escape(String),
    /// Not UTF-8 where text is expected.
    #[error("invalid PKCS#11 URI: attribute \"{0}\" is not UTF-8")]
    NotUtf8(String),
    /// The value is not one that the attribute can have.
    #[error("invalid PKCS#11 URI: attribute \"{name}\" must be {expected}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What it can be.
        expected: &'static str,
    },
    /// `pin-value` and `pin-source` together.
    #[error("invalid PKCS#11 URI: \"pin-value\" and \"pin-source\" are both given")]
    TwoPins,
}

impl Uri {
    /// This URI with every attribute of `configured` put in, also where this one has another value:
    /// an operator's URI confines what clients ask for. A client that asks for something else
    /// gets no match, or what the operator allowed.
    #[must_use]
    pub fn confined_to(self, configured: &Self) -> Self {
        let c = configured.clone();
        Self {
            token: c.token.or(self.token),
            manufacturer: c.manufacturer.or(self.manufacturer),
            model: c.model.or(self.model),
            serial: c.serial.or(self.serial),
            slot_id: c.slot_id.or(self.slot_id),
            slot_description: c.slot_description.or(self.slot_description),
            slot_manufacturer: c.slot_manufacturer.or(self.slot_manufacturer),
            library_manufacturer: c.library_manufacturer.or(self.library_manufacturer),
            library_description: c.library_description.or(self.library_description),
            library_version: c.library_version.or(self.library_version),
            object: c.object.or(self.object),
            id: c.id.or(self.id),
            object_type: c.object_type.or(self.object_type),
            pin: c.pin.or(self.pin),
            module_path: c.module_path.or(self.module_path),
            module_name: c.module_name.or(self.module_name),
        }
    }

    /// Whether `other` has every attribute that this URI has. PINs and modules don't count.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(wanted: Option<&T>, own: Option<&T>) -> bool {
            wanted.is_none() || wanted == own
        }
        macro_rules! all_same {
            ($($attribute:ident)*) => {
                true $(&& same(self.$attribute.as_ref(), other.$attribute.as_ref()))*
            };
        }
        all_same! {
            token manufacturer model serial slot_id slot_description slot_manufacturer
            library_manufacturer library_description library_version object id object_type
        }
    }

    /// Only what names a token: no object, no PIN, no module.
    #[must_use]
    pub fn token_part(&self) -> Self {
        Self {
            object: None,
            id: None,
            object_type: None,
            pin: None,
            module_path: None,
            module_name: None,
            ..self.clone()
        }
    }

    /// Whether an object is named, be it by label or by id.
    #[must_use]
    pub fn names_object(&self) -> bool {
        self.object.is_some() || self.id.is_some()
    }
}

impl PinSource {
    /// The PIN; reads the file of a `pin-source`.
    pub fn read(&self) -> Result<Pin, PinError> {
        match self {
            Self::Value(pin) => Ok(pin.clone()),
            Self::File(path) => Pin::read_file(path),
        }
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let scheme_len = "pkcs11:".len();
        let rest = match text.split_at_checked(scheme_len) {
            // RFC 3986, section 3.1: schemes are case-insensitive.
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("pkcs11:") => rest,
            _ => return Err(UriError::Scheme),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        for attribute in path.split(';').filter(|a| !a.is_empty()) {
            uri.set_path_attribute(attribute)?;
        }
        for attribute in query.split('&').filter(|a| !a.is_empty()) {
            // Nothing of it is repeated in an error: it may be the rest of a PIN with an & in it.
            if !attribute.contains('=') {
                return Err(UriError::Query);
            }
            uri.set_query_attribute(attribute)?;
        }
        Ok(uri)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.library_version.map(|(x, y)| format!("{x}.{y}"));
        let slot_id = self.slot_id.map(|id| id.to_string());
        let object_type = self.object_type.map(ObjectType::name);
        let path = [
            ("library-manufacturer", self.library_manufacturer.as_deref()),
            ("library-description", self.library_description.as_deref()),
            ("library-version", version.as_deref()),
            ("slot-manufacturer", self.slot_manufacturer.as_deref()),
            ("slot-description", self.slot_description.as_deref()),
            ("slot-id", slot_id.as_deref()),
            ("model", self.model.as_deref()),
            ("manufacturer", self.manufacturer.as_deref()),
            ("serial", self.serial.as_deref()),
            ("token", self.token.as_deref()),
        ]
        .map(|(name, value)| (name, value.map(str::as_bytes)));
        let object = [
            ("id", self.id.as_deref()),
            ("object", self.object.as_deref().map(str::as_bytes)),
            ("type", object_type.map(str::as_bytes)),
        ];
        f.write_str("pkcs11:")?;
        let mut separator = "";
        for (name, value) in path.into_iter().chain(object) {
            let Some(value) = value else { continue };
            write!(f, "{separator}{name}=")?;
            if name == "id" {
                // Every byte escaped, as p11-kit prints it: an id is binary.
                value.iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
            } else {
                write!(f, "{}", percent_encode(value, ESCAPED))?;
            }
            separator = ";";
        }
        Ok(())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Uri {
    fn set_path_attribute(&mut self, attribute: &str) -> Result<(), UriError> {
        let (name, value) = split(attribute)?;
        match name {
            "token" => set(&mut self.token, name, text(name, value)?),
            "manufacturer" => set(&mut self.manufacturer, name, text(name, value)?),
            "model" => set(&mut self.model, name, text(name, value)?),
            "serial" => set(&mut self.serial, name, text(name, value)?),
            "slot-id" => set(&mut self.slot_id, name, slot_id(value)?),
            "slot-description" => set(&mut self.slot_description, name, text(name, value)?),
            "slot-manufacturer" => set(&mut self.slot_manufacturer, name, text(name, value)?),
            "library-manufacturer" => set(&mut self.library_manufacturer, name, text(name, value)?),
            "library-description" => set(&mut self.library_description, name, text(name, value)?),
            "library-version" => set(&mut self.library_version, name, version(value)?),
            "object" => set(&mut self.object, name, text(name, value)?),
            "id" => set(&mut self.id, name, bytes(name, value)?),
            "type" => set(&mut self.object_type, name, ObjectType::parse(value)?),
            _ => Err(UriError::Unknown(shown(name))),
        }
    }

    /// Query attributes that are not known are vendors' own, which RFC 7512 lets one pass over.
    fn set_query_attribute(&mut self, attribute: &str) -> Result<(), UriError> {
        let (name, value) = split(attribute)?;
        match name {
            "pin-value" => {
                // An empty value counts as unset, as everywhere else.
                if let Ok(pin) = Pin::new(text(name, value)?) {
                    self.set_pin(name, PinSource::Value(pin))?;
                }
                Ok(())
            }
            "pin-source" => {
                let path = PathBuf::from(file_path(&text(name, value)?)?);
                self.set_pin(name, PinSource::File(path))
            }
            "module-path" => set(&mut self.module_path, name, text(name, value)?.into()),
            "module-name" => set(&mut self.module_name, name, text(name, value)?),
            _ => Ok(()),
        }
    }

    fn set_pin(&mut self, name: &str, pin: PinSource) -> Result<(), UriError> {
        match (&self.pin, &pin) {
            (None, _) => {
                self.pin = Some(pin);
                Ok(())
            }
            (Some(PinSource::Value(_)), PinSource::Value(_))
            | (Some(PinSource::File(_)), PinSource::File(_)) => {
                Err(UriError::Duplicate(name.to_owned()))
            }
            (Some(_), _) => Err(UriError::TwoPins),
        }
    }
}

impl ObjectType {
    /// The attribute's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
            Self::Certificate => "cert",
            Self::SecretKey => "secret-key",
            Self::Data => "data",
        }
    }

    fn parse(value: &str) -> Result<Self, UriError> {
        [
            Self::Private,
            Self::Public,
            Self::Certificate,
            Self::SecretKey,
            Self::Data,
        ]
        .into_iter()
        .find(|object_type| object_type.name() == value)
        .ok_or(UriError::Value {
            name: "type",
            expected: "private, public, cert, secret-key or data",
        })
    }
}

fn split(attribute: &str) -> Result<(&str, &str), UriError> {
    attribute
        .split_once('=')
        .ok_or_else(|| UriError::NoValue(shown(attribute)))
}

/// What an error may repeat of an attribute's name: what is too long or strange for a name could be
/// meant to forge a line of a log.
fn shown(name: &str) -> String {
    name.chars().take(40).flat_map(char::escape_debug).collect()
}

fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), UriError> {
    if place.replace(value).is_some() {
        return Err(UriError::Duplicate(name.to_owned()));
    }
    Ok(())
}

fn bytes(name: &str, value: &str) -> Result<Vec<u8>, UriError> {
    let mut after = value.split('%');
    after.next();
    let escaped = |rest: &str| {
        rest.as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !after.all(escaped) {
        return Err(UriError::Escape(name.to_owned()));
    }
    Ok(percent_decode_str(value).collect())
}

fn text(name: &str, value: &str) -> Result<String, UriError> {
    String::from_utf8(bytes(name, value)?).map_err(|_| UriError::NotUtf8(name.to_owned()))
}

fn slot_id(value: &str) -> Result<u64, UriError> {
    number(value).ok_or(UriError::Value {
        name: "slot-id",
        expected: "a decimal number",
    })
}

fn version(value: &str) -> Result<(u8, u8), UriError> {
    let (major, minor) = value.split_once('.').unwrap_or((value, "0"));
    number(major).zip(number(minor)).ok_or(UriError::Value {
        name: "library-version",
        expected: "a version such as 2.40",
    })
}

/// `parse` alone would take a leading sign too.
fn number<T: FromStr>(value: &str) -> Option<T> {
    value
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| value.parse().ok())?
}

/// RFC 7512, section 2.4: a `file:` URI or an absolute path. The form that runs a command is
/// refused like any other.
fn file_path(source: &str) -> Result<&str, UriError> {
    let path = match source.strip_prefix("file:") {
        Some(rest) => rest
            .strip_prefix("//localhost")
            .or_else(|| rest.strip_prefix("//"))
            .unwrap_or(rest),
        None => source,
    };
    if path.starts_with('/') {
        return Ok(path);
    }
    Err(UriError::Value {
        name: "pin-source",
        expected: "an absolute path or a file: URI",
    })
}

/// What is escaped in a value: everything but the characters that RFC 3986 leaves unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn decodes_every_attribute() {
        let uri = parse(
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;\
             model=1.0;object=my-key;type=private;id=%69%95%3e%00;serial=;slot-id=327;\
             library-version=2.40?pin-value=a%26%25b&module-name=x&x-vendor=1&x-vendor=2",
        );
        assert_eq!(uri.token.as_deref(), Some("The Software PKCS#11 Softtoken"));
        assert_eq!(uri.manufacturer.as_deref(), Some("Snake Oil, Inc."));
        assert_eq!(uri.id.as_deref(), Some(&b"\x69\x95\x3e\x00"[..]));
        assert_eq!(uri.serial.as_deref(), Some(""));
        assert_eq!(uri.slot_id, Some(327));
        assert_eq!(uri.library_version, Some((2, 40)));
        assert_eq!(uri.object_type, Some(ObjectType::Private));
        let Some(PinSource::Value(pin)) = &uri.pin else {
            panic!("no PIN")
        };
        assert_eq!(pin.expose(), "a&%b");
    }

    #[test]
    fn prints_what_it_reads_but_no_pin() {
        let text = "pkcs11:model=m;serial=;token=a%20b%3Bc;id=%00%FF;object=k%C3%A9y;type=public";
        let with_pin = parse(&format!("{text}?pin-value=secret"));
        assert_eq!(with_pin.to_string(), text);
        assert_eq!(format!("{with_pin:?}"), text);
        assert_eq!(parse(text), parse(&parse(text).to_string()));
    }

    #[test]
    fn refuses_by_name() {
        for (text, said) in [
            ("token=a", "it does not begin with \"pkcs11:\""),
            ("pkcs11:tokn=a", "unknown attribute \"tokn\""),
            ("pkcs11:x-vendor=a", "unknown attribute \"x-vendor\""),
            ("pkcs11:id=%01;id=%01", "attribute \"id\" is given twice"),
            ("pkcs11:tok\nn=a", "unknown attribute \"tok\\nn\""),
            ("pkcs11:?pin-value=1&2", "a query attribute has no value"),
            ("pkcs11:object", "attribute \"object\" has no value"),
            (
                "pkcs11:id=%1",
                "attribute \"id\" has a % that is not followed by two hexadecimal digits",
            ),
            (
                "pkcs11:id=%+1",
                "attribute \"id\" has a % that is not followed by two hexadecimal digits",
            ),
            ("pkcs11:token=%ff", "attribute \"token\" is not UTF-8"),
            (
                "pkcs11:type=key",
                "attribute \"type\" must be private, public, cert, secret-key or data",
            ),
            (
                "pkcs11:slot-id=+1",
                "attribute \"slot-id\" must be a decimal number",
            ),
            (
                "pkcs11:?pin-value=1&pin-source=/x",
                "\"pin-value\" and \"pin-source\" are both given",
            ),
            (
                "pkcs11:?pin-source=%7Ccat%20/x",
                "attribute \"pin-source\" must be an absolute path or a file: URI",
            ),
        ] {
            let error = text.parse::<Uri>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn pin_source_takes_paths_and_file_uris() {
        for source in ["/run/pin", "file:/run/pin", "file:///run/pin"] {
            let uri = parse(&format!("pkcs11:?pin-source={source}"));
            assert_eq!(uri.pin, Some(PinSource::File("/run/pin".into())));
        }
    }

    #[test]
    fn configured_attributes_win() {
        let request = parse("pkcs11:token=theirs;object=key");
        let configured = parse("pkcs11:token=ours?pin-value=1234");
        let merged = request.confined_to(&configured);
        assert_eq!(merged.to_string(), "pkcs11:token=ours;object=key");
        assert!(merged.pin.is_some());
    }
}

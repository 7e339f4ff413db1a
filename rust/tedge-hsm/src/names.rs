//! The names that a certificate gives its key: the subject and its alternatives.

use std::net::IpAddr;

use anyhow::bail;
use rustls::pki_types::DnsName;
use tedge_file::printable;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Any, Ia5String, ObjectIdentifier, SetOfVec, Utf8StringRef};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::{Name, RelativeDistinguishedName};

/// The names in a certificate or a request for one.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) subject: Name,
    pub(crate) alternatives: Vec<GeneralName>,
}

impl Names {
    pub(crate) fn new(
        common_name: &str,
        organization: Option<&str>,
        alternatives: Vec<GeneralName>,
    ) -> anyhow::Result<Self> {
        let mut subject = Name::default();
        let organization = organization.map(|name| (ORGANIZATION, name));
        for (oid, text) in [(COMMON_NAME, common_name)].into_iter().chain(organization) {
            // RFC 5280, appendix A.1: ub-common-name and ub-organization-name.
            if text.is_empty() || text.chars().count() > 64 {
                bail!("a name of the subject has 1 to 64 characters, not {text:?}");
            }
            let value = Any::from(Utf8StringRef::new(text)?);
            let attribute = SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }])?;
            subject.0.push(RelativeDistinguishedName(attribute));
        }
        Ok(Self {
            subject,
            alternatives,
        })
    }
}

/// Parses `--san`: `DNS:`, `URI:`, `IP:` or `email:` and the name (RFC 5280, section 4.2.1.6).
pub(crate) fn parse(text: &str) -> Result<GeneralName, String> {
    let (kind, name) = text.split_once(':').unwrap_or(("", text));
    let ia5 = |wrong: &str| Ia5String::new(name).map_err(|_| wrong.to_owned());
    let graphic = name.bytes().all(|byte| byte.is_ascii_graphic());
    match kind {
        "DNS" if DnsName::try_from(name).is_ok() => {
            Ok(GeneralName::DnsName(ia5("too long a DNS name")?))
        }
        "DNS" => Err("it is no DNS name".to_owned()),
        "URI" if graphic && has_scheme(name) => Ok(GeneralName::UniformResourceIdentifier(ia5(
            "too long a URI",
        )?)),
        "URI" => {
            Err("it is no URI: SCHEME:..., without blanks, others than ASCII as %XX".to_owned())
        }
        "IP" => match name.parse::<IpAddr>() {
            Ok(address) => Ok(GeneralName::from(address)),
            Err(_) => Err("it is no IP address".to_owned()),
        },
        "email" => match name.split_once('@') {
            Some((mailbox, host))
                if graphic && !mailbox.is_empty() && DnsName::try_from(host).is_ok() =>
            {
                Ok(GeneralName::Rfc822Name(ia5("too long an e-mail address")?))
            }
            _ => Err("it is no e-mail address".to_owned()),
        },
        _ => Err("it must begin with DNS:, URI:, IP: or email:".to_owned()),
    }
}

/// As [`parse`] reads it; the kinds that it does not know by what they are.
pub(crate) fn alternative(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(name) => printable(&format!("DNS:{name}")),
        GeneralName::UniformResourceIdentifier(uri) => printable(&format!("URI:{uri}")),
        GeneralName::Rfc822Name(address) => printable(&format!("email:{address}")),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            match v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)) {
                Ok(address) => format!("IP:{address}"),
                Err(_) => "IP:malformed".to_owned(),
            }
        }
        GeneralName::DirectoryName(name) => format!("directory:{}", subject(name)),
        GeneralName::RegisteredId(oid) => format!("OID:{oid}"),
        GeneralName::OtherName(other) => format!("other:{}", other.type_id),
        GeneralName::EdiPartyName(_) => "EDI party".to_owned(),
    }
}

/// A subject as RFC 4514 writes it, and `-` if it is empty.
pub(crate) fn subject(name: &Name) -> String {
    if name.is_empty() {
        return "-".to_owned();
    }
    printable(&name.to_string())
}

/// RFC 3986, section 3.1.
fn has_scheme(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// id-at-commonName (RFC 5280, appendix A.1).
pub(crate) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// id-at-organizationName (RFC 5280, appendix A.1).
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternative_names_are_shown_as_they_are_read() {
        for name in [
            "DNS:device-1.example",
            "URI:urn:dev:mac:0024befffe804ff1",
            "IP:192.0.2.1",
            "IP:2001:db8::1",
            "email:device@example.com",
        ] {
            assert_eq!(alternative(&parse(name).unwrap()), name);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in [
            "",
            "device",
            "DNS:",
            "DNS:a b",
            "DNS:*.example",
            "DNS:ä.example",
            "URI:",
            "URI:urn:",
            "URI:nothing",
            "URI:1:2",
            "URI:urn:a b",
            "URI:urn:ä",
            "IP:192.0.2",
            "IP:192.0.2.1/24",
            "email:device",
            "email:@example.com",
            "email:a b@example.com",
            "dns:device",
        ] {
            assert!(parse(name).is_err(), "{name:?}");
        }
    }
}

//! What leaves a text before somebody else reads it: secrets, and what names one device, one person or one customer.

use std::cmp::Reverse;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::Path;

use regex_lite::{Captures, Regex};
use zeroize::Zeroizing;

use super::names::{Names, Source};
use crate::percent;

/// Takes out what it was told, and what has a form by which it is known.
pub(super) struct Redactor {
    secrets: Vec<Zeroizing<String>>,
    names: Names,
    /// How many secrets were taken out.
    taken: usize,
    /// How many secrets and names are taken up from now on.
    room: usize,
    secret_forms: Vec<Regex>,
    long: Regex,
    name_forms: Vec<(Regex, Replace)>,
}

/// What comes in place of a name that has a form.
type Replace = fn(&mut Found<'_>, &Captures<'_>) -> String;

/// Where a name goes that was found by its form.
struct Found<'a> {
    names: &'a mut Names,
    source: Source,
}

impl Found<'_> {
    fn stand_in(&mut self, kind: &'static str, name: &str) -> String {
        self.names.found(self.source, kind, name)
    }
}

/// In place of a secret.
pub(super) const SECRET: &str = "<secret>";

impl Redactor {
    pub(super) fn new() -> anyhow::Result<Self> {
        let secret_forms = SECRET_FORMS.iter().map(|form| Regex::new(form));
        let name_forms = NAME_FORMS
            .iter()
            .map(|(form, replace)| Ok((Regex::new(form)?, *replace)));
        Ok(Self {
            secrets: Vec::new(),
            names: Names::default(),
            taken: 0,
            room: usize::MAX,
            secret_forms: secret_forms.collect::<Result<_, _>>()?,
            long: Regex::new(LONG)?,
            name_forms: name_forms.collect::<Result<_, regex_lite::Error>>()?,
        })
    }

    /// From now on no more than so many secrets and names are taken up, until this is called again: each is looked for at
    /// each place of a text, and another user's file may have as many as it likes.
    pub(super) fn limit(&mut self, most: usize) {
        self.room = most;
    }

    fn takes_one(&mut self) -> bool {
        let takes = self.room > 0;
        self.room = self.room.saturating_sub(1);
        takes
    }

    /// From now on each line of `text` is removed wherever it is.
    pub(super) fn add_secret(&mut self, text: &str) {
        for line in text.lines().map(str::trim) {
            // As programs write it in quotation marks, and as URIs have it.
            let forms = [
                line.to_owned(),
                line.escape_debug().to_string(),
                percent::encoded(line),
            ];
            for form in forms {
                // A shorter one would be found everywhere.
                let is_new = !self.secrets.iter().any(|known| **known == form);
                if form.len() >= SHORTEST && is_new && self.takes_one() {
                    self.secrets.push(form.into());
                }
            }
        }
    }

    /// The same for what is in a file, if it can be read.
    pub(super) fn add_secret_file(&mut self, path: &Path) {
        let mut content = Zeroizing::new(Vec::new());
        let read = tedge_file::open(path).and_then(|file| file.read_into(&mut content, MAX_SECRET));
        if read.is_ok() {
            self.add_secret(&String::from_utf8_lossy(&content));
        }
    }

    /// From now on `name` has a stand-in, which is returned.
    pub(super) fn add_name(&mut self, kind: &'static str, name: &str) -> String {
        if self.takes_one() {
            self.names.stand_in(kind, name)
        } else {
            format!("{kind}-more")
        }
    }

    /// The same for a setting's value, and for the hosts that it names.
    pub(super) fn add_value(&mut self, value: &str) -> String {
        for part in value.split(|c: char| c.is_whitespace() || "/:@?=&;,[]".contains(c)) {
            if part.contains('.') && part.contains(|c: char| c.is_ascii_alphabetic()) {
                self.add_name("host", part);
            }
        }
        self.add_name("value", value)
    }

    /// How many secrets were taken out until now.
    pub(super) fn secrets(&self) -> usize {
        self.taken
    }

    /// How many names have a stand-in.
    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    /// `text` of `source` without secrets and names. What is found by its form is known from then on.
    pub(super) fn clean(&mut self, source: Source, text: &str) -> String {
        let mut text = self.without_secrets(text);
        let mut names = Found {
            names: &mut self.names,
            source,
        };
        for (form, replace) in &self.name_forms {
            let replaced =
                form.replace_all(&text, |found: &Captures<'_>| replace(&mut names, found));
            text = replaced.into_owned();
        }
        self.names.replaced(&text)
    }

    /// All is looked for in the text as it is: what is taken out by one rule would hide the form of another secret.
    fn without_secrets(&mut self, text: &str) -> String {
        let text = self.without_pem(text);
        let mut found: Vec<Range<usize>> = Vec::new();
        for secret in &self.secrets {
            let places = text.match_indices(secret.as_str());
            found.extend(places.map(|(start, _)| start..start + secret.len()));
        }
        for form in &self.secret_forms {
            let with_secret = form.captures_iter(&text).filter_map(|captures| {
                let (all, kept) = (captures.get(0)?, captures.get(1)?);
                (!names_file(kept.as_str())).then_some(kept.end()..all.end())
            });
            found.extend(with_secret);
        }
        let long = self
            .long
            .find_iter(&text)
            .filter(|found| is_random(found.as_str()));
        found.extend(long.map(|found| found.range()));
        found.sort_by_key(|range| (range.start, Reverse(range.end)));
        let mut out = String::with_capacity(text.len());
        let mut end = 0;
        for range in found {
            if range.start >= end {
                out.push_str(&text[end..range.start]);
                out.push_str(SECRET);
                self.taken += 1;
            }
            end = end.max(range.end);
        }
        out.push_str(&text[end..]);
        out
    }

    /// Without the lines from a PEM block's first to its last one (RFC 7468). Whoever writes only a first one can't hide
    /// what comes after it.
    fn without_pem(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut left = 0;
        for line in text.split_inclusive('\n') {
            let begins = line.contains("-----BEGIN ");
            if begins {
                self.taken += 1;
                out.push_str(SECRET);
                out.push('\n');
                left = LONGEST_PEM;
            }
            if left > 0 {
                left -= 1;
                if line.contains("-----END ") {
                    left = 0;
                }
                continue;
            }
            out.push_str(line);
        }
        out
    }
}

/// Group 1 stays, the rest is a secret.
const SECRET_FORMS: &[&str] = &[
    // Logins in URLs, and in addresses without a scheme.
    r"(://)[^\s<>]*@",
    r#"(\b)[A-Za-z0-9._%+-]+:[^\s@/"']+@"#,
    r#"(?i)\b((?:proxy-)?authorization["']?\s*[:=]\s*|(?:set-)?cookie["']?\s*[:=]\s*)[^\n]+"#,
    r"(?i)\b((?:basic|bearer)\s+)[A-Za-z0-9+/=._~-]{8,}",
    // A JSON web token (RFC 7519).
    r"(\b)eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*",
    r#"(?i)((?:pass(?:word|wd|phrase|code)?|pwd|psk|credentials?|otp|secret|one-time|pin-value|access[_-]?key|private[_-]?key|api[_-]?key|signature|\bsig|jwt|_token)[a-z0-9_.-]*\\?["']?\s*[=:]\s*)(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|''|[^'\\\n])*'|[^\s,;&)]+)"#,
    // An option and its value.
    r"(?i)(--(?:[a-z]+-)*(?:password|passphrase|pin|puk|secret)\s+)[^\s-]\S*",
    r#"(?i)(\b(?:[a-z]+[ _-])?(?:so|user)?(?:pin|puk)["']?\s*[=:]\s*["']?)[^\s,;&)"']+"#,
    r#"(?i)(\b(?:pin|puk|password|passphrase)\s+(?:is\s+|was\s+)?)(?:[0-9]{4,}|"(?:\\.|[^"\\\n])+"|'(?:\\.|''|[^'\\\n])+')"#,
];

/// What may be a key, a signature, a fingerprint: see [`is_random`].
const LONG: &str = r"[A-Za-z0-9+/=_-]{32,}";

const NAME_FORMS: &[(&str, Replace)] = &[
    // PKCS#11 URIs (RFC 7512).
    (
        r#"\b(serial|token|object|id)=([^;?&\s"'),<>\]]+)"#,
        uri_attribute,
    ),
    // Distinguished names (RFC 4514).
    (
        r#"\b(CN|OU|O|L|ST|C|DC|UID|STREET|SERIALNUMBER|serialNumber|emailAddress|E)=((?:\\.|\([^()\n]*\)|[^,+\\\n"'();])+)"#,
        |names, found| {
            let value = found[2].trim_end();
            let rest = &found[2][value.len()..];
            format!("{}={}{rest}", &found[1], names.stand_in("subject", value))
        },
    ),
    (
        r#"(?i)\b(serial(?:[ _-]?(?:number|no\.?))?["']?[\s:=]+["']?)([A-Za-z0-9]*[0-9][A-Za-z0-9]*)"#,
        |names, found| format!("{}{}", &found[1], names.stand_in("serial", &found[2])),
    ),
    (
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
        |names, found| {
            // tee-supplicant@teepriv0.service
            let is_unit = [".service", ".socket", ".timer"]
                .iter()
                .any(|end| found[0].ends_with(end));
            if is_unit {
                found[0].to_owned()
            } else {
                names.stand_in("address", &found[0])
            }
        },
    ),
    (
        r"(?i)\b(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+(?:com|net|org|edu|gov|info|biz|io|dev|app|cloud|eu|de|at|ch|uk|fr|nl|it|es|se|dk|no|fi|pl|us|ca|jp|cn|in|au|local|lan|internal|intranet|corp|home|example|test|invalid)\b",
        |names, found| {
            // A setting's name, as the bridge's have it.
            let is_setting = found[0].starts_with("cloud.")
                && [".ca", ".in"].iter().any(|end| found[0].ends_with(end));
            if is_setting {
                found[0].to_owned()
            } else {
                names.stand_in("host", &found[0])
            }
        },
    ),
    // UUIDs (RFC 9562).
    (
        r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b",
        |names, found| names.stand_in("uuid", &found[0]),
    ),
    // MAC addresses and fingerprints.
    (
        r"\b(?:[0-9A-Fa-f]{2}[:-]){5,}[0-9A-Fa-f]{2}\b",
        |names, found| names.stand_in("octets", &found[0]),
    ),
    (
        r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*",
        |names, found| {
            let shown = found[0].trim_end_matches('.');
            match shown.parse::<Ipv6Addr>() {
                Ok(ip) if !ip.is_loopback() && !ip.is_unspecified() => {
                    names.stand_in("address", shown) + &found[0][shown.len()..]
                }
                _ => found[0].to_owned(),
            }
        },
    ),
    (
        r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b",
        |names, found| match found[0].parse::<Ipv4Addr>() {
            Ok(ip) if !ip.is_loopback() && !ip.is_unspecified() => {
                names.stand_in("address", &found[0])
            }
            _ => found[0].to_owned(),
        },
    ),
];

fn uri_attribute(names: &mut Found<'_>, found: &Captures<'_>) -> String {
    let name = &found[1];
    // The end of what the URI is in.
    let value = found[2].trim_end_matches([':', '.']);
    let rest = &found[2][value.len()..];
    let decoded = percent_decoded(value);
    let kind = match name {
        "serial" => "serial",
        // A slot's number, as cards have it.
        "id" if decoded.chars().count() <= 2 => return found[0].to_owned(),
        "id" => "id",
        _ => "label",
    };
    let stand_in = names.stand_in(kind, value);
    names.names.add_form(names.source, &decoded, &stand_in);
    format!("{name}={stand_in}{rest}")
}

/// Whether a setting of that name has the path of a secret's file.
fn names_file(setting: &str) -> bool {
    let name = setting.trim_end_matches([' ', '=', ':', '"', '\'']);
    name.ends_with("file") || name.ends_with("path")
}

/// Without the percent signs of RFC 3986, as far as that is text.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let decoded = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match decoded.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Hexadecimal or base64: not a path, nor words with hyphens.
fn is_random(text: &str) -> bool {
    let has = |kind: fn(&char) -> bool| text.chars().any(|c| kind(&c));
    let digit = has(char::is_ascii_digit);
    let is_hex = text.chars().all(|c| c.is_ascii_hexdigit());
    is_hex || (digit && has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase))
}

/// In bytes.
const SHORTEST: usize = 4;
/// In bytes, of a file: a PIN or password has fewer.
const MAX_SECRET: usize = 4096;
/// In lines: a certificate chain has fewer.
const LONGEST_PEM: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> String {
        Redactor::new().unwrap().clean(Source::Machine, text)
    }

    #[test]
    fn secrets_are_known_by_their_form() {
        for (text, shown) in [
            ("http://u:p%40w@proxy:3128", "http://<secret>proxy:3128"),
            ("http://u:p@w/x@proxy:3128", "http://<secret>proxy:3128"),
            ("u:hunter2@proxy:3128", "<secret>proxy:3128"),
            (
                "pkcs11:token=device?pin-value=12%3534&x=y",
                "pkcs11:token=device?pin-value=<secret>&x=y",
            ),
            (
                "Authorization: Basic dTpodW50ZXIy",
                "Authorization: <secret>",
            ),
            ("got bearer abcdefgh1234", "got bearer <secret>"),
            ("x eyJhbGciOiJI.eyJzdWIi.sig y", "x <secret> y"),
            (
                r#"{"password": "a b", "n": 1}"#,
                r#"{"password": <secret>, "n": 1}"#,
            ),
            (
                r#"{"password":"ab\"cd", "n": 'a'}"#,
                r#"{"password":<secret>, "n": 'a'}"#,
            ),
            (r"password='a''b c' x", "password=<secret> x"),
            (r#"{\"password\":\"ab\"} x"#, r#"{\"password\":<secret> x"#),
            (
                r#""Authorization": "Own x, y""#,
                r#""Authorization": <secret>"#,
            ),
            ("EST_PASSWORD=hunter2", "EST_PASSWORD=<secret>"),
            ("password_file = \"/etc/x\"", "password_file = \"/etc/x\""),
            ("user PIN: 4711", "user PIN: <secret>"),
            (
                "x --pin ab12 --pin-file /p --password 'q",
                "x --pin <secret> --pin-file /p --password <secret>",
            ),
            ("the PIN 471147 is wrong", "the PIN <secret> is wrong"),
            (
                "SharedAccessSignature sr=x&sig=abc%3D&se=1",
                "SharedAccessSignature sr=x&sig=<secret>&se=1",
            ),
            (
                "a\n-----BEGIN PRIVATE KEY-----\nMIIB\nab/+==\n-----END PRIVATE KEY-----\nb",
                "a\n<secret>\nb",
            ),
            ("key 0123456789abcdef0123456789abcdef.", "key <secret>."),
            (
                "/var/lib/tedge-p11-server/tpm2_pkcs11/x",
                "/var/lib/tedge-p11-server/tpm2_pkcs11/x",
            ),
            (
                "the PIN file /etc/credstore/tedge-p11-server.pin",
                "the PIN file /etc/credstore/tedge-p11-server.pin",
            ),
            (
                "the user PIN of token \"device\" is set",
                "the user PIN of token \"device\" is set",
            ),
        ] {
            assert_eq!(clean(text), shown);
        }
    }

    #[test]
    fn names_are_known_by_their_form() {
        for (text, shown) in [
            (
                "pkcs11:token=My%20Box;serial=0f1;object=tls: My Box",
                "pkcs11:token=label-1;serial=serial-1;object=tls: label-1",
            ),
            ("id=%01;id=%01%02%03%04", "id=%01;id=id-1"),
            (
                "(CN=box 7) by CN=Acme CA,O=Acme (EU)",
                "(CN=subject-1) by CN=subject-2,O=subject-3",
            ),
            ("CN=box7, and box7", "CN=subject-1, and subject-1"),
            (
                "at mqtt.acme.example:8883, 10.1.2.3, fe80::1 and ::1",
                "at host-1:8883, address-2, address-1 and ::1",
            ),
            ("12:34:56 02:42:ac:11:00:02", "12:34:56 octets-1"),
            ("cloud.demo.ca = \"/x\"", "cloud.demo.ca = \"/x\""),
            ("serial number: DENK0123", "serial number: serial-1"),
            (
                "machine 12345678-1234-1234-1234-123456789abc",
                "machine uuid-1",
            ),
            (
                "joe@acme.example, tee-supplicant@teepriv0.service",
                "address-1, tee-supplicant@teepriv0.service",
            ),
        ] {
            assert_eq!(clean(text), shown);
        }
    }

    #[test]
    fn what_was_told_is_removed_wherever_it_is() {
        let mut redactor = Redactor::new().unwrap();
        redactor.add_secret("0042\n31415926\n31415926535\n12\n");
        assert_eq!(
            redactor.clean(Source::Machine, "x31415926535y 31415926 12"),
            "x<secret>y <secret> 12"
        );
        assert_eq!((redactor.names(), redactor.secrets()), (0, 2));
        redactor.add_secret("a\"b/c");
        assert_eq!(
            redactor.clean(Source::Machine, r#"a\"b/c a%22b%2Fc"#),
            "<secret> <secret>"
        );
    }

    #[test]
    fn another_users_file_leaves_room_for_roots() {
        let mut redactor = Redactor::new().unwrap();
        redactor.limit(2);
        redactor.add_secret("aaaa\nbbbb\ncccc");
        assert_eq!(redactor.add_name("value", "dddd"), "value-more");
        redactor.limit(usize::MAX);
        redactor.add_secret("eeee");
        assert_eq!(
            redactor.clean(Source::Machine, "aaaa cccc eeee"),
            "<secret> cccc <secret>"
        );
    }

    /// User tedge's settings have secrets of his choice.
    #[test]
    fn a_secret_that_is_a_word_of_a_form_hides_no_form() {
        let mut redactor = Redactor::new().unwrap();
        redactor.add_secret("pin-value\npassword");
        let text = "x?pin-value=HUSH1 and mqtt_password=HUSH2 and \"password\": \"HUSH3\"";
        let cleaned = redactor.clean(Source::Machine, text);
        assert!(!cleaned.contains("HUSH"), "{cleaned}");
    }

    /// Others write into the log.
    #[test]
    fn a_first_line_of_pem_alone_hides_little() {
        let text = format!("-----BEGIN X-----\n{}end\n", "a\n".repeat(LONGEST_PEM));
        assert!(clean(&text).ends_with("a\nend\n"));
    }
}

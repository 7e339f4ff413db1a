//! What an EST server answers: certificates, in all forms that servers send and that can mean one thing only,
//! or why there are none (RFC 7030, sections 4.1.3 and 4.2.3; RFC 8951).

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use base64ct::{Base64, Encoding as _};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tedge_p11_client::parse_certificates;
use x509_cert::der::DateTime;

use crate::http::{Answer, Header};
use crate::pkcs7;
use tedge_file::printable;

/// The certificates in an answer, at least one; fails with what the server says instead. The media type of
/// the answer decides nothing, as servers have several: what is no certificate is not taken for one.
pub fn certificates(answer: &Answer) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    // RFC 7030 knows 200; some servers say 201, Created; a proxy may say 203.
    if !matches!(answer.status, 200 | 201 | 203) {
        return Err(refusal(answer));
    }
    find(&answer.body, true).with_context(|| {
        let kind = media_type(answer);
        let words = words(answer);
        match kind.as_str() {
            "application/pkcs7-mime" => {
                "the server's answer holds no PKCS#7 certificates".to_owned()
            }
            "" => {
                format!("the server's answer has no certificate{words}; is it EST?")
            }
            kind => {
                format!("the server answers with {kind}, not with certificates{words}; is it EST?")
            }
        }
    })
}

/// What the server wants of requests, in DER (RFC 7030, section 4.5.2); none if it wants nothing.
pub fn attributes(answer: &Answer) -> anyhow::Result<Option<Vec<u8>>> {
    match answer.status {
        // Servers that do not know the question say 404 or 501, or 400 with a page.
        204 | 400 | 404 | 405 | 501 => return Ok(None),
        200 => {}
        _ => return Err(refusal(answer)),
    }
    if answer.body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let der = match answer.body.first() {
        Some(&SEQUENCE) => Some(answer.body.clone()),
        _ => from_base64(&answer.body),
    };
    // What is no base64 is no DER either.
    Ok(Some(der.unwrap_or_default()))
}

/// The status, and what the server says to people, in one line.
#[must_use]
pub fn said(answer: &Answer) -> String {
    format!("HTTP {}{}", answer.status, words(answer))
}

/// When the server wants to be asked again (RFC 9110, section 10.2.3), if it says so: at least a second from now.
#[must_use]
pub fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = answer.header(Header::RetryAfter)?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            http_date(text)?.saturating_sub(now.ok()?)
        }
    };
    Some(after.max(Duration::from_secs(1)))
}

/// IMF-fixdate (RFC 9110, section 5.6.7) since the Unix epoch: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Duration> {
    let (_, text) = text.split_once(", ")?;
    let mut words = text.strip_suffix(" GMT")?.split(' ');
    let mut word = || words.next();
    let (day, month, year) = (word()?, word()?, word()?);
    let mut time = word()?.split(':').map(|part| part.parse().ok());
    let mut part = || time.next().flatten();
    let month = MONTHS.iter().position(|name| *name == month)?;
    let date = DateTime::new(
        year.parse().ok()?,
        u8::try_from(month + 1).ok()?,
        day.parse().ok()?,
        part()?,
        part()?,
        part()?,
    );
    Some(date.ok()?.unix_duration())
}

fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut base64 = text.to_vec();
    base64.retain(|byte| !byte.is_ascii_whitespace());
    Base64::decode_vec(std::str::from_utf8(&base64).ok()?).ok()
}

/// PKCS#7 or certificates: in base64 as RFC 8951 has it, with blanks anywhere; in DER; in PEM, which some
/// servers wrap in base64 once more.
fn find(body: &[u8], may_be_wrapped: bool) -> Option<Vec<CertificateDer<'static>>> {
    let text = body
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(body)
        .trim_ascii();
    if let Some(found) = in_der(body).or_else(|| in_der(body.trim_ascii_end())) {
        return Some(found);
    }
    let armour = [
        ("-----BEGIN PKCS7-----", "-----END PKCS7-----"),
        ("-----BEGIN CMS-----", "-----END CMS-----"),
    ];
    let base64 = armour.iter().find_map(|(begin, end)| {
        text.strip_prefix(begin.as_bytes())?
            .strip_suffix(end.as_bytes())
    });
    let is_pem = text.starts_with(b"-----BEGIN ");
    if is_pem && base64.is_none() {
        return parse_certificates(text).ok();
    }
    let decoded = from_base64(base64.unwrap_or(text))?;
    if decoded.starts_with(b"-----BEGIN ") {
        return may_be_wrapped.then(|| find(&decoded, false)).flatten();
    }
    in_der(&decoded)
}

fn in_der(der: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    // A certificate alone, as application/pkix-cert.
    if der.first() != Some(&SEQUENCE) {
        return None;
    }
    if let Ok(found) = parse_certificates(der) {
        return Some(found);
    }
    let found = pkcs7::certificates(der)?;
    let found = found
        .into_iter()
        .map(|der| CertificateDer::from(der.to_vec()));
    let found: Vec<_> = found.collect();
    (!found.is_empty()).then_some(found)
}

/// Why there is no certificate.
fn refusal(answer: &Answer) -> anyhow::Error {
    let status = answer.status;
    let when = answer
        .header(Header::RetryAfter)
        .map(str::trim)
        .unwrap_or_default();
    let when = match when.parse::<u64>() {
        Ok(seconds) => format!("in {seconds} s"),
        Err(_) if when.is_empty() => "later".to_owned(),
        Err(_) => format!("after {}", cut(when)),
    };
    let words = words(answer);
    let meaning = match status {
        202 => {
            return anyhow!(
                "the server has yet to decide (HTTP 202{words}): run this again {when}"
            );
        }
        401 => format!(": {}", unauthorized(answer)),
        403 => ": this client is not allowed to".to_owned(),
        404 => ": is the URL right?".to_owned(),
        300..=399 => match answer.header(Header::Location) {
            Some(location) => format!(
                ": it redirects to {}, and redirects are not followed",
                cut(location)
            ),
            None => ": it redirects, and redirects are not followed".to_owned(),
        },
        429 => format!(": it is asked too often; try again {when}"),
        500.. => format!(": it failed itself; try again {when}"),
        _ => String::new(),
    };
    anyhow!("the server answers HTTP {status}{meaning}{words}")
}

/// What it takes to log in (RFC 9110, section 11.6.1).
fn unauthorized(answer: &Answer) -> String {
    let mut schemes = Vec::new();
    for (_, value) in answer
        .headers
        .iter()
        .filter(|(name, _)| *name == Header::WwwAuthenticate)
    {
        // Commas are between challenges as well as between their parameters, and in quotes.
        let unquoted: String = value.split('"').step_by(2).collect();
        for part in unquoted.split(',') {
            let first = part.split_whitespace().next().unwrap_or_default();
            let is_scheme = !first.is_empty() && !first.contains('=');
            if is_scheme && !schemes.contains(&first.to_owned()) {
                schemes.push(first.to_owned());
            }
        }
    }
    let basic = schemes
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    if schemes.is_empty() || basic {
        return "it wants another user, password or certificate".to_owned();
    }
    format!(
        "it wants {}, and tedge-hsm supports only Basic and client certificates",
        cut(&schemes.join(" or "))
    )
}

/// In brackets, the first line of what the server says to people, if it says something.
fn words(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let said = match text.chars().next() {
        Some('{' | '[') => match serde_json::from_str(text) {
            Ok(json) => in_json(&json).unwrap_or_else(|| text.to_owned()),
            Err(_) => text.to_owned(),
        },
        Some('<') => without_markup(text),
        // Base64 or binary of whatever it is.
        _ if !media_type(answer).starts_with("text/") && !text.contains(' ') => String::new(),
        _ => text.to_owned(),
    };
    let is_said = |line: &&str| line.chars().any(char::is_alphanumeric);
    let line = said.lines().map(str::trim).find(is_said);
    match line {
        Some(line) if !line.contains('\u{fffd}') => format!(" ({})", cut(line)),
        _ => String::new(),
    }
}

/// The text for people in an error of JSON, such as that of RFC 9457: the most telling member first.
fn in_json(json: &Value) -> Option<String> {
    match json {
        Value::String(text) => Some(text.clone()),
        Value::Array(values) => values.iter().find_map(in_json),
        Value::Object(members) => MEMBERS.iter().find_map(|name| {
            let named = members
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            named
                .and_then(|(_, value)| in_json(value))
                .filter(|text| !text.trim().is_empty())
        }),
        _ => None,
    }
}

/// The text between the elements of XML or HTML, in one line.
fn without_markup(text: &str) -> String {
    let mut rest = text;
    // HTML's head is not for people.
    let lower = text.to_ascii_lowercase();
    if let Some(body) = lower.find("<body") {
        rest = &text[body..];
    }
    let mut said = String::new();
    while let Some((before, behind)) = rest.split_once('<') {
        said.push_str(before);
        said.push(' ');
        rest = behind.split_once('>').map_or("", |(_, behind)| behind);
    }
    said.push_str(rest);
    for (entity, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        said = said.replace(entity, character);
    }
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Type and subtype, in small letters (RFC 9110, section 8.3.1).
fn media_type(answer: &Answer) -> String {
    let header = answer.header(Header::ContentType).unwrap_or_default();
    let kind = header.split(';').next().unwrap_or_default().trim();
    cut(&kind.to_ascii_lowercase())
}

fn cut(text: &str) -> String {
    printable(text).chars().take(MAX_WORDS).collect()
}

/// Members of JSON that say what went wrong.
const MEMBERS: &[&str] = &[
    "detail",
    "details",
    "message",
    "errorMessage",
    "error_description",
    "description",
    "reason",
    "error",
    "errors",
    "title",
];
/// RFC 9110, section 5.6.7.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const SEQUENCE: u8 = 0x30;
/// Characters of what a server says.
const MAX_WORDS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a certificate, and nothing in them.
    const LEAST: &[u8] = &[
        0x30, 20, 0x30, 13, 2, 1, 1, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0, 3, 1, 0,
    ];

    fn answer(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status,
            headers: vec![(Header::ContentType, kind.to_owned())],
            body: body.into(),
        }
    }

    fn signed_data() -> Vec<u8> {
        let certificates = [&[0xa0, 22], LEAST].concat();
        let rest = [&[2, 1, 1, 0x31, 0, 0x30, 0][..], &certificates].concat();
        let signed = [&[0x30, u8::try_from(rest.len()).unwrap()], rest.as_slice()].concat();
        let explicit = [
            &[0xa0, u8::try_from(signed.len()).unwrap()],
            signed.as_slice(),
        ]
        .concat();
        let oid = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
        let content = [&oid, explicit.as_slice()].concat();
        [
            &[0x30, u8::try_from(content.len()).unwrap()],
            content.as_slice(),
        ]
        .concat()
    }

    #[test]
    fn every_form_of_a_certificate_is_taken() {
        let base64 = |der: &[u8]| Base64::encode_string(der);
        let pem = |label: &str, der: &[u8]| {
            format!(
                "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
                base64(der)
            )
        };
        let signed = signed_data();
        for body in [
            base64(&signed).into_bytes(),
            base64(&signed).replace('M', "\r\n M").into_bytes(),
            signed.clone(),
            [&signed, b"\r\n".as_slice()].concat(),
            pem("PKCS7", &signed).into_bytes(),
            pem("CMS", &signed).into_bytes(),
            pem("CERTIFICATE", LEAST).into_bytes(),
            base64(pem("CERTIFICATE", LEAST).as_bytes()).into_bytes(),
            LEAST.to_vec(),
            base64(LEAST).into_bytes(),
        ] {
            for status in [200, 201, 203] {
                for kind in [
                    "Application/PKCS7-Mime; smime-type=certs-only",
                    "application/pkix-cert",
                    "",
                ] {
                    let found = certificates(&answer(status, kind, body.clone()));
                    assert_eq!(
                        found.unwrap(),
                        [CertificateDer::from(LEAST)],
                        "{}",
                        body.escape_ascii()
                    );
                }
            }
            // It has yet to decide, whatever comes with that.
            let error = certificates(&answer(202, "", body)).unwrap_err();
            assert!(error.to_string().contains("has yet to decide"), "{error}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text: &str| {
            let headers = vec![(Header::RetryAfter, text.to_owned())];
            retry_after(&Answer {
                headers,
                ..Answer::default()
            })
        };
        assert_eq!(after(" 120 "), Some(Duration::from_secs(120)));
        for past in ["0", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(after(past), Some(Duration::from_secs(1)), "{past}");
        }
        let far = after("Thu, 31 Dec 2099 23:59:59 GMT").unwrap();
        assert!(far > Duration::from_secs(60 * 60 * 24 * 365));
        for none in ["", "soon", "-1", "Sun, 31 Feb 1994 08:49:37 GMT", "1e9"] {
            assert_eq!(after(none), None, "{none}");
        }
        let epoch = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(epoch, Duration::from_secs(784_111_777));
    }

    #[test]
    fn a_refusal_has_the_servers_words() {
        for (kind, body, said) in [
            (
                "text/plain",
                "the id is taken\nsee the manual",
                " (the id is taken)",
            ),
            ("TEXT/Plain; charset=utf-8", "\r\n\r\nno", " (no)"),
            (
                "application/json",
                r#"{"status":400,"message":"unknown device"}"#,
                " (unknown device)",
            ),
            (
                "application/problem+json",
                r#"{"title":"Bad Request","detail":"the CSR has no CN"}"#,
                " (the CSR has no CN)",
            ),
            ("", r#"{"error":{"code":1,"message":"deep"}}"#, " (deep)"),
            ("", r#"{"errors":["first","second"]}"#, " (first)"),
            ("", r#"{"a":1}"#, r#" ({"a":1})"#),
            ("", "{broken", " ({broken)"),
            (
                "application/xml",
                "<?xml version=\"1.0\"?><Error><Code>7</Code>\n<Message>a &lt; b</Message></Error>",
                " (7 a < b)",
            ),
            (
                "text/html",
                "<html><head><title>x</title></head><BODY class=a><h1>403</h1> Forbidden</BODY></html>",
                " (403 Forbidden)",
            ),
            ("text/plain", "\x1b[31mred", " (\u{fffd}[31mred)"),
            ("application/octet-stream", "AAAA", ""),
            ("application/octet-stream", "\u{1}\u{2} \u{3}", ""),
            ("", "", ""),
        ] {
            let error = certificates(&answer(400, kind, body)).unwrap_err();
            let wanted = format!("the server answers HTTP 400{said}");
            assert_eq!(error.to_string(), wanted, "{kind} {body}");
        }
        let long = certificates(&answer(400, "text/plain", "ä".repeat(1000))).unwrap_err();
        assert_eq!(
            long.to_string().chars().filter(|c| *c == 'ä').count(),
            MAX_WORDS
        );
    }

    #[test]
    fn the_scheme_that_a_server_wants_is_told() {
        for (challenges, wanted) in [
            (
                vec!["Digest realm=\"a, Basic b\", nonce=\"c\", qop=\"auth\""],
                "it wants Digest, and tedge-hsm supports only",
            ),
            (
                vec!["Negotiate YWJj==", "Bearer"],
                "it wants Negotiate or Bearer, and tedge-hsm supports only",
            ),
            (
                vec!["Digest realm=\"a\"", "basic realm=\"b\""],
                "it wants another user",
            ),
            (
                vec!["Digest realm=\"a\", nonce=\"b\", Basic realm=\"c\""],
                "it wants another user",
            ),
            (vec![], "it wants another user"),
        ] {
            let mut answer = answer(401, "", "");
            let challenges = challenges
                .into_iter()
                .map(|value| (Header::WwwAuthenticate, value.to_owned()));
            answer.headers.extend(challenges);
            let error = certificates(&answer).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("the server answers HTTP 401: {wanted}")),
                "{error}"
            );
        }
    }
}

//! What AWS IoT Core answers ("Device provisioning MQTT API" in its developer guide), parsed.

use std::fmt;

use anyhow::{Context as _, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::certificate::Certificate;
use crate::enroll::requests::{parse, words};

/// `CreateCertificateFromCsr`: a certificate that is not in use yet.
pub(super) struct Created {
    /// By which it is put to use, within an hour.
    pub(super) token: String,
    /// AWS's name for it.
    pub(super) id: String,
    pub(super) chain: Vec<Certificate>,
}

/// `RegisterThing`: the certificate is in use.
pub(super) struct Registered {
    pub(super) thing: ThingName,
    /// What the template has for the device, whatever that is.
    pub(super) configuration: Map<String, Value>,
}

/// The name of a thing, which is the device's client id, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ThingName(String);

/// A request that was rejected.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rejection {
    status_code: u16,
    error_code: String,
    error_message: String,
}

impl Created {
    pub(super) fn parse(payload: &[u8]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            certificate_ownership_token: String,
            certificate_id: String,
            certificate_pem: String,
        }
        let answer: Answer = parse(payload)?;
        let token = answer.certificate_ownership_token;
        if token.is_empty() || token.len() > MAX_TOKEN || token.chars().any(char::is_control) {
            bail!("the answer has no usable certificateOwnershipToken");
        }
        let id = answer.certificate_id;
        if id.len() != ID_LEN || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("the answer has no usable certificateId");
        }
        if answer.certificate_pem.len() > MAX_PEM {
            bail!("the certificate in the answer is too long");
        }
        let chain = chain(&answer.certificate_pem)?;
        Ok(Self { token, id, chain })
    }
}

/// The certificates in PEM, of which there must be one at least.
pub(super) fn chain(pem: &str) -> anyhow::Result<Vec<Certificate>> {
    let mut chain = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.ok().context("the answer's certificate is no PEM")?;
        chain.push(Certificate::from_der(der.to_vec()).context("the answer's certificate")?);
    }
    if chain.is_empty() {
        bail!("there is no certificate in the answer");
    }
    Ok(chain)
}

impl Registered {
    pub(super) fn parse(payload: &[u8]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            thing_name: String,
            #[serde(default)]
            device_configuration: Option<Map<String, Value>>,
        }
        let answer: Answer = parse(payload)?;
        let configuration = answer.device_configuration.unwrap_or_default();
        if serde_json::to_string(&configuration)?.len() > MAX_CONFIGURATION {
            bail!("the deviceConfiguration in the answer is longer than {MAX_CONFIGURATION} bytes");
        }
        Ok(Self {
            thing: ThingName::new(&answer.thing_name)?,
            configuration,
        })
    }
}

impl ThingName {
    pub(super) fn new(name: &str) -> anyhow::Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || ":_-".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fits) {
            bail!("\"{}\" is no name of a thing", words(name));
        }
        Ok(Self(name.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Rejection {
    /// One that is none of AWS's says so itself.
    pub(super) fn parse(payload: &[u8]) -> Self {
        parse(payload).unwrap_or_else(|error| Self {
            error_message: format!("{error:#}"),
            ..Self::default()
        })
    }

    /// Whether the same request may be accepted later: too many at a time, or a fault of AWS's own.
    pub(super) fn is_passing(&self) -> bool {
        self.status_code == TOO_MANY_REQUESTS
            || self.status_code >= 500
            || self.error_code.contains("Throttl")
    }

    /// Whether the ownership token is good for nothing any more.
    pub(super) fn is_about_token(&self) -> bool {
        self.error_code == "InvalidCertificateOwnershipToken"
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, message) = (words(&self.error_code), words(&self.error_message));
        let message = message.trim_end_matches('.');
        match (self.status_code, code.is_empty()) {
            (0, true) => write!(f, "{message}"),
            (0, false) => write!(f, "{code}: {message}"),
            (status, _) => write!(f, "{status} {code}: {message}"),
        }
    }
}

/// What a person would see of `payload`, read as each of the answers in turn: for fuzz/.
#[must_use]
pub fn texts(payload: &[u8]) -> Vec<String> {
    let mut texts = vec![Rejection::parse(payload).to_string()];
    match Created::parse(payload) {
        Ok(created) => texts.extend([created.token, created.id]),
        Err(error) => texts.push(format!("{error:#}")),
    }
    match Registered::parse(payload) {
        Ok(registered) => texts.push(registered.thing.0),
        Err(error) => texts.push(format!("{error:#}")),
    }
    texts
}

/// API reference, Certificate.
const ID_LEN: usize = 64;
/// API reference, Thing: `[a-zA-Z0-9:_-]+`, of 1 to 128.
const MAX_NAME: usize = 128;
/// Bytes; tokens have some hundred.
const MAX_TOKEN: usize = 4096;
/// Bytes. AWS sends one certificate, of less than 2 KiB.
const MAX_PEM: usize = 8192;
/// Bytes. A template has 10,240 at most.
const MAX_CONFIGURATION: usize = 10_240;
/// RFC 6585.
const TOO_MANY_REQUESTS: u16 = 429;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_thing_s_name_is_refused() {
        assert_eq!(ThingName::new("a:b_c-1").unwrap().as_str(), "a:b_c-1");
        for wrong in ["", "a b", "a/b", "a\n", "\u{e4}", &"x".repeat(129)] {
            assert!(ThingName::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        for wrong in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"certificateOwnershipToken":"","certificateId":"","certificatePem":""}"#,
            r#"{"certificateOwnershipToken":"t","certificateId":"\u001b[2J","certificatePem":""}"#,
        ] {
            assert!(Created::parse(wrong.as_bytes()).is_err(), "{wrong}");
            assert!(Registered::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let id = "a".repeat(ID_LEN);
        for pem in [
            "",
            "no PEM",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let answer = serde_json::json!({
                "certificateOwnershipToken": "t", "certificateId": id, "certificatePem": pem,
            });
            assert!(
                Created::parse(answer.to_string().as_bytes()).is_err(),
                "{pem}"
            );
        }
        let long =
            serde_json::json!({"thingName": "t", "deviceConfiguration": {"a": "x".repeat(10_241)}});
        assert!(Registered::parse(long.to_string().as_bytes()).is_err());
        let bare = Registered::parse(br#"{"thingName":"t","deviceConfiguration":null}"#).unwrap();
        assert!(bare.configuration.is_empty());
    }

    #[test]
    fn a_rejection_is_one_line() {
        for (payload, said, passing) in [
            (
                r#"{"statusCode":400,"errorCode":"InvalidCSR","errorMessage":"CSR is not valid."}"#,
                "400 InvalidCSR: CSR is not valid",
                false,
            ),
            (
                r#"{"statusCode":429,"errorCode":"Throttled","errorMessage":"Rate exceeded"}"#,
                "429 Throttled: Rate exceeded",
                true,
            ),
            (r#"{"statusCode":500}"#, "500 : ", true),
        ] {
            let rejection = Rejection::parse(payload.as_bytes());
            assert_eq!(rejection.to_string(), said);
            assert_eq!(rejection.is_passing(), passing);
        }
        let hostile = Rejection::parse(b"\x1b]0;x\x07\n");
        assert!(!hostile.to_string().contains('\x1b'), "{hostile}");
        assert!(!hostile.is_passing());
    }
}

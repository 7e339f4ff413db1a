//! Enrollment over Secure Transport: RFC 7030, with the clarifications of RFC 8951.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use base64ct::{Base64, Encoding as _};
use rustls::ClientConfig;
use tedge_p11_client::Pin;
use ureq::http::{HeaderValue, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::{http, names, pkcs7};

/// An EST server.
pub(crate) struct EstServer {
    agent: Agent,
    /// `https://HOST[:PORT]/.well-known/est[/LABEL]`.
    url: String,
    login: Option<Login>,
}

/// HTTP Basic authentication (RFC 7030, section 3.2.3).
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Pin,
}

/// What a certificate is asked for with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// Section 4.2.1.
    SimpleEnroll,
    /// Section 4.2.2: by who has such a certificate already.
    SimpleReenroll,
}

impl EstServer {
    /// `url` is `https://HOST[:PORT]`, with `/.well-known/est/LABEL` or another path if need be.
    pub(crate) fn new(
        url: &str,
        tls: ClientConfig,
        login: Option<Login>,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            agent: http::agent(tls, limit),
            url: base_url(url)?,
            login,
        })
    }

    /// The CA certificates that the server distributes (section 4.1).
    pub(crate) fn ca_certificates(&self) -> anyhow::Result<Vec<Certificate>> {
        let url = format!("{}/cacerts", self.url);
        let answer = self.agent.get(&url).call();
        let failed = || format!("cannot get the CA certificates from {url}");
        answer
            .map_err(http::explain)
            .and_then(certificates)
            .with_context(failed)
    }

    /// Sends a request in PEM, and returns all certificates that come back.
    pub(crate) fn enroll(
        &self,
        operation: Operation,
        csr: &str,
    ) -> anyhow::Result<Vec<Certificate>> {
        let name = match operation {
            Operation::SimpleEnroll => "simpleenroll",
            Operation::SimpleReenroll => "simplereenroll",
        };
        let url = format!("{}/{name}", self.url);
        // The lines of PEM are base64 as servers expect it, in lines.
        let body: Vec<_> = csr.lines().filter(|line| !line.starts_with('-')).collect();
        let mut request = self
            .agent
            .post(&url)
            .header(header::CONTENT_TYPE, "application/pkcs10")
            // RFC 8951 does away with it; older servers look for it.
            .header("Content-Transfer-Encoding", "base64");
        if let Some(Login { user, password }) = &self.login {
            let login = Zeroizing::new(format!("{user}:{}", password.expose()));
            let login = Zeroizing::new(Base64::encode_string(login.as_bytes()));
            let mut login = HeaderValue::try_from(format!("Basic {}", *login))?;
            login.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, login);
        }
        request
            .send(body.join("\n") + "\n")
            .map_err(http::explain)
            .and_then(certificates)
            .with_context(|| format!("cannot get a certificate from {url}"))
    }
}

fn base_url(url: &str) -> anyhow::Result<String> {
    let uri: Uri = url.parse().context("--est is no URL")?;
    let authority = uri.authority().context("the URL of --est has no host")?;
    if uri.scheme_str() != Some("https") {
        bail!("the URL of --est must begin with https://");
    }
    if authority.as_str().contains('@') || uri.query().is_some() {
        bail!("the URL of --est may have neither a user nor a query");
    }
    let path = match uri.path().trim_end_matches('/') {
        "" => "/.well-known/est",
        path => path,
    };
    Ok(format!("https://{authority}{path}"))
}

/// The certificates in an answer, at least one.
fn certificates(mut answer: Response<Body>) -> anyhow::Result<Vec<Certificate>> {
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(refusal(&mut answer));
    }
    let content_type = answer.body().mime_type().unwrap_or("nothing").to_owned();
    if content_type != "application/pkcs7-mime" {
        bail!(
            "the server answers with {}, not with certificates; is it EST?",
            names::printable(&content_type)
        );
    }
    let mut body = read(&mut answer)?;
    // RFC 8951, section 3.1: blanks and ends of lines may be anywhere.
    body.retain(|byte| !byte.is_ascii_whitespace());
    let malformed = || anyhow!("the server's answer holds no PKCS#7 certificates");
    let text = std::str::from_utf8(&body).map_err(|_| malformed())?;
    let message = Base64::decode_vec(text).map_err(|_| malformed())?;
    let certificates = pkcs7::certificates(&message)
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(malformed)?;
    certificates
        .into_iter()
        .map(|der| Certificate::from_der(der.to_vec()))
        .collect()
}

/// Why there is no certificate (RFC 7030, section 4.2.3).
fn refusal(answer: &mut Response<Body>) -> anyhow::Error {
    let status = answer.status();
    let meaning = match status {
        StatusCode::ACCEPTED => {
            let wait = answer.headers().get(header::RETRY_AFTER);
            let wait = wait.and_then(|wait| wait.to_str().ok()).unwrap_or_default();
            let when = match wait.parse::<u64>() {
                Ok(seconds) => format!("in {seconds} s"),
                Err(_) if wait.is_empty() => "later".to_owned(),
                Err(_) => format!("after {}", names::printable(wait)),
            };
            return anyhow!("the server has yet to decide (HTTP 202): run this again {when}");
        }
        StatusCode::UNAUTHORIZED => ": it wants another user, password or certificate",
        StatusCode::FORBIDDEN => ": this client may not have it",
        StatusCode::NOT_FOUND => ": is the URL right?",
        status if status.is_redirection() => ": it sends elsewhere, which is not followed",
        status if status.is_server_error() => ": it failed itself; try again later",
        _ => "",
    };
    // Section 4.2.3: a reason for people, if any.
    let reason = match answer.body().mime_type() {
        Some("text/plain") => read(answer).unwrap_or_default(),
        _ => Vec::new(),
    };
    let reason = String::from_utf8_lossy(&reason);
    let reason = reason.trim().lines().next().unwrap_or_default();
    let reason: String = names::printable(reason).chars().take(200).collect();
    let reason = match reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    anyhow!(
        "the server answers HTTP {}{meaning}{reason}",
        status.as_u16()
    )
}

fn read(answer: &mut Response<Body>) -> anyhow::Result<Vec<u8>> {
    let body = answer.body_mut().with_config().limit(MAX_BODY);
    body.read_to_vec().map_err(http::explain)
}

/// Bytes of an answer. A chain of RSA certificates has some 10 KiB.
const MAX_BODY: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_gets_the_well_known_one() {
        for (given, expected) in [
            ("https://ca", "https://ca/.well-known/est"),
            ("https://ca:8443/", "https://ca:8443/.well-known/est"),
            ("https://[::1]:1", "https://[::1]:1/.well-known/est"),
            (
                "https://ca/.well-known/est/devices/",
                "https://ca/.well-known/est/devices",
            ),
        ] {
            assert_eq!(base_url(given).unwrap(), expected);
        }
        for wrong in [
            "",
            "ca",
            "http://ca",
            "https://",
            "https://me:pw@ca",
            "https://ca/?a",
        ] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }
}

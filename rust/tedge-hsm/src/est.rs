//! Enrollment over Secure Transport: RFC 7030, with the clarifications of RFC 8951.

use std::time::Duration;

use anyhow::Context as _;
use base64ct::{Base64, Encoding as _};
use tedge_p11_client::Pin;
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::est_answer;
use crate::http::{self, Answer, HttpsClient, RequestHeader};
use crate::tls::TlsClient;

/// An EST server.
pub(crate) struct EstServer {
    client: HttpsClient,
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
        tls: TlsClient,
        login: Option<Login>,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client: HttpsClient::new(tls, limit),
            url: base_url(url)?,
            login,
        })
    }

    /// The CA certificates that the server distributes (section 4.1).
    pub(crate) fn ca_certificates(&self) -> anyhow::Result<Vec<Certificate>> {
        let url = format!("{}/cacerts", self.url);
        let answer = self.client.get(&url);
        answer
            .and_then(|answer| certificates(&answer))
            .with_context(|| format!("cannot get the CA certificates from {url}"))
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
        let mut headers = vec![
            RequestHeader::new("Content-Type", "application/pkcs10"),
            // RFC 8951 does away with it; older servers look for it.
            RequestHeader::new("Content-Transfer-Encoding", "base64"),
        ];
        let login = self.login.as_ref().map(Login::header);
        headers.extend(login.as_ref().map(|value| RequestHeader {
            secret: true,
            ..RequestHeader::new("Authorization", value)
        }));
        self.client
            .post(&url, &headers, &(body.join("\n") + "\n"))
            .and_then(|answer| certificates(&answer))
            .with_context(|| format!("cannot get a certificate from {url}"))
    }
}

impl Login {
    fn header(&self) -> Zeroizing<String> {
        let login = Zeroizing::new(format!("{}:{}", self.user, self.password.expose()));
        let login = Zeroizing::new(Base64::encode_string(login.as_bytes()));
        Zeroizing::new(format!("Basic {}", *login))
    }
}

fn base_url(url: &str) -> anyhow::Result<String> {
    let (host, path) = http::split_url(url).context("--est")?;
    let path = if path.is_empty() {
        "/.well-known/est"
    } else {
        &path
    };
    Ok(format!("{host}{path}"))
}

fn certificates(answer: &Answer) -> anyhow::Result<Vec<Certificate>> {
    let certificates = est_answer::certificates(answer)?;
    certificates
        .into_iter()
        .map(|der| Certificate::from_der(der.to_vec()).context("a certificate in the answer"))
        .collect()
}

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

//! Enrollment over Secure Transport: RFC 7030, with the clarifications of RFC 8951.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64ct::{Base64, Encoding as _};
use tedge_p11_client::Pin;
use tedge_p11_config::{DEFAULT_CONFIG_DIR, ROOT_DIR, roots_first};
use tedge_proxy::ProxySettings;
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

/// What logs in to the server, beside a certificate.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    /// HTTP Basic authentication (RFC 7030, section 3.2.3).
    Basic {
        /// Has no colon.
        user: String,
        password: Pin,
    },
    /// A token (RFC 6750, section 2.1), as Cumulocity has it.
    Bearer(Pin),
}

/// What a server says to a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// All certificates that came, one at least.
    Certificates(Vec<Certificate>),
    /// It has yet to decide, or is too busy now (section 4.2.3; RFC 9110, section 10.2.3).
    Later {
        /// When to ask again, if it says so.
        after: Option<Duration>,
        /// Status and words, in one line.
        said: String,
        why: anyhow::Error,
    },
    /// No.
    Refused {
        status: u16,
        /// Status and words, in one line.
        said: String,
        why: anyhow::Error,
    },
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
        proxies: ProxySettings,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client: HttpsClient::new(tls, proxies, limit),
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

    /// What the server wants of requests (section 4.5), in DER; none if it wants nothing.
    pub(crate) fn attributes(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let url = format!("{}/csrattrs", self.url);
        let answer = self.client.get(&url);
        answer
            .and_then(|answer| est_answer::attributes(&answer))
            .with_context(|| format!("cannot get the CSR attributes from {url}"))
    }

    /// Sends a request in PEM, and returns all certificates that come back.
    pub(crate) fn enroll(
        &self,
        operation: Operation,
        csr: &str,
    ) -> anyhow::Result<Vec<Certificate>> {
        match self.ask(operation, csr)? {
            Reply::Certificates(certificates) => Ok(certificates),
            Reply::Later { why, .. } | Reply::Refused { why, .. } => Err(why),
        }
    }

    /// Sends a request in PEM. An error is that there is no answer, or one that is none.
    pub(crate) fn ask(&self, operation: Operation, csr: &str) -> anyhow::Result<Reply> {
        let name = match operation {
            Operation::SimpleEnroll => "simpleenroll",
            Operation::SimpleReenroll => "simplereenroll",
        };
        let url = format!("{}/{name}", self.url);
        let what = || format!("cannot get a certificate from {url}");
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
        let answer = self
            .client
            .post(&url, &headers, &(body.join("\n") + "\n"))
            .with_context(what)?;
        let status = answer.status;
        let why = match certificates(&answer) {
            Ok(certificates) => return Ok(Reply::Certificates(certificates)),
            Err(why) => why.context(what()),
        };
        let after = est_answer::retry_after(&answer);
        let said = est_answer::said(&answer);
        match status {
            202 => Ok(Reply::Later { after, said, why }),
            // Who is too busy says when; without that it is a failure like others.
            429 | 503 if after.is_some() => Ok(Reply::Later { after, said, why }),
            300.. => Ok(Reply::Refused { status, said, why }),
            _ => Err(why),
        }
    }
}

impl Login {
    /// By a user and a password in a file.
    pub(crate) fn read(user: String, password_file: &Path) -> anyhow::Result<Self> {
        // RFC 7617, section 2.
        if user.contains(':') {
            bail!("a user's name has no colon");
        }
        let password = Pin::read_file(password_file).context("--password-file")?;
        Ok(Self::Basic { user, password })
    }

    fn header(&self) -> Zeroizing<String> {
        match self {
            Self::Basic { user, password } => {
                let login = Zeroizing::new(format!("{user}:{}", password.expose()));
                let login = Zeroizing::new(Base64::encode_string(login.as_bytes()));
                Zeroizing::new(format!("Basic {}", *login))
            }
            Self::Bearer(token) => Zeroizing::new(format!("Bearer {}", token.expose())),
        }
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

/// The file with the CA of the EST server, if none is named.
pub(crate) fn default_ca() -> PathBuf {
    roots_first("est-ca.pem", ROOT_DIR.as_ref(), DEFAULT_CONFIG_DIR.as_ref())
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

//! What a failed TLS connection means, in words, and what helps. The errors of rustls are for programs.

use std::io::{self, ErrorKind};

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::alert::{self, refuses_certificate};
use crate::certificate_failure::{self, Whose};
use crate::words::{printable, words};

/// Why a TLS connection failed. Its text is what is wrong; [`sentence`](Self::sentence) has the cure, too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct TlsFailure {
    /// What is wrong, in one line.
    pub what: String,
    /// What whoever runs the device or the server can do about it, if that is known.
    pub cure: Option<String>,
    /// What it is about.
    pub about: About,
}

/// What a failed connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The client's certificate, which the server refused.
    ClientCertificate,
    /// The server's certificate, which was refused here.
    ServerCertificate,
    /// Something else.
    Connection,
}

impl TlsFailure {
    /// What a failed read or write on a TLS connection means; `shown` are the server's certificates if they
    /// were refused, the server's own first. In TLS 1.3 the server judges the client's certificate after the
    /// client's handshake is done, so its verdict comes with the first read.
    #[must_use]
    pub fn of_io(error: &io::Error, shown: &[CertificateDer<'_>]) -> Self {
        let tls = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<Error>());
        match (tls, error.kind()) {
            (Some(error), _) => Self::of(error, shown),
            (None, ErrorKind::WouldBlock | ErrorKind::TimedOut) => Self::new("no answer in time"),
            (
                None,
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe,
            ) => Self::new("the server closed the connection"),
            (None, _) => Self::new(error.to_string()),
        }
    }

    /// What an error of rustls means; `shown` as for [`of_io`](Self::of_io).
    #[must_use]
    pub fn of(error: &Error, shown: &[CertificateDer<'_>]) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::of_certificate(error, shown, Whose::Server),
            Error::AlertReceived(alert) => {
                let (what, cure) = alert::explain(*alert);
                Self {
                    about: if refuses_certificate(*alert) {
                        About::ClientCertificate
                    } else {
                        About::Connection
                    },
                    ..Self::with_cure(what, cure)
                }
            }
            Error::PeerIncompatible(why) => Self::incompatible(why),
            Error::InvalidMessage(why) => Self::with_cure(
                match why {
                    InvalidMessage::InvalidContentType
                    | InvalidMessage::UnknownProtocolVersion
                    | InvalidMessage::MessageTooLarge => "the server's answer is no TLS".to_owned(),
                    why => format!("the server's answer is malformed TLS ({})", words(why)),
                },
                "is this the port for TLS? For MQTT it is usually 8883; 1883 has no TLS",
            ),
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                Self::with_cure(
                    "the server violates TLS: a message came out of turn",
                    SERVER_LOG,
                )
            }
            Error::PeerMisbehaved(why) => Self::with_cure(
                format!("the server does not keep to TLS ({})", words(why)),
                SERVER_LOG,
            ),
            Error::NoCertificatesPresented => Self::with_cure(
                "the server showed no certificate",
                "give the server a certificate",
            ),
            Error::DecryptError => Self::with_cure(
                "the server's message can't be decrypted",
                "something between here and the server may change the data",
            ),
            Error::PeerSentOversizedRecord => {
                Self::with_cure("the server sent a TLS record that is too long", SERVER_LOG)
            }
            Error::NoApplicationProtocol => Self::with_cure(
                "the server takes none of the application protocols (ALPN) that were offered",
                "offer the one that it wants",
            ),
            Error::UnsupportedNameType => {
                Self::new("the server's name is neither a host name nor an address")
            }
            Error::FailedToGetCurrentTime => Self::with_cure(
                "the clock of this device is before 1970",
                "set the clock (timedatectl)",
            ),
            Error::FailedToGetRandomBytes => Self::new("the system gives no random numbers"),
            Error::InvalidCertRevocationList(why) => Self::new(format!(
                "a list of revoked certificates is no good ({})",
                words(why)
            )),
            Error::InvalidEncryptedClientHello(why) => {
                Self::new(format!("encrypted client hello failed ({})", words(why)))
            }
            // Ours: what the signer said.
            Error::General(why) => Self::new(printable(why)),
            Error::Other(why) => Self::new(printable(&why.0.to_string())),
            other => Self::new(format!("TLS failed here ({})", words(other))),
        }
    }

    /// What is wrong with the first certificate of `chain`, or with one of those behind it.
    #[must_use]
    pub fn of_certificate(
        error: &CertificateError,
        chain: &[CertificateDer<'_>],
        whose: Whose,
    ) -> Self {
        let (what, cure) = certificate_failure::explain(error, chain, whose);
        Self {
            cure,
            about: match whose {
                Whose::Server => About::ServerCertificate,
                Whose::Client => About::ClientCertificate,
            },
            ..Self::new(what)
        }
    }

    pub(crate) fn without_roots() -> Self {
        Self::new("there is no CA to verify the server with")
    }

    /// What is wrong and, behind a semicolon, what helps.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.cure {
            Some(cure) => format!("{}; {cure}", self.what),
            None => self.what.clone(),
        }
    }

    fn incompatible(why: &PeerIncompatible) -> Self {
        use PeerIncompatible as P;
        let (what, cure) = match why {
            P::ServerDoesNotSupportTls12Or13 => (
                "the server speaks neither TLS 1.3 nor TLS 1.2".to_owned(),
                "have the server speak TLS 1.3: update it",
            ),
            P::ServerTlsVersionIsDisabledByOurConfig => (
                "the server speaks TLS 1.2 only, which the settings here do not allow".to_owned(),
                "have the server speak TLS 1.3, or allow TLS 1.2 here and in the signer's rules",
            ),
            P::NoCertificateRequestSignatureSchemesInCommon | P::NoSignatureSchemesInCommon => (
                "the server takes none of the signature schemes that are offered".to_owned(),
                "use a key of another type: EC P-256 is taken everywhere",
            ),
            P::NoCipherSuitesInCommon | P::NoKxGroupsInCommon | P::NoEcPointFormatsInCommon => (
                "the server has no cipher suite or key exchange in common with this client"
                    .to_owned(),
                "allow TLS 1.3, or ECDHE with AES-GCM or ChaCha20-Poly1305, in the server's settings",
            ),
            P::ExtendedMasterSecretExtensionRequired => (
                "the server's TLS 1.2 lacks the extended master secret (RFC 7627)".to_owned(),
                "have the server speak TLS 1.3: update it",
            ),
            other => (
                format!(
                    "the server lacks something that TLS here needs ({})",
                    words(other)
                ),
                SERVER_LOG,
            ),
        };
        Self::with_cure(what, cure)
    }

    fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cure: None,
            about: About::Connection,
        }
    }

    fn with_cure(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            cure: Some(cure.into()),
            ..Self::new(what)
        }
    }
}

const SERVER_LOG: &str = "see the server's log, and update it";

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, InvalidMessage, OtherError, PeerMisbehaved};

    use super::*;

    /// A word that only a library's Debug form has: two capitals in it, or brackets of Rust's.
    fn is_debug(text: &str) -> bool {
        text.contains("::")
            || text.contains("{ ")
            || text.split(|c: char| !c.is_alphanumeric()).any(|word| {
                let small = word.chars().any(char::is_lowercase);
                let inside = word.chars().skip(1).any(char::is_uppercase);
                small && inside && !USUAL.contains(&word)
            })
    }

    /// Words with capitals that the field writes so.
    const USUAL: &[&str] = &[
        "clientAuth",
        "serverAuth",
        "extendedKeyUsage",
        "subjectAltName",
        "basicConstraints",
        "copy",
        "extfile",
        "keyCertSign",
        "OpenSSL",
        "ChaCha20",
        "addext",
        "sha1WithRSAEncryption",
    ];

    #[test]
    fn no_form_of_a_library_reaches_a_person() {
        let alerts = (0..=255).map(|alert| Error::AlertReceived(AlertDescription::from(alert)));
        let others = [
            Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol),
            Error::PeerIncompatible(PeerIncompatible::NullCompressionRequired),
            Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig),
            Error::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(None)),
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::InvalidMessage(InvalidMessage::MissingData("ServerHelloPayload")),
            Error::InvalidMessage(InvalidMessage::DuplicateExtension(3)),
            Error::InappropriateMessage {
                expect_types: Vec::new(),
                got_type: rustls::ContentType::Alert,
            },
            Error::NoCertificatesPresented,
            Error::DecryptError,
            Error::EncryptError,
            Error::HandshakeNotComplete,
            Error::PeerSentOversizedRecord,
            Error::NoApplicationProtocol,
            Error::BadMaxFragmentSize,
            Error::InconsistentKeys(rustls::InconsistentKeys::Unknown),
            Error::General("the signer\nsaid no".to_owned()),
            Error::Other(OtherError(std::sync::Arc::new(io::Error::other("why")))),
            Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension),
        ];
        for error in alerts.chain(others) {
            let sentence = TlsFailure::of(&error, &[]).sentence();
            assert!(!is_debug(&sentence), "{error:?}: {sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
        assert!(is_debug("peer misbehaved: SelectedUnofferedKxGroup"));
    }

    #[test]
    fn only_verdicts_on_the_certificate_are_refusals() {
        for (alert, refuses) in [
            (AlertDescription::UnknownCA, true),
            (AlertDescription::CertificateRequired, true),
            (AlertDescription::HandshakeFailure, false),
            (AlertDescription::InternalError, false),
        ] {
            let failure = TlsFailure::of(&Error::AlertReceived(alert), &[]);
            let refused = failure.about == About::ClientCertificate;
            assert_eq!(refused, refuses, "{failure}");
        }
    }

    #[test]
    fn what_is_no_tls_error_keeps_its_words() {
        for (error, what) in [
            (io::Error::from(ErrorKind::WouldBlock), "no answer in time"),
            (
                io::Error::from(ErrorKind::ConnectionReset),
                "the server closed the connection",
            ),
            (io::Error::other("disk full"), "disk full"),
        ] {
            assert_eq!(TlsFailure::of_io(&error, &[]).sentence(), what);
        }
    }
}

//! CertificateVerify of TLS 1.3 (RFC 8446, section 4.4.3).

use tedge_p11_protocol::SignatureScheme;

use crate::unrecognized::Flaw;

/// The byte that the message begins with, 64 times.
pub(crate) const PAD: u8 = 0x20;

/// Whether `message` is what a TLS 1.3 client signs.
pub(crate) fn check(message: &[u8], scheme: SignatureScheme) -> Result<(), Flaw> {
    let hash = message
        .strip_prefix(&[PAD; 64])
        .and_then(|rest| rest.strip_prefix(CLIENT_CONTEXT))
        .ok_or(Flaw::Context)?;
    // The cipher suites of TLS 1.3 have no other hashes than SHA-256 and SHA-384 (appendix B.4).
    if !matches!(hash.len(), 32 | 48) {
        return Err(Flaw::HashLength(hash.len()));
    }
    // Section 4.2.3: these are for certificates only.
    if let SignatureScheme::RSA_PKCS1_SHA256
    | SignatureScheme::RSA_PKCS1_SHA384
    | SignatureScheme::RSA_PKCS1_SHA512 = scheme
    {
        return Err(Flaw::Scheme(scheme));
    }
    Ok(())
}

/// The context string and the byte that separates it from the hash.
const CLIENT_CONTEXT: &[u8] = b"TLS 1.3, client CertificateVerify\0";

#[cfg(test)]
mod tests {
    use super::*;

    fn message(pad: usize, context: &str, hash: usize) -> Vec<u8> {
        let mut message = vec![PAD; pad];
        message.extend(context.bytes());
        message.extend(vec![7; hash]);
        message
    }

    #[test]
    fn only_a_clients_message_passes() {
        const CLIENT: &str = "TLS 1.3, client CertificateVerify\0";
        let scheme = SignatureScheme::ED25519;
        let cases = [
            (64, CLIENT, 32, Ok(())),
            (64, CLIENT, 48, Ok(())),
            (64, CLIENT, 0, Err(Flaw::HashLength(0))),
            (64, CLIENT, 20, Err(Flaw::HashLength(20))),
            (64, CLIENT, 64, Err(Flaw::HashLength(64))),
            (63, CLIENT, 32, Err(Flaw::Context)),
            (65, CLIENT, 32, Err(Flaw::Context)),
            (
                64,
                "TLS 1.3, client CertificateVerify",
                33,
                Err(Flaw::Context),
            ),
            (
                64,
                "TLS 1.3, server CertificateVerify\0",
                32,
                Err(Flaw::Context),
            ),
            (
                64,
                "tls 1.3, client certificateverify\0",
                32,
                Err(Flaw::Context),
            ),
            (
                64,
                "TLS, client delegated credentials\0",
                32,
                Err(Flaw::Context),
            ),
            (64, "Exported Authenticator\0", 32, Err(Flaw::Context)),
        ];
        for (pad, context, hash, expected) in cases {
            let message = message(pad, context, hash);
            assert_eq!(
                check(&message, scheme),
                expected,
                "{pad} {context:?} {hash}"
            );
        }
    }

    #[test]
    fn pkcs1_is_no_scheme_of_tls13() {
        let message = message(64, "TLS 1.3, client CertificateVerify\0", 32);
        let pkcs1 = SignatureScheme::RSA_PKCS1_SHA256;
        assert_eq!(check(&message, pkcs1), Err(Flaw::Scheme(pkcs1)));
        assert_eq!(
            check(&message, SignatureScheme::RSA_PSS_RSAE_SHA256),
            Ok(())
        );
    }
}

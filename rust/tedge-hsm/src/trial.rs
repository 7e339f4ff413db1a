//! A trial signature: does the private key on the token belong to a public key?

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm};
use tedge_p11_client::{PrivateKey, SignatureScheme};
use x509_cert::der::{Decode as _, Encode};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::verification;

/// What a trial signature took, and whether it was verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    pub(crate) duration: Duration,
    /// False if nothing here can verify with the scheme: P-521, which ring does not have.
    pub(crate) verified: bool,
}

/// Has `key` sign with `scheme`, and verifies the signature in software with the DER
/// SubjectPublicKeyInfo `spki`. Fails if the key does not sign or the signature is not one of `spki`.
///
/// What is signed has a purpose that signers allow by default, and is worth nothing to anybody: a
/// TLS 1.3 client's CertificateVerify about a random transcript, or, for the schemes that TLS 1.3 has
/// no use for, a certificate request without a name.
pub(crate) fn sign_and_verify(
    key: &dyn PrivateKey,
    scheme: SignatureScheme,
    spki: &[u8],
) -> anyhow::Result<Trial> {
    let provider = rustls::crypto::ring::default_provider();
    let message = match scheme {
        SignatureScheme::RSA_PKCS1_SHA256
        | SignatureScheme::RSA_PKCS1_SHA384
        | SignatureScheme::RSA_PKCS1_SHA512 => nameless_request(key.public_key().spki())?,
        _ => certificate_verify(&provider)?,
    };
    let started = Instant::now();
    let signature = key
        .sign(scheme, &message)
        .with_context(|| format!("key {} does not sign with {scheme}", key.uri()))?;
    let duration = started.elapsed();
    let spki = SubjectPublicKeyInfoRef::from_der(spki).context("the public key is malformed")?;
    let verified = match verifier(scheme, &spki)? {
        None => false,
        Some(verifier) => {
            let public_key = spki.subject_public_key.raw_bytes();
            verifier
                .verify_signature(public_key, &message, &signature)
                .map_err(|_| {
                    anyhow!(
                        "what key {} signs with {scheme} is no signature of this public key",
                        key.uri()
                    )
                })?;
            true
        }
    };
    Ok(Trial { duration, verified })
}

/// What verifies `scheme` with this kind of public key, if anything here does.
fn verifier(
    scheme: SignatureScheme,
    spki: &SubjectPublicKeyInfoRef<'_>,
) -> anyhow::Result<Option<&'static dyn SignatureVerificationAlgorithm>> {
    let scheme_number = rustls::SignatureScheme::from(scheme.0);
    let known = verification::algorithms().mapping;
    let Some((_, algorithms)) = known.iter().find(|(known, _)| *known == scheme_number) else {
        return Ok(None);
    };
    let fits = algorithms
        .iter()
        .find(|algorithm| is_algorithm(algorithm.public_key_alg_id(), &spki.algorithm));
    match fits {
        Some(algorithm) => Ok(Some(*algorithm)),
        None => bail!("{scheme} is no scheme for this kind of public key"),
    }
}

/// Whether `algorithm` is `id`, which rustls has without the header of its SEQUENCE.
pub(crate) fn is_algorithm(id: AlgorithmIdentifier, algorithm: &impl Encode) -> bool {
    algorithm.to_der().is_ok_and(|algorithm| {
        let header = algorithm.strip_suffix(id.as_ref());
        header.is_some_and(|header| header.len() == 2)
    })
}

/// RFC 8446, section 4.4.3.
fn certificate_verify(provider: &CryptoProvider) -> anyhow::Result<Vec<u8>> {
    let mut hash = [0; 32];
    provider
        .secure_random
        .fill(&mut hash)
        .map_err(|_| anyhow!("the system gives no random numbers"))?;
    let context: &[u8] = b"TLS 1.3, client CertificateVerify\0";
    Ok([&[b' '; 64], context, &hash].concat())
}

/// CertificationRequestInfo (RFC 2986, section 4.1) of version 1, with neither name nor attributes.
fn nameless_request(spki: &[u8]) -> anyhow::Result<Vec<u8>> {
    use x509_cert::der::asn1::SetOfVec;
    use x509_cert::request::{CertReqInfo, Version};
    let request = CertReqInfo {
        version: Version::V1,
        subject: x509_cert::name::Name::default(),
        public_key: x509_cert::spki::SubjectPublicKeyInfoOwned::from_der(spki)?,
        attributes: SetOfVec::new(),
    };
    Ok(request.to_der()?)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use tedge_p11_client::{Error, PublicKey, Uri};
    use tedge_p11_purpose::{Purpose, recognize};

    use super::*;

    const SCHEME: SignatureScheme = SignatureScheme::ECDSA_SECP256R1_SHA256;

    #[derive(Debug)]
    struct SoftwareKey(EcdsaKeyPair, PublicKey, Uri);

    impl SoftwareKey {
        fn new() -> Self {
            let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
            let public_key = PublicKey::from_raw(pair.public_key().as_ref()).unwrap();
            Self(pair, public_key, Uri::default())
        }
    }

    impl PrivateKey for SoftwareKey {
        fn uri(&self) -> &Uri {
            &self.2
        }

        fn public_key(&self) -> &PublicKey {
            &self.1
        }

        fn schemes(&self) -> &[SignatureScheme] {
            &[SCHEME]
        }

        fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, Error> {
            let signature = self.0.sign(&SystemRandom::new(), message).unwrap();
            Ok(signature.as_ref().to_vec())
        }
    }

    #[test]
    fn only_the_key_itself_passes() {
        let (key, other) = (SoftwareKey::new(), SoftwareKey::new());
        let spki = key.public_key().spki();
        assert!(sign_and_verify(&key, SCHEME, spki).unwrap().verified);
        let error = sign_and_verify(&other, SCHEME, spki).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("no signature of this public key")
        );
    }

    #[test]
    fn a_scheme_of_another_kind_of_key_is_refused() {
        let key = SoftwareKey::new();
        let spki = key.public_key().spki();
        for scheme in [
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PSS_RSAE_SHA256,
            SignatureScheme::ED25519,
        ] {
            assert!(sign_and_verify(&key, scheme, spki).is_err(), "{scheme}");
        }
    }

    #[test]
    fn what_is_signed_has_a_purpose() {
        let key = SoftwareKey::new();
        let provider = rustls::crypto::ring::default_provider();
        for (message, scheme, purpose) in [
            (certificate_verify(&provider), SCHEME, Purpose::Tls13Client),
            (
                nameless_request(key.public_key().spki()),
                SignatureScheme::RSA_PKCS1_SHA256,
                Purpose::Csr,
            ),
        ] {
            let recognized = recognize(&message.unwrap(), scheme, Some(key.public_key()));
            assert_eq!(recognized, Ok(purpose));
        }
    }

    #[test]
    fn p521_is_signed_but_not_verified() {
        let key = SoftwareKey::new();
        let scheme = SignatureScheme::ECDSA_SECP521R1_SHA512;
        let trial = sign_and_verify(&key, scheme, key.public_key().spki()).unwrap();
        assert!(!trial.verified);
    }
}

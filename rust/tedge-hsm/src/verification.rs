//! What signatures are verified with in software: ring's algorithms, and ML-DSA, which ring does not have.

use std::sync::LazyLock;

use ml_dsa::{
    EncodedVerifyingKey, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Signature, VerifyingKey,
};
use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

/// The algorithms by which signatures of the device's own key, and of CAs that issue device certificates, are verified.
pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    WebPkiSupportedAlgorithms {
        all: &ALL,
        mapping: &MAPPING,
    }
}

/// ring's provider with these algorithms: for what a server would make of a certificate. Servers of our own connections
/// are verified with ring's alone.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider {
        signature_verification_algorithms: algorithms(),
        ..rustls::crypto::ring::default_provider()
    }
}

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

static ALL: LazyLock<Vec<Algorithm>> = LazyLock::new(|| {
    let of_ring = rustls::crypto::ring::default_provider();
    let of_ring = of_ring
        .signature_verification_algorithms
        .all
        .iter()
        .copied();
    of_ring
        .chain([
            MlDsa::<MlDsa44>::ALGORITHM,
            MlDsa::<MlDsa65>::ALGORITHM,
            MlDsa::<MlDsa87>::ALGORITHM,
        ])
        .collect()
});

static MAPPING: LazyLock<Vec<(SignatureScheme, &'static [Algorithm])>> = LazyLock::new(|| {
    let of_ring = rustls::crypto::ring::default_provider();
    let of_ring = of_ring
        .signature_verification_algorithms
        .mapping
        .iter()
        .copied();
    let ml_dsa: [(_, &[Algorithm]); 3] = [
        (SignatureScheme::ML_DSA_44, &[MlDsa::<MlDsa44>::ALGORITHM]),
        (SignatureScheme::ML_DSA_65, &[MlDsa::<MlDsa65>::ALGORITHM]),
        (SignatureScheme::ML_DSA_87, &[MlDsa::<MlDsa87>::ALGORITHM]),
    ];
    of_ring.chain(ml_dsa).collect()
});

/// ML-DSA without a context (RFC 9881, section 3).
#[derive(Debug)]
struct MlDsa<P> {
    id: AlgorithmIdentifier,
    set: std::marker::PhantomData<P>,
}

impl MlDsa<MlDsa44> {
    const ALGORITHM: Algorithm = &Self::new(alg_id::ML_DSA_44);
}

impl MlDsa<MlDsa65> {
    const ALGORITHM: Algorithm = &Self::new(alg_id::ML_DSA_65);
}

impl MlDsa<MlDsa87> {
    const ALGORITHM: Algorithm = &Self::new(alg_id::ML_DSA_87);
}

impl<P> MlDsa<P> {
    const fn new(id: AlgorithmIdentifier) -> Self {
        Self {
            id,
            set: std::marker::PhantomData,
        }
    }
}

impl<P: MlDsaParams + std::fmt::Debug + Send + Sync> SignatureVerificationAlgorithm for MlDsa<P> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = EncodedVerifyingKey::<P>::try_from(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::<P>::try_from(signature).map_err(|_| InvalidSignature)?;
        if VerifyingKey::<P>::decode(&key).verify_with_context(message, &[], &signature) {
            Ok(())
        } else {
            Err(InvalidSignature)
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.id
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use ml_dsa::signature::Keypair as _;
    use ml_dsa::{Seed, SigningKey};

    use super::*;

    fn verifier(scheme: SignatureScheme) -> Algorithm {
        let (_, found) = MAPPING.iter().find(|(known, _)| *known == scheme).unwrap();
        found[0]
    }

    fn each_set<P: MlDsaParams>(scheme: SignatureScheme) {
        let key = SigningKey::<P>::from_seed(&Seed::default());
        let public_key = key.verifying_key().encode();
        let sign = |context: &[u8]| {
            let signature = key
                .expanded_key()
                .sign_deterministic(b"message", context)
                .unwrap();
            signature.encode().to_vec()
        };
        let verify = |message: &[u8], signature: &[u8]| {
            verifier(scheme).verify_signature(&public_key, message, signature)
        };
        let signature = sign(&[]);
        assert!(verify(b"message", &signature).is_ok(), "{scheme:?}");
        assert!(verify(b"massage", &signature).is_err());
        assert!(verify(b"message", &sign(b"context")).is_err());
        for wrong in [
            &signature[1..],
            &[],
            &vec![0xff; signature.len()],
            &[&signature[..], &[0]].concat(),
        ] {
            assert!(verify(b"message", wrong).is_err());
        }
        for key in [&public_key[1..], &[]] {
            assert!(
                verifier(scheme)
                    .verify_signature(key, b"message", &signature)
                    .is_err()
            );
        }
    }

    #[test]
    fn signatures_of_each_parameter_set_are_verified() {
        each_set::<MlDsa44>(SignatureScheme::ML_DSA_44);
        each_set::<MlDsa65>(SignatureScheme::ML_DSA_65);
        each_set::<MlDsa87>(SignatureScheme::ML_DSA_87);
    }
}

//! The client's side of the key exchange X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem): ML-KEM-768 (FIPS 203) of RustCrypto
//! and X25519 of ring. Whoever wants the secret has to break both.

use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey};
use ml_kem::{Seed, SharedKey};
use rustls::crypto::ring::default_provider;
use rustls::crypto::ring::kx_group::X25519;
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};
use zeroize::Zeroize as _;

/// The group, code point 0x11EC, for clients with TLS 1.3. Where X25519 is also among a provider's groups, its share goes
/// along in the same ClientHello, so that a server without ML-KEM needs no HelloRetryRequest.
///
/// No server can be made with it: [`SupportedKxGroup::start_and_complete`] fails.
pub static X25519MLKEM768: &dyn SupportedKxGroup = &Hybrid;

#[derive(Debug)]
struct Hybrid;

impl SupportedKxGroup for Hybrid {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        // The random numbers of everything else in TLS here.
        let random = default_provider().secure_random;
        let mut seed = Seed::default();
        random.fill(&mut seed)?;
        let ml_kem = DecapsulationKey::from_seed(seed);
        seed.zeroize();
        Ok(Box::new(Active::new(ml_kem, X25519.start()?)))
    }

    fn start_and_complete(&self, _: &[u8]) -> Result<CompletedKeyExchange, Error> {
        Err(Error::General(
            "X25519MLKEM768 is here for clients only".to_owned(),
        ))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

/// An exchange that waits for the server's share.
struct Active {
    /// Wiped when it is dropped.
    ml_kem: DecapsulationKey,
    x25519: Box<dyn ActiveKeyExchange>,
    /// Of both: ML-KEM's encapsulation key first, unlike the group's name.
    share: Vec<u8>,
}

impl Active {
    fn new(ml_kem: DecapsulationKey, x25519: Box<dyn ActiveKeyExchange>) -> Self {
        let encapsulation_key = ml_kem.encapsulation_key().to_bytes();
        let share = [&encapsulation_key[..], x25519.pub_key()].concat();
        Self {
            ml_kem,
            x25519,
            share,
        }
    }
}

impl ActiveKeyExchange for Active {
    /// A share of another length is an illegal parameter. So is one with an X25519 key of low order, as RFC 7748,
    /// section 6.1, and ring have it. A ciphertext of the right length never fails: one that was made for another key
    /// gives a secret that the server does not have (FIPS 203, section 6.3), and the handshake fails by its first
    /// encrypted message.
    fn complete(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        let Self { ml_kem, x25519, .. } = *self;
        let (ciphertext, x25519_share) = share
            .split_at_checked(share.len().saturating_sub(X25519_LEN))
            .ok_or(INVALID_SHARE)?;
        let ciphertext = Ciphertext::try_from(ciphertext).map_err(|_| INVALID_SHARE)?;
        let x25519_secret = x25519.complete(x25519_share)?;
        let mut ml_kem_secret: SharedKey = ml_kem.decapsulate(&ciphertext);
        // All at once: a vector that grows leaves a copy behind.
        let secret = [&ml_kem_secret[..], x25519_secret.secret_bytes()].concat();
        ml_kem_secret.zeroize();
        // It wipes what it takes.
        Ok(SharedSecret::from(secret))
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.x25519.group(), self.x25519.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        self.x25519.complete(share)
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

/// rustls answers it with the alert illegal_parameter.
const INVALID_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
/// Of a public key of X25519, in bytes.
const X25519_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's half.
    fn x25519() -> Box<dyn ActiveKeyExchange> {
        X25519.start().unwrap()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    struct Vector {
        seed: Seed,
        encapsulation_key: Vec<u8>,
        ciphertext: Vec<u8>,
        secret: Vec<u8>,
    }

    fn vectors() -> Vec<Vector> {
        let text = include_str!("../vectors/ml-kem-768.txt");
        let mut values = text.lines().filter_map(|line| line.split_once(" = "));
        let mut next = |name: &str| {
            let (found, hex) = values.next()?;
            assert_eq!(found, name);
            Some(bytes(hex))
        };
        std::iter::from_fn(|| {
            Some(Vector {
                seed: Seed::try_from(&next("seed")?[..]).unwrap(),
                encapsulation_key: next("ek").unwrap(),
                ciphertext: next("c").unwrap(),
                secret: next("K").unwrap(),
            })
        })
        .collect()
    }

    #[test]
    fn shares_and_secrets_are_those_of_known_answers() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 4);
        for vector in vectors {
            let ml_kem = DecapsulationKey::from_seed(vector.seed);
            let active = Active::new(ml_kem, x25519());
            // ML-KEM first in both shares and in the secret.
            assert_eq!(active.pub_key().len(), 1184 + 32);
            assert_eq!(&active.pub_key()[..1184], &vector.encapsulation_key[..]);
            let (group, x25519_share) = active.hybrid_component().unwrap();
            assert_eq!(group, NamedGroup::X25519);
            assert_eq!(&active.pub_key()[1184..], x25519_share);
            let server = x25519();
            let share = [&vector.ciphertext[..], server.pub_key()].concat();
            assert_eq!(share.len(), 1088 + 32);
            let theirs = server.complete(x25519_share).unwrap();
            let ours = Box::new(active).complete(&share).unwrap();
            assert_eq!(
                ours.secret_bytes(),
                [&vector.secret[..], theirs.secret_bytes()].concat()
            );
        }
    }

    #[test]
    fn the_classical_half_can_be_taken_alone() {
        let active = X25519MLKEM768.start().unwrap();
        let server = x25519();
        let share = server.pub_key().to_vec();
        let theirs = server.complete(active.hybrid_component().unwrap().1);
        let ours = active.complete_hybrid_component(&share).unwrap();
        assert_eq!(ours.secret_bytes(), theirs.unwrap().secret_bytes());
    }

    #[test]
    fn a_ciphertext_for_another_key_gives_another_secret_and_no_error() {
        let vector = vectors().remove(0);
        let mut ciphertext = vector.ciphertext;
        ciphertext[700] ^= 1;
        let share = [&ciphertext[..], x25519().pub_key()].concat();
        let secret = |seed| {
            let active = Active::new(DecapsulationKey::from_seed(seed), x25519());
            let secret = Box::new(active).complete(&share).unwrap();
            secret.secret_bytes()[..32].to_vec()
        };
        assert_ne!(secret(vector.seed), vector.secret);
        assert_ne!(secret(vector.seed), [0; 32]);
        // The same each time: nobody can tell by asking twice.
        assert_eq!(secret(vector.seed), secret(vector.seed));
    }

    #[test]
    fn shares_of_other_lengths_are_refused() {
        let good = [&vectors().remove(0).ciphertext[..], x25519().pub_key()].concat();
        let longer = [&good[..], &[0]].concat();
        for len in [0, 1, 31, 32, 33, 1088, 1119] {
            let result = X25519MLKEM768.start().unwrap().complete(&good[..len]);
            assert_eq!(result.err(), Some(INVALID_SHARE), "{len}");
        }
        let result = X25519MLKEM768.start().unwrap().complete(&longer);
        assert_eq!(result.err(), Some(INVALID_SHARE));
        assert!(X25519MLKEM768.start().unwrap().complete(&good).is_ok());
    }

    #[test]
    fn a_public_key_of_low_order_is_refused() {
        let share = [&vectors().remove(0).ciphertext[..], &[0; 32]].concat();
        let result = X25519MLKEM768.start().unwrap().complete(&share);
        assert_eq!(result.err(), Some(INVALID_SHARE));
    }

    #[test]
    fn each_exchange_has_keys_of_its_own() {
        let [first, second] = [(); 2].map(|()| X25519MLKEM768.start().unwrap());
        assert_ne!(first.pub_key()[..1184], second.pub_key()[..1184]);
        assert_ne!(first.pub_key()[1184..], second.pub_key()[1184..]);
    }
}

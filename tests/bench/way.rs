//! The ways to a signature that are compared.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde::{Deserialize, Serialize};
use support::wire;
use tedge_p11_client::{Client, PrivateKey as _, PublicKey, SignatureScheme, SocketKey};
use tedge_p11_protocol::{Request, Response, SignWithScheme, V1Scheme};

use crate::load::{Measurement, run};
use crate::session::{ecdsa, find, hashes, log_in};

/// A way to a signature.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Way {
    /// C_Sign in one process, a kept session a thread.
    Floor,
    /// Our signer, one request a connection, as thin-edge.io's clients do it.
    Frames,
    /// Our signer through our client library.
    Library,
    /// Another signer that speaks these frames.
    Other,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "C_Sign in one process",
            Self::Frames => "signer, frames",
            Self::Library => "signer, client library",
            Self::Other => "other signer, frames",
        }
    }

    /// Signs with the key `uri` from `clients` threads; `place` is the module of the floor, the socket
    /// of the others.
    pub fn measure(
        self,
        place: &Path,
        uri: &str,
        pin: &str,
        clients: usize,
        duration: Duration,
    ) -> anyhow::Result<Measurement> {
        match self {
            Self::Floor => floor(place, uri, pin, clients, duration),
            Self::Library => {
                let key = SocketKey::open(Client::new(place), &uri.parse()?, None)?;
                let scheme = key.schemes()[0];
                let clients = (0..clients)
                    .map(|_| |message: &[u8]| Ok(key.sign(scheme, message)?))
                    .collect();
                let public_key = key.public_key().raw().to_vec();
                let (algorithm, _) = algorithms(scheme)?;
                run(clients, duration, verifier(algorithm, public_key))
            }
            Self::Frames | Self::Other => {
                // The library only tells which key it is.
                let key = SocketKey::open(Client::new(place), &uri.parse()?, None)?;
                let scheme = key.schemes()[0];
                let clients = (0..clients)
                    .map(|_| |message: &[u8]| ask(place, uri, scheme, message))
                    .collect();
                let public_key = key.public_key().raw().to_vec();
                let (algorithm, _) = algorithms(scheme)?;
                run(clients, duration, verifier(algorithm, public_key))
            }
        }
    }
}

/// Asks the signer at `socket` for a signature as thin-edge.io's clients do.
pub fn ask(
    socket: &Path,
    uri: &str,
    scheme: SignatureScheme,
    message: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let request = Request::SignWithScheme(SignWithScheme {
        to_sign: message.to_vec().into(),
        uri: Some(uri.to_owned()),
        scheme: V1Scheme::new(scheme),
        pin: None,
    });
    match wire::ask(socket, &request) {
        Response::Signature(signature) => Ok(signature.0),
        other => bail!("{other:?}"),
    }
}

/// With nothing of our own code between the loop and C_Sign.
fn floor(
    module: &Path,
    uri: &str,
    pin: &str,
    clients: usize,
    duration: Duration,
) -> anyhow::Result<Measurement> {
    let label = uri.rsplit('=').next().context("no label in the URI")?;
    let (pkcs11, slot, session) = log_in(module, pin)?;
    let private = find(&session, ObjectClass::PRIVATE_KEY, label)?;
    let public = find(&session, ObjectClass::PUBLIC_KEY, label)?;
    let public = public_key(&session, public)?;
    let is_ec = public.raw().len() == 65;
    let hashes = hashes(&pkcs11, slot)?;
    // Sessions are opened one after another: some modules stand no more.
    let clients = (0..clients)
        .map(|_| {
            let session = pkcs11.open_ro_session(slot)?;
            Ok(move |message: &[u8]| {
                let signature = if is_ec {
                    ecdsa(&session, hashes, private, message)
                } else {
                    let params = PkcsPssParams {
                        hash_alg: MechanismType::SHA256,
                        mgf: PkcsMgfType::MGF1_SHA256,
                        s_len: 32.into(),
                    };
                    session.sign(&Mechanism::Sha256RsaPkcsPss(params), private, message)
                };
                Ok(signature?)
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let scheme = if is_ec {
        SignatureScheme::ECDSA_SECP256R1_SHA256
    } else {
        SignatureScheme::RSA_PSS_RSAE_SHA256
    };
    let (_, raw_algorithm) = algorithms(scheme)?;
    run(
        clients,
        duration,
        verifier(raw_algorithm, public.raw().to_vec()),
    )
}

fn public_key(session: &Session, object: ObjectHandle) -> anyhow::Result<PublicKey> {
    let wanted = [
        AttributeType::EcPoint,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
    ];
    let key = match session.get_attributes(object, &wanted)?.as_slice() {
        // Behind the header of an OCTET STRING.
        [Attribute::EcPoint(point)] => PublicKey::from_raw(&point[2..]),
        [Attribute::Modulus(n), Attribute::PublicExponent(e)] => PublicKey::from_rsa(n, e),
        _ => None,
    };
    key.context("not a P-256 or RSA key")
}

type Algorithm = &'static dyn VerificationAlgorithm;

/// What verifies a signature as TLS has it, and one as PKCS#11 has it.
fn algorithms(scheme: SignatureScheme) -> anyhow::Result<(Algorithm, Algorithm)> {
    ensure!(
        [
            SignatureScheme::ECDSA_SECP256R1_SHA256,
            SignatureScheme::RSA_PSS_RSAE_SHA256
        ]
        .contains(&scheme),
        "P-256 and RSA keys only"
    );
    Ok(if scheme == SignatureScheme::RSA_PSS_RSAE_SHA256 {
        (&RSA_PSS_2048_8192_SHA256, &RSA_PSS_2048_8192_SHA256)
    } else {
        (&ECDSA_P256_SHA256_ASN1, &ECDSA_P256_SHA256_FIXED)
    })
}

fn verifier(algorithm: Algorithm, public_key: Vec<u8>) -> impl Fn(&[u8], &[u8]) -> bool + Sync {
    let key = UnparsedPublicKey::new(algorithm, public_key);
    move |message, signature| key.verify(message, signature).is_ok()
}

//! Clients that ask all the time, and judge every answer.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use support::wire;
use tedge_p11_client::{Client, Error, PrivateKey as _, SignatureScheme, SocketKey};
use tedge_p11_protocol::{
    ChooseScheme, ExtensionRequest, ExtensionResponse, ExtensionSign, KeyInfoRequest, ListKeys,
    Request, Response, SignWithScheme, V1Scheme,
};

use crate::random::Random;

/// How a client speaks with the signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Library,
    Frames,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Tally {
    pub requests: usize,
    /// Those that ring verified.
    pub signatures: usize,
    /// Other answers that were right.
    pub answers: usize,
    /// By kind.
    pub errors: BTreeMap<String, usize>,
    /// Connections that ended without an answer.
    pub lost: usize,
    pub longest: Duration,
    /// What must not be.
    pub wrong: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.signatures += other.signatures;
        self.answers += other.answers;
        self.lost += other.lost;
        self.longest = self.longest.max(other.longest);
        self.wrong.extend(other.wrong);
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
    }
}

/// What a request led to.
enum Outcome {
    Signature,
    Answer,
    /// An Error frame.
    Refused(String),
    /// The connection ended without an answer.
    Lost,
    Wrong(String),
}

/// Asks in one way after the other's example until `calm`, and then until it was served once more.
pub fn run(
    way: Way,
    socket: &Path,
    key: &SocketKey,
    calm: &AtomicBool,
    random: &mut Random,
) -> Tally {
    let mut tally = Tally::default();
    let mut patience = None;
    loop {
        let is_calm = calm.load(SeqCst);
        let started = Instant::now();
        let outcome = match way {
            Way::Library => library(socket, key, random),
            Way::Frames => frames(socket, key, random),
        };
        let took = started.elapsed();
        tally.requests += 1;
        tally.longest = tally.longest.max(took);
        if took > LIMIT {
            let late = format!("{way:?}: an answer after {took:?}");
            tally.wrong.push(late);
        }
        match outcome {
            Outcome::Signature => {
                tally.signatures += 1;
                if is_calm {
                    return tally;
                }
            }
            Outcome::Answer => tally.answers += 1,
            Outcome::Lost => tally.lost += 1,
            Outcome::Wrong(what) => tally.wrong.push(format!("{way:?}: {what}")),
            Outcome::Refused(message) => match kind(&message) {
                Some(kind) => *tally.errors.entry(kind).or_default() += 1,
                None => tally.wrong.push(format!("{way:?}: {message}")),
            },
        }
        if is_calm {
            let since = *patience.get_or_insert_with(Instant::now);
            if since.elapsed() > HEALED {
                let what = format!("{way:?}: not served again: {:?}", tally.errors);
                tally.wrong.push(what);
                return tally;
            }
        }
        // The pace of many programs, not of one that does nothing else.
        std::thread::sleep(random.millis(0, 15));
    }
}

fn library(socket: &Path, key: &SocketKey, random: &mut Random) -> Outcome {
    if random.below(8) == 0 {
        return match SocketKey::open(Client::new(socket), key.uri(), None) {
            Ok(found) => same_key(key, found.public_key().spki()),
            Err(error) => failed(error),
        };
    }
    let scheme = random.pick(key.schemes());
    let message = message(random);
    match key.sign(scheme, &message) {
        Ok(signature) => judge(key, scheme, &message, &signature),
        Err(error) => failed(error),
    }
}

fn failed(error: Error) -> Outcome {
    match error {
        Error::Refused(message) => Outcome::Refused(message),
        // Those that wait for a signer that is being started anew have the client's limit for it.
        error => Outcome::Wrong(error.to_string()),
    }
}

fn frames(socket: &Path, key: &SocketKey, random: &mut Random) -> Outcome {
    let scheme = random.pick(key.schemes());
    let message = message(random);
    let uri = Some(key.uri().to_string());
    let to_sign = message.clone().into();
    let request = match (random.below(10), V1Scheme::new(scheme)) {
        (0, _) => Request::Ping,
        (1, _) => Request::ListKeys(ListKeys { uri, pin: None }),
        (2, _) => Request::ChooseScheme(ChooseScheme {
            offered: key.schemes().to_vec(),
            uri,
            pin: None,
        }),
        (3, _) => Request::Extension(ExtensionRequest::KeyInfo(KeyInfoRequest { uri, pin: None })),
        (_, Some(_)) => Request::SignWithScheme(SignWithScheme {
            to_sign,
            uri,
            scheme: V1Scheme::new(scheme),
            pin: None,
        }),
        (_, None) => Request::Extension(ExtensionRequest::Sign(ExtensionSign {
            to_sign,
            uri,
            scheme,
            pin: None,
        })),
    };
    let bytes = match exchange(socket, &request.encode()) {
        Ok(bytes) if bytes.is_empty() => return Outcome::Lost,
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Outcome::Lost,
        Err(error) => return Outcome::Wrong(format!("{request:?}: {error}")),
    };
    match (wire::answer(&bytes), request) {
        (Response::Error(message), _) => Outcome::Refused(message),
        (Response::Pong, Request::Ping) => Outcome::Answer,
        (Response::Signature(signature), _) => judge(key, scheme, &message, &signature.0),
        (Response::Keys(keys), Request::ListKeys(_))
            if keys.iter().any(|entry| entry.uri == key.uri().to_string()) =>
        {
            Outcome::Answer
        }
        (Response::ChosenScheme(chosen), Request::ChooseScheme(_))
            if chosen.scheme == Some(key.schemes()[0]) =>
        {
            Outcome::Answer
        }
        (Response::Extension(ExtensionResponse::KeyInfo(info)), Request::Extension(_)) => {
            same_key(key, &info.spki.0)
        }
        (other, request) => Outcome::Wrong(format!("{request:?}: {other:?}")),
    }
}

/// As [`wire::exchange`], for a signer that may not be there.
fn exchange(socket: &Path, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn message(random: &mut Random) -> Vec<u8> {
    let len = 1 + random.below(300);
    (0..len).map(|_| random.pick(b"Soaked")).collect()
}

fn same_key(key: &SocketKey, spki: &[u8]) -> Outcome {
    if spki == key.public_key().spki() {
        return Outcome::Answer;
    }
    Outcome::Wrong(format!("another public key for {}", key.uri()))
}

/// ring has no code in common with the signer, and is quicker than a process of openssl.
fn judge(key: &SocketKey, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> Outcome {
    let public_key = UnparsedPublicKey::new(algorithm(scheme), key.public_key().raw());
    if public_key.verify(message, signature).is_ok() {
        return Outcome::Signature;
    }
    Outcome::Wrong(format!("a signature by {scheme} that is none"))
}

fn algorithm(scheme: SignatureScheme) -> &'static dyn VerificationAlgorithm {
    match scheme {
        SignatureScheme::ECDSA_SECP256R1_SHA256 => &signature::ECDSA_P256_SHA256_ASN1,
        SignatureScheme::ECDSA_SECP384R1_SHA384 => &signature::ECDSA_P384_SHA384_ASN1,
        SignatureScheme::RSA_PKCS1_SHA256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        SignatureScheme::RSA_PSS_RSAE_SHA256 => &signature::RSA_PSS_2048_8192_SHA256,
        SignatureScheme::RSA_PSS_RSAE_SHA384 => &signature::RSA_PSS_2048_8192_SHA384,
        SignatureScheme::RSA_PSS_RSAE_SHA512 => &signature::RSA_PSS_2048_8192_SHA512,
        other => panic!("ring cannot verify {other}"),
    }
}

/// The kind of an error that may be; none if this one may not: that the key is not there, or that the
/// PIN is wrong, for example.
fn kind(message: &str) -> Option<String> {
    for (said, kind) in [
        (
            "it keeps failing and is not asked again",
            "left alone for a while",
        ),
        ("no token matches", "no such token"),
        ("the token was reset meanwhile", "reset meanwhile"),
    ] {
        if message.contains(said) {
            return Some(kind.to_owned());
        }
    }
    let at = message.find("CKR_")?;
    let code = &message[at..];
    let end = code
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(code.len());
    let code = &code[..end];
    (!code.contains("PIN")).then(|| code.to_owned())
}

/// For an answer: what the client library gives the signer by default, and time for a slow machine.
const LIMIT: Duration = Duration::from_secs(35);
/// For clients to be served again once nothing goes wrong any more; initialising the module again has
/// pauses of up to a minute.
const HEALED: Duration = Duration::from_secs(120);

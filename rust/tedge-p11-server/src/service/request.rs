//! What a request asks for, whatever its frame: sorted once, when it has been read.

use tedge_p11_config::Operation;
use tedge_p11_protocol::{
    Bytes, ExtensionRequest, KeyParams, KeySpec, Pin, Request, SignatureScheme, V1Scheme,
};

/// A request, by what answering it takes.
#[derive(Debug)]
pub(super) enum Sorted {
    /// No call on the module: when all calls hang, this still works.
    Immediate(Immediate),
    /// A turn in the lane of its token, and calls on the module.
    Call(Call),
}

/// What is open to all who may connect, or nearly so.
#[derive(Debug)]
pub(super) enum Immediate {
    Ping,
    Hello,
    Status,
}

/// A request that calls the module.
#[derive(Debug)]
pub(crate) struct Call {
    /// As it was sent.
    pub(super) uri: Option<String>,
    /// A user PIN; not that which an operation changes.
    pub(super) pin: Option<Pin>,
    pub(super) act: Act,
    /// Whether a failure is to be explained to a program.
    pub(super) explained: bool,
}

#[derive(Debug)]
pub(super) enum Act {
    Sign(Sign),
    Manage(Manage),
}

/// A message to be signed. Its bytes are in no `Debug` output, as in the frame's.
#[derive(Debug)]
pub(super) struct Sign {
    /// The key's default without.
    pub(super) scheme: Option<SignatureScheme>,
    pub(super) message: Bytes,
    /// Whether that is a digest of it instead, which the client made.
    pub(super) is_digest: bool,
}

/// All calls but signatures.
#[derive(Debug)]
pub(super) enum Manage {
    ChooseScheme { offered: Vec<SignatureScheme> },
    PublicKeyPem,
    KeyInfo,
    KeyUse,
    Tokens,
    TokensUris,
    ListTokens,
    ListKeys,
    Objects { contents: bool },
    ReadCertificate,
    CreateKey(NewKey),
    DeleteKey,
    InitToken { label: String, so_pin: Option<Pin> },
    ChangePin(ChangePin),
    ChangeSoPin { old: Pin, new: Pin },
    WriteCertificate { der: Vec<u8> },
}

#[derive(Debug)]
pub(super) struct NewKey {
    pub(super) spec: KeySpec,
    pub(super) label: String,
    pub(super) id: Option<Vec<u8>>,
    /// Whether the answer is one of version 1's.
    pub(super) v1: bool,
}

#[derive(Debug)]
pub(super) struct ChangePin {
    pub(super) new: Pin,
    /// The security officer's, who sets the user's PIN anew.
    pub(super) by: PinChanger,
}

/// Who changes a user PIN.
#[derive(Debug)]
pub(super) enum PinChanger {
    User,
    /// With this PIN, which a request may lack.
    SecurityOfficer(Option<Pin>),
}

/// A size that no key has.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum BadKey {
    #[error("an EC key has 256, 384 or 521 bits, not {0}")]
    Ec(u16),
    #[error("an RSA key has 2048, 3072 or 4096 bits, not {0}")]
    Rsa(u16),
}

/// Sorts a request, or tells what is wrong with it.
pub(super) fn sort(request: Request) -> Result<Sorted, BadKey> {
    Ok(match request {
        Request::Ping => Sorted::Immediate(Immediate::Ping),
        Request::Sign(r) => sign(r.uri, r.pin, None, r.to_sign),
        Request::SignWithScheme(r) => sign(r.uri, r.pin, r.scheme.map(V1Scheme::get), r.to_sign),
        Request::ChooseScheme(r) => {
            let offered = r.offered;
            manage(r.uri, r.pin, Manage::ChooseScheme { offered })
        }
        Request::PublicKeyPem(uri) => manage(uri, None, Manage::PublicKeyPem),
        Request::CreateKey(r) => {
            let new = NewKey {
                spec: key_spec(r.params.key)?,
                label: r.params.label,
                id: r.params.id.map(|id| id.0),
                v1: true,
            };
            manage(Some(r.uri), r.pin, Manage::CreateKey(new))
        }
        Request::TokensUris => manage(None, None, Manage::TokensUris),
        Request::ListTokens => manage(None, None, Manage::ListTokens),
        Request::InitToken(r) => {
            let (label, so_pin) = (r.label, r.so_pin);
            manage(r.uri, r.pin, Manage::InitToken { label, so_pin })
        }
        Request::ChangePin(r) => {
            let by = if r.reset {
                PinChanger::SecurityOfficer(r.so_pin)
            } else {
                PinChanger::User
            };
            let change = ChangePin { new: r.new_pin, by };
            manage(r.uri, r.old_pin, Manage::ChangePin(change))
        }
        Request::DeleteKey(r) => manage(Some(r.uri), r.pin, Manage::DeleteKey),
        Request::ListKeys(r) => manage(r.uri, r.pin, Manage::ListKeys),
        Request::Extension(request) => sort_extension(request),
        Request::Explained(request) => {
            let mut sorted = sort(*request)?;
            if let Sorted::Call(call) = &mut sorted {
                call.explained = true;
            }
            sorted
        }
    })
}

fn sort_extension(request: ExtensionRequest) -> Sorted {
    match request {
        ExtensionRequest::Hello => Sorted::Immediate(Immediate::Hello),
        ExtensionRequest::Status => Sorted::Immediate(Immediate::Status),
        ExtensionRequest::Sign(r) => sign(r.uri, r.pin, Some(r.scheme), r.to_sign),
        ExtensionRequest::SignDigest(r) => {
            let sign = Sign {
                scheme: Some(r.scheme),
                message: r.digest,
                is_digest: true,
            };
            call(r.uri, r.pin, Act::Sign(sign))
        }
        ExtensionRequest::KeyInfo(r) => manage(r.uri, r.pin, Manage::KeyInfo),
        ExtensionRequest::KeyUse(r) => manage(r.uri, r.pin, Manage::KeyUse),
        ExtensionRequest::Objects(r) => {
            let contents = r.contents;
            manage(r.uri, r.pin, Manage::Objects { contents })
        }
        ExtensionRequest::Tokens => manage(None, None, Manage::Tokens),
        ExtensionRequest::CreateKey(r) => {
            let new = NewKey {
                spec: r.key,
                label: r.label,
                id: r.id.map(|id| id.0),
                v1: false,
            };
            manage(r.uri, r.pin, Manage::CreateKey(new))
        }
        ExtensionRequest::ReadCertificate(uri) => manage(uri, None, Manage::ReadCertificate),
        ExtensionRequest::WriteCertificate(r) => {
            let der = r.certificate.0;
            manage(r.uri, r.pin, Manage::WriteCertificate { der })
        }
        ExtensionRequest::ChangeSoPin(r) => {
            let (old, new) = (r.old_pin, r.new_pin);
            manage(r.uri, None, Manage::ChangeSoPin { old, new })
        }
    }
}

fn sign(
    uri: Option<String>,
    pin: Option<Pin>,
    scheme: Option<SignatureScheme>,
    message: Bytes,
) -> Sorted {
    let sign = Sign {
        scheme,
        message,
        is_digest: false,
    };
    call(uri, pin, Act::Sign(sign))
}

fn manage(uri: Option<String>, pin: Option<Pin>, manage: Manage) -> Sorted {
    call(uri, pin, Act::Manage(manage))
}

fn call(uri: Option<String>, pin: Option<Pin>, act: Act) -> Sorted {
    Sorted::Call(Call {
        uri,
        pin,
        act,
        explained: false,
    })
}

impl Call {
    /// What the call does, as the policy sees it.
    pub(crate) fn operation(&self) -> Operation {
        match &self.act {
            Act::Sign(_) => Operation::Sign,
            Act::Manage(manage) => manage.operation(),
        }
    }

    /// Bytes that it takes while it waits, about: what a client chose the length of.
    pub(crate) fn bytes(&self) -> usize {
        let what = match &self.act {
            Act::Sign(sign) => sign.message.0.len(),
            Act::Manage(Manage::WriteCertificate { der }) => der.len(),
            Act::Manage(Manage::CreateKey(new)) => {
                new.label.len() + new.id.as_ref().map_or(0, Vec::len)
            }
            Act::Manage(Manage::InitToken { label, .. }) => label.len(),
            Act::Manage(Manage::ChooseScheme { offered }) => size_of_val(offered.as_slice()),
            Act::Manage(_) => 0,
        };
        size_of::<Self>() + self.uri.as_ref().map_or(0, String::len) + what
    }

    /// Whether it is about all tokens.
    pub(super) fn is_about_all_tokens(&self) -> bool {
        matches!(
            self.act,
            Act::Manage(Manage::TokensUris | Manage::ListTokens | Manage::Tokens)
        )
    }
}

impl Manage {
    fn operation(&self) -> Operation {
        match self {
            Self::ChooseScheme { .. }
            | Self::PublicKeyPem
            | Self::KeyInfo
            | Self::KeyUse
            | Self::ReadCertificate => Operation::Describe,
            Self::Tokens
            | Self::TokensUris
            | Self::ListTokens
            | Self::ListKeys
            | Self::Objects { .. } => Operation::List,
            Self::CreateKey(_) => Operation::CreateKey,
            Self::DeleteKey => Operation::DeleteKey,
            Self::InitToken { .. } => Operation::InitToken,
            Self::ChangePin(_) | Self::ChangeSoPin { .. } => Operation::ChangePin,
            Self::WriteCertificate { .. } => Operation::ImportCertificate,
        }
    }
}

fn key_spec(params: KeyParams) -> Result<KeySpec, BadKey> {
    Ok(match params {
        KeyParams::Ec { curve: 256 } => KeySpec::EcP256,
        KeyParams::Ec { curve: 384 } => KeySpec::EcP384,
        KeyParams::Ec { curve: 521 } => KeySpec::EcP521,
        KeyParams::Rsa { bits: 2048 } => KeySpec::Rsa2048,
        KeyParams::Rsa { bits: 3072 } => KeySpec::Rsa3072,
        KeyParams::Rsa { bits: 4096 } => KeySpec::Rsa4096,
        KeyParams::Ec { curve } => return Err(BadKey::Ec(curve)),
        KeyParams::Rsa { bits } => return Err(BadKey::Rsa(bits)),
    })
}

//! What a request says of itself, whatever its frame.

use tedge_p11_config::Operation;
use tedge_p11_protocol::{ExtensionRequest, Request};

/// What a request does, as the policy sees it; none for what is open to all.
pub(crate) fn operation(request: &Request) -> Option<Operation> {
    Some(match request {
        Request::Ping | Request::Extension(ExtensionRequest::Hello | ExtensionRequest::Status) => {
            return None;
        }
        Request::Sign(_)
        | Request::SignWithScheme(_)
        | Request::Extension(ExtensionRequest::Sign(_)) => Operation::Sign,
        Request::ChooseScheme(_)
        | Request::PublicKeyPem(_)
        | Request::Extension(ExtensionRequest::KeyInfo(_) | ExtensionRequest::ReadCertificate(_)) => {
            Operation::Describe
        }
        Request::TokensUris | Request::ListTokens | Request::ListKeys(_) => Operation::List,
        Request::CreateKey(_) | Request::Extension(ExtensionRequest::CreateKey(_)) => {
            Operation::CreateKey
        }
        Request::DeleteKey(_) => Operation::DeleteKey,
        Request::InitToken(_) => Operation::InitToken,
        Request::ChangePin(_) | Request::Extension(ExtensionRequest::ChangeSoPin(_)) => {
            Operation::ChangePin
        }
        Request::Extension(ExtensionRequest::WriteCertificate(_)) => Operation::ImportCertificate,
    })
}

/// The URI that a request came with.
pub(super) fn uri(request: &Request) -> Option<&str> {
    match request {
        Request::ChooseScheme(r) => r.uri.as_deref(),
        Request::Sign(r) => r.uri.as_deref(),
        Request::SignWithScheme(r) => r.uri.as_deref(),
        Request::PublicKeyPem(uri) | Request::Extension(ExtensionRequest::ReadCertificate(uri)) => {
            uri.as_deref()
        }
        Request::CreateKey(r) => Some(r.uri.as_str()),
        Request::InitToken(r) => r.uri.as_deref(),
        Request::ChangePin(r) => r.uri.as_deref(),
        Request::DeleteKey(r) => Some(r.uri.as_str()),
        Request::ListKeys(r) => r.uri.as_deref(),
        Request::Extension(ExtensionRequest::KeyInfo(r)) => r.uri.as_deref(),
        Request::Extension(ExtensionRequest::Sign(r)) => r.uri.as_deref(),
        Request::Extension(ExtensionRequest::CreateKey(r)) => r.uri.as_deref(),
        Request::Extension(ExtensionRequest::WriteCertificate(r)) => r.uri.as_deref(),
        Request::Extension(ExtensionRequest::ChangeSoPin(r)) => r.uri.as_deref(),
        Request::Ping
        | Request::TokensUris
        | Request::ListTokens
        | Request::Extension(ExtensionRequest::Hello | ExtensionRequest::Status) => None,
    }
}

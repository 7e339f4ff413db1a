//! Why there is no connection, and how one came to its end.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use rumqttc::mqttbytes;
use rumqttc::mqttbytes::v4::ConnectReturnCode;
use tedge_file::FileError;
use tedge_p11_client::TlsFailure;
use tedge_proxy::ProxyError;

use crate::packet::Violation;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The signer or the HSM.
    #[error("{0}")]
    Key(String),
    /// The device's own certificate, or those of the CAs.
    #[error("{0}")]
    Certificate(String),
    #[error("cannot connect to {0}: {1}")]
    Socket(String, io::Error),
    #[error("cannot connect to the proxy {0}: {1}")]
    ToProxy(String, io::Error),
    #[error("cannot connect to {0}: {1}")]
    Proxy(String, ProxyError),
    #[error("no TLS: {0}")]
    Tls(String),
    #[error("the broker refused the connection: {}", refusal(*.0))]
    Refused(ConnectReturnCode),
    #[error("the broker closed the connection in place of an answer to CONNECT")]
    Closed,
    #[error("the broker did not answer CONNECT: {0}")]
    NoAnswer(String),
    #[error("cannot read the password from {}: {error}", path.display())]
    Password { path: PathBuf, error: FileError },
}

/// How a connection came to its end.
pub(crate) struct End {
    pub(crate) why: String,
    /// By the broker.
    pub(crate) closed: bool,
}

impl End {
    pub(crate) fn broken(why: String) -> Self {
        Self { why, closed: false }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self {
            why: explain(&error),
            closed: matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
        }
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::broken(violation.to_string())
    }
}

impl From<mqttbytes::Error> for End {
    fn from(error: mqttbytes::Error) -> Self {
        Self::broken(error.to_string())
    }
}

/// What a broken connection means.
pub(crate) fn explain(error: &io::Error) -> String {
    TlsFailure::of_io(error, &[]).sentence()
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "no reason",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "it does not take the client id",
        ConnectReturnCode::ServiceUnavailable => "it is not available",
        ConnectReturnCode::BadUserNamePassword => "bad user name or password",
        ConnectReturnCode::NotAuthorized => "not authorised",
    }
}

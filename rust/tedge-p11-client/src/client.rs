//! Requests over the socket, one a connection.

use std::io::{self, ErrorKind, Read as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use der::pem;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tedge_p11_protocol::{
    CertificateEntry, ChangePin, ChangeSoPin, CreateKey, Decoder, DeleteKey, ExtensionCreateKey,
    ExtensionRequest, ExtensionResponse, InitToken, KeyEntry, KeyPairParams, KeyParams, KeySpec,
    ListKeys, ListObjects, MAX_REQUEST_LEN, ObjectType, Objects, Pin, PublicKey, Request, Response,
    Status, TokenEntry, TokenUse, Uri, WriteCertificate,
};

use crate::error::Error;
use crate::unix_socket::connect_within;

/// A signer's socket. Every request makes a connection of its own, so a client may be shared by
/// threads and outlives restarts of the signer.
///
/// A [`Uri`] is a [PKCS#11 URI (RFC 7512)](https://www.rfc-editor.org/rfc/rfc7512), as in
/// `"pkcs11:token=device;object=tls".parse()?`. It adds to the one that is configured at the signer, whose
/// attributes win; `Uri::default()`, which is `pkcs11:`, leaves what that one leaves. A PIN in it
/// (`pin-value`, `pin-source`) is the user PIN of a call that takes one and is given none; `pin-source` is
/// read here, with the rights of this process. What names a module is not sent.
///
/// All calls block until the signer has answered, or a limit of [`TimeLimits`] is over. Asynchronous code
/// makes them on a thread that may wait (`tokio::task::spawn_blocking`).
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
    limits: TimeLimits,
    /// Whether the signer explains failures to programs, once it was asked; none if nobody wants to know.
    explains: Option<Arc<OnceLock<bool>>>,
}

/// How long the steps of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// For the signer to accept the connection.
    pub connect: Duration,
    /// For the whole answer, the token's work included.
    pub read: Duration,
    /// For the signer to take the request.
    pub write: Duration,
}

impl Default for TimeLimits {
    /// 30 seconds each: a TPM takes seconds, and may have others to serve before.
    fn default() -> Self {
        let limit = Duration::from_secs(30);
        Self {
            connect: limit,
            read: limit,
            write: limit,
        }
    }
}

impl Client {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            path: socket.into(),
            limits: TimeLimits::default(),
            explains: None,
        }
    }

    /// Where the signer's socket is.
    #[must_use]
    pub fn socket_path(&self) -> &Path {
        &self.path
    }

    /// A signer of this project says why a request fails in a way that a program understands, and such failures
    /// come as [`Error::Explained`]. It is asked once whether it does.
    #[must_use]
    pub fn explained(self) -> Self {
        let explains = Some(Arc::default());
        Self { explains, ..self }
    }

    /// With other limits on time.
    #[must_use]
    pub fn with_limits(self, limits: TimeLimits) -> Self {
        Self { limits, ..self }
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks whether there is a signer that has loaded its module.
    pub fn ping(&self) -> Result<(), Error> {
        match self.request(&Request::Ping)? {
            Response::Pong => Ok(()),
            _ => Err(Error::Unexpected),
        }
    }

    /// How the signer is. Answered without a call on its module, so also while a token hangs.
    pub fn status(&self) -> Result<Status, Error> {
        if !self.knows_extension()? {
            return Err(Error::NotInVersion1("show its health"));
        }
        match self.request(&Request::Extension(ExtensionRequest::Status))? {
            Response::Extension(ExtensionResponse::Status(status)) => Ok(*status),
            _ => Err(Error::Unexpected),
        }
    }

    /// The tokens that this client can use, and what they take. None if the signer has no such list.
    pub fn usable_tokens(&self) -> Result<Option<Vec<TokenUse>>, Error> {
        if !self.does_explain()? {
            return Ok(None);
        }
        match self.request(&Request::Extension(ExtensionRequest::Tokens))? {
            Response::Extension(ExtensionResponse::Tokens(tokens)) => Ok(Some(tokens)),
            _ => Err(Error::Unexpected),
        }
    }

    /// All tokens, initialised or not.
    pub fn tokens(&self) -> Result<Vec<TokenEntry>, Error> {
        match self.request(&Request::ListTokens)? {
            Response::Tokens(tokens) => Ok(tokens),
            _ => Err(Error::Unexpected),
        }
    }

    /// The keys that `uri` leaves.
    pub fn keys(&self, uri: &Uri, pin: Option<&Pin>) -> Result<Vec<KeyEntry>, Error> {
        let request = Request::ListKeys(ListKeys {
            uri: text(uri),
            pin: user_pin(uri, pin)?,
        });
        match self.request(&request)? {
            Response::Keys(keys) => Ok(keys),
            _ => Err(Error::Unexpected),
        }
    }

    /// The objects that `uri` leaves on the token that it names, as the token describes them: certificates if it says
    /// `type=cert`, otherwise keys. With `contents`, public keys and certificates come along where the signer tells
    /// them. None if the signer has no such list, or refuses the request before it looks at it.
    pub fn objects(
        &self,
        uri: &Uri,
        pin: Option<&Pin>,
        contents: bool,
    ) -> Result<Option<Objects>, Error> {
        if !self.does_explain()? {
            return Ok(None);
        }
        let request = ExtensionRequest::Objects(ListObjects {
            uri: text(uri),
            pin: user_pin(uri, pin)?,
            contents,
        });
        match self.request(&Request::Extension(request)) {
            Ok(Response::Extension(ExtensionResponse::Objects(objects))) => Ok(Some(objects)),
            // An older one takes it for no request.
            Err(Error::Refused(_)) => Ok(None),
            Ok(_) => Err(Error::Unexpected),
            Err(error) => Err(error),
        }
    }

    /// Initialises a token and returns its URI. The user PIN is `pin`, or the configured one of the signer.
    pub fn init_token(
        &self,
        uri: &Uri,
        label: &str,
        so_pin: Option<&Pin>,
        pin: Option<&Pin>,
    ) -> Result<Uri, Error> {
        let request = Request::InitToken(InitToken {
            label: label.to_owned(),
            so_pin: so_pin.cloned(),
            pin: pin.cloned(),
            uri: text(uri),
        });
        match self.slow_request(&request)? {
            Response::InitToken(uri) => answered(uri),
            _ => Err(Error::Unexpected),
        }
    }

    /// Makes a key pair on the token that `uri` names and returns the key's URI.
    pub fn create_key(
        &self,
        uri: &Uri,
        pin: Option<&Pin>,
        spec: KeySpec,
        label: &str,
        id: Option<&[u8]>,
    ) -> Result<Uri, Error> {
        let pin = user_pin(uri, pin)?;
        let id = id.map(|id| id.to_vec().into());
        let label = label.to_owned();
        let request = match v1_params(spec) {
            Some(key) => Request::CreateKey(CreateKey {
                uri: uri.to_string(),
                params: KeyPairParams { key, label, id },
                pin,
            }),
            None if !self.knows_extension()? => {
                return Err(Error::NeedsExtension);
            }
            None => Request::Extension(ExtensionRequest::CreateKey(ExtensionCreateKey {
                uri: text(uri),
                key: spec,
                label,
                id,
                pin,
            })),
        };
        match self.slow_request(&request)? {
            Response::CreatedKey(key) => answered(key.uri),
            Response::Extension(ExtensionResponse::KeyInfo(key)) => answered(key.uri),
            _ => Err(Error::Unexpected),
        }
    }

    /// Deletes a key and returns the URIs of what is gone.
    pub fn delete_key(&self, uri: &Uri, pin: Option<&Pin>) -> Result<Vec<Uri>, Error> {
        let request = Request::DeleteKey(DeleteKey {
            uri: uri.to_string(),
            pin: user_pin(uri, pin)?,
        });
        match self.request(&request)? {
            Response::DeletedKeys(uris) => uris.into_iter().map(answered).collect(),
            _ => Err(Error::Unexpected),
        }
    }

    /// Changes the user PIN of a token. The old one is `old`, or the configured one of the signer.
    pub fn change_pin(&self, uri: &Uri, old: Option<&Pin>, new: &Pin) -> Result<(), Error> {
        self.set_pin(ChangePin {
            uri: text(uri),
            new_pin: new.clone(),
            old_pin: user_pin(uri, old)?,
            so_pin: None,
            reset: false,
        })
    }

    /// Has the security officer set the user PIN of a token anew.
    pub fn reset_pin(&self, uri: &Uri, so_pin: &Pin, new: &Pin) -> Result<(), Error> {
        self.set_pin(ChangePin {
            uri: text(uri),
            new_pin: new.clone(),
            old_pin: None,
            so_pin: Some(so_pin.clone()),
            reset: true,
        })
    }

    /// Changes the PIN of the security officer of a token.
    pub fn change_so_pin(&self, uri: &Uri, old: &Pin, new: &Pin) -> Result<(), Error> {
        self.need_extension("change the security officer's PIN")?;
        let request = Request::Extension(ExtensionRequest::ChangeSoPin(ChangeSoPin {
            uri: text(uri),
            old_pin: old.clone(),
            new_pin: new.clone(),
        }));
        match self.request(&request)? {
            Response::Extension(ExtensionResponse::Done(_)) => Ok(()),
            _ => Err(Error::Unexpected),
        }
    }

    /// The public key that `uri` leaves: of a public key object if there is one, otherwise that of the
    /// private key.
    pub fn public_key(&self, uri: &Uri) -> Result<PublicKey, Error> {
        let request = Request::PublicKeyPem(text(uri));
        let Response::PublicKeyPem(pem) = self.request(&request)? else {
            return Err(Error::Unexpected);
        };
        let (_, raw) = pem::decode_vec(pem.as_bytes()).map_err(|_| Error::UnknownKey)?;
        PublicKey::from_raw(&raw)
            .or_else(|| PublicKey::from_ml_dsa(&raw))
            // A later version may send what its label promises.
            .or_else(|| PublicKey::from_spki(&raw))
            .ok_or(Error::UnknownKey)
    }

    /// The certificates that `uri` leaves on its token, without their content.
    pub fn certificates(&self, uri: &Uri) -> Result<Vec<KeyEntry>, Error> {
        self.need_extension("list certificates")?;
        let certificates = Uri {
            object_type: Some(ObjectType::Certificate),
            ..uri.clone()
        };
        self.keys(&certificates, None)
    }

    /// The certificate that `uri` leaves, which may be the URI of its key.
    pub fn certificate(&self, uri: &Uri) -> Result<CertificateEntry, Error> {
        self.need_extension("read certificates")?;
        let request = ExtensionRequest::ReadCertificate(text(uri));
        match self.request(&Request::Extension(request))? {
            Response::Extension(ExtensionResponse::Certificate(certificate)) => Ok(certificate),
            _ => Err(Error::Unexpected),
        }
    }

    /// Puts a DER certificate beside its key and returns the certificate's URI. One that was there is
    /// replaced.
    pub fn import_certificate(
        &self,
        uri: &Uri,
        pin: Option<&Pin>,
        der: &[u8],
    ) -> Result<Uri, Error> {
        self.need_extension("write certificates")?;
        let request = Request::Extension(ExtensionRequest::WriteCertificate(WriteCertificate {
            uri: text(uri),
            certificate: der.to_vec().into(),
            pin: user_pin(uri, pin)?,
        }));
        match self.request(&request)? {
            Response::Extension(ExtensionResponse::Done(uri)) => answered(uri),
            _ => Err(Error::Unexpected),
        }
    }

    fn set_pin(&self, change: ChangePin) -> Result<(), Error> {
        match self.request(&Request::ChangePin(change))? {
            Response::ChangePin(_) => Ok(()),
            _ => Err(Error::Unexpected),
        }
    }

    fn need_extension(&self, to: &'static str) -> Result<(), Error> {
        if self.knows_extension()? {
            return Ok(());
        }
        Err(Error::NotInVersion1(to))
    }

    /// Like [`request`](Self::request), with time for a token to make a key.
    fn slow_request(&self, request: &Request) -> Result<Response, Error> {
        let limits = TimeLimits {
            read: self.limits.read.max(SLOW_READ),
            ..self.limits
        };
        self.clone().with_limits(limits).request(request)
    }

    /// Whether the signer knows this project's own frames. thin-edge.io's answers the question with
    /// an Error frame, and is sent no more of them.
    pub fn knows_extension(&self) -> Result<bool, Error> {
        match self.request(&Request::Extension(ExtensionRequest::Hello)) {
            Ok(Response::Extension(ExtensionResponse::Hello)) => Ok(true),
            Ok(_) => Err(Error::Unexpected),
            Err(Error::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends one request and reads its answer. An Error frame comes as [`Error::Refused`].
    ///
    /// If the signer is lost before it answers, because its module crashed perhaps, a request that
    /// changes nothing is sent again, until the limit for reading is over: systemd starts the signer
    /// anew. That there is no signer in the first place is told at once.
    pub(crate) fn request(&self, request: &Request) -> Result<Response, Error> {
        if self.does_explain()? {
            return match self.send(&Request::Explained(Box::new(request.clone())))? {
                Response::Extension(ExtensionResponse::Failure(failure)) => Err(Error::Explained {
                    reason: failure.reason,
                    message: failure.message,
                }),
                response => Ok(response),
            };
        }
        self.send(request)
    }

    /// Whether requests are sent so that failures come as [`Error::Explained`].
    pub(crate) fn does_explain(&self) -> Result<bool, Error> {
        let Some(explains) = &self.explains else {
            return Ok(false);
        };
        if let Some(known) = explains.get() {
            return Ok(*known);
        }
        let hello = Request::Extension(ExtensionRequest::Hello);
        let does = match self.send(&Request::Explained(Box::new(hello))) {
            Ok(Response::Extension(ExtensionResponse::Hello)) => true,
            // It takes the question for no request.
            Ok(_) | Err(Error::Refused(_)) => false,
            Err(error) => return Err(error),
        };
        Ok(*explains.get_or_init(|| does))
    }

    fn send(&self, request: &Request) -> Result<Response, Error> {
        let deadline = Instant::now() + self.limits.read;
        let mut result = self.request_once(request);
        if !matches!(result, Err(Error::Lost { .. })) || changes_something(request) {
            return result;
        }
        while let Err(Error::Lost { .. } | Error::Connect { .. }) = result {
            if Instant::now() + RETRY_PAUSE > deadline {
                break;
            }
            std::thread::sleep(RETRY_PAUSE);
            result = self.request_once(request);
        }
        result
    }

    fn request_once(&self, request: &Request) -> Result<Response, Error> {
        let frame = request.encode();
        if frame.len() > MAX_REQUEST_LEN {
            return Err(Error::TooLong {
                len: frame.len(),
                max: MAX_REQUEST_LEN,
            });
        }
        let mut stream = self.connect().map_err(|error| Error::Connect {
            path: self.path.clone(),
            error,
        })?;
        stream
            .set_write_timeout(Some(self.limits.write))
            .and_then(|()| send_all(&stream, &frame))
            .and_then(|()| stream.shutdown(Shutdown::Write))
            .map_err(|error| self.broken(error, self.limits.write))?;
        match self.read(&mut stream)? {
            Response::Error(message) => Err(Error::Refused(message)),
            response => Ok(response),
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        connect_within(&self.path, self.limits.connect)
    }

    fn read(&self, stream: &mut UnixStream) -> Result<Response, Error> {
        let deadline = Instant::now() + self.limits.read;
        let mut decoder = Decoder::for_response();
        let mut chunk = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.broken(ErrorKind::TimedOut.into(), self.limits.read));
            }
            let read = stream
                .set_read_timeout(Some(left))
                .and_then(|()| stream.read(&mut chunk));
            let len = match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.map_err(|error| self.broken(error, self.limits.read))?,
            };
            if len == 0 {
                return Err(if decoder.is_empty() {
                    self.broken(ErrorKind::UnexpectedEof.into(), self.limits.read)
                } else {
                    Error::Malformed(decoder.ended())
                });
            }
            if let Some(response) = decoder.push(&chunk[..len]).map_err(Error::Malformed)? {
                return Ok(response);
            }
        }
    }

    fn broken(&self, error: io::Error, limit: Duration) -> Error {
        let path = self.path.clone();
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout { path, limit },
            ErrorKind::UnexpectedEof => Error::Lost {
                path,
                error: io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "it closed the connection without an answer",
                ),
            },
            _ => Error::Lost { path, error },
        }
    }
}

/// Without SIGPIPE, which ends a program that is not written in Rust, when the signer has gone.
fn send_all(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match send(stream, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `uri` for a frame, without PIN and module; none if nothing is left of it.
pub(crate) fn text(uri: &Uri) -> Option<String> {
    let text = uri.to_string();
    (text != "pkcs11:").then_some(text)
}

/// The user PIN for a frame: `pin`, or else the URI's.
pub(crate) fn user_pin(uri: &Uri, pin: Option<&Pin>) -> Result<Option<Pin>, Error> {
    match (pin, &uri.pin) {
        (Some(pin), _) => Ok(Some(pin.clone())),
        (None, Some(source)) => source.read().map(Some).map_err(Error::Pin),
        (None, None) => Ok(None),
    }
}

/// A URI of the signer's.
pub(crate) fn answered(uri: String) -> Result<Uri, Error> {
    uri.parse().map_err(|error| Error::AnswerUri { uri, error })
}

/// What version 1 can ask for.
fn v1_params(spec: KeySpec) -> Option<KeyParams> {
    Some(match spec {
        KeySpec::EcP256 => KeyParams::Ec { curve: 256 },
        KeySpec::EcP384 => KeyParams::Ec { curve: 384 },
        KeySpec::EcP521 => KeyParams::Ec { curve: 521 },
        KeySpec::Rsa2048 => KeyParams::Rsa { bits: 2048 },
        KeySpec::Rsa3072 => KeyParams::Rsa { bits: 3072 },
        KeySpec::Rsa4096 => KeyParams::Rsa { bits: 4096 },
        KeySpec::Ed25519 | KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => return None,
    })
}

/// Whether doing it twice may differ from doing it once.
fn changes_something(request: &Request) -> bool {
    if let Request::Explained(request) = request {
        return changes_something(request);
    }
    matches!(
        request,
        Request::CreateKey(_)
            | Request::InitToken(_)
            | Request::ChangePin(_)
            | Request::DeleteKey(_)
            | Request::Extension(
                ExtensionRequest::CreateKey(_)
                    | ExtensionRequest::WriteCertificate(_)
                    | ExtensionRequest::ChangeSoPin(_)
            )
    )
}

/// Between attempts to reach a signer that was lost.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// RSA-4096 takes a slow token a minute; the signer itself gives up after two.
const SLOW_READ: Duration = Duration::from_secs(150);

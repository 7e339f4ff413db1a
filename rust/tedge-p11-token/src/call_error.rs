//! A PKCS#11 call that failed.

use std::fmt;
use std::sync::Arc;

use cryptoki::error::Error as CryptokiError;
use tedge_p11_protocol::{Uri, hex};

use crate::code::Code;

/// A PKCS#11 call that failed in a way that has no better name.
#[derive(Clone, Debug)]
pub struct CallError {
    on: On,
    stale: bool,
    cause: Cause,
}

/// What the call was about.
#[derive(Clone, Debug)]
enum On {
    Module,
    /// A token, a slot or an object. Boxed: results of all calls have room for it.
    This(Box<Uri>),
}

#[derive(Clone, Debug)]
enum Cause {
    Returned {
        /// Its name, with `C_`.
        function: String,
        code: Code,
    },
    /// There is no code: cryptoki could not make the call, or nothing of its answer.
    Other(Arc<CryptokiError>),
}

impl CallError {
    /// `error` came up on the token or object of the URI `on`; on the module as a whole if that is empty.
    pub(crate) fn new(error: CryptokiError, on: &Uri) -> Self {
        let cause = match error {
            CryptokiError::Pkcs11(rv, function) => Cause::Returned {
                function: format!("C_{function:?}"),
                code: Code::from(rv),
            },
            other => Cause::Other(Arc::new(other)),
        };
        let on = if *on == Uri::default() {
            On::Module
        } else {
            On::This(Box::new(on.clone()))
        };
        let mut error = Self {
            on,
            stale: false,
            cause,
        };
        error.stale = error.code().is_some_and(Code::is_stale);
        error
    }

    /// What the function returned, if it returned an error.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match &self.cause {
            Cause::Returned { code, .. } => Some(*code),
            Cause::Other(_) => None,
        }
    }

    /// The token, slot or object that the call was about.
    #[must_use]
    pub fn uri(&self) -> Option<&Uri> {
        match &self.on {
            On::Module => None,
            On::This(uri) => Some(uri),
        }
    }

    /// Its text without the name of the token or object.
    #[must_use]
    pub fn nameless(&self) -> String {
        self.text("")
    }

    /// The same, of which no more is to be concluded.
    pub(crate) fn final_word(self) -> Self {
        Self {
            stale: false,
            ..self
        }
    }

    /// Whether what is kept of the token may be what is wrong.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale
    }

    fn text(&self, on: &str) -> String {
        match &self.cause {
            Cause::Returned { function, code } => {
                format!("{function}{on} failed with {code}{}", code.hint())
            }
            Cause::Other(error) => format!("a PKCS#11 call{on} failed: {error}"),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = match &self.on {
            On::Module => " on the module".to_owned(),
            On::This(uri) => format!(" on {}", short(uri)),
        };
        f.write_str(&self.text(&on))
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Returned { .. } => None,
            // Its own text is in ours.
            Cause::Other(error) => error.source(),
        }
    }
}

/// What a person calls the object, token or slot of that URI: the journal has the whole of it in a field of its own.
fn short(uri: &Uri) -> String {
    let class = uri
        .object_type
        .map_or("object", |class| match class.name() {
            "private" | "public" => "key",
            "cert" => "certificate",
            _ => "object",
        });
    let token = uri.token.as_ref().map(|label| format!("token {label:?}"));
    let object = match (&uri.object, &uri.id) {
        (Some(label), _) => Some(format!("{class} {label:?}")),
        (None, Some(id)) => Some(format!("{class} with id {}", hex(id))),
        (None, None) => None,
    };
    match (object, token) {
        (Some(object), Some(token)) => format!("{object} of {token}"),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => match (&uri.serial, uri.slot_id) {
            (Some(serial), _) => format!("the token with serial number {serial:?}"),
            (None, Some(slot)) => format!("the token in slot {slot}"),
            (None, None) => uri.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;
    use cryptoki::error::RvError;

    use super::*;

    #[test]
    fn what_failed_is_named_in_short() {
        for (uri, on) in [
            ("pkcs11:", " on the module"),
            (
                "pkcs11:model=m;serial=1;token=our%20token;id=%01;object=tls;type=private",
                " on key \"tls\" of token \"our token\"",
            ),
            (
                "pkcs11:token=t;id=%01%FF;type=private",
                " on key with id 01ff of token \"t\"",
            ),
            ("pkcs11:model=m;serial=1;token=t", " on token \"t\""),
            ("pkcs11:serial=1", " on the token with serial number \"1\""),
            ("pkcs11:slot-id=7", " on the token in slot 7"),
        ] {
            let error = CryptokiError::Pkcs11(RvError::DeviceError, Function::Sign);
            let error = CallError::new(error, &uri.parse().unwrap());
            let rest =
                " failed with CKR_DEVICE_ERROR; is the device there, and may this user open it?";
            assert_eq!(error.to_string(), format!("C_Sign{on}{rest}"));
            assert_eq!(error.nameless(), format!("C_Sign{rest}"));
        }
    }
}

//! Initialising tokens, changing PINs, deleting keys.

use cryptoki::slot::Slot;
use tedge_p11_protocol::{ObjectType, Pin, Uri};

use crate::error::{Error, Result};
use crate::find::{CLASSES, check_type, describe, find};
use crate::module::Module;
use crate::token::{TokenInfo, auth_pin, init_pin};

/// A token to initialise.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Label, 1 to 32 bytes.
    pub label: String,
    /// PIN of its security officer.
    pub so_pin: Pin,
    /// PIN of its user.
    pub pin: Pin,
}

/// How to change a user PIN.
#[derive(Clone, Debug)]
pub enum PinChange {
    /// By the user, who knows the old one.
    User {
        /// The PIN until now.
        old: Pin,
    },
    /// By the security officer.
    SecurityOfficer {
        /// The security officer's PIN.
        so_pin: Pin,
    },
}

impl Module {
    /// Initialises the uninitialised token that `uri` names, the first one if it leaves several:
    /// blank tokens are alike. A token that is initialised is never touched, since C_InitToken
    /// would erase its keys.
    pub fn init_token(&self, uri: &Uri, new: &NewToken) -> Result<Uri> {
        if new.label.is_empty() || new.label.len() > MAX_LABEL_LEN {
            return Err(Error::BadLabel(new.label.clone()));
        }
        let tokens = self.tokens()?;
        if let Some(taken) = tokens
            .iter()
            .find(|t| t.initialized && t.label == new.label)
        {
            return Err(Error::LabelTaken {
                label: new.label.clone(),
                uri: taken.uri.clone(),
            });
        }
        // A blank token has no label to be named by.
        let blank_uri = Uri {
            token: None,
            ..uri.token_part()
        };
        let blank = tokens
            .iter()
            .find(|t| !t.initialized && t.matches(&blank_uri) && self.slot_matches(t, &blank_uri))
            .and_then(|token| Slot::try_from(token.slot).ok());
        let Some(slot) = blank else {
            return Err(Error::NoBlankToken {
                uri: blank_uri,
                tokens: tokens
                    .into_iter()
                    .filter(|t| t.initialized)
                    .map(|t| t.uri)
                    .collect(),
            });
        };
        self.forget_slot(slot);
        let slot_uri = Uri {
            slot_id: Some(slot.id()),
            ..Uri::default()
        };
        let failed = |error| Error::pkcs11(&error, &slot_uri);
        self.pkcs11()
            .init_token(slot, &auth_pin(&new.so_pin), &new.label)
            .map_err(failed)?;
        init_pin(self.pkcs11(), slot, &slot_uri, &new.so_pin, &new.pin)?;
        Ok(TokenInfo::read(self.pkcs11(), slot).map_err(failed)?.uri)
    }

    /// Changes the user PIN of the token that `uri` names, and returns the token's URI.
    pub fn change_pin(&self, uri: &Uri, change: &PinChange, new: &Pin) -> Result<Uri> {
        let token = self.token(uri)?;
        match change {
            PinChange::User { old } => token.set_pin(old, new)?,
            PinChange::SecurityOfficer { so_pin } => {
                self.forget_keys();
                token.reset_pin(so_pin, new)?;
            }
        }
        Ok(token.uri().clone())
    }

    /// Deletes the one key that `uri` names, its private and its public object, or only the one of
    /// the URI's type. Returns the URIs of what is gone.
    pub fn delete_key(&self, uri: &Uri, pin: Option<&Pin>) -> Result<Vec<Uri>> {
        check_type(
            uri,
            &[ObjectType::Private, ObjectType::Public],
            "type=private or type=public",
        )?;
        let token = self.token(uri)?;
        let objects = token.search(pin, |session| {
            let mut objects = Vec::new();
            for (object_type, class) in CLASSES {
                if uri.object_type.is_none_or(|wanted| wanted == object_type) {
                    for handle in find(&token, session, class, uri)? {
                        objects.push(describe(&token, session, handle, object_type)?);
                    }
                }
            }
            Ok(objects)
        })?;
        // All must be objects of one key. Without a name, the URI of a token would empty it.
        let one_key = objects.windows(2).all(|pair| {
            let [a, b] = pair else { return true };
            a.listed.object_type != b.listed.object_type
                && (&a.listed.id, &a.listed.label) == (&b.listed.id, &b.listed.label)
        });
        if objects.is_empty() {
            return Err(Error::NoKey {
                what: "key",
                uri: uri.clone(),
                token: token.uri().clone(),
                keys: Vec::new(),
            });
        }
        if !one_key || !uri.names_object() {
            return Err(Error::SeveralKeys {
                uri: uri.clone(),
                keys: objects.into_iter().map(|o| o.listed.uri).collect(),
            });
        }
        let result = token.with_rw_session(pin, |session| {
            for object in &objects {
                session
                    .destroy_object(object.handle)
                    .map_err(|error| Error::pkcs11(&error, &object.listed.uri))?;
            }
            Ok(())
        });
        self.forget_keys();
        result.map(|()| objects.into_iter().map(|o| o.listed.uri).collect())
    }
}

/// Of `CK_TOKEN_INFO.label`.
const MAX_LABEL_LEN: usize = 32;

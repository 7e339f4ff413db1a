//! Initialising tokens, changing PINs, deleting keys.

use cryptoki::session::Session;
use cryptoki::slot::Slot;
use tedge_p11_protocol::{ObjectType, Pin, Uri};

use crate::access::{Access, Check};
use crate::call_error::CallError;
use crate::error::{Error, Result};
use crate::module::Module;
use crate::object::{CLASSES, check_type, describe, find, is_what_was_asked_for};
use crate::pins::security_officer::as_security_officer;
use crate::pins::{GivenPin, Giver, auth_pin};
use crate::token::Token;
use crate::token_info::{TokenInfo, unpadded};
use crate::unclear::Unclear;

/// A token to initialise.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Label, 1 to 32 bytes.
    pub label: String,
    /// PIN of its security officer.
    pub so_pin: Pin,
    /// PIN of its user.
    pub pin: Pin,
    /// By whom that was given.
    pub pin_by: Giver,
}

/// How to change a user PIN.
#[derive(Clone, Copy, Debug)]
pub enum PinChange<'a> {
    /// By the user, who knows the old one.
    User {
        /// The PIN until now.
        old: GivenPin<'a>,
    },
    /// By the security officer.
    SecurityOfficer {
        /// The security officer's PIN.
        so_pin: GivenPin<'a>,
    },
}

impl Module {
    /// Initialises the uninitialised token that `uri` names, the first one if it leaves several:
    /// blank tokens are alike. A token that is initialised is never touched, since C_InitToken
    /// would erase its keys. `check` is told the new token's label.
    pub fn init_token(&self, uri: &Uri, new: &NewToken, check: Check<'_>) -> Result<Uri> {
        // Blanks at the end would be taken for padding: "a" and "a " would be one name.
        let label = &new.label;
        if label.is_empty() || label.len() > MAX_LABEL_LEN || unpadded(label) != label {
            return Err(Error::BadLabel(label.clone()));
        }
        check(&Uri {
            token: Some(label.clone()),
            ..Uri::default()
        })
        .map_err(Error::Refused)?;
        self.attempt(|| self.try_init_token(uri, new))
    }

    fn try_init_token(&self, uri: &Uri, new: &NewToken) -> Result<Uri> {
        let tokens = self.present()?;
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
            .and_then(|token| Some((token, Slot::try_from(token.slot).ok()?)));
        let Some((blank, slot)) = blank else {
            let initialized = tokens.iter().filter(|token| token.initialized);
            return Err(Error::NoBlankToken {
                uri: blank_uri,
                tokens: initialized.map(|token| token.uri.clone()).collect(),
            });
        };
        self.check_new_pin(new, blank, &tokens)?;
        let slot_uri = Uri {
            slot_id: Some(slot.id()),
            ..Uri::default()
        };
        let failed = |error| Error::from(CallError::new(error, &slot_uri));
        self.pkcs11()
            .init_token(slot, &auth_pin(&new.so_pin), &new.label)
            .map_err(failed)?;
        as_security_officer(self.pkcs11(), slot, &slot_uri, &new.so_pin, |session| {
            session.init_pin(&auth_pin(&new.pin))
        })?;
        Ok(TokenInfo::read(self.pkcs11(), slot).map_err(failed)?.uri)
    }

    /// A token with another user PIN than the one that is configured for it would be of no use to its signer.
    /// Whoever finds out in this way whether a PIN is the configured one has guessed.
    fn check_new_pin(&self, new: &NewToken, blank: &TokenInfo, all: &[TokenInfo]) -> Result<()> {
        let made = TokenInfo {
            label: new.label.clone(),
            ..blank.clone()
        };
        let is_only = all.iter().all(|token| !token.initialized);
        let Some(configured) = self.configured_pin().of(&made, is_only) else {
            return Ok(());
        };
        let given = GivenPin {
            pin: &new.pin,
            by: new.pin_by,
        };
        let pins = self.pins_of(blank);
        match pins.user.compare(given, &configured) {
            Err(Error::PinDiffers(_)) => Err(Error::NewPinDiffers(new.label.clone())),
            other => other,
        }
    }

    /// Changes the user PIN of the token that `uri` names, and returns the token's URI.
    pub fn change_pin(
        &self,
        uri: &Uri,
        change: PinChange<'_>,
        new: &Pin,
        check: Check<'_>,
    ) -> Result<Uri> {
        self.change_on(uri, check, |token| match change {
            PinChange::User { old } => token.set_pin(old, new),
            PinChange::SecurityOfficer { so_pin } => token.reset_pin(so_pin, new),
        })
    }

    /// Changes the PIN of the security officer of the token that `uri` names, and returns the token's
    /// URI.
    pub fn change_so_pin(
        &self,
        uri: &Uri,
        old: GivenPin<'_>,
        new: &Pin,
        check: Check<'_>,
    ) -> Result<Uri> {
        self.change_on(uri, check, |token| token.set_so_pin(old, new))
    }

    /// Changes something about the token that `uri` names, where `check` has nothing against it.
    fn change_on(
        &self,
        uri: &Uri,
        check: Check<'_>,
        change: impl Fn(&Token) -> Result<()>,
    ) -> Result<Uri> {
        self.attempt(|| {
            let token = self.token(uri)?;
            check(&token.uri()).map_err(Error::Refused)?;
            change(&token)?;
            Ok(token.uri())
        })
    }

    /// Deletes the one key that `uri` names, its private and its public object; with `type=public`
    /// the public one only. Returns the URIs of what is gone.
    pub fn delete_key(&self, uri: &Uri, access: Access<'_>, check: Check<'_>) -> Result<Vec<Uri>> {
        check_type(
            uri,
            &[ObjectType::Private, ObjectType::Public],
            "type=private or type=public",
        )?;
        let deleted = self.attempt(|| {
            let token = self.token(uri)?;
            access.check(&token.uri())?;
            token.with_exclusive_session(access.pin, |session| delete(&token, session, uri, check))
        });
        self.forget_keys();
        if deleted.is_ok() && self.quirks().mixes_up_handles() {
            self.renew();
        }
        deleted
    }
}

fn delete(token: &Token, session: &Session, uri: &Uri, check: Check<'_>) -> Result<Vec<Uri>> {
    let mut objects = Vec::new();
    for (object_type, class) in CLASSES {
        // A public key whose private one is gone would only be in the way.
        if uri.object_type != Some(ObjectType::Public) || object_type == ObjectType::Public {
            for handle in find(token, session, class, uri)? {
                let object = describe(token, session, handle, object_type)?;
                is_what_was_asked_for(token, &object, uri)?;
                objects.push(object);
            }
        }
    }
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
            token: token.uri(),
            keys: Vec::new(),
        });
    }
    if !one_key || !uri.names_object() {
        return Err(Error::SeveralKeys {
            uri: uri.clone(),
            keys: objects.into_iter().map(|o| o.listed.uri).collect(),
            // What is deleted must be named.
            unclear: Unclear::NotConfigured,
        });
    }
    for object in &objects {
        let key = Uri {
            object_type: Some(ObjectType::Private),
            ..object.listed.uri.clone()
        };
        check(&key).map_err(Error::Refused)?;
    }
    let mut deleted = Vec::new();
    for object in objects {
        match session.destroy_object(object.handle) {
            Ok(()) => deleted.push(object.listed.uri),
            Err(error) if deleted.is_empty() => {
                return Err(CallError::new(error, &object.listed.uri).into());
            }
            // The key is gone; what is left of it is told by its absence from the answer.
            Err(error) => log::warn!("cannot delete {}: {error}", object.listed.uri),
        }
    }
    Ok(deleted)
}

/// Of `CK_TOKEN_INFO.label`.
const MAX_LABEL_LEN: usize = 32;

//! What this module asks of the signer, and the code for what goes wrong.

use std::collections::HashSet;

use cryptoki_sys::*;
use tedge_p11_client::{
    Client, Error, KeyEntry, KeySpec, ObjectType, Pin, Reason, SocketKey, TokenEntry, Uri,
};
use tedge_p11_protocol::{ObjectEntry, ObjectFlag};

use crate::attribute::{CertificateDetails, Class, Details, Found, KeyDetails, Listed, Said};
use crate::debug;
use crate::refusal;
use crate::rv::{Result, Rv};

/// The signer at one socket.
pub(crate) struct Signer {
    client: Client,
}

/// A token of the signer's.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) entry: TokenEntry,
    pub(crate) uri: Uri,
    /// Whether the signer has no PIN for it, so that requests must bring one.
    pub(crate) needs_pin: bool,
    pub(crate) has_user_pin: bool,
    /// Whether this user may have digests signed with some key on it.
    pub(crate) digests: bool,
}

/// Which objects of a token are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// All keys and certificates if there is none.
    pub(crate) class: Option<Class>,
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) label: Option<String>,
    /// Whether the search is by what a list tells only if it is asked to: all at once, in place of one by one.
    pub(crate) contents: bool,
}

impl Wanted {
    /// The keys with the name that is in a URI.
    pub(crate) fn named(uri: Uri) -> Self {
        Self {
            class: None,
            id: uri.id,
            label: uri.object,
            contents: false,
        }
    }
}

impl Signer {
    pub(crate) fn new(client: Client) -> Self {
        let client = client.explained();
        Self { client }
    }

    /// The tokens, or why there is none in a few words.
    pub(crate) fn tokens(&self) -> std::result::Result<Vec<Token>, String> {
        self.ask_for_tokens().map_err(|error| {
            debug::log(format_args!("tokens: {error}"));
            match error {
                Error::Connect { error, .. } => format!("no signer at the socket: {error}"),
                error => error.to_string(),
            }
        })
    }

    fn ask_for_tokens(&self) -> std::result::Result<Vec<Token>, Error> {
        let token = |entry: TokenEntry, needs_pin, has_user_pin, digests| Token {
            uri: entry.uri.parse().unwrap_or_default(),
            needs_pin,
            has_user_pin,
            digests,
            entry,
        };
        if let Some(tokens) = self.client.usable_tokens()? {
            return Ok(tokens
                .into_iter()
                .map(|of| token(of.token, of.needs_pin, of.has_user_pin, of.digests))
                .collect());
        }
        // thin-edge.io's signer says no more, and has its PIN.
        let tokens = self.client.tokens()?.into_iter();
        Ok(tokens
            .map(|entry| {
                let initialized = entry.initialized;
                token(entry, false, initialized, false)
            })
            .collect())
    }

    /// The objects of a token that are wanted, and perhaps others. A private key that has no public key
    /// object beside it brings one of its own.
    pub(crate) fn objects(
        &self,
        token: &Token,
        wanted: &Wanted,
        pin: Option<&Pin>,
    ) -> Result<Vec<Found>> {
        let uri = Uri {
            id: wanted.id.clone(),
            object: wanted.label.clone(),
            ..token.uri.token_part()
        };
        let mut found = Vec::new();
        if wanted.class != Some(Class::Certificate) {
            let uri = Uri {
                object_type: (wanted.class == Some(Class::PrivateKey))
                    .then_some(ObjectType::Private),
                ..uri.clone()
            };
            match self.list(token, &uri, pin, wanted.contents) {
                Ok(keys) => found.extend(keys),
                Err(error) => match unseen("keys", &uri, &error) {
                    // Before the login there are none to be seen; that is no error (PKCS#11 3.0, section 5.7.6).
                    Rv(CKR_USER_NOT_LOGGED_IN) => {}
                    rv => return Err(rv),
                },
            }
            add_public_halves(&mut found);
        }
        if matches!(wanted.class, None | Some(Class::Certificate)) {
            let uri = Uri {
                object_type: Some(ObjectType::Certificate),
                ..uri
            };
            match self.list(token, &uri, None, wanted.contents) {
                Ok(certificates) => found.extend(certificates),
                // thin-edge.io's signer has none.
                Err(Error::NotInVersion1(_)) => {}
                Err(error) => return Err(unseen("certificates", &uri, &error)),
            }
        }
        Ok(found)
    }

    /// Certificates if the URI says so, otherwise keys.
    fn list(
        &self,
        token: &Token,
        uri: &Uri,
        pin: Option<&Pin>,
        contents: bool,
    ) -> std::result::Result<Vec<Found>, Error> {
        if let Some(objects) = self.client.objects(uri, pin, contents)? {
            let of: Uri = objects.token.parse().unwrap_or_default();
            let objects = objects.objects.into_iter();
            return Ok(objects
                .filter_map(|entry| described(entry, &of, token))
                .collect());
        }
        let entries = if uri.object_type == Some(ObjectType::Certificate) {
            self.client.certificates(uri)?
        } else {
            self.client.keys(uri, pin)?
        };
        let found = entries.iter().filter_map(|entry| {
            Some(Found {
                listed: listed(entry, token)?,
                said: None,
                details: None,
            })
        });
        Ok(found.collect())
    }

    /// A private key to sign with.
    pub(crate) fn key(&self, uri: &Uri, pin: Option<&Pin>) -> Result<SocketKey> {
        let key = SocketKey::open(self.client.clone(), uri, pin.cloned());
        key.map_err(|error| failed("open the key", uri, &error))
    }

    /// The public half of a key that has no private one here.
    pub(crate) fn public_key(&self, uri: &Uri) -> Result<Details> {
        let key = self.client.public_key(uri);
        let key = key.map_err(|error| unseen("public key", uri, &error))?;
        KeyDetails::new(&key, &[], false)
            .map(Details::Key)
            .ok_or(Rv(CKR_FUNCTION_FAILED))
    }

    pub(crate) fn certificate(&self, uri: &Uri) -> Result<Details> {
        let certificate = self.client.certificate(uri);
        let certificate = certificate.map_err(|error| unseen("certificate", uri, &error))?;
        CertificateDetails::new(certificate.der.0).map(Details::Certificate)
    }

    /// Returns the new key's URI.
    pub(crate) fn create_key(
        &self,
        token: &Token,
        pin: Option<&Pin>,
        spec: KeySpec,
        label: &str,
        id: Option<&[u8]>,
    ) -> Result<Uri> {
        let created = self.client.create_key(&token.uri, pin, spec, label, id);
        created.map_err(|error| failed("create a key", &token.uri, &error))
    }

    pub(crate) fn delete_key(&self, uri: &Uri, pin: Option<&Pin>) -> Result<()> {
        let deleted = self.client.delete_key(uri, pin);
        deleted
            .map(|_| ())
            .map_err(|error| failed("delete the key", uri, &error))
    }

    pub(crate) fn init_token(&self, token: &Token, label: &str, so_pin: &Pin) -> Result<()> {
        let uri = &token.uri;
        let done = self.client.init_token(uri, label, Some(so_pin), None);
        done.map(|_| ())
            .map_err(|error| failed("initialise the token", uri, &error))
    }

    pub(crate) fn change_pin(&self, token: &Token, old: &Pin, new: &Pin) -> Result<()> {
        let uri = &token.uri;
        let done = self.client.change_pin(uri, Some(old), new);
        done.map_err(|error| failed("change the PIN", uri, &error))
    }

    pub(crate) fn change_so_pin(&self, token: &Token, old: &Pin, new: &Pin) -> Result<()> {
        let uri = &token.uri;
        let done = self.client.change_so_pin(uri, old, new);
        done.map_err(|error| failed("change the security officer's PIN", uri, &error))
    }

    pub(crate) fn reset_pin(&self, token: &Token, so_pin: &Pin, new: &Pin) -> Result<()> {
        let uri = &token.uri;
        let done = self.client.reset_pin(uri, so_pin, new);
        done.map_err(|error| failed("reset the PIN", uri, &error))
    }
}

/// The code for an error of something that the program wants done. That the policy refuses it is told in words.
pub(crate) fn failed(what: &str, uri: &Uri, error: &Error) -> Rv {
    if let Error::Explained {
        reason: Reason::Refused,
        message,
    } = error
    {
        refusal::tell(what, format_args!("{message}"));
    }
    unseen(what, uri, error)
}

/// The code for an error of a search, which many programs make to see what there is: that it is refused is no
/// news to anybody.
fn unseen(what: &str, uri: &Uri, error: &Error) -> Rv {
    let rv = Rv::from(error);
    debug::log(format_args!("{what}, {uri}: {error} (CKR {:#x})", rv.0));
    rv
}

/// None for what has no place here, such as a key of a type that signs nothing.
fn described(entry: ObjectEntry, of: &Uri, token: &Token) -> Option<Found> {
    let uri = entry.uri(of)?;
    let (class, key_type) = kind(&entry.class, &entry.key_type)?;
    let hidden = entry.flags.get(ObjectFlag::Private);
    let listed = named(uri, class, key_type, entry.label, hidden, token)?;
    Some(Found {
        listed,
        said: Some(Said {
            flags: entry.flags,
            made_by: entry.made_by,
            subject: entry.subject.0,
        }),
        details: entry
            .content
            .and_then(|content| Details::of(class, content)),
    })
}

/// The same in a list of version 1's.
fn listed(entry: &KeyEntry, token: &Token) -> Option<Listed> {
    let (class, key_type) = kind(&entry.class, &entry.key_type)?;
    let uri = entry.uri.parse().ok()?;
    named(uri, class, key_type, entry.label.clone(), None, token)
}

fn kind(class: &str, key_type: &str) -> Option<(Class, CK_KEY_TYPE)> {
    let class = match class {
        "private" => Class::PrivateKey,
        "public" => Class::PublicKey,
        "cert" => Class::Certificate,
        _ => return None,
    };
    let key_type = match (class, key_type) {
        (Class::Certificate, _) => CK_UNAVAILABLE_INFORMATION,
        (_, "RSA") => CKK_RSA,
        (_, "EC") => CKK_EC,
        (_, "EC_EDWARDS") => CKK_EC_EDWARDS,
        _ => return None,
    };
    Some((class, key_type))
}

/// `hidden` is the token's own `CKA_PRIVATE`, if it is known.
fn named(
    uri: Uri,
    class: Class,
    key_type: CK_KEY_TYPE,
    label: String,
    hidden: Option<bool>,
    token: &Token,
) -> Option<Listed> {
    // A signer that is confined to one token answers for that one, whatever it is asked for.
    if !token.uri.token_part().covers(&uri) {
        return None;
    }
    Some(Listed {
        class,
        key_type,
        label,
        id: uri.id.clone().unwrap_or_default(),
        uri,
        private: token.needs_pin && hidden.unwrap_or(class == Class::PrivateKey),
    })
}

/// Some tokens, PIV cards for one, have the public key in the private one or in a certificate only;
/// programs look for an object. What is said of the private key is not said of this one.
fn add_public_halves(keys: &mut Vec<Found>) {
    // The name that both halves have: the label is one where there is no CKA_ID.
    let name = |key: &Listed| {
        let label = key.id.is_empty().then(|| key.label.clone());
        (key.id.clone(), label)
    };
    let listed = keys.iter().map(|found| &found.listed);
    let public = listed.filter(|key| key.class == Class::PublicKey);
    let public: HashSet<_> = public.map(name).collect();
    let missing: Vec<Found> = keys
        .iter()
        .filter(|found| {
            found.listed.class == Class::PrivateKey && !public.contains(&name(&found.listed))
        })
        .map(|found| Found {
            listed: Listed {
                class: Class::PublicKey,
                uri: with_type(&found.listed.uri, ObjectType::Public),
                private: false,
                ..found.listed.clone()
            },
            said: None,
            details: found.details.clone(),
        })
        .collect();
    keys.extend(missing);
}

/// The URI of the other half of a key.
pub(crate) fn with_type(uri: &Uri, object_type: ObjectType) -> Uri {
    Uri {
        object_type: Some(object_type),
        ..uri.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(class: Class, id: &[u8], label: &str) -> Found {
        let object_type = match class {
            Class::PrivateKey => ObjectType::Private,
            _ => ObjectType::Public,
        };
        let listed = Listed {
            class,
            key_type: CKK_EC,
            label: label.to_owned(),
            id: id.to_vec(),
            uri: Uri {
                object: Some(label.to_owned()),
                object_type: Some(object_type),
                ..Uri::default()
            },
            private: false,
        };
        Found {
            listed,
            said: None,
            details: None,
        }
    }

    #[test]
    fn a_private_key_brings_its_public_half() {
        let mut keys = vec![
            key(Class::PrivateKey, &[1], "a"),
            key(Class::PublicKey, &[1], "a"),
            key(Class::PrivateKey, &[2], "b"),
            key(Class::PrivateKey, &[], "c"),
            key(Class::PublicKey, &[], "d"),
        ];
        add_public_halves(&mut keys);
        let added = keys[5..].iter().map(|key| key.listed.uri.to_string());
        let added: Vec<_> = added.collect();
        assert_eq!(
            added,
            ["pkcs11:object=b;type=public", "pkcs11:object=c;type=public"]
        );
    }
}

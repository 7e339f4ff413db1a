//! Each private key, by trial signatures with all of its schemes.

use std::collections::BTreeSet;

use anyhow::Context as _;
use tedge_p11_client::{Client, Pin, PrivateKey, SignatureScheme, Uri};

use super::context::{Context, Key, within};
use super::cures;
use super::report::{Area, Report};
use super::tokens::Login;
use crate::store::Store;
use crate::trial;

/// Tries the keys straight on the module after a login, else through the signer. Returns those that
/// work.
pub(super) fn check(
    context: &Context<'_>,
    signer: Option<&Client>,
    login: Option<Login>,
    report: &mut Report,
) -> Vec<Key> {
    let (store, pin, token) = match (login, signer) {
        (Some(login), _) => (login.store, login.pin, Some(login.token)),
        // As its clients do, without a PIN: it has its own, and tedge.toml may name anybody's socket.
        (None, Some(client)) => (Store::Signer(client.clone()), None, None),
        (None, None) => {
            report.skipped(
                Area::Key,
                "no key is tried: there is no signer, and no login (--login, --pin-file)",
            );
            return Vec::new();
        }
    };
    let through_signer = token.is_none();
    let uris = match uris(context, &store, pin.as_ref(), token) {
        Ok(uris) => uris,
        Err(error) => {
            let error = format!("{error:#}");
            report.failure(Area::Key, &error, cures::of(&error));
            return Vec::new();
        }
    };
    if uris.is_empty() {
        report.failure(
            Area::Key,
            "there is no private key",
            cures::of("no private key"),
        );
        return Vec::new();
    }
    let only = uris.len() == 1;
    let mut works: Vec<Key> = Vec::new();
    for uri in uris {
        let opened = store.private_key(uri.as_ref(), pin.clone());
        let key = match opened {
            Ok(key) => key,
            Err(error) => {
                let error = format!("{error:#}");
                // Other applications' keys may be of any kind.
                if only {
                    report.failure(Area::Key, &error, cures::of(&error));
                } else {
                    report.warning(Area::Key, &error, cures::of(&error));
                }
                continue;
            }
        };
        if try_schemes(context, &key, report) {
            works.push(key);
        }
    }
    if let Some(key) = works.first().filter(|_| through_signer) {
        try_any_bytes(&**key, report);
    }
    works
}

/// URIs of the keys to try; `None` is the one configured at the signer.
fn uris(
    context: &Context<'_>,
    store: &Store,
    pin: Option<&Pin>,
    token: Option<Uri>,
) -> anyhow::Result<Vec<Option<Uri>>> {
    let wanted = context.uri();
    if wanted.as_ref().is_some_and(Uri::names_object) {
        return Ok(vec![wanted]);
    }
    let tokens = match token {
        Some(token) => vec![token],
        None => match wanted {
            Some(token) => vec![token],
            None => initialised(store)?,
        },
    };
    // A signer that is confined to one token answers for that one each time.
    let mut found = BTreeSet::new();
    for token in tokens {
        let keys = store.keys(Some(&token), pin)?;
        found.extend(
            keys.into_iter()
                .filter(|key| key.class == "private")
                .map(|key| key.uri),
        );
    }
    found
        .into_iter()
        .map(|uri| Ok(Some(uri.parse().context("the signer's URI of a key")?)))
        .collect()
}

fn initialised(store: &Store) -> anyhow::Result<Vec<Uri>> {
    let tokens = store
        .tokens()?
        .into_iter()
        .filter(|token| token.initialized);
    tokens
        .map(|token| token.uri.parse().context("the signer's URI of a token"))
        .collect()
}

/// Whether all schemes of the key work.
fn try_schemes(context: &Context<'_>, key: &Key, report: &mut Report) -> bool {
    let mut done = Vec::new();
    let mut all_verified = true;
    for scheme in key.schemes().iter().copied() {
        let signer = key.clone();
        let spki = key.public_key().spki().to_vec();
        let trial = within(context.limit, move || {
            trial::sign_and_verify(&*signer, scheme, &spki)
        });
        match trial {
            None => {
                report.failure(
                    Area::Key,
                    format!(
                        "key {} does not sign with {scheme} within {} s",
                        key.uri(),
                        context.limit.as_secs()
                    ),
                    "see whether the device answers; a key with a touch policy waits for a finger",
                );
                return false;
            }
            Some(Err(error)) => {
                let error = format!("{error:#}");
                report.failure(Area::Key, &error, cures::of(&error));
                return false;
            }
            Some(Ok(trial)) => {
                all_verified &= trial.verified;
                done.push(format!(
                    "{scheme} in {:.1} ms",
                    trial.duration.as_secs_f64() * 1000.0
                ));
            }
        }
    }
    let verified = if all_verified {
        "verified"
    } else {
        "not verified, as nothing here can"
    };
    let what = format!("key {} signs, {verified}: {}", key.uri(), done.join(", "));
    if key.schemes().iter().any(|scheme| is_for_tls13(*scheme)) {
        report.ok(Area::Key, what);
    } else {
        report.warning(
            Area::Key,
            format!("{what}; none of these is for TLS 1.3"),
            "use an EC key, or a token with CKM_RSA_PKCS_PSS",
        );
    }
    true
}

/// RFC 8446, section 4.2.3: PKCS#1 is for certificates only.
fn is_for_tls13(scheme: SignatureScheme) -> bool {
    !matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    )
}

/// Whether the signer signs for this user what is for no purpose that it knows.
fn try_any_bytes(key: &dyn PrivateKey, report: &mut Report) {
    let Some(scheme) = key.schemes().first() else {
        return;
    };
    match key.sign(*scheme, b"tedge-hsm doctor asks whether these bytes are signed, too") {
        Ok(_) => report.warning(
            Area::Policy,
            "the signer signs any bytes for this user: an attacker who takes over a client can make documents and \
             certificates in the device's name",
            "leave purposes = [\"any\"] out of the policy's rules",
        ),
        Err(_) => report.ok(Area::Policy, "the signer refuses to sign bytes without a purpose"),
    }
}

//! What a CA has issued: the certificate and its chain, out of all that it sent.

use std::time::SystemTime;

use anyhow::{Context as _, bail};
use tedge_p11_client::PrivateKey;

use crate::certificate::Certificate;
use crate::trust::{self, Trust};

/// The new certificate out of an answer, with the chain that belongs to it, if it is good: for this
/// key, and such that a server which trusts the same takes it. Without CAs to trust it must be valid now, and for TLS
/// clients: whether a broker takes it, only the broker can tell.
pub(crate) fn accept(
    answer: Vec<Certificate>,
    old: &[Certificate],
    key: &dyn PrivateKey,
    trust: Option<&Trust>,
) -> anyhow::Result<Vec<Certificate>> {
    let certificate = answer
        .iter()
        .find(|certificate| certificate.check_key(key).is_ok())
        .with_context(|| format!("it is not for the key {}", key.uri()))?
        .clone();
    if old
        .first()
        .is_some_and(|old| old.der() == certificate.der())
    {
        bail!("it is the old one");
    }
    // Many servers send the certificate alone: the issuers of the old one are good for the new.
    let mut candidates = answer;
    candidates.extend_from_slice(old);
    let chain = trust::chain(certificate, &candidates);
    match trust {
        Some(trust) => trust.verify(&chain)?,
        None => check_alone(&chain[0])?,
    }
    Ok(chain)
}

/// What can be said of a certificate whose CA is not known.
pub(crate) fn check_alone(certificate: &Certificate) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let (from, to) = certificate.validity();
    if now < certificate.not_before() {
        bail!("it is not valid before {from}; is the clock right?");
    }
    if certificate.not_after() < now {
        bail!("it expired on {to}");
    }
    if !certificate.is_for_clients() {
        bail!("it is not for TLS clients");
    }
    Ok(())
}

//! C_Sign with nothing of our own code before it.

use std::path::Path;

use anyhow::Context as _;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use ring::digest::{SHA256, digest};

/// Loads the module and logs in to its first token.
pub fn log_in(module: &Path, pin: &str) -> anyhow::Result<(Pkcs11, Slot, Session)> {
    let pkcs11 = Pkcs11::new(module)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slots = pkcs11.get_slots_with_initialized_token()?;
    let slot = *slots.first().context("no token")?;
    let session = pkcs11.open_ro_session(slot)?;
    session.login(UserType::User, Some(&AuthPin::from(pin)))?;
    Ok((pkcs11, slot, session))
}

/// The object of that class and label.
pub fn find(session: &Session, class: ObjectClass, label: &str) -> anyhow::Result<ObjectHandle> {
    let label = Attribute::Label(label.as_bytes().to_vec());
    let found = session.find_objects(&[Attribute::Class(class), label])?;
    found.first().copied().context("no such object")
}

/// Whether the token hashes what it signs. SoftHSM2 does not, for ECDSA; our module does nothing else.
pub fn hashes(pkcs11: &Pkcs11, slot: Slot) -> anyhow::Result<bool> {
    let mechanisms = pkcs11.get_mechanism_list(slot)?;
    Ok(mechanisms.contains(&MechanismType::ECDSA_SHA256))
}

/// Signs with a P-256 key and SHA-256.
pub fn ecdsa(
    session: &Session,
    hashes: bool,
    key: ObjectHandle,
    message: &[u8],
) -> cryptoki::error::Result<Vec<u8>> {
    if hashes {
        session.sign(&Mechanism::EcdsaSha256, key, message)
    } else {
        session.sign(&Mechanism::Ecdsa, key, digest(&SHA256, message).as_ref())
    }
}

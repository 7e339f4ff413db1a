//! The commands, one file each.

pub(crate) mod change_pin;
pub(crate) mod connect;
pub(crate) mod create_key;
pub(crate) mod csr;
pub(crate) mod delete_key;
pub(crate) mod doctor;
pub(crate) mod enroll;
pub(crate) mod export_certificate;
pub(crate) mod hsms;
pub(crate) mod import_certificate;
pub(crate) mod init;
pub(crate) mod key_file;
pub(crate) mod list_certificates;
pub(crate) mod list_keys;
pub(crate) mod list_tokens;
pub(crate) mod public_key;
pub(crate) mod renew;
pub(crate) mod self_signed;
pub(crate) mod setup;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod unlock;
pub(crate) mod verify;

//! Digests in software: many modules only stub theirs, and a message of 64 KiB need not cross a bus.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A digest that TLS signature schemes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    pub(crate) fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    /// In bytes; the salt of RSASSA-PSS in TLS has this length too (RFC 8446, section 4.2.3).
    pub(crate) const fn len(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// DER `DigestInfo` around the digest of `message` (RFC 8017, section 9.2, note 1).
    pub(crate) fn info_of(self, message: &[u8]) -> Vec<u8> {
        self.info_around(&self.of(message))
    }

    /// DER `DigestInfo` around a digest of this kind.
    pub(crate) fn info_around(self, digest: &[u8]) -> Vec<u8> {
        let (total, oid_end) = match self {
            Self::Sha256 => (0x31, 1),
            Self::Sha384 => (0x41, 2),
            Self::Sha512 => (0x51, 3),
        };
        let mut info = vec![
            0x30,
            total,
            0x30,
            0x0d,
            0x06,
            0x09,
            0x60,
            0x86,
            0x48,
            0x01,
            0x65,
            0x03,
            0x04,
            0x02,
            oid_end,
            0x05,
            0x00,
            0x04,
            self.len(),
        ];
        info.extend(digest);
        info
    }
}

//! Kinds of keys that TLS signs with.

use der::asn1::ObjectIdentifier;
use tedge_p11_protocol::curve;

/// What decides which schemes a key can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Ec(Curve),
    Rsa,
    Ed25519,
}

/// The NIST curves that TLS 1.3 signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Bytes of a field element.
    pub(crate) const fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(crate) const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => curve::P256,
            Self::P384 => curve::P384,
            Self::P521 => curve::P521,
        }
    }
}

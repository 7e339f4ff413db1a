//! Kinds of keys that TLS signs with.

use cryptoki::object::{MlDsaParameterSetType, ParameterSetType};
use der::asn1::ObjectIdentifier;
use tedge_p11_protocol::{KeySpec, SignatureScheme, curve};

/// What decides which schemes a key can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Ec(Curve),
    Rsa,
    Ed25519,
    MlDsa(MlDsa),
}

/// The NIST curves that TLS 1.3 signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

/// The parameter sets of ML-DSA (FIPS 204, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MlDsa {
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

impl MlDsa {
    /// By `CKA_PARAMETER_SET` (PKCS#11 3.2, section 6.67.1).
    pub(crate) fn from_parameter_set(number: ParameterSetType) -> Option<Self> {
        [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87]
            .into_iter()
            .find(|set| *number == *ParameterSetType::from(set.parameter_set()))
    }

    pub(crate) const fn parameter_set(self) -> MlDsaParameterSetType {
        match self {
            Self::MlDsa44 => MlDsaParameterSetType::ML_DSA_44,
            Self::MlDsa65 => MlDsaParameterSetType::ML_DSA_65,
            Self::MlDsa87 => MlDsaParameterSetType::ML_DSA_87,
        }
    }

    pub(crate) const fn scheme(self) -> SignatureScheme {
        match self {
            Self::MlDsa44 => SignatureScheme::ML_DSA_44,
            Self::MlDsa65 => SignatureScheme::ML_DSA_65,
            Self::MlDsa87 => SignatureScheme::ML_DSA_87,
        }
    }

    pub(crate) const fn spec(self) -> KeySpec {
        match self {
            Self::MlDsa44 => KeySpec::MlDsa44,
            Self::MlDsa65 => KeySpec::MlDsa65,
            Self::MlDsa87 => KeySpec::MlDsa87,
        }
    }

    /// Bytes of a signature (FIPS 204, table 2).
    pub(crate) const fn signature_len(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }
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

//! Mechanisms: those that hash and sign, those that make keys, and, only where the policy lets the user have digests
//! signed, those that sign one.

use cryptoki_sys::*;
use tedge_p11_protocol::SignatureScheme;

use crate::rv::{Result, Rv};

/// `CK_MECHANISM`, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanism {
    /// `CKM_`.
    pub id: CK_MECHANISM_TYPE,
    /// What came with it.
    pub parameter: Parameter,
}

/// The parameter of a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// No bytes.
    None,
    /// `CK_RSA_PKCS_PSS_PARAMS`.
    Pss {
        /// `hashAlg`.
        hash: CK_MECHANISM_TYPE,
        /// `mgf`.
        mgf: CK_RSA_PKCS_MGF_TYPE,
        /// `sLen`.
        salt_len: CK_ULONG,
    },
    /// `CK_EDDSA_PARAMS`.
    Eddsa {
        /// `phFlag`.
        prehash: bool,
        /// `ulContextDataLen`.
        context_len: CK_ULONG,
    },
    /// Bytes that the mechanism has no use for.
    Other,
}

/// One mechanism of this module.
struct Known {
    id: CK_MECHANISM_TYPE,
    does: Does,
    key_type: CK_KEY_TYPE,
}

#[derive(Clone, Copy)]
enum Does {
    Sign(SignatureScheme),
    /// What the program hashed itself.
    SignDigest,
    MakeKeys,
}

/// How something is signed by a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The message, with this scheme.
    Message(SignatureScheme),
    /// A digest, with the scheme of the key's curve.
    EcdsaDigest,
    /// A digest in a `DigestInfo`, which says of which hash it is.
    Pkcs1Digest,
    /// A digest, with this scheme.
    PssDigest(SignatureScheme),
}

/// All there are, in the order of a list.
const KNOWN: &[Known] = {
    use SignatureScheme as S;
    const fn sign(id: CK_MECHANISM_TYPE, scheme: S, key_type: CK_KEY_TYPE) -> Known {
        let does = Does::Sign(scheme);
        Known { id, does, key_type }
    }
    const fn digest(id: CK_MECHANISM_TYPE, key_type: CK_KEY_TYPE) -> Known {
        let does = Does::SignDigest;
        Known { id, does, key_type }
    }
    const fn make(id: CK_MECHANISM_TYPE, key_type: CK_KEY_TYPE) -> Known {
        let does = Does::MakeKeys;
        Known { id, does, key_type }
    }
    &[
        sign(CKM_ECDSA_SHA256, S::ECDSA_SECP256R1_SHA256, CKK_EC),
        sign(CKM_ECDSA_SHA384, S::ECDSA_SECP384R1_SHA384, CKK_EC),
        sign(CKM_ECDSA_SHA512, S::ECDSA_SECP521R1_SHA512, CKK_EC),
        sign(CKM_SHA256_RSA_PKCS, S::RSA_PKCS1_SHA256, CKK_RSA),
        sign(CKM_SHA384_RSA_PKCS, S::RSA_PKCS1_SHA384, CKK_RSA),
        sign(CKM_SHA512_RSA_PKCS, S::RSA_PKCS1_SHA512, CKK_RSA),
        sign(CKM_SHA256_RSA_PKCS_PSS, S::RSA_PSS_RSAE_SHA256, CKK_RSA),
        sign(CKM_SHA384_RSA_PKCS_PSS, S::RSA_PSS_RSAE_SHA384, CKK_RSA),
        sign(CKM_SHA512_RSA_PKCS_PSS, S::RSA_PSS_RSAE_SHA512, CKK_RSA),
        sign(CKM_EDDSA, S::ED25519, CKK_EC_EDWARDS),
        digest(CKM_ECDSA, CKK_EC),
        digest(CKM_RSA_PKCS, CKK_RSA),
        digest(CKM_RSA_PKCS_PSS, CKK_RSA),
        make(CKM_EC_KEY_PAIR_GEN, CKK_EC),
        make(CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA),
        make(CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS),
    ]
};

/// What C_GetMechanismList returns, for a user who may have digests signed or not.
#[must_use]
pub fn list(digests: bool) -> Vec<CK_MECHANISM_TYPE> {
    let known = KNOWN.iter().filter(|known| known.is_for(digests));
    known.map(|known| known.id).collect()
}

/// What C_GetMechanismInfo returns.
pub fn info(id: CK_MECHANISM_TYPE, digests: bool) -> Result<CK_MECHANISM_INFO> {
    let known = find(id)?;
    if !known.is_for(digests) {
        return Err(Rv(CKR_MECHANISM_INVALID));
    }
    let (min, max, curve) = match known.key_type {
        CKK_RSA => (2048, 4096, 0),
        CKK_EC => (256, 521, CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS),
        _ => (255, 255, CKF_EC_OID | CKF_EC_UNCOMPRESS),
    };
    let does = match known.does {
        Does::Sign(_) | Does::SignDigest => CKF_SIGN,
        Does::MakeKeys => CKF_GENERATE_KEY_PAIR,
    };
    Ok(CK_MECHANISM_INFO {
        ulMinKeySize: min,
        ulMaxKeySize: max,
        flags: CKF_HW | does | curve,
    })
}

/// The mechanisms that sign digests with keys of a type.
pub(crate) fn of_digests(key_type: CK_KEY_TYPE) -> impl Iterator<Item = CK_MECHANISM_TYPE> {
    let signs =
        move |known: &&Known| matches!(known.does, Does::SignDigest) && known.key_type == key_type;
    KNOWN.iter().filter(signs).map(|known| known.id)
}

/// The mechanism that signs with a scheme.
pub(crate) fn of_scheme(scheme: SignatureScheme) -> Option<CK_MECHANISM_TYPE> {
    let signs = |known: &&Known| matches!(known.does, Does::Sign(own) if own == scheme);
    KNOWN.iter().find(signs).map(|known| known.id)
}

impl Mechanism {
    /// How a key of this type signs by this mechanism.
    pub(crate) fn how(&self, key_type: CK_KEY_TYPE) -> Result<How> {
        let known = find(self.id)?;
        if matches!(known.does, Does::MakeKeys) {
            return Err(Rv(CKR_MECHANISM_INVALID));
        }
        if known.key_type != key_type {
            return Err(Rv(CKR_KEY_TYPE_INCONSISTENT));
        }
        if self.id == CKM_RSA_PKCS_PSS {
            return self.pss_scheme().map(How::PssDigest);
        }
        self.check_parameter()?;
        Ok(match known.does {
            Does::Sign(scheme) => How::Message(scheme),
            _ if key_type == CKK_EC => How::EcdsaDigest,
            _ => How::Pkcs1Digest,
        })
    }

    /// The scheme with the hash, the mask and the salt of the parameter.
    fn pss_scheme(&self) -> Result<SignatureScheme> {
        let of_hash = [
            CKM_SHA256_RSA_PKCS_PSS,
            CKM_SHA384_RSA_PKCS_PSS,
            CKM_SHA512_RSA_PKCS_PSS,
        ];
        for id in of_hash {
            let combined = Self { id, ..*self };
            if let Ok(How::Message(scheme)) = combined.how(CKK_RSA) {
                return Ok(scheme);
            }
        }
        Err(Rv(CKR_MECHANISM_PARAM_INVALID))
    }

    /// The type of the keys that it makes.
    pub(crate) fn makes(&self) -> Result<CK_KEY_TYPE> {
        match find(self.id)? {
            Known {
                does: Does::MakeKeys,
                key_type,
                ..
            } if self.parameter == Parameter::None => Ok(*key_type),
            Known {
                does: Does::MakeKeys,
                ..
            } => Err(Rv(CKR_MECHANISM_PARAM_INVALID)),
            Known { .. } => Err(Rv(CKR_MECHANISM_INVALID)),
        }
    }

    /// Another hash, mask or salt than TLS has (RFC 8446, section 4.2.3) is nothing that the signer could
    /// do; neither is Ed25519ph or a context.
    fn check_parameter(&self) -> Result<()> {
        let pss = |hash, mgf, salt_len| Parameter::Pss {
            hash,
            mgf,
            salt_len,
        };
        let pure = Parameter::Eddsa {
            prehash: false,
            context_len: 0,
        };
        let fits = match self.id {
            CKM_SHA256_RSA_PKCS_PSS => self.parameter == pss(CKM_SHA256, CKG_MGF1_SHA256, 32),
            CKM_SHA384_RSA_PKCS_PSS => self.parameter == pss(CKM_SHA384, CKG_MGF1_SHA384, 48),
            CKM_SHA512_RSA_PKCS_PSS => self.parameter == pss(CKM_SHA512, CKG_MGF1_SHA512, 64),
            CKM_EDDSA => self.parameter == Parameter::None || self.parameter == pure,
            _ => self.parameter == Parameter::None,
        };
        fits.then_some(()).ok_or(Rv(CKR_MECHANISM_PARAM_INVALID))
    }
}

impl Known {
    fn is_for(&self, digests: bool) -> bool {
        digests || !matches!(self.does, Does::SignDigest)
    }
}

fn find(id: CK_MECHANISM_TYPE) -> Result<&'static Known> {
    let mut known = KNOWN.iter();
    known
        .find(|known| known.id == id)
        .ok_or(Rv(CKR_MECHANISM_INVALID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mechanism_has_information() {
        for id in list(true) {
            let flags = info(id, true).unwrap().flags;
            let signs = flags & CKF_SIGN != 0;
            assert_ne!(signs, flags & CKF_GENERATE_KEY_PAIR != 0, "{id:#x}");
        }
        let unknown = info(CKM_ECDSA_SHA1, true).unwrap_err();
        assert_eq!(unknown, Rv(CKR_MECHANISM_INVALID));
        let hidden = info(CKM_ECDSA, false).unwrap_err();
        assert_eq!(hidden, Rv(CKR_MECHANISM_INVALID));
        assert!(!list(false).contains(&CKM_RSA_PKCS));
    }

    #[test]
    fn parameters_are_those_of_tls() {
        let pss = |hash, mgf, salt_len| Parameter::Pss {
            hash,
            mgf,
            salt_len,
        };
        let eddsa = |prehash, context_len| Parameter::Eddsa {
            prehash,
            context_len,
        };
        let ok = |scheme| Ok(How::Message(scheme));
        let bad = Err(Rv(CKR_MECHANISM_PARAM_INVALID));
        for (id, parameter, key_type, result) in [
            (
                CKM_SHA256_RSA_PKCS_PSS,
                pss(CKM_SHA256, CKG_MGF1_SHA256, 32),
                CKK_RSA,
                ok(SignatureScheme::RSA_PSS_RSAE_SHA256),
            ),
            (
                CKM_SHA256_RSA_PKCS_PSS,
                pss(CKM_SHA256, CKG_MGF1_SHA1, 32),
                CKK_RSA,
                bad,
            ),
            (
                CKM_SHA256_RSA_PKCS_PSS,
                pss(CKM_SHA256, CKG_MGF1_SHA256, 20),
                CKK_RSA,
                bad,
            ),
            (
                CKM_SHA384_RSA_PKCS_PSS,
                pss(CKM_SHA256, CKG_MGF1_SHA256, 32),
                CKK_RSA,
                bad,
            ),
            (CKM_SHA256_RSA_PKCS_PSS, Parameter::None, CKK_RSA, bad),
            (CKM_ECDSA_SHA256, Parameter::Other, CKK_EC, bad),
            (
                CKM_ECDSA_SHA256,
                Parameter::None,
                CKK_RSA,
                Err(Rv(CKR_KEY_TYPE_INCONSISTENT)),
            ),
            (
                CKM_EDDSA,
                eddsa(false, 0),
                CKK_EC_EDWARDS,
                ok(SignatureScheme::ED25519),
            ),
            (CKM_EDDSA, eddsa(true, 0), CKK_EC_EDWARDS, bad),
            (CKM_EDDSA, eddsa(false, 3), CKK_EC_EDWARDS, bad),
            (CKM_ECDSA, Parameter::None, CKK_EC, Ok(How::EcdsaDigest)),
            (CKM_RSA_PKCS, Parameter::None, CKK_RSA, Ok(How::Pkcs1Digest)),
            (
                CKM_RSA_PKCS_PSS,
                pss(CKM_SHA384, CKG_MGF1_SHA384, 48),
                CKK_RSA,
                Ok(How::PssDigest(SignatureScheme::RSA_PSS_RSAE_SHA384)),
            ),
            (
                CKM_RSA_PKCS_PSS,
                pss(CKM_SHA384, CKG_MGF1_SHA384, 32),
                CKK_RSA,
                bad,
            ),
            (CKM_RSA_PKCS_PSS, Parameter::None, CKK_RSA, bad),
        ] {
            let mechanism = Mechanism { id, parameter };
            assert_eq!(mechanism.how(key_type), result, "{mechanism:?}");
        }
    }
}

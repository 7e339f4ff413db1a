//! Mechanisms: only those that hash and sign, and those that make keys.

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
    MakeKeys,
}

/// All there are, in the order of a list.
const KNOWN: &[Known] = {
    use SignatureScheme as S;
    const fn sign(id: CK_MECHANISM_TYPE, scheme: S, key_type: CK_KEY_TYPE) -> Known {
        let does = Does::Sign(scheme);
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
        make(CKM_EC_KEY_PAIR_GEN, CKK_EC),
        make(CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA),
        make(CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS),
    ]
};

/// What C_GetMechanismList returns.
#[must_use]
pub fn list() -> Vec<CK_MECHANISM_TYPE> {
    KNOWN.iter().map(|known| known.id).collect()
}

/// What C_GetMechanismInfo returns.
pub fn info(id: CK_MECHANISM_TYPE) -> Result<CK_MECHANISM_INFO> {
    let known = find(id)?;
    let (min, max, curve) = match known.key_type {
        CKK_RSA => (2048, 4096, 0),
        CKK_EC => (256, 521, CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS),
        _ => (255, 255, CKF_EC_OID | CKF_EC_UNCOMPRESS),
    };
    let does = match known.does {
        Does::Sign(_) => CKF_SIGN,
        Does::MakeKeys => CKF_GENERATE_KEY_PAIR,
    };
    Ok(CK_MECHANISM_INFO {
        ulMinKeySize: min,
        ulMaxKeySize: max,
        flags: CKF_HW | does | curve,
    })
}

/// The mechanism that signs with a scheme.
pub(crate) fn of_scheme(scheme: SignatureScheme) -> Option<CK_MECHANISM_TYPE> {
    let signs = |known: &&Known| matches!(known.does, Does::Sign(own) if own == scheme);
    KNOWN.iter().find(signs).map(|known| known.id)
}

impl Mechanism {
    /// The scheme that a key of this type signs with by this mechanism.
    pub(crate) fn scheme(&self, key_type: CK_KEY_TYPE) -> Result<SignatureScheme> {
        let known = find(self.id)?;
        let Does::Sign(scheme) = known.does else {
            return Err(Rv(CKR_MECHANISM_INVALID));
        };
        if known.key_type != key_type {
            return Err(Rv(CKR_KEY_TYPE_INCONSISTENT));
        }
        self.check_parameter()?;
        Ok(scheme)
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
        for id in list() {
            let flags = info(id).unwrap().flags;
            let signs = flags & CKF_SIGN != 0;
            assert_ne!(signs, flags & CKF_GENERATE_KEY_PAIR != 0, "{id:#x}");
        }
        assert_eq!(info(CKM_ECDSA).unwrap_err(), Rv(CKR_MECHANISM_INVALID));
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
        let ok = |scheme| Ok(scheme);
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
            (
                CKM_ECDSA,
                Parameter::None,
                CKK_EC,
                Err(Rv(CKR_MECHANISM_INVALID)),
            ),
        ] {
            let mechanism = Mechanism { id, parameter };
            assert_eq!(mechanism.scheme(key_type), result, "{mechanism:?}");
        }
    }
}

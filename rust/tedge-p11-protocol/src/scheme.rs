//! TLS signature schemes by their code points.

use std::fmt;

/// A TLS `SignatureScheme` (RFC 8446, section 4.2.3) by its code point. Any code point can be
/// carried, so that a new scheme needs no change of types.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignatureScheme(pub u16);

/// The public-key algorithm behind a scheme, by its TLS 1.2 `SignatureAlgorithm` number (RFC 5246,
/// section 7.4.1.4.1, and RFC 8422).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureAlgorithm(pub u8);

impl SignatureScheme {
    /// RSASSA-PKCS1-v1_5 with SHA-256: TLS 1.2 and certificates only.
    pub const RSA_PKCS1_SHA256: Self = Self(0x0401);
    /// RSASSA-PKCS1-v1_5 with SHA-384: TLS 1.2 and certificates only.
    pub const RSA_PKCS1_SHA384: Self = Self(0x0501);
    /// RSASSA-PKCS1-v1_5 with SHA-512: TLS 1.2 and certificates only.
    pub const RSA_PKCS1_SHA512: Self = Self(0x0601);
    /// ECDSA on P-256 with SHA-256.
    pub const ECDSA_SECP256R1_SHA256: Self = Self(0x0403);
    /// ECDSA on P-384 with SHA-384.
    pub const ECDSA_SECP384R1_SHA384: Self = Self(0x0503);
    /// ECDSA on P-521 with SHA-512.
    pub const ECDSA_SECP521R1_SHA512: Self = Self(0x0603);
    /// RSASSA-PSS with SHA-256, salt of 32 bytes.
    pub const RSA_PSS_RSAE_SHA256: Self = Self(0x0804);
    /// RSASSA-PSS with SHA-384, salt of 48 bytes.
    pub const RSA_PSS_RSAE_SHA384: Self = Self(0x0805);
    /// RSASSA-PSS with SHA-512, salt of 64 bytes.
    pub const RSA_PSS_RSAE_SHA512: Self = Self(0x0806);
    /// Ed25519 (RFC 8032).
    pub const ED25519: Self = Self(0x0807);
    /// ML-DSA-44 (FIPS 204): TLS 1.3 and certificates only, as all of ML-DSA (draft-ietf-tls-mldsa, section 3).
    pub const ML_DSA_44: Self = Self(0x0904);
    /// ML-DSA-65 (FIPS 204).
    pub const ML_DSA_65: Self = Self(0x0905);
    /// ML-DSA-87 (FIPS 204).
    pub const ML_DSA_87: Self = Self(0x0906);

    /// The algorithm that the frame `ChooseSchemeResponse` reports beside the scheme; `None` for a
    /// code point that this crate does not know, and for ML-DSA, which has no number in TLS 1.2.
    #[must_use]
    pub fn algorithm(self) -> Option<SignatureAlgorithm> {
        NAMES
            .iter()
            .find(|(scheme, _, _)| *scheme == self)
            .map(|(_, _, algorithm)| *algorithm)
            .filter(|algorithm| *algorithm != NO_ALGORITHM)
    }

    /// Whether no quantum computer is known to forge what is signed so.
    #[must_use]
    pub fn is_post_quantum(self) -> bool {
        matches!(self, Self::ML_DSA_44 | Self::ML_DSA_65 | Self::ML_DSA_87)
    }

    /// The scheme called `name` in RFC 8446, or in IANA's registry of TLS SignatureSchemes.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(scheme, _, _)| *scheme)
    }
}

impl fmt::Display for SignatureScheme {
    /// The name in RFC 8446 or IANA's registry, or the code point in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(scheme, _, _)| scheme == self) {
            Some((_, name, _)) => f.write_str(name),
            None => write!(f, "0x{:04x}", self.0),
        }
    }
}

impl fmt::Debug for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SignatureAlgorithm {
    /// RSA, whatever the padding.
    pub const RSA: Self = Self(1);
    /// ECDSA on any curve.
    pub const ECDSA: Self = Self(3);
    /// Ed25519.
    pub const ED25519: Self = Self(7);
}

/// For a scheme without a number in TLS 1.2, where 0 is `anonymous`, which signs nothing.
const NO_ALGORITHM: SignatureAlgorithm = SignatureAlgorithm(0);

const NAMES: &[(SignatureScheme, &str, SignatureAlgorithm)] = {
    use SignatureAlgorithm as A;
    use SignatureScheme as S;
    &[
        (S::RSA_PKCS1_SHA256, "rsa_pkcs1_sha256", A::RSA),
        (S::RSA_PKCS1_SHA384, "rsa_pkcs1_sha384", A::RSA),
        (S::RSA_PKCS1_SHA512, "rsa_pkcs1_sha512", A::RSA),
        (
            S::ECDSA_SECP256R1_SHA256,
            "ecdsa_secp256r1_sha256",
            A::ECDSA,
        ),
        (
            S::ECDSA_SECP384R1_SHA384,
            "ecdsa_secp384r1_sha384",
            A::ECDSA,
        ),
        (
            S::ECDSA_SECP521R1_SHA512,
            "ecdsa_secp521r1_sha512",
            A::ECDSA,
        ),
        (S::RSA_PSS_RSAE_SHA256, "rsa_pss_rsae_sha256", A::RSA),
        (S::RSA_PSS_RSAE_SHA384, "rsa_pss_rsae_sha384", A::RSA),
        (S::RSA_PSS_RSAE_SHA512, "rsa_pss_rsae_sha512", A::RSA),
        (S::ED25519, "ed25519", A::ED25519),
        (S::ML_DSA_44, "mldsa44", NO_ALGORITHM),
        (S::ML_DSA_65, "mldsa65", NO_ALGORITHM),
        (S::ML_DSA_87, "mldsa87", NO_ALGORITHM),
    ]
};

//! The SHA-256 of a certificate, by which a person knows it.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a certificate.
    pub(crate) fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    /// 64 hexadecimal digits, with colons or blanks between them or without, as openssl, show and browsers have it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "it has 64 hexadecimal digits, with or without colons: the SHA-256 of the CA's certificate";
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| !matches!(c, ':' | ' '))
            .map(|c| c.to_digit(16).ok_or(WRONG))
            .collect::<Result<_, _>>()?;
        let bytes: Vec<u8> = digits
            .chunks(2)
            .filter_map(|pair| u8::try_from(pair[0] << 4 | pair.get(1)?).ok())
            .collect();
        if digits.len() != 64 {
            return Err(WRONG);
        }
        bytes.try_into().map(Self).map_err(|_| WRONG)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_in_the_forms_that_programs_print() {
        let of = Fingerprint::of(b"a certificate");
        let text = of.to_string();
        assert_eq!(text.len(), 95);
        for form in [
            text.clone(),
            text.replace(':', ""),
            text.to_lowercase(),
            text.replace(':', " "),
        ] {
            assert_eq!(form.parse(), Ok(of), "{form}");
        }
        for wrong in [
            "",
            "00",
            &text[1..],
            &text[..94],
            &format!("{text}0"),
            &text.replace(':', "-"),
        ] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}

//! Templates: attributes with values, as a program gives them.

use cryptoki_sys::*;

use crate::rv::{Result, Rv};

/// Attributes with values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>);

impl Template {
    /// In the order of the program.
    #[must_use]
    pub fn new(attributes: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>) -> Self {
        Self(attributes)
    }

    /// Each attribute.
    pub fn iter(&self) -> impl Iterator<Item = (CK_ATTRIBUTE_TYPE, &[u8])> {
        self.0
            .iter()
            .map(|(attribute, value)| (*attribute, value.as_slice()))
    }

    /// The value of an attribute that is there once; of one that is there twice, the first.
    #[must_use]
    pub fn get(&self, attribute: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        let mut values = self.iter();
        values
            .find(|(own, _)| *own == attribute)
            .map(|(_, value)| value)
    }

    /// An attribute that is a `CK_ULONG`.
    pub(crate) fn number(&self, attribute: CK_ATTRIBUTE_TYPE) -> Result<Option<CK_ULONG>> {
        let Some(value) = self.get(attribute) else {
            return Ok(None);
        };
        let value = value
            .try_into()
            .map_err(|_| Rv(CKR_ATTRIBUTE_VALUE_INVALID))?;
        Ok(Some(CK_ULONG::from_ne_bytes(value)))
    }

    /// An attribute that is a `CK_BBOOL`.
    pub(crate) fn flag(&self, attribute: CK_ATTRIBUTE_TYPE) -> Result<Option<bool>> {
        match self.get(attribute) {
            None => Ok(None),
            Some([byte]) => Ok(Some(*byte != CK_FALSE)),
            Some(_) => Err(Rv(CKR_ATTRIBUTE_VALUE_INVALID)),
        }
    }
}

//! Numbers and vectors of TLS (RFC 5246, section 4).

/// What is left to read of a structure. A read that fails leaves it in no useful state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    /// The content of a vector whose length takes `len_bytes` bytes: 1, 2 or 3.
    pub(crate) fn vector(&mut self, len_bytes: usize) -> Option<Self> {
        let len = self.take(len_bytes)?;
        let len = len
            .iter()
            .fold(0, |len, byte| (len << 8) | usize::from(*byte));
        self.take(len).map(Self)
    }

    /// The content of a vector that is not empty and with which the structure ends.
    pub(crate) fn last_vector(mut self, len_bytes: usize) -> Option<Self> {
        let vector = self.vector(len_bytes)?;
        (self.is_empty() && !vector.is_empty()).then_some(vector)
    }

    /// All that is left, as numbers of two bytes, at least one.
    pub(crate) fn u16s(self) -> Option<Vec<u16>> {
        let mut numbers = Vec::with_capacity(self.0.len() / 2);
        let mut rest = self;
        while !rest.is_empty() {
            numbers.push(rest.u16()?);
        }
        (!numbers.is_empty()).then_some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_ends_where_its_length_says() {
        let mut reader = Reader::new(&[0, 0, 2, 7, 8, 9]);
        assert_eq!(reader.vector(3).unwrap().bytes(), [7, 8]);
        assert_eq!(reader.u8(), Some(9));
        assert!(reader.is_empty());
        assert!(Reader::new(&[0, 2, 7]).vector(2).is_none());
        assert!(Reader::new(&[0]).vector(2).is_none());
        assert!(Reader::new(&[1, 7, 8]).last_vector(1).is_none());
        assert!(Reader::new(&[0]).last_vector(1).is_none());
    }

    #[test]
    fn numbers_fill_their_vector() {
        assert_eq!(
            Reader::new(&[1, 2, 3, 4]).u16s(),
            Some(vec![0x0102, 0x0304])
        );
        assert_eq!(Reader::new(&[1, 2, 3]).u16s(), None);
        assert_eq!(Reader::new(&[]).u16s(), None);
    }
}

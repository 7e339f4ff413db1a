//! The encoding of fields: postcard 1.x, written out here because the decoder must work on a frame
//! that is still arriving, must say how much is missing, and must not allocate on a sender's word.

use zeroize::Zeroizing;

use crate::pin::Pin;

/// A value with a place on the wire.
pub(crate) trait Wire: Sized {
    /// Fewest bytes that any value of this type takes.
    const MIN_LEN: usize;

    fn encode(&self, out: &mut Writer);
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame goes on: at least so many more bytes are needed.
    #[error("the frame ends early: at least {0} more bytes are missing")]
    Incomplete(usize),
    /// The frame is, or says that it will be, longer than allowed.
    #[error("the frame is longer than the limit of {0} bytes")]
    TooLong(usize),
    /// Bytes follow the frame; there is one frame a connection.
    #[error("{0} bytes follow the frame")]
    TrailingBytes(usize),
    /// The outer frame is of a protocol version that is not known here.
    #[error("unknown protocol version (discriminant {0})")]
    UnknownVersion(u32),
    /// The frame's discriminant is not known, or has no business in this direction.
    #[error("unknown or misplaced frame (discriminant {0})")]
    UnknownFrame(u32),
    /// An enum inside the frame has a discriminant that is not known.
    #[error("{what}: unknown discriminant {value}")]
    UnknownVariant {
        /// The enum.
        what: &'static str,
        /// What was sent.
        value: u32,
    },
    /// A number does not fit its type.
    #[error("a number is out of range")]
    NumberOutOfRange,
    /// Neither 0 nor 1 where only these can be.
    #[error("{0} where only 0 or 1 can be")]
    NotABool(u8),
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// An empty PIN where one is needed.
    #[error("an empty PIN")]
    EmptyPin,
}

/// Encodes `value` into a vector of exactly its length. The vector never grows, so a PIN in it
/// leaves no copies behind, and it is wiped when dropped.
pub(crate) fn encode(value: &impl Wire) -> Zeroizing<Vec<u8>> {
    let mut counter = Writer { out: None, len: 0 };
    value.encode(&mut counter);
    let mut writer = Writer {
        out: Some(Zeroizing::new(Vec::with_capacity(counter.len))),
        len: 0,
    };
    value.encode(&mut writer);
    writer.out.unwrap_or_default()
}

/// Takes encoded fields, or only counts them.
pub(crate) struct Writer {
    out: Option<Zeroizing<Vec<u8>>>,
    len: usize,
}

impl Writer {
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if let Some(out) = &mut self.out {
            out.extend_from_slice(bytes);
        }
    }

    pub(crate) fn put_varint(&mut self, mut value: u64) {
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                return self.put(&[low]);
            }
            self.put(&[low | 0x80]);
        }
    }

    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.put(bytes);
    }
}

/// Reads fields from the bytes that have arrived so far.
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    limit: usize,
}

impl<'a> Reader<'a> {
    /// `limit` is the most bytes that any one length in the frame may announce.
    pub(crate) fn new(input: &'a [u8], limit: usize) -> Self {
        Self { input, limit }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.input.len()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        match self.input.split_at_checked(len) {
            Some((head, tail)) => {
                self.input = tail;
                Ok(head)
            }
            None => Err(DecodeError::Incomplete(len - self.input.len())),
        }
    }

    fn take_byte(&mut self) -> Result<u8, DecodeError> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A variable-length integer of at most `bits` bits, seven to a byte, lowest first.
    fn take_varint(&mut self, bits: u32) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.take_byte()?;
            let low = u64::from(byte & 0x7f);
            if shift >= bits || (bits - shift < 7 && low >> (bits - shift) != 0) {
                return Err(DecodeError::NumberOutOfRange);
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub(crate) fn take_discriminant(&mut self) -> Result<u32, DecodeError> {
        u32::decode(self)
    }

    /// A length of `min_len`-byte items. What is announced but has not arrived is not allocated.
    fn take_len(&mut self, min_len: usize) -> Result<usize, DecodeError> {
        let len = usize::try_from(self.take_varint(64)?)
            .ok()
            .filter(|len| {
                len.checked_mul(min_len)
                    .is_some_and(|bytes| bytes <= self.limit)
            })
            .ok_or(DecodeError::TooLong(self.limit))?;
        match (len * min_len).checked_sub(self.input.len()) {
            None | Some(0) => Ok(len),
            Some(missing) => Err(DecodeError::Incomplete(missing)),
        }
    }

    pub(crate) fn take_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.take_len(1)?;
        self.take(len)
    }

    fn take_str(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.take_bytes()?).map_err(|_| DecodeError::NotUtf8)
    }
}

impl Wire for u8 {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        out.put(&[*self]);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.take_byte()
    }
}

macro_rules! wire_varint {
    ($($int:ty),*) => {$(
        impl Wire for $int {
            const MIN_LEN: usize = 1;

            fn encode(&self, out: &mut Writer) {
                out.put_varint(u64::from(*self));
            }

            fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let value = input.take_varint(Self::BITS)?;
                Self::try_from(value).map_err(|_| DecodeError::NumberOutOfRange)
            }
        }
    )*};
}

wire_varint!(u16, u32, u64);

impl Wire for bool {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        out.put(&[u8::from(*self)]);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.take_byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::NotABool(other)),
        }
    }
}

impl Wire for String {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        out.put_bytes(self.as_bytes());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.take_str().map(str::to_owned)
    }
}

impl Wire for Pin {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        out.put_bytes(self.expose().as_bytes());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(input.take_str()?.to_owned()).map_err(|_| DecodeError::EmptyPin)
    }
}

impl<T: Wire> Wire for Vec<T> {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.len() as u64);
        for item in self {
            item.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = input.take_len(T::MIN_LEN)?;
        let mut items = Self::new();
        for left in (0..len).rev() {
            let item = T::decode(input).map_err(|error| match error {
                // Counting the items behind this one keeps the decoder from trying at each byte.
                DecodeError::Incomplete(n) => DecodeError::Incomplete(n + left * T::MIN_LEN),
                other => other,
            })?;
            items.push(item);
        }
        Ok(items)
    }
}

impl<T: Wire> Wire for Option<T> {
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Writer) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if !bool::decode(input)? {
            return Ok(None);
        }
        match T::decode(input) {
            // An empty value counts as unset, in a frame as in the configuration.
            Err(DecodeError::EmptyPin) => Ok(None),
            other => other.map(Some),
        }
    }
}

/// Declares a struct whose fields stand on the wire in the order they are written here.
macro_rules! wire_struct {
    ($(
        $(#[$meta:meta])*
        $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $crate::codec::Wire for $name {
            const MIN_LEN: usize = 0 $(+ <$type as $crate::codec::Wire>::MIN_LEN)*;

            fn encode(&self, out: &mut $crate::codec::Writer) {
                $($crate::codec::Wire::encode(&self.$field, out);)*
            }

            fn decode(
                input: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                Ok(Self {
                    $($field: $crate::codec::Wire::decode(input)?,)*
                })
            }
        }
    )*};
}

/// Implements `encode_v1` and `decode_v1` for an enum of frames out of its table of
/// discriminants.
macro_rules! wire_frames {
    ($name:ident { $($number:literal => $variant:ident $(($type:ty))?,)* }) => {
        impl $name {
            fn encode_v1(&self, out: &mut $crate::codec::Writer) {
                match self {
                    $($crate::codec::wire_frames!(@pattern $variant value $($type)?) => {
                        out.put_varint($number);
                        $(<$type as $crate::codec::Wire>::encode(value, out);)?
                    })*
                    _ => {}
                }
            }

            fn decode_v1(
                input: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                match input.take_discriminant()? {
                    $($number => Ok(Self::$variant
                        $((<$type as $crate::codec::Wire>::decode(input)?))?),)*
                    other => Err($crate::codec::DecodeError::UnknownFrame(other)),
                }
            }
        }
    };
    (@pattern $variant:ident $value:ident) => { Self::$variant };
    (@pattern $variant:ident $value:ident $type:ty) => { Self::$variant($value) };
}

pub(crate) use {wire_frames, wire_struct};

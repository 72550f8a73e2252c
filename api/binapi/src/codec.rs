// SPDX-License-Identifier: Apache-2.0
//! How values look on the wire: packed, in the order of their definition, in network byte order, except for f64,
//! which is little-endian (clients insist on both).
//!
//! Decoding trusts nothing: a value is read only if its bytes are there, and a vector is made only if the bytes that
//! are left can hold as many elements as it claims to have. So no message makes its reader allocate more than a small
//! multiple of its own length.

pub use crate::text::Text;

/// Why a message cannot be read. Offsets count from the first byte after the header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("byte {at}: {left} bytes are left, {expected} or more expected")]
    Short { at: usize, left: usize, expected: u64 },
    #[error("byte {at}: text is not UTF-8")]
    NotUtf8 { at: usize },
}

/// Why a message cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("{what} has {found} elements: expected {most} at most")]
    TooMany { what: &'static str, found: usize, most: u64 },
}

/// Bytes that are being read.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some(bytes) = self.bytes.get(self.at..).and_then(|rest| rest.get(..length)) else {
            return Err(self.short(length as u64));
        };
        self.at += length;
        Ok(bytes)
    }

    fn short(&self, expected: u64) -> DecodeError {
        DecodeError::Short { at: self.at, left: self.left(), expected }
    }
}

/// A value with a form on the wire.
pub trait Wire: Sized {
    /// Fewest bytes a value takes.
    const LEAST: usize;

    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Reads a value.
    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

macro_rules! numbers {
    ($($type:ty: $to:ident $from:ident;)*) => {$(
        impl Wire for $type {
            const LEAST: usize = size_of::<$type>();

            fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                out.extend_from_slice(&self.$to());
                Ok(())
            }

            fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let mut bytes = [0; size_of::<$type>()];
                bytes.copy_from_slice(from.bytes(size_of::<$type>())?);
                Ok(Self::$from(bytes))
            }
        }
    )*};
}

numbers! {
    u8: to_be_bytes from_be_bytes;
    u16: to_be_bytes from_be_bytes;
    u32: to_be_bytes from_be_bytes;
    u64: to_be_bytes from_be_bytes;
    i8: to_be_bytes from_be_bytes;
    i16: to_be_bytes from_be_bytes;
    i32: to_be_bytes from_be_bytes;
    i64: to_be_bytes from_be_bytes;
    f64: to_le_bytes from_le_bytes;
}

impl Wire for bool {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        u8::from(*self).put(out)
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(u8::take(from)? != 0)
    }
}

impl<T: Wire + Default, const N: usize> Wire for [T; N] {
    const LEAST: usize = T::LEAST * N;

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_all(self, out)
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut values = std::array::from_fn(|_| T::default());
        for value in &mut values {
            *value = T::take(from)?;
        }
        Ok(values)
    }
}

/// `string x[]`: a length and the bytes.
impl Wire for String {
    const LEAST: usize = 4;

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_count::<u32>(self.len(), "a text", out)?;
        out.extend_from_slice(self.as_bytes());
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = u32::take(from)?;
        let at = from.at;
        let bytes = from.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8 { at })?;
        Ok(text.to_owned())
    }
}

/// Appends the number of elements in the width that the definition gives it.
pub fn put_count<T: Wire + TryFrom<usize>>(
    count: usize,
    what: &'static str,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let most = u64::MAX >> (64 - 8 * T::LEAST);
    T::try_from(count).map_err(|_| EncodeError::TooMany { what, found: count, most })?.put(out)
}

/// Appends the elements of an array.
pub fn put_all<T: Wire>(values: &[T], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    values.iter().try_for_each(|value| value.put(out))
}

/// Reads as many elements as were announced.
pub fn take_all<T: Wire>(count: u64, from: &mut Reader<'_>) -> Result<Vec<T>, DecodeError> {
    let expected = count.saturating_mul(T::LEAST as u64);
    if expected > from.left() as u64 {
        return Err(from.short(expected));
    }
    (0..count).map(|_| T::take(from)).collect()
}

/// Reads one case of a union.
pub(crate) fn read_arm<T: Wire>(bytes: &[u8]) -> T {
    // The compiler of definitions has made the union as long as its longest case, and cases have a fixed size.
    T::take(&mut Reader::new(bytes)).expect("a union holds each of its cases")
}

/// Writes one case of a union; the rest is zero.
pub(crate) fn write_arm<const N: usize>(value: &impl Wire) -> [u8; N] {
    let mut bytes = Vec::with_capacity(N);
    value.put(&mut bytes).expect("a case of a union has no count that could be too large");
    let mut arm = [0; N];
    arm[..bytes.len()].copy_from_slice(&bytes);
    arm
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: &impl Wire) -> Vec<u8> {
        let mut out = Vec::new();
        value.put(&mut out).unwrap();
        out
    }

    #[test]
    fn numbers_are_big_endian_and_floats_little() {
        assert_eq!(bytes(&0x0102_u16), [1, 2]);
        assert_eq!(bytes(&-2_i32), [255, 255, 255, 254]);
        assert_eq!(bytes(&1.0_f64), [0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(bytes(&[true, false]), [1, 0]);
        assert!(bool::take(&mut Reader::new(&[7])).unwrap());
    }

    #[test]
    fn texts_without_a_size_have_their_length_before_them() {
        assert_eq!(bytes(&"ab".to_owned()), [0, 0, 0, 2, b'a', b'b']);
        let short = String::take(&mut Reader::new(&[0, 0, 0, 9, b'a']));
        assert_eq!(short, Err(DecodeError::Short { at: 4, left: 1, expected: 9 }));
        let odd = String::take(&mut Reader::new(&[0, 0, 0, 1, 0xff]));
        assert_eq!(odd, Err(DecodeError::NotUtf8 { at: 4 }));
    }

    #[test]
    fn what_is_announced_must_be_there() {
        let short = take_all::<u32>(u64::from(u32::MAX), &mut Reader::new(&[0; 64]));
        assert_eq!(short, Err(DecodeError::Short { at: 0, left: 64, expected: 4 * u64::from(u32::MAX) }));
        assert_eq!(take_all::<u16>(2, &mut Reader::new(&[0, 1, 0, 2])).unwrap(), [1, 2]);
    }

    #[test]
    fn counts_fit_their_field() {
        let error = put_count::<u8>(256, "IpRoute.paths", &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "IpRoute.paths has 256 elements: expected 255 at most");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! `string x[N]`: a text in a field of fixed size.

use std::fmt;

use crate::codec::{DecodeError, EncodeError, Reader, Wire};

/// Up to N-1 characters of ASCII, and zeros.
///
/// A client that receives anything but ASCII here loses its reader thread, so what cannot be said becomes `?`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// As much of `text` as there is room for.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; N];
        for (byte, c) in bytes.iter_mut().zip(text.chars().take(N.saturating_sub(1))) {
            *byte = if c.is_ascii() && c != '\0' { c as u8 } else { b'?' };
        }
        Self(bytes)
    }

    /// The characters before the first zero; `None` if they are not ASCII.
    pub fn get(&self) -> Option<&str> {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(N);
        std::str::from_utf8(&self.0[..end]).ok().filter(|text| text.is_ascii())
    }

    /// Has a zero after its characters, as definitions ask for.
    pub fn is_terminated(&self) -> bool {
        self.0.contains(&0)
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> From<&str> for Text<N> {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(N);
        write!(f, "{}", self.0[..end].escape_ascii())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<const N: usize> Wire for Text<N> {
    const LEAST: usize = N;

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(from.bytes(N)?);
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_and_ends_with_zero() {
        let text = Text::<4>::new("abcdef");
        assert_eq!((text.get(), text.is_terminated()), (Some("abc"), true));
        assert_eq!(Text::<8>::new("µs\0").get(), Some("?s?"));
    }

    #[test]
    fn what_arrives_may_be_anything() {
        let text = Text::<2>::take(&mut Reader::new(b"ab")).unwrap();
        assert_eq!((text.get(), text.is_terminated()), (Some("ab"), false));
        let text = Text::<2>::take(&mut Reader::new(&[0xff, 0])).unwrap();
        assert_eq!((text.get(), text.to_string().as_str()), (None, "\\xff"));
    }
}

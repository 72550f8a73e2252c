// SPDX-License-Identifier: Apache-2.0
//! A domain name, as options of neighbour discovery carry it (RFC 8106 section 5.2): labels of letters, digits, hyphens and underscores,
//! each with its length in front, and one of length 0 in the end (RFC 1035 section 3.1).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest text (RFC 1035 section 2.3.4: 255 bytes on the wire).
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A domain name, without the dot at its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DomainName(String);

/// Why a text is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "expected a domain name: labels of 1 to 63 letters, digits, '-' and '_', with dots between, 253 in all"
)]
pub struct NoDomainName;

impl FromStr for DomainName {
    type Err = NoDomainName;

    fn from_str(text: &str) -> Result<DomainName, NoDomainName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_label = |label: &str| (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(is_part);
        match text.len() <= LONGEST && text.split('.').all(is_label) {
            true => Ok(DomainName(text.to_ascii_lowercase())),
            false => Err(NoDomainName),
        }
    }
}

impl DomainName {
    /// Bytes on the wire.
    pub fn wire_length(&self) -> usize {
        self.0.len() + 2
    }

    /// Adds its labels to `bytes`.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        for label in self.0.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_labels_on_the_wire() {
        let name: DomainName = "Corp.example.".parse().unwrap();
        let mut bytes = Vec::new();
        name.write(&mut bytes);
        assert_eq!(bytes, b"\x04corp\x07example\0");
        assert_eq!((name.wire_length(), name.to_string()), (bytes.len(), "corp.example".to_owned()));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        assert!(long.parse::<DomainName>().is_ok());
        assert!([&*long, &long, &long, &long[..61]].join(".").parse::<DomainName>().is_ok(), "253 in all");
        assert!([&*long, &long, &long, &long[..62]].join(".").parse::<DomainName>().is_err());
        for text in ["", ".", "a..b", ".a", "a b", "ä", &longer] {
            assert_eq!(text.parse::<DomainName>(), Err(NoDomainName), "{text:?}");
        }
    }
}

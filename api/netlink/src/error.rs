// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with a netlink message, said so that whoever sent it can be found.

use thiserror::Error;

/// Why a message is not understood. Offsets count from the start of the message.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum NetlinkError {
    /// The message ends within a header.
    #[error("{what} at offset {offset}: found {found} bytes, expected at least {expected}")]
    Header {
        /// Which one.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// What is left of the message.
        found: usize,
        /// Its size.
        expected: usize,
    },
    /// `nlmsg_len` is not the length of the message.
    #[error("nlmsg_len is {found}: expected 16 to {expected}, the size of the frame")]
    MessageLength {
        /// As the header says.
        found: u32,
        /// As it arrived.
        expected: usize,
    },
    /// The length of an attribute does not fit what surrounds it.
    #[error("attribute {kind} at offset {offset} has the length {found}: expected 4 to {left}")]
    Attribute {
        /// Its number.
        kind: u16,
        /// Of its header.
        offset: usize,
        /// As its header says.
        found: usize,
        /// Bytes from its header to the end of what it is in.
        left: usize,
    },
    /// An attribute is too long or too short for what it holds.
    #[error("{what} at offset {offset}: found {found} bytes, expected {expected}")]
    Length {
        /// Its name.
        what: &'static str,
        /// Of its value.
        offset: usize,
        /// Bytes of the value.
        found: usize,
        /// What it should have.
        expected: &'static str,
    },
    /// A number that means nothing here.
    #[error("{what} at offset {offset}: found {found}, expected {expected}")]
    Value {
        /// Name of the field or attribute.
        what: &'static str,
        /// Where it is.
        offset: usize,
        /// What it is.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// An attribute that the message cannot do without.
    #[error("{message} without {what}")]
    Missing {
        /// What it is in, or rather is not.
        message: &'static str,
        /// Its name.
        what: &'static str,
    },
}

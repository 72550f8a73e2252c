// SPDX-License-Identifier: Apache-2.0
//! What messages are to each other: requests and their replies, dumps and their details, events.
//!
//! The traits are implemented by generated code only. A type without `client_index` and `context`: those are the
//! business of the connection.

use std::fmt::Debug;

use crate::codec::Wire;

/// What follows the id of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `client_index` and `context`.
    Request,
    /// `context`.
    Reply,
    /// `client_index`.
    Event,
    /// Nothing.
    Other,
}

/// What a message is answered with, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Request {
        reply: &'static str,
        events: &'static [&'static str],
    },
    Dump {
        details: &'static str,
    },
    Stream {
        details: &'static str,
        reply: &'static str,
    },
    /// An answer, or something that nobody answers.
    Alone,
}

/// What is known of a message without its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageInfo {
    pub name: &'static str,
    pub crc: u32,
    pub class: Class,
    pub role: Role,
    /// Fewest bytes after the header.
    pub least: usize,
    /// Where `retval` is, from the end of the header.
    pub retval_at: Option<usize>,
}

impl MessageInfo {
    /// Name and CRC, by which clients look for the message.
    pub fn key(&self) -> String {
        format!("{}_{:08x}", self.name, self.crc)
    }
}

/// One `.api` file.
#[derive(Debug)]
pub struct ModuleInfo {
    pub name: &'static str,
    pub crc: u32,
    pub version: [u32; 3],
    /// Where clients look for its `.api.json` file: `core` or `plugins`.
    pub folder: &'static str,
    /// The `.api.json` file.
    pub json: &'static str,
    /// In the order of their ids.
    pub messages: &'static [MessageInfo],
}

impl ModuleInfo {
    /// Name and CRC, by which clients look for the first id.
    pub fn key(&self) -> String {
        format!("{}_{:08x}", self.name, self.crc)
    }
}

/// A message, without its header.
pub trait Message: Wire + Default + Clone + Debug + PartialEq + 'static {
    const INFO: MessageInfo;
}

/// Is answered by one message.
pub trait Request: Message {
    type Reply: Reply;
}

/// Answers a request, or ends a stream.
pub trait Reply: Message {
    /// 0, or what went wrong ([`crate::Retval`]). 0 if the message has no field for it.
    fn retval(&self) -> i32;

    /// What is sent when there is nothing to say but the return value: interfaces and indices are all ones.
    fn failure(retval: i32) -> Self;
}

/// Is answered by any number of messages, and by nothing that ends them.
pub trait Dump: Message {
    type Details: Message;
}

/// Is answered by any number of messages and a reply.
pub trait Stream: Message {
    type Details: Message;
    type Reply: Reply;
}

/// A stream that comes in pieces: the reply says where to go on.
pub trait Cursor: Stream {
    fn cursor(&self) -> u32;
    fn set_cursor(&mut self, cursor: u32);
    /// The reply with these fields.
    fn reply(retval: i32, cursor: u32) -> Self::Reply;
    /// The cursor that a reply holds.
    fn next(reply: &Self::Reply) -> u32;
}

/// Comes unasked, once somebody has asked for it.
pub trait Event: Message {}

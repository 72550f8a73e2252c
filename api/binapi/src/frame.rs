// SPDX-License-Identifier: Apache-2.0
//! A stream socket carries no messages, so each goes into a frame: 16 bytes, of which only a length means anything,
//! then the message. Both sides of a connection work with what is here.

use crate::codec::{EncodeError, Reader, Wire};
use crate::message::{Class, Message, MessageInfo};

/// Bytes before each message; those at 8 to 12 are its length, the rest is zero.
pub const HEADER: usize = 16;

/// Number of a message in the table that the server hands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u16);

/// Opaque to the server, which sends it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context(pub u32);

/// How a client calls itself, having been told by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientIndex(pub u32);

/// What stands before the body of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    pub id: MessageId,
    /// Zero where the class has none.
    pub client: ClientIndex,
    /// Zero where the class has none.
    pub context: Context,
}

impl Envelope {
    /// Reads what the class of a message puts before its body, and returns the body too. `None`: too short.
    pub fn split(class: Class, message: &[u8]) -> Option<(Self, &[u8])> {
        let mut from = Reader::new(message);
        let id = MessageId(u16::take(&mut from).ok()?);
        let client = matches!(class, Class::Request | Class::Event);
        let client = if client { u32::take(&mut from).ok()? } else { 0 };
        let context = matches!(class, Class::Request | Class::Reply);
        let context = if context { u32::take(&mut from).ok()? } else { 0 };
        let body = from.bytes(from.left()).ok()?;
        Some((Self { id, client: ClientIndex(client), context: Context(context) }, body))
    }

    /// Appends a frame. Nothing is appended if the message cannot be written.
    pub fn frame<M: Message>(self, message: &M, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let written = self.write(message, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn write<M: Message>(self, message: &M, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = self.begin(M::INFO.class, out)?;
        message.put(out)?;
        finish(M::INFO.name, start, out)
    }

    /// Appends a frame around a body that was written before its id was known.
    pub fn frame_body(self, info: &MessageInfo, body: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = self.begin(info.class, out)?;
        out.extend_from_slice(body);
        finish(info.name, start, out)
    }

    /// Appends what stands before a body; says where.
    fn begin(self, class: Class, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        self.id.0.put(out)?;
        match class {
            Class::Request => [self.client.0, self.context.0].put(out)?,
            Class::Reply => self.context.0.put(out)?,
            Class::Event => self.client.0.put(out)?,
            Class::Other => {}
        }
        Ok(start)
    }
}

/// Fills in the length of a frame.
fn finish(what: &'static str, start: usize, out: &mut [u8]) -> Result<(), EncodeError> {
    let found = out.len() - start - HEADER;
    let most = u32::MAX;
    let length = u32::try_from(found).map_err(|_| EncodeError::TooMany { what, found, most: most.into() })?;
    out[start + 8..start + 12].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A frame says that it is longer than the reader will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {found} bytes: expected {most} at most")]
pub struct TooLong {
    pub found: u32,
    pub most: u32,
}

/// Bytes that are kept at hand for the next message.
const KEPT: usize = 64 << 10;

/// Bytes as they come, messages as they are complete. Holds no more than about twice what has arrived.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
    most: u32,
}

impl Frames {
    /// Takes messages of `most` bytes at most.
    pub fn new(most: u32) -> Self {
        Self { buffer: Vec::new(), start: 0, most }
    }

    /// Where bytes from the socket are appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.buffer.drain(..self.start);
        self.start = 0;
        // One long message does not cost its memory for as long as the client stays.
        if self.buffer.capacity() > KEPT && self.buffer.len() < KEPT / 2 {
            self.buffer.shrink_to(KEPT);
        }
        &mut self.buffer
    }

    /// Bytes of memory that are held.
    pub fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether a part of a message has arrived.
    pub fn is_halfway(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// The next message that is complete. A frame without a message is skipped.
    pub fn take(&mut self) -> Result<Option<&[u8]>, TooLong> {
        loop {
            let mut from = Reader::new(&self.buffer[self.start..]);
            let (Ok(_), Ok(length), Ok(_)) = (from.bytes(8), u32::take(&mut from), from.bytes(4)) else {
                return Ok(None);
            };
            if length > self.most {
                return Err(TooLong { found: length, most: self.most });
            }
            let start = self.start + HEADER;
            let end = start + length as usize;
            if end > self.buffer.len() {
                return Ok(None);
            }
            self.start = end;
            if length > 0 {
                return Ok(Some(&self.buffer[start..end]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::interface::SwInterfaceSetFlags;
    use crate::api::interface_types::{IfStatusFlags, InterfaceIndex};
    use crate::api::memclnt::{ControlPing, ControlPingReply, SockclntCreate};

    fn frame<M: Message>(id: u16, client: u32, context: u32, message: &M) -> Vec<u8> {
        let mut out = Vec::new();
        let envelope = Envelope { id: MessageId(id), client: ClientIndex(client), context: Context(context) };
        envelope.frame(message, &mut out).unwrap();
        out
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn recorded_frames() {
        assert_eq!(
            hex(&frame(15, 0, 124, &SockclntCreate { name: "demo".into() })),
            format!("00000000000000000000004600000000000f0000007c64656d6f{}", "00".repeat(60))
        );
        let client = 0x8000_0001;
        assert_eq!(
            hex(&frame(23, client, 1, &ControlPing {})),
            "00000000000000000000000a0000000000178000000100000001"
        );
        let reply = ControlPingReply { retval: 0, client_index: client, vpe_pid: 4242 };
        assert_eq!(
            hex(&frame(24, 0, 1, &reply)),
            "0000000000000000000000120000000000180000000100000000800000010000".to_owned() + "1092"
        );
        let set = SwInterfaceSetFlags { sw_if_index: InterfaceIndex(5), flags: IfStatusFlags::ADMIN_UP };
        assert_eq!(
            hex(&frame(399, client, 2, &set)),
            "00000000000000000000001200000000018f80000001000000020000000500000001"
        );
    }

    #[test]
    fn frames_come_in_pieces() {
        let mut bytes = frame(23, 1, 2, &ControlPing {});
        bytes.extend([0; HEADER]);
        bytes.extend(frame(23, 1, 3, &ControlPing {}));
        let mut frames = Frames::new(1024);
        let mut contexts = Vec::new();
        for byte in bytes {
            frames.buffer().push(byte);
            while let Some(message) = frames.take().unwrap() {
                let (envelope, body) = Envelope::split(Class::Request, message).unwrap();
                assert_eq!((envelope.id, body), (MessageId(23), [].as_slice()));
                contexts.push(envelope.context.0);
            }
        }
        assert_eq!(contexts, [2, 3]);
        assert!(frames.buffer().is_empty());
    }

    #[test]
    fn a_frame_that_is_too_long_is_not_waited_for() {
        let mut frames = Frames::new(64);
        frames.buffer().extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 65, 0, 0, 0, 0]);
        assert_eq!(frames.take(), Err(TooLong { found: 65, most: 64 }));
    }

    #[test]
    fn short_messages_have_no_envelope() {
        assert_eq!(Envelope::split(Class::Other, &[0]), None);
        assert_eq!(Envelope::split(Class::Reply, &[0, 1, 0, 0, 0]), None);
        assert!(Envelope::split(Class::Reply, &[0, 1, 0, 0, 0, 9]).is_some());
    }
}

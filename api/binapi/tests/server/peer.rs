// SPDX-License-Identifier: Apache-2.0
//! A client made of a blocking socket, which can misbehave.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use weft_binapi::Message;
use weft_binapi::api::memclnt::{ControlPing, ControlPingReply, SockclntCreate, SockclntCreateReply};
use weft_binapi::api::vlib::{CliInband, CliInbandReply};
use weft_binapi::codec::Reader;
use weft_binapi::frame::{ClientIndex, Context, Envelope, HEADER, MessageId};
use weft_binapi::message::Request;

use crate::daemon::Daemon;

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Peer {
    pub stream: UnixStream,
    pub index: ClientIndex,
    pub table: HashMap<String, MessageId>,
    context: u32,
}

impl Peer {
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, index: ClientIndex(0), table: HashMap::new(), context: 0 }
    }

    pub fn handshake(&mut self, name: &str) {
        let envelope = Envelope { id: MessageId(15), client: ClientIndex(0), context: Context(124) };
        let mut frame = Vec::new();
        envelope.frame(&SockclntCreate { name: name.into() }, &mut frame).unwrap();
        self.stream.write_all(&frame).unwrap();
        let message = self.receive_raw().expect("an answer to the handshake");
        let (envelope, reply) = decode::<SockclntCreateReply>(&message);
        assert_eq!((envelope.id, envelope.context, reply.response), (MessageId(16), Context(124), 0));
        self.index = ClientIndex(reply.index);
        let entries = reply.message_table.iter();
        self.table =
            entries.map(|entry| (entry.name.get().unwrap().to_owned(), MessageId(entry.index))).collect();
    }

    pub fn id<M: Message>(&self) -> MessageId {
        *self.table.get(&M::INFO.key()).unwrap_or_else(|| panic!("{} is not offered", M::INFO.key()))
    }

    pub fn frame<M: Message>(&self, context: u32, message: &M) -> Vec<u8> {
        let envelope = Envelope { id: self.id::<M>(), client: self.index, context: Context(context) };
        let mut frame = Vec::new();
        envelope.frame(message, &mut frame).unwrap();
        frame
    }

    pub fn send<M: Message>(&mut self, context: u32, message: &M) {
        let frame = self.frame(context, message);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next message, or `None` at the end.
    pub fn receive_raw(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes(header[8..12].try_into().unwrap());
        let mut message = vec![0; length as usize];
        self.stream.read_exact(&mut message).ok()?;
        Some(message)
    }

    /// The next message, which must be of a type.
    pub fn receive<M: Message>(&mut self) -> (u32, M) {
        let message =
            self.receive_raw().unwrap_or_else(|| panic!("expected {}, found the end", M::INFO.name));
        let (envelope, body) = decode::<M>(&message);
        let found = self.table.iter().find(|(_, id)| **id == envelope.id);
        assert_eq!(found.map(|(key, _)| key.as_str()), Some(M::INFO.key().as_str()));
        (envelope.context.0, body)
    }

    pub fn call<M: Request>(&mut self, message: &M) -> M::Reply {
        self.context += 1;
        let context = self.context;
        self.send(context, message);
        let (echoed, reply) = self.receive::<M::Reply>();
        assert_eq!(echoed, context);
        reply
    }

    pub fn cli(&mut self, command: &str) -> CliInbandReply {
        self.call(&CliInband { cmd: format!("{command}\n") })
    }

    pub fn ping(&mut self) {
        let reply = self.call(&ControlPing {});
        let expected =
            ControlPingReply { retval: 0, client_index: self.index.0, vpe_pid: std::process::id() };
        assert_eq!(reply, expected);
    }

    /// The server has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // Reset instead of closed if it had not read all that was sent.
        self.stream.read_to_end(&mut rest).map_or_else(|error| error.raw_os_error() == Some(104), |_| true)
    }
}

impl Daemon {
    pub fn client(&self, name: &str) -> Peer {
        let mut peer = Peer::connect(&self.path);
        peer.handshake(name);
        peer
    }
}

pub fn decode<M: Message>(message: &[u8]) -> (Envelope, M) {
    let (envelope, body) = Envelope::split(M::INFO.class, message).unwrap();
    let mut from = Reader::new(body);
    let message = M::take(&mut from).unwrap();
    assert_eq!(from.left(), 0, "{}", M::INFO.name);
    (envelope, message)
}

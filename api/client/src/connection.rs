// SPDX-License-Identifier: Apache-2.0
//! One connection: the handshake, and messages in both directions.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use weft_binapi::api::MODULES;
use weft_binapi::api::memclnt::{SockclntCreate, SockclntCreateReply};
use weft_binapi::codec::{Reader, Wire};
use weft_binapi::frame::{ClientIndex, Context, Envelope, Frames, MessageId};
use weft_binapi::message::{Message, MessageInfo};

use crate::error::Error;

/// These two are the same everywhere, for the table comes with the second.
const SOCKCLNT_CREATE: MessageId = MessageId(15);
const SOCKCLNT_CREATE_REPLY: MessageId = MessageId(16);
const HANDSHAKE: Context = Context(1);

/// Bytes that are asked for at once.
const READ: usize = 64 << 10;

/// The messages that both sides know, and what the daemon calls this client.
#[derive(Debug, Default)]
pub struct Table {
    pub client: ClientIndex,
    ids: HashMap<&'static str, MessageId>,
    infos: HashMap<MessageId, &'static MessageInfo>,
}

impl Table {
    fn new(reply: &SockclntCreateReply) -> Self {
        let all = MODULES.iter().flat_map(|module| module.messages);
        let known: HashMap<String, &'static MessageInfo> = all.map(|info| (info.key(), info)).collect();
        let mut table = Self { client: ClientIndex(reply.index), ..Self::default() };
        for entry in &reply.message_table {
            if let Some(info) = entry.name.get().and_then(|name| known.get(name)) {
                table.ids.insert(info.name, MessageId(entry.index));
                table.infos.insert(MessageId(entry.index), info);
            }
        }
        table
    }

    pub fn id(&self, info: &MessageInfo) -> Result<MessageId, Error> {
        self.ids.get(info.name).copied().ok_or_else(|| Error::NotOffered(info.key()))
    }

    pub fn info(&self, id: MessageId) -> Option<&'static MessageInfo> {
        self.infos.get(&id).copied()
    }
}

/// Reads messages.
pub struct Incoming<R> {
    stream: R,
    frames: Frames,
}

impl<R: AsyncReadExt + Unpin> Incoming<R> {
    pub fn new(stream: R) -> Self {
        // Of the daemon's messages any length is believed: memory is taken only for what has arrived.
        Self { stream, frames: Frames::new(u32::MAX) }
    }

    /// The next message.
    pub async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.frames.take() {
                Ok(Some(message)) => return Ok(message.to_vec()),
                Ok(None) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            let buffer = self.frames.buffer();
            buffer.reserve(READ);
            if self.stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Connects and introduces itself.
pub async fn connect(path: &Path, name: &str) -> Result<(UnixStream, Table), Error> {
    let failed = |source| Error::Connect { path: path.to_owned(), source };
    let mut stream = UnixStream::connect(path).await.map_err(failed)?;
    let envelope = Envelope { id: SOCKCLNT_CREATE, client: ClientIndex(0), context: HANDSHAKE };
    let mut frame = Vec::new();
    let create = SockclntCreate { name: name.into() };
    let message = SockclntCreate::INFO.name;
    envelope.frame(&create, &mut frame).map_err(|source| Error::Encode { message, source })?;
    stream.write_all(&frame).await.map_err(failed)?;
    // Nothing else comes before something else is sent, so nothing is lost with this buffer.
    let message = Incoming::new(&mut stream).next().await.map_err(failed)?;
    let reply = read_reply(&message).map_err(|found| Error::Handshake { path: path.to_owned(), found })?;
    Ok((stream, Table::new(&reply)))
}

fn read_reply(message: &[u8]) -> Result<SockclntCreateReply, String> {
    let (envelope, body) =
        Envelope::split(SockclntCreateReply::INFO.class, message).ok_or("a message that is too short")?;
    if envelope.id != SOCKCLNT_CREATE_REPLY {
        return Err(format!("message {}, expected {}", envelope.id.0, SOCKCLNT_CREATE_REPLY.0));
    }
    let reply = SockclntCreateReply::take(&mut Reader::new(body)).map_err(|error| error.to_string())?;
    match reply.response {
        0 => Ok(reply),
        response => Err(format!("refused with {response}")),
    }
}

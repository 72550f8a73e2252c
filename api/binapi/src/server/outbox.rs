// SPDX-License-Identifier: Apache-2.0
//! What waits to be read by a client.

use std::cell::RefCell;
use std::io;

use tokio::net::UnixStream;
use tokio::sync::Notify;

use crate::codec::EncodeError;
use crate::frame::Envelope;
use crate::message::Message;

/// Memory that is kept for the next answers.
const KEPT: usize = 64 << 10;

#[derive(Debug, Default)]
pub struct Outbox {
    queue: RefCell<Queue>,
    /// Something was put in.
    filled: Notify,
    /// Something was sent.
    drained: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// How many of them are gone.
    sent: usize,
    messages: u64,
}

impl Outbox {
    /// Puts a message after all others.
    pub fn push<M: Message>(&self, envelope: Envelope, message: &M) -> Result<(), EncodeError> {
        let mut queue = self.queue.borrow_mut();
        envelope.frame(message, &mut queue.bytes)?;
        queue.messages += 1;
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts bytes that are a frame after all others.
    pub fn push_frame(&self, frame: &[u8]) {
        let mut queue = self.queue.borrow_mut();
        queue.bytes.extend_from_slice(frame);
        queue.messages += 1;
        drop(queue);
        self.filled.notify_one();
    }

    /// Bytes that wait.
    pub fn backlog(&self) -> usize {
        let queue = self.queue.borrow();
        queue.bytes.len() - queue.sent
    }

    /// Messages that were ever put in.
    pub fn messages(&self) -> u64 {
        self.queue.borrow().messages
    }

    /// Waits until no more than `bytes` wait.
    pub async fn drained_to(&self, bytes: usize) {
        while self.backlog() > bytes {
            self.drained.notified().await;
        }
    }

    /// Sends what there is, for as long as the client takes it.
    pub async fn send_all(&self, stream: &UnixStream) -> io::Error {
        loop {
            if self.backlog() == 0 {
                self.filled.notified().await;
                continue;
            }
            if let Err(error) = stream.writable().await {
                return error;
            }
            let written = {
                let queue = self.queue.borrow();
                stream.try_write(&queue.bytes[queue.sent..])
            };
            match written {
                Ok(written) => self.forget(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return error,
            }
        }
    }

    fn forget(&self, written: usize) {
        let mut queue = self.queue.borrow_mut();
        queue.sent += written;
        if queue.sent == queue.bytes.len() {
            queue.bytes.clear();
            queue.bytes.shrink_to(KEPT);
            queue.sent = 0;
        } else if queue.sent > queue.bytes.len() / 2 {
            // Half of the bytes are moved for each half that is gone: every byte moves once or twice.
            let sent = std::mem::take(&mut queue.sent);
            queue.bytes.drain(..sent);
        }
        drop(queue);
        self.drained.notify_one();
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The same client for programs without a runtime. The connection lives on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use weft_binapi::message::{Cursor, Dump, Event, Request};

use crate::batch::{Applied, Batch};
use crate::client::{Notice, Options};
use crate::error::Error;

/// A connection to a dataplane. Must not be used from within a tokio runtime.
#[derive(Clone)]
pub struct Client {
    runtime: Arc<Runtime>,
    client: crate::Client,
}

impl Client {
    /// See [`crate::Client::connect`].
    pub fn connect(path: impl Into<PathBuf>, options: Options) -> Result<Self, Error> {
        let path = path.into();
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("weft-client").enable_all().build();
        let runtime = runtime.map_err(|source| Error::Connect { path: path.clone(), source })?;
        let client = runtime.block_on(crate::Client::connect(path, options))?;
        Ok(Self { runtime: Arc::new(runtime), client })
    }

    /// See [`crate::Client::request`].
    pub fn request<M: Request>(&self, message: &M) -> Result<M::Reply, Error> {
        self.runtime.block_on(self.client.request(message))
    }

    /// See [`crate::Client::dump`].
    pub fn dump<M: Dump>(&self, message: &M) -> Result<Vec<M::Details>, Error> {
        self.runtime.block_on(self.client.dump(message))
    }

    /// See [`crate::Client::stream`].
    pub fn stream<M: Cursor>(&self, message: &M) -> Result<Vec<M::Details>, Error> {
        self.runtime.block_on(self.client.stream(message))
    }

    /// See [`crate::Client::subscribe`].
    pub fn subscribe<M: Request, E: Event>(&self, message: &M) -> Result<Events<E>, Error> {
        let events = self.runtime.block_on(self.client.subscribe(message))?;
        Ok(Events { runtime: Arc::clone(&self.runtime), events })
    }

    /// See [`crate::Client::commit`].
    pub fn commit(&self, batch: Batch) -> Result<Applied, Error> {
        self.runtime.block_on(self.client.commit(batch))
    }

    /// See [`crate::Client::try_out`].
    pub fn try_out(&self, batch: Batch) -> Result<Applied, Error> {
        self.runtime.block_on(self.client.try_out(batch))
    }
}

/// Events of a type.
pub struct Events<E> {
    runtime: Arc<Runtime>,
    events: crate::Events<E>,
}

impl<E: Event> Events<E> {
    /// Waits for the next, for `patience` at most; `None` if none came.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Notice<E>>, Error> {
        self.runtime.block_on(async { timeout(patience, self.events.next()).await.ok().transpose() })
    }
}

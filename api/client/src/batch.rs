// SPDX-License-Identifier: Apache-2.0
//! Many changes as one: all of them or none.

use std::fmt;

use weft_binapi::Retval;
use weft_binapi::api::weft_batch::{
    WeftBatchBegin, WeftBatchBeginReply, WeftBatchCommit, WeftBatchCommitReply, WeftBatchFlags,
    WeftBatchResultDetails,
};
use weft_binapi::message::{Message, Request};

use crate::client::Client;
use crate::driver::Outgoing;
use crate::error::Error;

/// Changes that are sent together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    items: Vec<Outgoing>,
}

/// What has come of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Changes that have been made; none in a dry run.
    pub items: u32,
}

/// A batch that was refused. Nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub retval: Retval,
    /// Items that did not go well, by their number in the batch, from 0.
    pub failed: Vec<(u32, Retval)>,
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the batch was refused: {}", self.retval)?;
        match self.failed.as_slice() {
            [] => Ok(()),
            [(item, _)] => write!(f, ", item {item}"),
            [(item, _), rest @ ..] => write!(f, ", item {item} and {} more", rest.len()),
        }
    }
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a change.
    pub fn add<M: Request>(&mut self, message: &M) -> Result<(), Error> {
        self.items.push(Outgoing::new(message)?);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl Client {
    /// Makes all changes of a batch, or none of them.
    pub async fn commit(&self, batch: Batch) -> Result<Applied, Error> {
        self.send_batch(batch, WeftBatchFlags(0)).await
    }

    /// Finds out whether a batch would be refused, and why, without changing anything.
    pub async fn try_out(&self, batch: Batch) -> Result<Applied, Error> {
        self.send_batch(batch, WeftBatchFlags::DRY_RUN).await
    }

    async fn send_batch(&self, batch: Batch, flags: WeftBatchFlags) -> Result<Applied, Error> {
        // One after the other, so that nothing of another task becomes part of it.
        let begin = Outgoing::new(&WeftBatchBegin { flags: flags | WeftBatchFlags::QUIET })?;
        let mut messages = vec![begin];
        messages.extend(batch.items);
        messages.push(Outgoing::new(&WeftBatchCommit {})?);
        let mut answers = self.ask(messages, WeftBatchCommitReply::INFO).await?;
        let mut failed = Vec::new();
        loop {
            let answer = answers.next::<WeftBatchCommit>().await?;
            if answer.is::<WeftBatchResultDetails>() {
                let WeftBatchResultDetails { item, retval, .. } = answer.read()?;
                failed.extend(Retval::new(retval).map(|retval| (item, retval)));
            } else if answer.is::<WeftBatchBeginReply>() {
                let WeftBatchBeginReply { retval } = answer.read()?;
                if let Some(retval) = Retval::new(retval) {
                    return Err(Error::Retval { message: WeftBatchBegin::INFO.name, retval });
                }
            } else if answer.is::<WeftBatchCommitReply>() {
                let WeftBatchCommitReply { retval, applied, .. } = answer.read()?;
                return match Retval::new(retval) {
                    None => Ok(Applied { items: applied }),
                    Some(retval) => Err(Refused { retval, failed }.into()),
                };
            }
            // What is left are refusals of items, which the results tell of.
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Many changes as one. What a client sends between begin and commit is kept as it came; the commit carries it out in
//! one transaction, and takes all of it back if one item fails.
//!
//! A batch of a million items takes longer than others can wait, so it is carried out in slices. Until it is done,
//! messages of others that change something wait; those that only look are answered.

use std::time::Instant;

use tokio::task::yield_now;

use crate::api::weft_batch::{
    WeftBatchAbort, WeftBatchAbortReply, WeftBatchBegin, WeftBatchBeginReply, WeftBatchCommit,
    WeftBatchCommitReply, WeftBatchFlags, WeftBatchResultDetails,
};
use crate::codec::{DecodeError, Reader, Wire};
use crate::frame::{Context, Envelope};
use crate::message::{Message, Reply};
use crate::retval::Retval;

use super::connection::Connection;
use super::registry::{BatchStep, Handler, Host, Mode, Question, Registry, Transactional};
use super::{Clients, Options};

/// Changes that wait for their commit.
pub(super) struct Batch {
    flags: WeftBatchFlags,
    items: Vec<Item>,
    /// Bodies, one behind the other.
    bytes: Vec<u8>,
    /// Items that were refused when they came.
    spoilt: bool,
}

struct Item {
    envelope: Envelope,
    /// Where the body ends.
    end: usize,
    /// 0, or why it was refused.
    retval: i32,
}

pub(super) fn messages<S: Transactional>(registry: &mut Registry<S>) {
    registry.put::<WeftBatchBegin>(Handler::Batch(BatchStep::Begin));
    registry.put::<WeftBatchCommit>(Handler::Batch(BatchStep::Commit));
    registry.put::<WeftBatchAbort>(Handler::Batch(BatchStep::Abort));
}

impl Batch {
    pub fn is_quiet(&self) -> bool {
        self.flags.contains(WeftBatchFlags::QUIET)
    }

    /// Keeps a change, or says why not.
    pub fn keep(&mut self, envelope: Envelope, body: &[u8], options: &Options) -> Result<(), Retval> {
        if self.items.len() >= options.batch_items || self.bytes.len() + body.len() > options.batch_bytes {
            // It will not be carried out, so what else comes is not worth keeping.
            self.spoilt = true;
            return Err(Retval::LIMIT_EXCEEDED);
        }
        self.bytes.extend_from_slice(body);
        self.items.push(Item { envelope, end: self.bytes.len(), retval: 0 });
        Ok(())
    }

    /// Notes an item that cannot be carried out.
    pub fn spoil(&mut self, envelope: Envelope, retval: Retval) {
        self.spoilt = true;
        self.items.push(Item { envelope, end: self.bytes.len(), retval: retval.get() });
    }
}

/// A transaction that is taken back unless it is finished, also when the connection ends in the middle.
struct Open<'a, H: Host> {
    host: &'a H,
    clients: &'a Clients,
    transaction: Option<<H::State as Transactional>::Transaction>,
}

impl<'a, H: Host> Open<'a, H> {
    fn new(host: &'a H, clients: &'a Clients) -> Self {
        clients.set_batch_in_progress(true);
        Self { host, clients, transaction: Some(host.with(Transactional::begin)) }
    }

    fn commit(mut self) -> Result<(), Retval> {
        match self.transaction.take() {
            Some(transaction) => self.host.with(|state| state.commit(transaction)),
            None => Ok(()),
        }
    }
}

impl<H: Host> Drop for Open<'_, H> {
    fn drop(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.host.with(|state| state.roll_back(transaction));
        }
        self.clients.set_batch_in_progress(false);
    }
}

impl<H: Host> Connection<H> {
    pub(super) fn begin_batch(
        &self,
        question: Question<'_>,
        batch: &mut Option<Batch>,
    ) -> Result<(), DecodeError> {
        let WeftBatchBegin { flags } = WeftBatchBegin::take(&mut Reader::new(question.body))?;
        let retval = match batch {
            // The open one stays: the client may not have meant to lose it.
            Some(_) => Retval::RSRC_IN_USE.get(),
            None => {
                *batch = Some(Batch { flags, items: Vec::new(), bytes: Vec::new(), spoilt: false });
                0
            }
        };
        self.reply(question.envelope.context, &WeftBatchBeginReply { retval });
        Ok(())
    }

    pub(super) fn abort_batch(&self, envelope: Envelope, batch: Option<Batch>) {
        let retval = if batch.is_some() { 0 } else { Retval::NO_SUCH_ENTRY.get() };
        self.reply(envelope.context, &WeftBatchAbortReply { retval });
    }

    pub(super) async fn commit_batch(&self, envelope: Envelope, batch: Option<Batch>) {
        let context = envelope.context;
        let Some(mut batch) = batch else {
            let reply = WeftBatchCommitReply::failure(Retval::NO_SUCH_ENTRY.get());
            return self.reply(context, &reply);
        };
        let outcome = self.carry_out(&mut batch).await;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let first_failed = batch.items.iter().position(|item| item.retval != 0);
        let dry = batch.flags.contains(WeftBatchFlags::DRY_RUN);
        let applied = if outcome.is_ok() && !dry { batch.items.len() } else { 0 };
        let failed = batch.items.iter().filter(|item| item.retval != 0).count();
        self.tell(&batch, context).await;
        let reply = WeftBatchCommitReply {
            retval: outcome.map_or_else(Retval::get, |()| 0),
            items: count(batch.items.len()),
            applied: count(applied),
            failed: count(failed),
            first_failed: first_failed.map_or(u32::MAX, count),
        };
        self.reply(context, &reply);
    }

    /// Tries all items, so that the client learns of everything that is wrong with them.
    async fn carry_out(&self, batch: &mut Batch) -> Result<(), Retval> {
        let _changing = self.clients.changing().lock().await;
        let mut open = Open::new(&self.host, &self.clients);
        let (mut next, mut start) = (0, 0);
        while next < batch.items.len() {
            let turn = Instant::now();
            self.host.with(|state| {
                while next < batch.items.len() && turn.elapsed() < self.options.slice {
                    let item = &mut batch.items[next];
                    let body = &batch.bytes[start..item.end];
                    if item.retval == 0 {
                        item.retval = self.apply(state, open.transaction.as_mut(), item.envelope, body);
                    }
                    start = item.end;
                    next += 1;
                }
            });
            yield_now().await;
        }
        let failed = batch.items.iter().find(|item| item.retval != 0);
        match failed.and_then(|item| Retval::new(item.retval)) {
            Some(retval) => Err(retval),
            None if batch.spoilt => Err(Retval::LIMIT_EXCEEDED),
            None if batch.flags.contains(WeftBatchFlags::DRY_RUN) => Ok(()),
            None => open.commit(),
        }
    }

    fn apply(
        &self,
        state: &mut H::State,
        transaction: Option<&mut <H::State as Transactional>::Transaction>,
        envelope: Envelope,
        body: &[u8],
    ) -> i32 {
        let (Some(Handler::Change(change)), Some(transaction)) =
            (self.handlers.get(envelope.id), transaction)
        else {
            return Retval::BUG.get();
        };
        let question = Question { envelope, body };
        let applied = (change.apply)(state, Mode::Item(transaction), &self.session, question);
        applied.unwrap_or(Retval::INVALID_VALUE.get())
    }

    /// Sends the results of items.
    async fn tell(&self, batch: &Batch, context: Context) {
        let id = self.session.table.id(WeftBatchResultDetails::INFO.name);
        let all = batch.flags.contains(WeftBatchFlags::ALL_RESULTS);
        for (item, number) in batch.items.iter().zip(0..) {
            if item.retval == 0 && !all {
                continue;
            }
            let item_context = item.envelope.context.0;
            let details = WeftBatchResultDetails { item: number, item_context, retval: item.retval };
            self.session.answer(id, context, &details);
            self.session.outbox.drained_to(self.options.high_water).await;
        }
    }

    fn reply<R: Reply>(&self, context: Context, reply: &R) {
        self.session.reply(self.session.table.id(R::INFO.name), context, reply);
    }
}

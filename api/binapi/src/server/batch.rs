// SPDX-License-Identifier: Apache-2.0
//! Many changes as one. What a client sends between begin and commit is kept as it came; the commit carries it out in
//! one transaction, which changes nothing if one item is refused.
//!
//! A million messages take a while to read, so that is done in slices between which others have their turn: it changes
//! nothing. Then all of it is done in one step.

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

use super::Options;
use super::connection::Connection;
use super::registry::{BatchStep, Handler, Host, Purpose, Question, Refused, Registry, Transactional};

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
        let mut transaction = <H::State as Transactional>::Transaction::default();
        // How much was noted up to the end of each item.
        let mut noted = Vec::with_capacity(batch.items.len());
        let mut start = 0;
        while noted.len() < batch.items.len() {
            let turn = Instant::now();
            self.host.with(|state| {
                while let Some(item) = batch.items.get_mut(noted.len())
                    && turn.elapsed() < self.options.slice
                {
                    if item.retval == 0 {
                        let question =
                            Question { envelope: item.envelope, body: &batch.bytes[start..item.end] };
                        item.retval = self.note(state, &mut transaction, question);
                    }
                    start = item.end;
                    noted.push(H::State::noted(&transaction));
                }
            });
            yield_now().await;
        }
        let failed = batch.spoilt || batch.items.iter().any(|item| item.retval != 0);
        let dry = batch.flags.contains(WeftBatchFlags::DRY_RUN);
        let purpose = if failed || dry { Purpose::Try } else { Purpose::Make };
        let outcome = self.host.with(|state| state.commit(transaction, purpose));
        if let Err(Refused { notes, .. }) = &outcome {
            for (note, retval) in notes {
                let number = noted.partition_point(|noted| noted <= note);
                if let Some(item) = batch.items.get_mut(number).filter(|item| item.retval == 0) {
                    item.retval = retval.get();
                }
            }
        }
        let first = batch.items.iter().find_map(|item| Retval::new(item.retval));
        match (first, outcome) {
            (Some(retval), _) | (None, Err(Refused { retval, .. })) => Err(retval),
            (None, Ok(())) if batch.spoilt => Err(Retval::LIMIT_EXCEEDED),
            (None, Ok(())) => Ok(()),
        }
    }

    fn note(
        &self,
        state: &mut H::State,
        transaction: &mut <H::State as Transactional>::Transaction,
        question: Question<'_>,
    ) -> i32 {
        let Some(Handler::Change(change)) = self.handlers.get(question.envelope.id) else {
            return Retval::BUG.get();
        };
        match (change.note)(state, transaction, &self.session, question) {
            Ok(noted) => noted.map_or_else(Retval::get, |()| 0),
            Err(_) => Retval::INVALID_VALUE.get(),
        }
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

// SPDX-License-Identifier: Apache-2.0
//! Many changes as one. What a client sends between begin and commit is noted in a transaction as it comes, and does
//! nothing; the commit does all of it in one step, or nothing if one item is refused.

use crate::api::weft_batch::{
    WeftBatchAbort, WeftBatchAbortReply, WeftBatchBegin, WeftBatchBeginReply, WeftBatchCommit,
    WeftBatchCommitReply, WeftBatchFlags, WeftBatchResultDetails,
};
use crate::codec::{DecodeError, Reader, Wire};
use crate::frame::{Context, Envelope};
use crate::message::{Message, Reply};
use crate::retval::Retval;

use super::connection::Connection;
use super::registry::{
    BatchStep, Change, Handler, Host, Purpose, Question, Refused, Registry, Transactional,
};

/// Changes that wait for their commit.
pub(super) struct Batch<S: Transactional> {
    flags: WeftBatchFlags,
    transaction: S::Transaction,
    items: Vec<Item>,
    /// How many there may be.
    most: usize,
    /// Of the messages.
    bytes: usize,
    /// Items that were refused when they came.
    spoilt: bool,
}

struct Item {
    context: Context,
    /// How much of the transaction there is with it.
    noted: usize,
    /// 0, or why it was refused.
    retval: i32,
}

pub(super) fn messages<S: Transactional>(registry: &mut Registry<S>) {
    registry.put::<WeftBatchBegin>(Handler::Batch(BatchStep::Begin));
    registry.put::<WeftBatchCommit>(Handler::Batch(BatchStep::Commit));
    registry.put::<WeftBatchAbort>(Handler::Batch(BatchStep::Abort));
}

impl<S: Transactional> Batch<S> {
    fn new(transaction: S::Transaction, flags: WeftBatchFlags, most: usize) -> Self {
        Batch { flags, transaction, items: Vec::new(), most, bytes: 0, spoilt: false }
    }

    fn push(&mut self, envelope: Envelope, retval: i32) {
        let noted = S::noted(&self.transaction);
        self.items.push(Item { context: envelope.context, noted, retval });
    }

    /// Notes an item that cannot be carried out, if there is room: the batch fails without it, too.
    pub fn spoil(&mut self, envelope: Envelope, retval: Retval) {
        self.spoilt = true;
        if self.items.len() < self.most {
            self.push(envelope, retval.get());
        }
    }

    /// Tries all items, so that the client learns of everything that is wrong with them.
    fn commit(&mut self, state: &mut S) -> Result<(), Retval> {
        let dry = self.flags.contains(WeftBatchFlags::DRY_RUN);
        let purpose = if self.spoilt || dry { Purpose::Try } else { Purpose::Make };
        let outcome = state.commit(&self.transaction, purpose);
        if let Err(Refused { notes, .. }) = &outcome {
            for (note, retval) in notes {
                let number = self.items.partition_point(|item| item.noted <= *note);
                if let Some(item) = self.items.get_mut(number).filter(|item| item.retval == 0) {
                    item.retval = retval.get();
                }
            }
        }
        let first = self.items.iter().find_map(|item| Retval::new(item.retval));
        match (first, outcome) {
            (Some(retval), _) | (None, Err(Refused { retval, .. })) => Err(retval),
            (None, Ok(())) if self.spoilt => Err(Retval::LIMIT_EXCEEDED),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl<H: Host> Connection<H> {
    pub(super) fn begin_batch(
        &self,
        question: Question<'_>,
        batch: &mut Option<Batch<H::State>>,
    ) -> Result<(), DecodeError> {
        let WeftBatchBegin { flags } = WeftBatchBegin::take(&mut Reader::new(question.body))?;
        let retval = match batch {
            // The open one stays: the client may not have meant to lose it.
            Some(_) => Retval::RSRC_IN_USE.get(),
            None => {
                let transaction = self.host.with(|state| state.begin(&self.session));
                *batch = Some(Batch::new(transaction, flags, self.options.batch_items));
                0
            }
        };
        self.reply(question.envelope.context, &WeftBatchBeginReply { retval });
        Ok(())
    }

    pub(super) fn abort_batch(&self, envelope: Envelope, batch: Option<Batch<H::State>>) {
        let retval = if batch.is_some() { 0 } else { Retval::NO_SUCH_ENTRY.get() };
        self.reply(envelope.context, &WeftBatchAbortReply { retval });
    }

    pub(super) async fn commit_batch(&self, envelope: Envelope, batch: Option<Batch<H::State>>) {
        let context = envelope.context;
        let Some(mut batch) = batch else {
            let reply = WeftBatchCommitReply::failure(Retval::NO_SUCH_ENTRY.get());
            return self.reply(context, &reply);
        };
        let outcome = self.host.with(|state| batch.commit(state));
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

    /// Makes a change part of a batch, or says why not.
    pub(super) fn note(
        &self,
        change: &Change<H::State>,
        batch: &mut Batch<H::State>,
        question: Question<'_>,
    ) -> Result<(), DecodeError> {
        let (envelope, length) = (question.envelope, question.body.len());
        let quiet = batch.flags.contains(WeftBatchFlags::QUIET);
        if batch.items.len() >= batch.most || batch.bytes + length > self.options.batch_bytes {
            // It will not be carried out, so what else comes is not worth keeping.
            batch.spoilt = true;
            self.refuse(envelope, Retval::LIMIT_EXCEEDED);
            return Ok(());
        }
        let Batch { transaction, .. } = batch;
        match self.host.with(|state| (change.note)(state, transaction, &self.session, question))? {
            Ok(kept) => {
                batch.bytes += length;
                batch.push(envelope, 0);
                if !quiet {
                    kept(&self.session);
                }
            }
            Err(retval) => {
                batch.spoil(envelope, retval);
                if !quiet {
                    self.refuse(envelope, retval);
                }
            }
        }
        Ok(())
    }

    /// Sends the results of items.
    async fn tell(&self, batch: &Batch<H::State>, context: Context) {
        let id = self.session.table.id(WeftBatchResultDetails::INFO.name);
        let all = batch.flags.contains(WeftBatchFlags::ALL_RESULTS);
        for (item, number) in batch.items.iter().zip(0..) {
            if item.retval == 0 && !all {
                continue;
            }
            let item_context = item.context.0;
            let details = WeftBatchResultDetails { item: number, item_context, retval: item.retval };
            self.session.answer(id, context, &details);
            self.session.outbox.drained_to(self.options.high_water).await;
        }
    }

    fn reply<R: Reply>(&self, context: Context, reply: &R) {
        self.session.reply(self.session.table.id(R::INFO.name), context, reply);
    }
}

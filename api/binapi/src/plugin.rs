// SPDX-License-Identifier: Apache-2.0
//! Plugins answer messages without touching a byte: handlers on the types of [`crate::api`], or on types that the plugin's
//! build script makes of its own `.api` file.
//!
//! What cannot be read is answered as the server does it: a request by [`Retval::INVALID_VALUE`], a dump by nothing.

use weft_plugin_sdk::{ApiError, ApiMessage, Client, Main, Plugin, Record, Refusal, SessionId};

use crate::codec::Reader;
use crate::message::{Dump, Event, Message, Reply, Request};
use crate::retval::Retval;

/// Answers requests of one type; `()` is the reply that says nothing but that it is done.
pub fn request<P: Plugin, M: Request, R: Into<M::Reply>>(
    run: impl Fn(&mut P, &mut Main<'_>, Client<'_>, M) -> Result<R, Retval> + 'static,
) -> ApiMessage<P> {
    ApiMessage::request(M::INFO.name, move |plugin, main, client, body| {
        let message = take(body).ok_or(ApiError(Retval::INVALID_VALUE.get()))?;
        let reply = run(plugin, main, client, message);
        let reply = reply.map_or_else(|retval| M::Reply::failure(retval.get()), Into::into);
        put(&reply).ok_or(ApiError(Retval::LIMIT_EXCEEDED.get()))
    })
}

/// Answers dumps of one type. `find` finds the first record at or after a place, and says where it is; places begin at 0.
pub fn dump<P: Plugin, M: Dump>(
    find: impl Fn(&mut P, &mut Main<'_>, &M, u64) -> Option<(u64, M::Details)> + 'static,
) -> ApiMessage<P> {
    ApiMessage::dump(M::INFO.name, move |plugin, main, _, body, mut place| {
        let message = take(body)?;
        loop {
            let (found, details) = find(plugin, main, &message, place)?;
            place = found.checked_add(1)?;
            // One that has more elements than its count can say is left out; the rest is of use without it.
            if let Some(body) = put(&details) {
                return Some(Record { body, next: place });
            }
        }
    })
}

/// Sends an event; refused if the client has gone.
pub fn send<E: Event>(main: &mut Main<'_>, to: SessionId, event: &E) -> Result<(), Refusal> {
    let body = put(event).ok_or("the event has more elements than its count can say")?;
    main.send_event(to, E::INFO.name, &body)
}

/// Bytes after the message are of no interest.
fn take<M: Message>(body: &[u8]) -> Option<M> {
    M::take(&mut Reader::new(body)).ok()
}

fn put<M: Message>(message: &M) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    message.put(&mut body).ok().map(|()| body)
}

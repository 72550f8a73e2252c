// SPDX-License-Identifier: Apache-2.0
//! VPP's message about pings: one begins, and the client is told when it is over.

use weft_binapi::Retval;
use weft_binapi::api::ping::{PingFinishedEvent, WantPingFinishedEvents, WantPingFinishedEventsReply};
use weft_binapi::plugin::{request, send};
use weft_plugin_sdk::{Level, Main, Result, SessionId, Setup};

use crate::run::{Outcome, Run};
use crate::{Pings, Wanted, is_one_host, within};

/// Registers it.
pub fn register(setup: &mut Setup<'_, Pings>) -> Result<()> {
    setup.api_message(request(|pings: &mut Pings, main, client, message: WantPingFinishedEvents| {
        let wanted = wanted(&message)?;
        let begun = pings.launch(main, &wanted, Some(client.session));
        begun.map_err(|refusal| {
            main.log(Level::Info, &format!("API: ping {}: {}", wanted.destination, refusal.sentence()));
            Retval::UNSPECIFIED
        })?;
        Ok(WantPingFinishedEventsReply { retval: 0 })
    }))
}

/// What `ping` of the command line would be told.
fn wanted(message: &WantPingFinishedEvents) -> std::result::Result<Wanted, Retval> {
    let destination = message.address.get().ok_or(Retval::INVALID_ADDRESS_FAMILY)?;
    let repeat =
        u16::try_from(message.repeat).ok().filter(|repeat| *repeat > 0).ok_or(Retval::INVALID_VALUE)?;
    let interval = within("interval", message.interval, 0.01, 60.0).map_err(|_| Retval::INVALID_VALUE_2)?;
    match is_one_host(destination) {
        true => Ok(Wanted { repeat, interval, ..Wanted::new(destination) }),
        false => Err(Retval::INVALID_DST_ADDRESS),
    }
}

/// Tells a client that its ping is over. One that has gone needs no answer.
pub fn finished(main: &mut Main<'_>, to: SessionId, run: &Run) {
    let replies = run.outcomes().filter(|outcome| matches!(outcome, Outcome::Reply { .. })).count();
    let event = PingFinishedEvent { request_count: run.sent().into(), reply_count: replies as u32 };
    if let Err(refusal) = send(main, to, &event) {
        main.log(Level::Info, refusal.sentence());
    }
}

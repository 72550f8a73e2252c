// SPDX-License-Identifier: Apache-2.0
//! `flow { ... }`: how flows are tracked. The settings are the tracker's own ([`Settings`]), and so are their defaults.

use std::time::Duration;

use weft_flow::settings::{Policy, Rate, Settings};

use super::{
    diagnostic::Diagnostic,
    words::{Key, Words, key, set},
};

/// A year: more is a slip.
const LONGEST: u64 = 365 * 86_400;

fn seconds(words: &mut Words<'_>) -> Result<Duration, Diagnostic> {
    words.number("number of seconds", 1..=LONGEST).map(Duration::from_secs)
}

fn policy(words: &mut Words<'_>) -> Result<Policy, Diagnostic> {
    words.one_of(&[("drop", Policy::Drop), ("forward", Policy::Forward)])
}

/// The rate, to change one of its numbers.
fn rate(flow: &mut Settings) -> &mut Rate {
    flow.rate.get_or_insert(Rate { per_second: 0, burst: 0 })
}

pub(super) const KEYS: &[Key<Settings>] = &[
    key("flows", |flow, words| set(&mut flow.flows, words.number("number", 1..=1 << 28))),
    key("interface-flows", |flow, words| {
        let limit: u32 = words.number("number", 0..=u32::MAX)?;
        flow.interface_flows = (limit > 0).then_some(limit);
        Ok(())
    }),
    key("new-flow-rate", |flow, words| {
        set(&mut rate(flow).per_second, words.number("flows per second", 0..=1 << 30))
    }),
    key("new-flow-burst", |flow, words| set(&mut rate(flow).burst, words.number("flows", 0..=1 << 30))),
    key("excess", |flow, words| set(&mut flow.excess, policy(words))),
    key("invalid", |flow, words| set(&mut flow.invalid, policy(words))),
    key("tcp-pickup", |flow, words| set(&mut flow.pickup, words.switch())),
    key("tcp-window-check", |flow, words| set(&mut flow.window_check, words.switch())),
    key("tcp-new", |flow, words| set(&mut flow.timeouts.tcp_new, seconds(words))),
    key("tcp-established", |flow, words| set(&mut flow.timeouts.tcp_established, seconds(words))),
    key("tcp-fin-wait", |flow, words| set(&mut flow.timeouts.tcp_fin_wait, seconds(words))),
    key("tcp-time-wait", |flow, words| set(&mut flow.timeouts.tcp_time_wait, seconds(words))),
    key("tcp-reset", |flow, words| set(&mut flow.timeouts.tcp_reset, seconds(words))),
    key("udp-new", |flow, words| set(&mut flow.timeouts.udp_new, seconds(words))),
    key("udp-established", |flow, words| set(&mut flow.timeouts.udp_established, seconds(words))),
    key("icmp", |flow, words| set(&mut flow.timeouts.icmp, seconds(words))),
    key("other", |flow, words| set(&mut flow.timeouts.other, seconds(words))),
    key("fragment", |flow, words| set(&mut flow.timeouts.fragment, seconds(words))),
    key("agent-timeout", |flow, words| set(&mut flow.timeouts.agent, seconds(words))),
    key("agent-timeout-verdict", |flow, words| set(&mut flow.timeout_verdict, policy(words))),
    key("parked-percent", |flow, words| set(&mut flow.parked_percent, words.number("percent", 0..=50))),
    key("news", |flow, words| set(&mut flow.news, words.number("number", 1..=1 << 20))),
    key("handoff-packets", |flow, words| set(&mut flow.handoff, words.number("packets", 1..=1 << 16))),
];

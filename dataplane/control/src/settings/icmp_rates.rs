// SPDX-License-Identifier: Apache-2.0
//! How many ICMP errors the dataplane sends, of IPv4 and as many of IPv6. Each worker has its share, so that none has to ask
//! the others.

use weft_nodes::fib::{Ip4, Ip6};
use weft_nodes::forward::icmp_error::IpIcmpError;
use weft_nodes::ip4::IcmpRates;

use super::{ScopeOf, Setting, Words, listed};
use crate::Control;
use crate::commit::Trial;
use crate::error::StepError;
use crate::value::{Grammar, Value};

listed!(ICMP_OTHERS, ICMP_TIME_EXCEEDED, ICMP_TOO_BIG, ICMP_UNREACHABLE);

const RATE: Grammar =
    Grammar::Number { what: "errors per second", low: 0, high: u32::MAX as u64, none: Some("default") };

macro_rules! rate {
    ($setting:ident, $name:literal, $command:literal, $field:ident, $help:literal, $vplaned:literal) => {
        /// See there.
        pub static $setting: Setting = Setting {
            name: $name,
            help: $help,
            grammar: RATE,
            commands: &[Words::new($command)],
            conf: $name,
            message: None,
            vplaned: Some($vplaned),
            scope: ScopeOf::Global {
                get: |control| control.icmp.$field.map_or(Value::None, |rate| Value::Number(rate.into())),
                plan: |trial, value| plan(trial, value, |rates, rate| rates.$field = rate),
            },
        };
    };
}

rate!(
    ICMP_OTHERS,
    "icmp-rate",
    "set ip icmp-rate others <value>",
    others,
    "Limit the ICMP errors per second that have no limit of their own",
    "ip4 icmp-rate-limit default"
);
rate!(
    ICMP_TIME_EXCEEDED,
    "icmp-rate-time-exceeded",
    "set ip icmp-rate time-exceeded <value>",
    time_exceeded,
    "Limit the time exceeded messages per second",
    "ip4 icmp-rate-limit time-exceeded"
);
rate!(
    ICMP_TOO_BIG,
    "icmp-rate-too-big",
    "set ip icmp-rate too-big <value>",
    too_big,
    "Limit the fragmentation needed messages per second",
    "ip4 icmp-rate-limit too-big"
);
rate!(
    ICMP_UNREACHABLE,
    "icmp-rate-unreachable",
    "set ip icmp-rate unreachable <value>",
    unreachable,
    "Limit the destination unreachable messages per second",
    "ip4 icmp-rate-limit destination-unreachable"
);

fn plan(
    trial: &mut Trial<'_>,
    value: &Value,
    put: impl FnOnce(&mut IcmpRates, Option<u32>) + 'static,
) -> Result<(), StepError> {
    let rate = match value {
        Value::Number(rate) => Some(u32::try_from(*rate).unwrap_or(u32::MAX)),
        _ => None,
    };
    trial.after(move |control| {
        put(&mut control.icmp, rate);
        control.limit_icmp();
        Ok(())
    });
    Ok(())
}

impl Control {
    /// Tells the workers.
    fn limit_icmp(&mut self) {
        let workers = self.engine.threads().count().max(1) as u32;
        let share = |rate: Option<u32>| rate.map(|rate| rate.div_ceil(workers));
        let IcmpRates { others, time_exceeded, unreachable, too_big } = self.icmp;
        let rates = IcmpRates {
            others: share(others),
            time_exceeded: share(time_exceeded),
            unreachable: share(unreachable),
            too_big: share(too_big),
        };
        let (ip4, ip6) = (self.nodes.ip4_icmp_error, self.nodes.ip6_icmp_error);
        let clock = self.engine.clock;
        self.engine.post_all(move |worker| {
            if let Some(errors) = worker.node_mut::<IpIcmpError<Ip4>>(ip4) {
                errors.limits.configure(&clock, rates);
            }
            if let Some(errors) = worker.node_mut::<IpIcmpError<Ip6>>(ip6) {
                errors.limits.configure(&clock, rates);
            }
        });
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What the probe is asked over the binary API: messages of its own, read and written by hand.

use weft_plugin_sdk::{ApiError, ApiMessage, Main, Record, Result, SessionId, Setup};

use crate::Probe;

/// VNET_API_ERROR_INVALID_VALUE.
const INVALID_VALUE: ApiError = ApiError(-7);
/// VNET_API_ERROR_INVALID_SW_IF_INDEX.
const NO_INTERFACE: ApiError = ApiError(-2);
/// The value that makes the probe panic.
const DEADLY: u32 = 0xdead;

/// What clients have said.
#[derive(Default)]
pub struct Messages {
    values: Vec<u32>,
    watchers: Vec<SessionId>,
}

pub fn register(setup: &mut Setup<'_, Probe>) -> Result<()> {
    setup.define_api("probe", include_str!("probe.api"))?;
    setup.api_message(ApiMessage::request("probe_set", |probe: &mut Probe, _, _, body| {
        let numbers = numbers(body);
        let (count, values) = numbers.split_first().ok_or(INVALID_VALUE)?;
        if values.len() != *count as usize {
            return Err(INVALID_VALUE);
        }
        assert!(!values.contains(&DEADLY), "a deadly value");
        probe.messages.values = values.to_vec();
        Ok(Vec::new())
    }))?;
    setup.api_message(ApiMessage::request("probe_sum", |probe: &mut Probe, main, _, body| {
        let interface = numbers(body)[0];
        if !main.interfaces().iter().any(|known| known.0 == interface) {
            return Err(NO_INTERFACE);
        }
        let sum: u64 = probe.messages.values.iter().map(|value| u64::from(*value)).sum();
        Ok([[0; 4].as_slice(), &sum.to_be_bytes()].concat())
    }))?;
    setup.api_message(ApiMessage::dump("probe_values_dump", |probe: &mut Probe, _, _, _, place| {
        let value = probe.messages.values.get(usize::try_from(place).ok()?)?;
        Some(Record { body: value.to_be_bytes().to_vec(), next: place + 1 })
    }))?;
    setup.api_message(ApiMessage::request("want_probe_events", |probe: &mut Probe, _, client, _| {
        probe.messages.watchers.push(client.session);
        Ok(Vec::new())
    }))
}

impl Messages {
    /// Tells all who want to know; those that have gone are forgotten.
    pub fn publish(&mut self, main: &mut Main<'_>, value: u32) {
        self.watchers
            .retain(|watcher| main.send_event(*watcher, "probe_event", &value.to_be_bytes()).is_ok());
    }

    /// How many want to know.
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }
}

/// Whole numbers of 32 bits.
fn numbers(body: &[u8]) -> Vec<u32> {
    body.chunks_exact(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect()
}

// SPDX-License-Identifier: Apache-2.0
//! VPP's messages about policers. What they ask for is checked as the same words of the command line are.

use std::fmt::Write;

use weft_binapi::api::interface_types::InterfaceIndex as ApiInterface;
use weft_binapi::api::policer::{
    PolicerAdd, PolicerAddDel, PolicerAddDelReply, PolicerAddReply, PolicerDel, PolicerDelReply,
    PolicerDetails, PolicerDump, PolicerDumpV2, PolicerInput, PolicerInputReply, PolicerInputV2,
    PolicerInputV2Reply, PolicerOutput, PolicerOutputReply, PolicerOutputV2, PolicerOutputV2Reply,
    PolicerReset, PolicerResetReply, PolicerUpdate, PolicerUpdateReply,
};
use weft_binapi::api::policer_types::{
    PolicerConfig, Sse2QosAction, Sse2QosActionType, Sse2QosPolicerType, Sse2QosRateType,
};
use weft_binapi::plugin::{dump, request};
use weft_binapi::{Retval, Text};
use weft_plugin_sdk::{InterfaceIndex, Main, Result, Setup, Words};

use crate::config::{Action, Config, TYPES};
use crate::meter::Kind;
use crate::node::{Direction, Place};
use crate::{Entry, Policers};

/// Of a dump: all.
const ALL: u32 = u32::MAX;

type Done<T> = std::result::Result<T, Retval>;

/// Registers all of them.
pub fn register(setup: &mut Setup<'_, Policers>) -> Result<()> {
    use Direction::{Input, Output};
    for message in [
        request(|policers: &mut Policers, main, _, PolicerAdd { name, infos }| {
            let Place(policer_index) = policers.added(main, &name, &infos)?;
            Ok(PolicerAddReply { retval: 0, policer_index })
        }),
        request(|policers: &mut Policers, main, _, message: PolicerAddDel| {
            let Place(policer_index) = match message.is_add {
                true => policers.added(main, &message.name, &infos(&message))?,
                // To delete what is not there is no error, here and below.
                false => match policers.named(&message.name) {
                    Ok(place) => policers.deleted(place).map(|()| place)?,
                    Err(_) => Place(u32::MAX),
                },
            };
            Ok(PolicerAddDelReply { retval: 0, policer_index })
        }),
        request(|policers: &mut Policers, _, _, PolicerDel { policer_index }| {
            policers.deleted(Place(policer_index))?;
            Ok(PolicerDelReply { retval: 0 })
        }),
        request(|policers: &mut Policers, main, _, PolicerUpdate { policer_index, infos }| {
            let name = policers.entry(Place(policer_index))?.config.name.clone();
            policers.changed(main, Place(policer_index), config(&name, &infos)?)?;
            Ok(PolicerUpdateReply { retval: 0 })
        }),
        request(|policers: &mut Policers, main, _, PolicerReset { policer_index }| {
            let config = policers.entry(Place(policer_index))?.config.clone();
            policers.changed(main, Place(policer_index), config)?;
            Ok(PolicerResetReply { retval: 0 })
        }),
        request(|policers: &mut Policers, main, _, PolicerInput { name, sw_if_index, apply }| {
            let place = policers.named(&name)?;
            policers.applied(main, Input, place, sw_if_index, apply)?;
            Ok(PolicerInputReply { retval: 0 })
        }),
        request(|policers: &mut Policers, main, _, PolicerInputV2 { policer_index, sw_if_index, apply }| {
            policers.applied(main, Input, Place(policer_index), sw_if_index, apply)?;
            Ok(PolicerInputV2Reply { retval: 0 })
        }),
        request(|policers: &mut Policers, main, _, PolicerOutput { name, sw_if_index, apply }| {
            let place = policers.named(&name)?;
            policers.applied(main, Output, place, sw_if_index, apply)?;
            Ok(PolicerOutputReply { retval: 0 })
        }),
        request(|policers: &mut Policers, main, _, PolicerOutputV2 { policer_index, sw_if_index, apply }| {
            policers.applied(main, Output, Place(policer_index), sw_if_index, apply)?;
            Ok(PolicerOutputV2Reply { retval: 0 })
        }),
        dump(|policers: &mut Policers, _, PolicerDumpV2 { policer_index }, place| {
            policers.next(place, |at, _| *policer_index == ALL || *policer_index == at)
        }),
        dump(|policers: &mut Policers, _, PolicerDump { match_name_valid, match_name }, place| {
            policers
                .next(place, |_, config| !match_name_valid || match_name.get() == Some(config.name.as_str()))
        }),
    ] {
        setup.api_message(message)?;
    }
    Ok(())
}

impl Policers {
    fn entry(&self, Place(index): Place) -> Done<&Entry> {
        self.entries.get(index as usize).and_then(Option::as_ref).ok_or(Retval::NO_SUCH_ENTRY)
    }

    fn named(&self, name: &Text<64>) -> Done<Place> {
        let found = name.get().and_then(|name| self.find(name).ok());
        found.map(|entry| entry.policer.place).ok_or(Retval::NO_SUCH_ENTRY)
    }

    fn added(&mut self, main: &mut Main<'_>, name: &Text<64>, infos: &PolicerConfig) -> Done<Place> {
        let name = name.get().filter(|_| name.is_terminated()).ok_or(Retval::INVALID_VALUE)?;
        let config = config(name, infos)?;
        if self.find(name).is_ok() {
            return Err(Retval::VALUE_EXIST);
        }
        self.create(main, config).map_err(|_| Retval::LIMIT_EXCEEDED)
    }

    fn deleted(&mut self, place: Place) -> Done<()> {
        if self.entry(place).is_err() {
            return Ok(());
        }
        if self.attached(place).is_some() {
            return Err(Retval::RSRC_IN_USE);
        }
        self.entries[place.0 as usize] = None;
        Ok(())
    }

    /// Full buckets, by another configuration or the same; where it is applied, and what it has counted, stays.
    fn changed(&mut self, main: &mut Main<'_>, place: Place, config: Config) -> Done<()> {
        let base = self.entry(place)?.base;
        self.insert(main, place, config, base);
        self.publish(main);
        Ok(())
    }

    fn applied(
        &mut self,
        main: &mut Main<'_>,
        direction: Direction,
        place: Place,
        interface: ApiInterface,
        on: bool,
    ) -> Done<()> {
        self.entry(place)?;
        let name = main.interface_name(InterfaceIndex(interface.0)).ok_or(Retval::INVALID_SW_IF_INDEX)?;
        let here = |it: &crate::Attachment| {
            it.direction == direction && it.place == place && it.interface.0 == interface.0
        };
        if !on && !self.attachments.iter().any(here) {
            return Err(Retval::NO_SUCH_ENTRY);
        }
        self.attach(main, direction, place, name, on).map_err(|_| Retval::UNSPECIFIED)
    }

    fn next(&self, place: u64, wanted: impl Fn(u32, &Config) -> bool) -> Option<(u64, PolicerDetails)> {
        let entries = self.entries.iter().zip(0..).skip(usize::try_from(place).ok()?);
        let mut entries = entries.filter_map(|(entry, at)| Some((entry.as_ref()?, at)));
        let (entry, at) = entries.find(|(entry, at)| wanted(*at, &entry.config))?;
        Some((at.into(), details(&entry.config)))
    }
}

/// The older message says the same in other places.
fn infos(message: &PolicerAddDel) -> PolicerConfig {
    let PolicerAddDel { cir, eir, cb, eb, rate_type, round_type, r#type, color_aware, .. } = *message;
    PolicerConfig {
        cir,
        eir,
        cb,
        eb,
        rate_type,
        round_type,
        r#type,
        color_aware,
        conform_action: message.conform_action,
        exceed_action: message.exceed_action,
        violate_action: message.violate_action,
    }
}

/// Rates are kept exactly, however the message wants them rounded.
fn config(name: &str, infos: &PolicerConfig) -> Done<Config> {
    if infos.rate_type != Sse2QosRateType::KBPS {
        return Err(Retval::UNSUPPORTED);
    }
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(Retval::INVALID_VALUE);
    }
    let (word, _) = TYPES.get(usize::from(infos.r#type.0)).ok_or(Retval::UNSUPPORTED)?;
    let mut line = format!("name {name} type {word}");
    // Writing to a string does not fail.
    for (word, value) in
        [("cir", infos.cir.into()), ("cb", infos.cb), ("eir", infos.eir.into()), ("eb", infos.eb)]
    {
        if value > 0 {
            let _ = write!(line, " {word} {value}");
        }
    }
    if infos.color_aware {
        line.push_str(" color-aware");
    }
    for (word, action) in [
        ("conform", infos.conform_action),
        ("exceed", infos.exceed_action),
        ("violate", infos.violate_action),
    ] {
        let action = match action.r#type {
            Sse2QosActionType::DROP => Action::Drop,
            Sse2QosActionType::TRANSMIT => Action::Transmit,
            Sse2QosActionType::MARK_AND_TRANSMIT => Action::Mark(action.dscp),
            _ => return Err(Retval::INVALID_VALUE),
        };
        let _ = write!(line, " {word}-action {action}");
    }
    Config::parse(&mut Words::new(&line)).map_err(|_| Retval::INVALID_VALUE)
}

/// What VPP's meter is made of, this one does not have: those fields are 0.
fn details(config: &Config) -> PolicerDetails {
    let action = |action: Action| match action {
        Action::Drop => Sse2QosAction { r#type: Sse2QosActionType::DROP, dscp: 0 },
        Action::Transmit => Sse2QosAction { r#type: Sse2QosActionType::TRANSMIT, dscp: 0 },
        Action::Mark(dscp) => Sse2QosAction { r#type: Sse2QosActionType::MARK_AND_TRANSMIT, dscp },
    };
    let [conform_action, exceed_action, violate_action] = config.actions.map(action);
    let rate = |kbps: u64| u32::try_from(kbps).unwrap_or(u32::MAX);
    PolicerDetails {
        name: Text::new(&config.name),
        cir: rate(config.cir),
        eir: rate(config.eir),
        cb: config.cb,
        eb: config.eb,
        rate_type: Sse2QosRateType::KBPS,
        r#type: Sse2QosPolicerType(config.kind as u8),
        conform_action,
        exceed_action,
        violate_action,
        single_rate: TYPES[config.kind].1 == Kind::SingleRate,
        color_aware: config.color_aware,
        ..PolicerDetails::default()
    }
}

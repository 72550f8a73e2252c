// SPDX-License-Identifier: Apache-2.0
//! Sizes and times of the neighbour tables: `vyatta:arp`, `vyatta:nd6`.

use super::{CommandError, Feature, choice, decode, given, interface_or_all};
use crate::proto::commands::NbrResConfig;
use crate::proto::commands::nbr_res_config::{Action, Param, Prot};

/// The feature.
#[derive(Debug)]
pub struct Neighbors;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighborProtocol {
    Arp,
    Nd6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighborParameter {
    MaxEntries,
    /// Resolutions that may be under way.
    ResolutionTokens,
    /// Seconds.
    AgingTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighborSetting {
    pub protocol: NeighborProtocol,
    /// `None`: all interfaces.
    pub interface: Option<String>,
    pub parameter: NeighborParameter,
    /// `None`: back to the default.
    pub value: Option<u32>,
}

impl Feature for Neighbors {
    const TYPES: &'static [&'static str] = &["vyatta:arp", "vyatta:nd6"];
    type Value = NeighborSetting;

    fn message(kind: &str, bytes: &[u8]) -> Result<NeighborSetting, CommandError> {
        let message: NbrResConfig = decode(kind, bytes)?;
        let protocol = match choice("prot", message.prot, Prot::Arp)? {
            Prot::Arp => NeighborProtocol::Arp,
            Prot::Nd6 => NeighborProtocol::Nd6,
        };
        let parameter = match choice("param", message.param, Param::MaxEntry)? {
            Param::MaxEntry => NeighborParameter::MaxEntries,
            Param::ResToken => NeighborParameter::ResolutionTokens,
            Param::AgingTime => NeighborParameter::AgingTime,
        };
        let value = match choice("action", message.action, Action::Set)? {
            Action::Set => Some(given("value", "a number to set", message.value)?),
            Action::Delete => None,
        };
        Ok(NeighborSetting { protocol, interface: interface_or_all(message.ifname), parameter, value })
    }
}

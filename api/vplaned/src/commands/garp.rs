// SPDX-License-Identifier: Apache-2.0
//! What a gratuitous ARP packet does: `vyatta:garp`.

use super::{CommandError, Feature, choice, decode, interface_or_all};
use crate::proto::commands::GArpConfig;
use crate::proto::commands::g_arp_config::{ArpOp, GarpPktAction};

/// The feature.
#[derive(Debug)]
pub struct GratuitousArp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GarpOperation {
    Request,
    Reply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GarpAction {
    Drop,
    /// Change the neighbour's entry, if there is one.
    Update,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GratuitousArpSetting {
    /// `None`: all interfaces without a setting of their own.
    pub interface: Option<String>,
    pub operation: GarpOperation,
    /// `None`: back to the default.
    pub action: Option<GarpAction>,
}

impl Feature for GratuitousArp {
    const TYPES: &'static [&'static str] = &["vyatta:garp"];
    type Value = GratuitousArpSetting;

    fn message(kind: &str, bytes: &[u8]) -> Result<GratuitousArpSetting, CommandError> {
        let message: GArpConfig = decode(kind, bytes)?;
        let operation = match choice("op", message.op, ArpOp::ArpopRequest)? {
            ArpOp::ArpopRequest => GarpOperation::Request,
            ArpOp::ArpopReply => GarpOperation::Reply,
        };
        let action = match choice("action", message.action, GarpPktAction::GarpPktDrop)? {
            GarpPktAction::GarpPktDrop => GarpAction::Drop,
            GarpPktAction::GarpPktUpdate => GarpAction::Update,
        };
        let action = message.set.unwrap_or(false).then_some(action);
        Ok(GratuitousArpSetting { interface: interface_or_all(message.ifname), operation, action })
    }
}

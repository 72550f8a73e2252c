// SPDX-License-Identifier: Apache-2.0
//! Clamping the MSS of TCP connections: `vyatta:tcp-mss`.

use super::{CommandError, Family, Feature, choice, decode, given};
use crate::proto::commands::TcpmssConfig;
use crate::proto::commands::tcpmss_config::{AddressFamily, MtuType};

/// The feature.
#[derive(Debug)]
pub struct TcpMss;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MssClamp {
    /// What the interface's MTU allows.
    Mtu,
    /// That many bytes less than the MTU.
    MtuMinus(u16),
    /// No more than this.
    Limit(u16),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpMssSetting {
    pub interface: String,
    pub family: Family,
    /// `None`: left alone.
    pub clamp: Option<MssClamp>,
}

impl Feature for TcpMss {
    const TYPES: &'static [&'static str] = &["vyatta:tcp-mss"];
    type Value = TcpMssSetting;

    fn message(kind: &str, bytes: &[u8]) -> Result<TcpMssSetting, CommandError> {
        let message: TcpmssConfig = decode(kind, bytes)?;
        let interface = message.ifname.filter(|name| !name.is_empty());
        let interface = given("ifname", "the name of an interface", interface)?;
        let family = match choice("af", message.af, AddressFamily::TcpMssV4)? {
            AddressFamily::TcpMssV4 => Family::Ip4,
            AddressFamily::TcpMssV6 => Family::Ip6,
        };
        let value = || {
            let value = message.value.unwrap_or(0);
            u16::try_from(value).map_err(|_| CommandError::field("value", "0 to 65535", value))
        };
        let clamp = match choice("mtu_option", message.mtu_option, MtuType::None)? {
            MtuType::None => None,
            MtuType::Mtu => Some(MssClamp::Mtu),
            MtuType::MtuMinus => Some(MssClamp::MtuMinus(value()?)),
            MtuType::Limit => Some(MssClamp::Limit(value()?)),
        };
        let clamp = clamp.filter(|_| message.is_enable.unwrap_or(false));
        Ok(TcpMssSetting { interface, family, clamp })
    }
}

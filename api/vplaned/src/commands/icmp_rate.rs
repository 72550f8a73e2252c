// SPDX-License-Identifier: Apache-2.0
//! How many ICMP errors may be sent: `vyatta:icmp-ratelimit`.

use super::{CommandError, Family, Feature, choice, decode, given};
use crate::proto::commands::IcmpRateLimConfig;
use crate::proto::commands::icmp_rate_lim_config::{Action, Param, Prot, Type};

/// The feature.
#[derive(Debug)]
pub struct IcmpRateLimit;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IcmpError {
    /// Those without a limit of their own.
    Default,
    TimeExceeded,
    DestinationUnreachable,
    Redirect,
    ParameterProblem,
    TooBig,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpRateLimitSetting {
    pub family: Family,
    pub error: IcmpError,
    /// Packets a second; `None`: back to the default.
    pub maximum: Option<u32>,
}

impl Feature for IcmpRateLimit {
    const TYPES: &'static [&'static str] = &["vyatta:icmp-ratelimit"];
    type Value = IcmpRateLimitSetting;

    fn message(kind: &str, bytes: &[u8]) -> Result<IcmpRateLimitSetting, CommandError> {
        let message: IcmpRateLimConfig = decode(kind, bytes)?;
        let family = match choice("prot", message.prot, Prot::Icmpv4)? {
            Prot::Icmpv4 => Family::Ip4,
            Prot::Icmpv6 => Family::Ip6,
        };
        let error = match choice("type", message.r#type, Type::Default)? {
            Type::Default => IcmpError::Default,
            Type::Timeexceeded => IcmpError::TimeExceeded,
            Type::Destunreach => IcmpError::DestinationUnreachable,
            Type::Redirect => IcmpError::Redirect,
            Type::Paramprob => IcmpError::ParameterProblem,
            Type::Toobig => IcmpError::TooBig,
        };
        let Param::Maximum = choice("param", message.param, Param::Maximum)?;
        let maximum = match choice("action", message.action, Action::Set)? {
            Action::Set => Some(given("maximum", "a number to set", message.maximum)?),
            Action::Delete => None,
        };
        Ok(IcmpRateLimitSetting { family, error, maximum })
    }
}

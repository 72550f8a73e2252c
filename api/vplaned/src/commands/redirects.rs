// SPDX-License-Identifier: Apache-2.0
//! Whether ICMP redirects are sent: `ip4 redirects enable|disable`, `vyatta:ip6`.

use super::{CommandError, Family, Feature, Words, decode};
use crate::proto::commands::Ip6RedirectsConfig;

/// The feature.
#[derive(Debug)]
pub struct Redirects;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectsSetting {
    pub family: Family,
    pub enabled: bool,
}

impl Feature for Redirects {
    const WORDS: &'static [&'static str] = &["ip4"];
    const TYPES: &'static [&'static str] = &["vyatta:ip6"];
    type Value = RedirectsSetting;

    fn text(mut words: Words<'_>) -> Result<RedirectsSetting, CommandError> {
        words.one_of(&[("redirects", ())])?;
        let enabled = words.one_of(&[("enable", true), ("disable", false)])?;
        words.end()?;
        Ok(RedirectsSetting { family: Family::Ip4, enabled })
    }

    fn message(kind: &str, bytes: &[u8]) -> Result<RedirectsSetting, CommandError> {
        let message: Ip6RedirectsConfig = decode(kind, bytes)?;
        Ok(RedirectsSetting { family: Family::Ip6, enabled: message.enable_redirects.unwrap_or(false) })
    }
}

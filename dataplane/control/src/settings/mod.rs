// SPDX-License-Identifier: Apache-2.0
//! What can be set, listed once; plugins declare more ([`Declaration`]). Front ends walk the list: a new setting is a file here, named in a line, and
//! then the command line, startup.conf and the binary API have it, and `docs/settings.md` says so.
//!
//! A setting has no code of a front end, only the words by which operators know it: VPP's where VPP has it.

mod admin_state;
mod declared;
mod flow_tracking;
mod forwarding;
mod gratuitous_arp;
mod icmp_rates;
mod ip6;
mod ip6_headers;
mod mac;
mod min_hop_limit;
mod min_ttl;
mod mss;
pub(crate) mod mtu;
mod multipath;
mod neighbors;
mod proxy_arp;
mod proxy_nd;
mod router_advertisement;
mod setting;
mod source_check;
mod table;
mod tag;
mod unnumbered;

use std::sync::LazyLock;

use linkme::distributed_slice;

use crate::Control;
use crate::error::StepError;

pub use admin_state::ADMIN_STATE;
pub(crate) use declared::Declared;
pub use declared::{Declaration, DeclarationError, DeclaredChange, DeclaredValues};
pub use flow_tracking::{FLOW_TRACKING, flow_tracking};
pub use forwarding::{FORWARDING, IP6_FORWARDING};
pub use gratuitous_arp::{GRATUITOUS_ARP, gratuitous_arp};
pub use icmp_rates::{ICMP_OTHERS, ICMP_TIME_EXCEEDED, ICMP_TOO_BIG, ICMP_UNREACHABLE};
pub use ip6::{IP6, IP6_LINK_LOCAL};
pub use ip6_headers::{EXTENSION_HEADERS, FLOW_LABEL};
pub use mac::MAC;
pub use mss::MSS;
pub use mtu::MTU;
pub use multipath::{MULTIPATH, multipath};
pub use neighbors::{NEIGHBOR_AGE, NEIGHBOR_LIMIT, NEIGHBOR_UNRESOLVED};
pub use proxy_arp::PROXY_ARP;
pub use proxy_nd::PROXY_ND;
pub use router_advertisement::{
    RA_DNS, RA_DOMAINS, RA_INITIAL_COUNT, RA_INITIAL_INTERVAL, RA_INTERVAL, RA_LIFETIME, RA_LINK_ADDRESS,
    RA_MANAGED, RA_MIN_INTERVAL, RA_OTHER, RA_UNICAST, ROUTER_ADVERTISEMENT,
};
pub(crate) use setting::ScopeOf;
pub use setting::{Scope, Setting, Words};
pub use source_check::{SOURCE_CHECK, source_check};
pub use table::{IP6_TABLE, TABLE};
pub use tag::TAG;
pub use unnumbered::UNNUMBERED;

/// All built-in settings: the linker makes the list of what `listed!` adds to it.
#[distributed_slice]
static LIST: [&'static Setting];

/// Adds settings to [`LIST`].
macro_rules! listed {
    ($($setting:ident),+) => {
        // A section of its own is all that is unsafe about it, and nothing else is in that.
        $(#[allow(unsafe_code)]
        const _: () = {
            #[linkme::distributed_slice($crate::settings::LIST)]
            static SETTING: &$crate::settings::Setting = &$setting;
        };)+
    };
}
use listed;

/// All built-in settings, by name.
pub static ALL: LazyLock<Vec<&'static Setting>> = LazyLock::new(|| {
    let mut all = LIST.to_vec();
    all.sort();
    all
});

impl Control {
    /// All settings: the built-in ones, and those of the plugins that are loaded.
    pub fn known_settings(&self) -> impl Iterator<Item = &'static Setting> + use<'_> {
        ALL.iter().copied().chain(self.declared.settings())
    }

    /// The setting of a name.
    pub fn setting(&self, name: &str) -> Result<&'static Setting, StepError> {
        let found = self.known_settings().find(|setting| setting.name == name);
        found.ok_or_else(|| StepError::NoSuchSetting(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_in_order_and_differ() {
        assert!(ALL.is_sorted_by(|a, b| a.name < b.name), "{ALL:?}");
        let keys: BTreeSet<_> =
            ALL.iter().map(|setting| (setting.scope() == Scope::Global, setting.conf)).collect();
        assert_eq!(keys.len(), ALL.len(), "no two have one key in startup.conf");
    }

    #[test]
    fn every_setting_has_a_command_that_names_what_it_needs() {
        for setting in ALL.iter() {
            assert!(!setting.commands.is_empty(), "{setting:?}");
            for words in setting.commands {
                let has = |part: &str| words.pattern.split(' ').any(|word| word == part);
                assert_eq!(has("<interface>"), setting.scope() == Scope::Interface, "{}", words.pattern);
                assert_eq!(has("<value>"), words.fixed.is_none(), "{}", words.pattern);
            }
            assert!(setting.help.ends_with(|c: char| c.is_alphanumeric() || c == ')'), "{}", setting.help);
        }
    }
}

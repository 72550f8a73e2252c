// SPDX-License-Identifier: Apache-2.0
//! The commands that Weft takes from vplaned.
//!
//! A command that Weft understands but cannot honour fails with "not supported", so that the configuration system learns
//! of it; above all a packet filter must not seem to be there when it is not.

use weft_nodes::ip4::Multipath;
use weft_vplaned::commands::npf::Npf;
use weft_vplaned::commands::{
    CommandError, Ecmp, EcmpMode, Family, Feature, GratuitousArp, HARMLESS_WORDS, IcmpRateLimit, Neighbors,
    Redirects, Registry, Sessions, TableMap, TcpMss,
};

use super::Learned;

/// All of them.
pub fn registry() -> Registry<Learned> {
    let mut registry = Registry::new();
    register::<TableMap>(&mut registry, |learned, map| {
        learned.store.map_table(map, &mut learned.changes);
        Ok(())
    });
    register::<Ecmp>(&mut registry, |learned, mode| {
        learned.multipath = Some(match mode {
            EcmpMode::Disable => Multipath::First,
            EcmpMode::HashThreshold => Multipath::HashThreshold,
            EcmpMode::Hrw => Multipath::HighestRandomWeight,
            EcmpMode::ModuloN => Multipath::ModuloN,
        });
        Ok(())
    });
    register::<Redirects>(&mut registry, |_, setting| match (setting.family, setting.enabled) {
        // Sending redirects is permitted, not required (RFC 1812 section 5.2.7.2). Weft sends none.
        (Family::Ip4, _) | (_, false) => Ok(()),
        (Family::Ip6, true) => unsupported("ICMPv6 redirects"),
    });
    register::<Neighbors>(&mut registry, |_, _| unsupported("sizes and times of the neighbour table"));
    register::<GratuitousArp>(&mut registry, |_, _| unsupported("treatment of gratuitous ARP"));
    register::<IcmpRateLimit>(&mut registry, |_, _| unsupported("limits of ICMP errors while running"));
    register::<TcpMss>(&mut registry, |_, _| unsupported("clamping of the TCP MSS"));
    register::<Sessions>(&mut registry, |_, _| unsupported("sessions"));
    register::<Npf>(&mut registry, |_, _| unsupported("packet filters"));
    registry.ignore(&HARMLESS_WORDS);
    registry
}

fn register<F: Feature>(
    registry: &mut Registry<Learned>,
    apply: impl Fn(&mut Learned, F::Value) -> Result<(), CommandError> + 'static,
) {
    registry.register::<F>(apply).expect("no two features of the list take one word");
}

fn unsupported(what: &str) -> Result<(), CommandError> {
    Err(CommandError::Unsupported(what.to_owned()))
}

// SPDX-License-Identifier: Apache-2.0
//! The commands that Weft takes from vplaned.
//!
//! A command that Weft understands but cannot honour fails with "not supported", so that the configuration system learns
//! of it; above all a packet filter must not seem to be there when it is not.

use weft_nodes::ip4::Multipath;
use weft_vplaned::commands::npf::{Npf, NpfCommand};
use weft_vplaned::commands::{
    CommandError, Ecmp, EcmpMode, Family, Feature, GratuitousArp, HARMLESS_WORDS, IcmpRateLimit, Neighbors,
    Redirects, Registry, Sessions, TableMap, TcpMss,
};

use super::Vplaned;
use crate::state::Dataplane;

/// All of them.
pub fn registry() -> Registry<Dataplane> {
    let mut registry = Registry::new();
    register::<TableMap>(&mut registry, |_, vplaned, map| {
        vplaned.learned.store.map_table(map, &mut vplaned.learned.changes);
        Ok(())
    });
    register::<Ecmp>(&mut registry, |_, vplaned, mode| {
        vplaned.learned.multipath = Some(match mode {
            EcmpMode::Disable => Multipath::First,
            EcmpMode::HashThreshold => Multipath::HashThreshold,
            EcmpMode::Hrw => Multipath::HighestRandomWeight,
            EcmpMode::ModuloN => Multipath::ModuloN,
        });
        Ok(())
    });
    register::<Redirects>(&mut registry, |_, _, setting| match (setting.family, setting.enabled) {
        // Sending redirects is permitted, not required (RFC 1812 section 5.2.7.2). Weft sends none.
        (Family::Ip4, _) | (_, false) => Ok(()),
        (Family::Ip6, true) => unsupported("ICMPv6 redirects"),
    });
    set::<Neighbors>(&mut registry, |_, vplaned, setting| vplaned.wanted.set_neighbors(&setting));
    set::<GratuitousArp>(&mut registry, |_, vplaned, setting| {
        vplaned.wanted.set_gratuitous(setting);
        Ok(())
    });
    set::<IcmpRateLimit>(&mut registry, |_, vplaned, setting| vplaned.wanted.set_icmp(setting));
    set::<TcpMss>(&mut registry, |_, vplaned, setting| vplaned.wanted.set_mss(setting));
    set::<Sessions>(&mut registry, |dataplane, vplaned, setting| {
        vplaned.wanted.sessions.take(setting, &dataplane.config().flow)
    });
    register::<Npf>(&mut registry, npf);
    registry.ignore(&HARMLESS_WORDS);
    registry
}

/// Changes what is wanted; a commit puts it into effect.
fn npf(dataplane: &mut Dataplane, vplaned: &mut Vplaned, command: NpfCommand) -> Result<(), CommandError> {
    let refused = super::npf::check(&command);
    if refused.is_err() && !super::npf::is_kept(&command) {
        return refused;
    }
    if vplaned.filters.store.apply(command) {
        let Vplaned { filters, bindings, .. } = &mut *vplaned;
        let done = filters.commit(dataplane, bindings);
        dataplane.apply_settings(vplaned);
        return done;
    }
    refused
}

/// A setting that is put into effect at once, but for those of a snapshot, which wait for its end.
fn set<F: Feature>(
    registry: &mut Registry<Dataplane>,
    take: impl Fn(&mut Dataplane, &mut Vplaned, F::Value) -> Result<(), CommandError> + 'static,
) {
    register::<F>(registry, move |dataplane, vplaned, value| {
        take(dataplane, vplaned, value)?;
        if vplaned.before.is_none() {
            dataplane.apply_settings(vplaned);
        }
        Ok(())
    });
}

fn register<F: Feature>(
    registry: &mut Registry<Dataplane>,
    apply: impl Fn(&mut Dataplane, &mut Vplaned, F::Value) -> Result<(), CommandError> + 'static,
) {
    let apply = move |dataplane: &mut Dataplane, value: F::Value| {
        let mut vplaned = dataplane.take_part::<Vplaned>().expect("commands come from vplaned");
        let done = apply(dataplane, &mut vplaned, value);
        dataplane.put_part(vplaned);
        done
    };
    registry.register::<F>(apply).expect("no two features of the list take one word");
}

fn unsupported(what: &str) -> Result<(), CommandError> {
    Err(CommandError::Unsupported(what.to_owned()))
}

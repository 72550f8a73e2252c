// SPDX-License-Identifier: Apache-2.0
//! What commands set outside of routes and filters, held as it is wanted and made so as a whole.
//!
//! A setting may name an interface that is not there yet, may come twice, and is gone when a snapshot no longer has it. So
//! every change writes [`Wanted`], and [`Dataplane::apply_settings`] makes the dataplane so; where nothing is wanted it is as
//! startup.conf says. Main thread.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_flow::settings::Settings as FlowSettings;
use weft_nodes::interface::GratuitousArp;
use weft_nodes::ip4::{IcmpRates, Ip4IcmpError};
use weft_nodes::neighbor::NeighborSettings;
use weft_vplaned::commands::{
    CommandError, Family, GarpAction, GarpOperation, GratuitousArpSetting, IcmpError, IcmpRateLimitSetting,
    MssClamp, NeighborParameter, NeighborProtocol, NeighborSetting, TcpMssSetting,
};

use super::Vplaned;
use super::sessions::{self, SessionSettings};
use crate::state::Dataplane;

/// Bytes of an IPv4 and a TCP header without options (RFC 6691 section 2).
const HEADERS: u16 = 40;

/// What commands say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub sessions: SessionSettings,
    neighbors: Neighbors,
    /// By interface; `None`: all that have no setting of their own.
    gratuitous: BTreeMap<(Option<String>, GarpOperation), GarpAction>,
    icmp: BTreeMap<IcmpError, u32>,
    mss: BTreeMap<String, MssClamp>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Neighbors {
    limit: Option<u32>,
    unresolved: Option<u32>,
    age: Option<u32>,
}

/// What is in effect, and what was before any command.
#[derive(Default)]
pub struct Applied {
    neighbors: Option<(Neighbors, NeighborSettings)>,
    icmp: Option<IcmpRates>,
    flow: Option<FlowSettings>,
}

impl Wanted {
    pub fn set_neighbors(&mut self, setting: &NeighborSetting) -> Result<(), CommandError> {
        let unsupported = |what: &str| Err(CommandError::Unsupported(what.to_owned()));
        match (setting.protocol, &setting.interface) {
            (NeighborProtocol::Nd6, _) => return unsupported("neighbours of IPv6"),
            (NeighborProtocol::Arp, Some(interface)) => {
                return unsupported(&format!("a neighbour table of {interface} alone"));
            }
            (NeighborProtocol::Arp, None) => {}
        }
        if setting.value == Some(0) {
            return Err(CommandError::Refused("a neighbour table with 0: expected 1 or more".to_owned()));
        }
        let field = match setting.parameter {
            NeighborParameter::MaxEntries => &mut self.neighbors.limit,
            NeighborParameter::ResolutionTokens => &mut self.neighbors.unresolved,
            NeighborParameter::AgingTime => &mut self.neighbors.age,
        };
        *field = setting.value;
        Ok(())
    }

    pub fn set_gratuitous(&mut self, setting: GratuitousArpSetting) {
        let key = (setting.interface, setting.operation);
        match setting.action {
            Some(action) => drop(self.gratuitous.insert(key, action)),
            None => drop(self.gratuitous.remove(&key)),
        }
    }

    pub fn set_icmp(&mut self, setting: IcmpRateLimitSetting) -> Result<(), CommandError> {
        if setting.family == Family::Ip6 {
            return Err(CommandError::Unsupported("limits of ICMPv6".to_owned()));
        }
        match setting.maximum {
            Some(maximum) => drop(self.icmp.insert(setting.error, maximum)),
            None => drop(self.icmp.remove(&setting.error)),
        }
        Ok(())
    }

    pub fn set_mss(&mut self, setting: TcpMssSetting) -> Result<(), CommandError> {
        if setting.family == Family::Ip6 {
            // Taking a limit away that cannot be there is no failure.
            return match setting.clamp {
                Some(_) => Err(CommandError::Unsupported("clamping of TCP over IPv6".to_owned())),
                None => Ok(()),
            };
        }
        match setting.clamp {
            Some(clamp) => drop(self.mss.insert(setting.interface, clamp)),
            None => drop(self.mss.remove(&setting.interface)),
        }
        Ok(())
    }

    fn gratuitous_of(&self, interface: &str) -> GratuitousArp {
        let drops = |operation| {
            let own = self.gratuitous.get(&(Some(interface.to_owned()), operation));
            own.or_else(|| self.gratuitous.get(&(None, operation))) == Some(&GarpAction::Drop)
        };
        GratuitousArp {
            ignore_requests: drops(GarpOperation::Request),
            ignore_replies: drops(GarpOperation::Reply),
        }
    }

    /// Limits of one worker, of so many.
    fn icmp_rates(&self, workers: u32) -> IcmpRates {
        let rate = |error| self.icmp.get(&error).map(|maximum: &u32| maximum.div_ceil(workers));
        IcmpRates {
            others: rate(IcmpError::Default),
            time_exceeded: rate(IcmpError::TimeExceeded),
            unreachable: rate(IcmpError::DestinationUnreachable),
            too_big: rate(IcmpError::TooBig),
        }
    }
}

/// The longest segment; 1 at least, as 0 is none at all.
fn longest(clamp: MssClamp, mtu: u16) -> u16 {
    match clamp {
        MssClamp::Mtu => mtu.saturating_sub(HEADERS).max(1),
        MssClamp::MtuMinus(less) => mtu.saturating_sub(less).max(1),
        MssClamp::Limit(limit) => limit.max(1),
    }
}

impl Dataplane {
    /// Makes the dataplane as commands want it; what is so already is left alone.
    pub(super) fn apply_settings(&mut self, vplaned: &mut Vplaned) {
        self.apply_neighbors(vplaned);
        self.apply_icmp(vplaned);
        self.apply_flow(vplaned);
        let named: Vec<_> = vplaned.bindings.named().map(|(index, name)| (index, name.to_owned())).collect();
        for (index, name) in named {
            let Some(interface) = self.interfaces.get(index) else { continue };
            let (gratuitous, mtu) = (interface.gratuitous_arp, interface.mtu);
            let wanted = vplaned.wanted.gratuitous_of(&name);
            let mut result = Ok(());
            if wanted != gratuitous {
                let Dataplane { interfaces, engine, .. } = &mut *self;
                result = interfaces
                    .change(engine, index, |interface| interface.gratuitous_arp = wanted)
                    .map_err(|error| error.to_string());
            }
            let limit = vplaned.wanted.mss.get(&name).map(|clamp| longest(*clamp, mtu));
            let Dataplane { mss, engine, interfaces, .. } = &mut *self;
            let clamped = mss.set(engine, interfaces, index, limit).map_err(|error| error.to_string());
            if let Err(error) = result.and(clamped) {
                vplaned.complain(format!("{name}: {error}"));
            }
        }
    }

    fn apply_neighbors(&mut self, vplaned: &mut Vplaned) {
        let wanted = vplaned.wanted.neighbors;
        let (applied, configured) = *vplaned
            .applied
            .neighbors
            .get_or_insert_with(|| (Neighbors::default(), *self.router.neighbors().settings()));
        if applied == wanted {
            return;
        }
        vplaned.applied.neighbors = Some((wanted, configured));
        self.router.configure_neighbors(NeighborSettings {
            limit: wanted.limit.map_or(configured.limit, |limit| limit as usize),
            unresolved_limit: wanted.unresolved.map_or(configured.unresolved_limit, |limit| limit as usize),
            age: wanted.age.map_or(configured.age, |age| Duration::from_secs(age.into())),
            ..configured
        });
    }

    fn apply_icmp(&mut self, vplaned: &mut Vplaned) {
        let rates = vplaned.wanted.icmp_rates(self.engine.threads().count() as u32);
        if vplaned.applied.icmp.unwrap_or_default() == rates {
            return;
        }
        vplaned.applied.icmp = Some(rates);
        let (node, clock) = (self.nodes.ip4_icmp_error, self.engine.clock);
        self.engine.post_all(move |worker| {
            if let Some(errors) = worker.node_mut::<Ip4IcmpError>(node) {
                errors.limits.configure(&clock, rates);
            }
        });
    }

    fn apply_flow(&mut self, vplaned: &mut Vplaned) {
        // Of the tracker that there is or will be.
        let configured = *vplaned.applied.flow.get_or_insert(self.config.flow);
        let settings = sessions::settings(&configured, &vplaned.wanted.sessions, &vplaned.filters.store);
        if settings != self.config.flow {
            self.config.flow = settings;
            let Dataplane { flows, engine, .. } = self;
            if let Some(tracker) = &mut flows.tracker {
                tracker.configure(engine, settings);
            }
        }
        let sessions = &vplaned.wanted.sessions;
        self.log_sessions(sessions.log_creation, sessions.log_deletion);
    }

    /// What startup.conf says of flows.
    pub(super) fn configured_flow(&self, vplaned: &Vplaned) -> FlowSettings {
        vplaned.applied.flow.unwrap_or(self.config.flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_segment_follows_the_mtu() {
        assert_eq!(longest(MssClamp::Mtu, 1500), 1460);
        assert_eq!(longest(MssClamp::MtuMinus(100), 1500), 1400);
        assert_eq!(longest(MssClamp::Limit(1200), 1500), 1200);
        assert_eq!((longest(MssClamp::MtuMinus(1500), 576), longest(MssClamp::Limit(0), 576)), (1, 1));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What commands set outside of routes and filters, held as it is wanted and made so as a whole.
//!
//! A setting may name an interface that is not there yet, may come twice, and is gone when a snapshot no longer has it. So
//! every change writes [`Wanted`], and [`Dataplane::apply_settings`] makes the dataplane so; where nothing is wanted it is as
//! startup.conf says. Main thread.

use std::collections::BTreeMap;

use weft_control::{ChangeSet, Object, Owner, Setting, Value, settings};
use weft_engine::InterfaceIndex;
use weft_nodes::interface::GratuitousArp;
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
    /// Of IPv4 and of IPv6: there is one table for both.
    neighbors: [Neighbors; 2],
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

impl Wanted {
    pub fn set_neighbors(&mut self, setting: &NeighborSetting) -> Result<(), CommandError> {
        if let Some(interface) = &setting.interface {
            let what = format!("a neighbour table of {interface} alone");
            return Err(CommandError::Unsupported(what));
        }
        let neighbors = match setting.protocol {
            NeighborProtocol::Arp => &mut self.neighbors[0],
            NeighborProtocol::Nd6 => &mut self.neighbors[1],
        };
        if setting.value == Some(0) {
            return Err(CommandError::Refused("a neighbour table with 0: expected 1 or more".to_owned()));
        }
        let field = match setting.parameter {
            NeighborParameter::MaxEntries => &mut neighbors.limit,
            NeighborParameter::ResolutionTokens => &mut neighbors.unresolved,
            NeighborParameter::AgingTime => &mut neighbors.age,
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

    /// `None`: nothing is said of this interface, nor of all.
    fn gratuitous_of(&self, interface: &str) -> Option<GratuitousArp> {
        let said = |operation| {
            let own = self.gratuitous.get(&(Some(interface.to_owned()), operation));
            own.or_else(|| self.gratuitous.get(&(None, operation)))
        };
        let (request, reply) = (said(GarpOperation::Request), said(GarpOperation::Reply));
        let drops = |action: Option<&GarpAction>| action == Some(&GarpAction::Drop);
        request.or(reply)?;
        Some(GratuitousArp { ignore_requests: drops(request), ignore_replies: drops(reply) })
    }

    /// What is wanted of the dataplane as a whole.
    fn global(&self) -> [(&'static Setting, Option<u64>); 7] {
        let rate = |error| self.icmp.get(&error).copied().map(u64::from);
        // What is said of one family alone holds for both: neither has less room, or a shorter time, than was said for it.
        let [ip4, ip6] = self.neighbors;
        let Neighbors { limit, unresolved, age } = Neighbors {
            limit: ip4.limit.max(ip6.limit),
            unresolved: ip4.unresolved.max(ip6.unresolved),
            age: ip4.age.max(ip6.age),
        };
        [
            (&settings::NEIGHBOR_LIMIT, limit.map(u64::from)),
            (&settings::NEIGHBOR_UNRESOLVED, unresolved.map(u64::from)),
            (&settings::NEIGHBOR_AGE, age.map(u64::from)),
            (&settings::ICMP_OTHERS, rate(IcmpError::Default)),
            (&settings::ICMP_TIME_EXCEEDED, rate(IcmpError::TimeExceeded)),
            (&settings::ICMP_UNREACHABLE, rate(IcmpError::DestinationUnreachable)),
            (&settings::ICMP_TOO_BIG, rate(IcmpError::TooBig)),
        ]
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
        self.apply_flow(vplaned);
        let mut changes = ChangeSet::new(Owner::VPLANED);
        let mut want = |setting: &'static Setting, index: Option<InterfaceIndex>, value: Option<Value>| {
            let object = Object::Setting(setting, index);
            match (value, self.claim_of(&object, Owner::VPLANED)) {
                (Some(value), said) if said != Some(&value) => changes.set(setting, index, value),
                (None, Some(_)) => changes.release(object),
                _ => {}
            }
        };
        let Vplaned { wanted, bindings, .. } = &*vplaned;
        for (setting, value) in wanted.global() {
            want(setting, None, value.map(Value::Number));
        }
        for (index, name) in bindings.named() {
            let Some(interface) = self.interfaces().get(index) else { continue };
            let gratuitous = wanted.gratuitous_of(name).map(settings::gratuitous_arp);
            want(&settings::GRATUITOUS_ARP, Some(index), gratuitous);
            let limit = wanted.mss.get(name).map(|clamp| longest(*clamp, interface.mtu));
            want(&settings::MSS, Some(index), limit.map(|limit| Value::Number(limit.into())));
        }
        if !changes.is_empty() {
            for (_, error) in self.change_possible(changes) {
                vplaned.complain(error.to_string());
            }
        }
    }

    fn apply_flow(&mut self, vplaned: &mut Vplaned) {
        // Of the tracker that there is or will be.
        let configured = self.config().flow;
        let settings = sessions::settings(&configured, &vplaned.wanted.sessions, &vplaned.filters.store);
        if settings != *self.flows().settings() {
            self.configure_flows(settings);
        }
        let sessions = &vplaned.wanted.sessions;
        self.flows_mut().log_sessions(sessions.log_creation, sessions.log_deletion);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_has_room_for_what_is_said_of_either_family() {
        let mut wanted = Wanted::default();
        let mut set = |protocol, parameter, value| {
            let setting = NeighborSetting { protocol, interface: None, parameter, value };
            wanted.set_neighbors(&setting).expect("it is supported");
            wanted.global().map(|(_, value)| value)[..3].to_vec()
        };
        let (arp, nd6) = (NeighborProtocol::Arp, NeighborProtocol::Nd6);
        assert_eq!(set(arp, NeighborParameter::MaxEntries, Some(100)), [Some(100), None, None]);
        assert_eq!(set(nd6, NeighborParameter::MaxEntries, Some(200)), [Some(200), None, None]);
        assert_eq!(set(nd6, NeighborParameter::AgingTime, Some(30)), [Some(200), None, Some(30)]);
        assert_eq!(set(nd6, NeighborParameter::MaxEntries, None), [Some(100), None, Some(30)]);
    }

    #[test]
    fn the_longest_segment_follows_the_mtu() {
        assert_eq!(longest(MssClamp::Mtu, 1500), 1460);
        assert_eq!(longest(MssClamp::MtuMinus(100), 1500), 1400);
        assert_eq!(longest(MssClamp::Limit(1200), 1500), 1200);
        assert_eq!((longest(MssClamp::MtuMinus(1500), 576), longest(MssClamp::Limit(0), 576)), (1, 1));
    }
}

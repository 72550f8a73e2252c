// SPDX-License-Identifier: Apache-2.0
//! A bed of ports and a switch, driven as the daemon's main thread does it.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use weft_engine::InterfaceIndex;
use weft_l2::{Config, Domain, Facts, Mode, Port, Role, Settings, StaticChanges, Switch, Target};
use weft_nodes::headers::MacAddr;
use weft_nodes::headers::build::{Packet, ethernet};
use weft_nodes::interface::Kind;
use weft_testing::Bed;

/// The domain of most tests.
pub const DOMAIN: u32 = 10;
/// All stations.
pub const ALL: MacAddr = MacAddr::BROADCAST;

/// A station.
pub const fn mac(number: u8) -> MacAddr {
    MacAddr([2, 0xaa, 0, 0, 0, number])
}

/// A frame of these addresses.
pub fn frame(from: MacAddr, to: MacAddr) -> Packet {
    ethernet().macs(from, to).ipv4([10, 9, 0, 1], [10, 9, 0, 2]).udp(1, 2).payload(&[from.0[5], to.0[5]])
}

pub struct Lab {
    pub bed: Bed,
    pub switch: Switch,
    ports: usize,
}

impl Deref for Lab {
    type Target = Bed;

    fn deref(&self) -> &Bed {
        &self.bed
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Bed {
        &mut self.bed
    }
}

impl Lab {
    /// So many ports, which are routed.
    pub fn new(ports: usize, settings: Settings) -> Lab {
        let mut bed = Bed::new();
        let switch =
            Switch::new(&mut bed.engine, &bed.tables.interfaces, settings, &bed.main).expect("nodes");
        for _ in 2..ports {
            bed.add_port();
        }
        Lab { bed, switch, ports: ports.max(2) }
    }

    /// So many ports, all of which are in one domain.
    pub fn bridged(ports: usize) -> Lab {
        let mut lab = Lab::new(ports, Settings::default());
        lab.bridge_all();
        lab
    }

    pub fn bridge_all(&mut self) {
        self.domain(DOMAIN, |_| {});
        for port in 0..self.ports {
            self.bridge(port, DOMAIN, Role::Normal, 0);
        }
    }

    /// Configures something.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config, &Bed)) {
        self.configure_with(change, StaticChanges::new());
    }

    fn configure_with(&mut self, change: impl FnOnce(&mut Config, &Bed), changes: StaticChanges) {
        let mut config = self.switch.config().clone();
        let before: Vec<InterfaceIndex> = config.ports.keys().copied().collect();
        change(&mut config, &self.bed);
        self.switch.prepare(&config, &changes).expect("room");
        let Lab { bed, switch, .. } = self;
        switch.apply(&mut bed.engine, &bed.interfaces, config, changes);
        let now: Vec<InterfaceIndex> = switch.config().ports.keys().copied().collect();
        for index in before.into_iter().chain(now) {
            let layer2 = switch.layer2(switch.config().ports.get(&index));
            bed.change(index, |interface| interface.layer2 = layer2);
        }
        self.bed.run();
    }

    /// A domain is so from now on.
    pub fn domain(&mut self, id: u32, change: impl FnOnce(&mut Domain)) {
        self.configure(|config, _| {
            let mut domain = config.domains.get(&id).cloned().unwrap_or_default();
            change(&mut domain);
            config.set_domain(id, domain).expect("an id");
        });
    }

    /// An interface is switched so.
    pub fn mode(&mut self, index: InterfaceIndex, mode: Mode) {
        self.configure(|config, bed| {
            let interface = bed.interfaces.get(index).expect("an interface");
            let facts = Facts { name: &interface.name, is_loopback: interface.kind == Kind::Loopback };
            config.set_mode(index, facts, mode, |index| index.to_string()).expect("it can be so");
        });
    }

    /// A port is in a domain.
    pub fn bridge(&mut self, port: usize, domain: u32, role: Role, group: u8) {
        let index = self.bed.port(port).index;
        self.mode(index, Mode::Bridged { domain, role, group });
    }

    /// What is set of an interface that is switched.
    pub fn set(&mut self, index: InterfaceIndex, change: impl FnOnce(&mut Port)) {
        self.configure(|config, _| change(config.ports.get_mut(&index).expect("it is switched")));
    }

    /// An interface is routed.
    pub fn route(&mut self, port: usize) {
        let index = self.bed.port(port).index;
        self.configure(|config, _| {
            config.ports.remove(&index);
        });
    }

    /// An operator says where a station is, or that he no longer does.
    pub fn station(&mut self, domain: u32, mac: MacAddr, target: Option<Target>) {
        self.configure_with(|_, _| {}, [((domain, mac), target)].into());
    }

    /// Receives a frame, lets it go its way, and has the main thread hear of it.
    pub fn arrives(&mut self, port: usize, frame: &Packet) {
        self.bed.pass(port, frame);
        self.switch.hear(usize::MAX);
    }

    /// The ports by which frames have left since the last call, with the frames.
    pub fn left(&mut self) -> Vec<(usize, Vec<u8>)> {
        let ports = 0..self.ports;
        ports.flat_map(|port| self.bed.sent(port).into_iter().map(move |frame| (port, frame))).collect()
    }

    /// A frame arrives, and leaves by these ports as it came.
    #[track_caller]
    pub fn goes(&mut self, port: usize, frame: &Packet, to: &[usize]) {
        self.arrives(port, frame);
        let expected: Vec<_> = to.iter().map(|port| (*port, frame.build())).collect();
        assert_eq!(self.left(), expected);
    }

    /// A frame arrives and ends, for this reason of `l2-input` or another node.
    #[track_caller]
    pub fn ends(&mut self, port: usize, frame: &Packet, reason: &str) {
        self.moved();
        self.arrives(port, frame);
        assert_eq!(self.left(), []);
        let reason = if reason.contains('/') { reason.to_owned() } else { format!("l2-input/{reason}") };
        self.drops(&[(&reason, 1)]);
    }

    /// Where stations are known to be, by address: learned ones, and the others.
    pub fn known(&self) -> Vec<(MacAddr, Option<InterfaceIndex>, bool)> {
        let mut known: Vec<_> = self.switch.stations().map(|it| (it.mac, it.port, it.learned)).collect();
        known.sort_unstable();
        known
    }

    /// Time passes, and the main thread looks at all stations.
    pub fn waits(&mut self, time: Duration) {
        self.time_passes(time);
        for _ in 0..100 {
            self.switch.tick();
        }
    }
}

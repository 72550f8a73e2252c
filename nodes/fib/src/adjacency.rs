// SPDX-License-Identifier: Apache-2.0
//! An adjacency: the bytes that go before a packet, and where it goes then.
//!
//! That of a neighbour on an Ethernet link is a link header and the transmit node of the interface. That of a tunnel is up to
//! [`MAX_REWRITE`] bytes and the tunnel's own node, which sends the packet to the adjacency that the tunnel is on: an
//! adjacency on an adjacency (VPP calls it a midchain).
//!
//! All routes of a family through a neighbour share one object under a stable id, so a neighbour that changes its MAC
//! costs one pointer store, however many routes there are. What an object is about is a [`NextHop`]: packets of another
//! family to the same neighbour (IPv4 by an IPv6 next hop, RFC 8950) have another header, and another object. An object is one cache line and immutable;
//! `ip4-rewrite` reads nothing else to send a packet on Ethernet.
//!
//! The main thread writes ([`Adjacencies`]); workers read through [`Adjacencies::reader`]. An adjacency exists as
//! long as somebody holds it ([`Adjacencies::acquire`]): each path list that uses it, the neighbour table, and tunnels.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use thiserror::Error;
use weft_engine::buffer::Packet;
use weft_engine::publish::{Slab, SlabReader};
use weft_engine::qsbr::Domain;
use weft_engine::{InterfaceIndex, NodeId};
use weft_headers::{EtherType, EthernetHeader, MacAddr, VlanId, VlanTag};
use weft_interface::Interfaces;
use zerocopy::IntoBytes;

/// An adjacency, as a load-balance names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct AdjacencyId(pub u32);

const UNTAGGED: usize = EthernetHeader::LENGTH;
const SINGLE: usize = UNTAGGED + VlanTag::LENGTH;
const DOUBLE: usize = SINGLE + VlanTag::LENGTH;

/// Most bytes that an adjacency puts before a packet.
pub const MAX_REWRITE: usize = 128;

/// What goes before a packet: on Ethernet a header with up to two VLAN tags. Each length of these is a case of its own, so
/// that a worker copies a constant number of bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rewrite {
    /// Without tag.
    Untagged([u8; UNTAGGED]),
    /// With one tag.
    Single([u8; SINGLE]),
    /// With a tag around a tag.
    Double([u8; DOUBLE]),
    /// Anything else: see [`Rewrite::of`].
    Other(Box<[u8]>),
}

/// What an adjacency cannot put before a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{0} bytes before a packet: expected at most {MAX_REWRITE}")]
pub struct RewriteTooLong(pub usize);

impl Rewrite {
    /// A header with `tags` from the outer to the inner one.
    pub fn new(destination: MacAddr, source: MacAddr, tags: VlanTags, ether_type: EtherType) -> Rewrite {
        let types = tags.0.map(|tag| tag.map(|(tag_type, _)| tag_type));
        let first = types[0].or(types[1]).unwrap_or(ether_type);
        let mut bytes = [0; DOUBLE];
        let mut length = 0;
        let mut put = |header: &[u8]| {
            bytes[length..length + header.len()].copy_from_slice(header);
            length += header.len();
        };
        put(EthernetHeader::new(destination, source, first).as_bytes());
        if let Some((_, id)) = tags.0[0] {
            put(VlanTag::new(id, types[1].unwrap_or(ether_type)).as_bytes());
        }
        if let Some((_, id)) = tags.0[1] {
            put(VlanTag::new(id, ether_type).as_bytes());
        }
        match (bytes.first_chunk(), bytes.first_chunk()) {
            (Some(untagged), _) if length == UNTAGGED => Rewrite::Untagged(*untagged),
            (_, Some(single)) if length == SINGLE => Rewrite::Single(*single),
            _ => Rewrite::Double(bytes),
        }
    }

    /// These bytes, whatever they are.
    pub fn of(bytes: &[u8]) -> Result<Rewrite, RewriteTooLong> {
        match bytes.len() {
            0..=MAX_REWRITE => Ok(Rewrite::Other(bytes.into())),
            length => Err(RewriteTooLong(length)),
        }
    }

    /// The header.
    pub fn header(&self) -> &[u8] {
        match self {
            Rewrite::Untagged(bytes) => bytes,
            Rewrite::Single(bytes) => bytes,
            Rewrite::Double(bytes) => bytes,
            Rewrite::Other(bytes) => bytes,
        }
    }

    /// Puts the header before a packet; false when there is no room.
    pub fn prepend_to(&self, packet: &mut Packet<'_>) -> bool {
        match self {
            Rewrite::Untagged(bytes) => packet.prepend_header(bytes),
            Rewrite::Single(bytes) => packet.prepend_header(bytes),
            Rewrite::Double(bytes) => packet.prepend_header(bytes),
            Rewrite::Other(bytes) => {
                let room = packet.prepend(bytes.len());
                if room {
                    packet.data_mut()[..bytes.len()].copy_from_slice(bytes);
                }
                room
            }
        }
    }
}

/// The VLAN tags of a sub-interface: none, one, or a service tag around a customer tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct VlanTags([Option<(EtherType, VlanId)>; 2]);

impl VlanTags {
    /// Untagged.
    pub const NONE: VlanTags = VlanTags([None; 2]);

    /// From the outer to the inner one.
    pub const fn new(outer: Option<(EtherType, VlanId)>, inner: Option<(EtherType, VlanId)>) -> VlanTags {
        VlanTags([outer, inner])
    }

    /// One 802.1Q tag.
    pub const fn single(id: VlanId) -> VlanTags {
        VlanTags([Some((EtherType::VLAN, id)), None])
    }

    /// An 802.1ad tag, and in it an 802.1Q tag.
    pub const fn double(service: VlanId, customer: VlanId) -> VlanTags {
        VlanTags([Some((EtherType::QINQ, service)), Some((EtherType::VLAN, customer))])
    }
}

/// What is known of a neighbour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Its MAC address is asked for; packets wait.
    Incomplete,
    /// Packets can be sent.
    Complete(Rewrite),
}

/// How packets leave by the interface of a neighbour, as far as sending one depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Egress {
    /// The node that packets go to: the one that transmits, or that of a tunnel.
    pub tx: NodeId,
    /// The longest IP packet that goes out as it is; 0 while the interface is down, so that one compare finds all
    /// packets that need a second look.
    pub mtu: u16,
}

impl Egress {
    /// Nothing goes out.
    pub const DOWN: Egress = Egress { tx: NodeId::DROP, mtu: 0 };

    /// That of an interface as it is now. Whoever changes the interface publishes its adjacencies again.
    pub fn of(interfaces: &Interfaces, index: InterfaceIndex) -> Egress {
        match interfaces.get(index) {
            Some(interface) if interfaces.is_up(index) => Egress { tx: interface.tx, mtu: interface.mtu },
            _ => Egress::DOWN,
        }
    }
}

/// Packets of a kind to a neighbour: what an adjacency is for. Those of a neighbour are next to each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NextHop {
    /// The link.
    pub interface: InterfaceIndex,
    /// The neighbour.
    pub address: IpAddr,
    /// What the packets are: the type in the header before them.
    pub payload: EtherType,
}

impl NextHop {
    /// Any payload to a neighbour.
    fn all_to(interface: InterfaceIndex, address: IpAddr) -> RangeInclusive<NextHop> {
        let of = |payload| NextHop { interface, address, payload: EtherType(payload) };
        of(0)..=of(u16::MAX)
    }

    /// Any payload to anybody on a link.
    fn all_on(interface: InterfaceIndex) -> RangeInclusive<NextHop> {
        let first = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let last = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
        *NextHop::all_to(interface, first).start()..=*NextHop::all_to(interface, last).end()
    }
}

/// Packets of a kind to one neighbour on one interface. Immutable.
#[derive(Debug)]
#[repr(align(64))]
pub struct Adjacency {
    /// Where packets go out.
    pub interface: InterfaceIndex,
    /// How they go out.
    pub egress: Egress,
    /// How they begin, if that is known.
    pub resolution: Resolution,
    /// The neighbour.
    pub address: IpAddr,
    /// See [`NextHop::payload`].
    pub payload: EtherType,
}

impl Adjacency {
    /// What it is for.
    pub fn next_hop(&self) -> NextHop {
        NextHop { interface: self.interface, address: self.address, payload: self.payload }
    }
}

const _: () = assert!(size_of::<Adjacency>() == 64, "an adjacency is one cache line");

/// No further adjacency fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("more than {limit} next hops are in use")]
pub struct AdjacenciesFull {
    /// The capacity of the table.
    pub limit: usize,
}

/// The main thread's side of all adjacencies.
pub struct Adjacencies {
    slab: Slab<Adjacency>,
    ids: BTreeMap<NextHop, AdjacencyId>,
    /// By id: how often it was acquired and not released.
    holders: Vec<u32>,
    created: Vec<AdjacencyId>,
}

impl Adjacencies {
    /// Room for `capacity` adjacencies.
    pub fn new(domain: &Domain, capacity: usize) -> Self {
        Adjacencies {
            slab: Slab::new(domain, capacity),
            ids: BTreeMap::new(),
            holders: Vec::new(),
            created: Vec::new(),
        }
    }

    /// For a worker.
    pub fn reader(&self) -> SlabReader<Adjacency> {
        self.slab.reader()
    }

    /// The adjacency for a next hop; a new one is incomplete. Each call needs a [`Adjacencies::release`].
    pub fn acquire(
        &mut self,
        domain: &mut Domain,
        next_hop: NextHop,
    ) -> Result<AdjacencyId, AdjacenciesFull> {
        let id = match self.ids.entry(next_hop) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                let (egress, resolution) = (Egress::DOWN, Resolution::Incomplete);
                let NextHop { interface, address, payload } = next_hop;
                let adjacency = Adjacency { interface, egress, resolution, address, payload };
                let Ok(id) = self.slab.insert(domain, adjacency) else {
                    return Err(AdjacenciesFull { limit: self.slab.capacity() });
                };
                let id = *unknown.insert(AdjacencyId(id));
                self.created.push(id);
                self.holders.resize(self.holders.len().max(id.0 as usize + 1), 0);
                id
            }
        };
        self.holders[id.0 as usize] += 1;
        Ok(id)
    }

    /// Gives back what [`Adjacencies::acquire`] gave; the last one removes the adjacency.
    pub fn release(&mut self, domain: &mut Domain, id: AdjacencyId) {
        let holders = &mut self.holders[id.0 as usize];
        *holders -= 1;
        if *holders == 0 {
            let adjacency = self.slab.get(id.0).expect("an adjacency that is held exists");
            self.ids.remove(&adjacency.next_hop());
            self.slab.remove(domain, id.0);
        }
    }

    /// Adjacencies that were made since the last call and that still exist. Routes make them; whoever knows the
    /// neighbours completes those that are known.
    pub fn take_created(&mut self) -> Vec<AdjacencyId> {
        let mut created = std::mem::take(&mut self.created);
        created.retain(|id| self.slab.get(id.0).is_some());
        created
    }

    /// Publishes what is known of a neighbour and its interface now.
    pub fn resolve(&mut self, domain: &mut Domain, id: AdjacencyId, resolution: Resolution, egress: Egress) {
        let Some(&Adjacency { interface, address, payload, .. }) = self.slab.get(id.0) else {
            debug_assert!(false, "{id:?} is resolved but not held");
            return;
        };
        self.slab.replace(domain, id.0, Adjacency { interface, egress, resolution, address, payload });
    }

    /// The id for a next hop that somebody holds.
    pub fn find(&self, next_hop: NextHop) -> Option<AdjacencyId> {
        self.ids.get(&next_hop).copied()
    }

    /// The adjacencies of a neighbour, one for each payload that somebody sends there.
    pub fn of_neighbor(
        &self,
        interface: InterfaceIndex,
        address: IpAddr,
    ) -> impl Iterator<Item = (NextHop, AdjacencyId)> {
        self.ids.range(NextHop::all_to(interface, address)).map(|(next_hop, id)| (*next_hop, *id))
    }

    /// The adjacencies on a link.
    pub fn on_link(&self, interface: InterfaceIndex) -> impl Iterator<Item = (NextHop, AdjacencyId)> {
        self.ids.range(NextHop::all_on(interface)).map(|(next_hop, id)| (*next_hop, *id))
    }

    /// The object of a live id.
    pub fn get(&self, id: AdjacencyId) -> Option<&Adjacency> {
        self.slab.get(id.0)
    }

    /// All adjacencies, by next hop.
    pub fn iter(&self) -> impl Iterator<Item = (AdjacencyId, &Adjacency)> {
        self.ids.values().filter_map(|&id| Some((id, self.get(id)?)))
    }

    /// Number of adjacencies.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_engine::{Engine, EngineConfig};
    use weft_headers::build;
    use weft_interface::{Interface, Kind};

    const PORT: InterfaceIndex = InterfaceIndex(1);
    const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn ip4(interface: InterfaceIndex, address: IpAddr) -> NextHop {
        NextHop { interface, address, payload: EtherType::IPV4 }
    }

    #[test]
    fn a_rewrite_equals_the_header_of_a_built_packet() {
        let (to, from) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let id = |id| VlanId::new(id).unwrap();
        let ethernet = build::ethernet().macs(from, to);
        let cases = [
            (VlanTags::NONE, ethernet.clone()),
            (VlanTags::single(id(10)), ethernet.clone().vlan(10)),
            (VlanTags::double(id(20), id(4094)), ethernet.qinq(20).vlan(4094)),
        ];
        for (tags, packet) in cases {
            let rewrite = Rewrite::new(to, from, tags, EtherType::IPV4);
            let packet = packet.ipv4([1, 1, 1, 1], [2, 2, 2, 2]).build();
            assert_eq!(rewrite.header(), &packet[..packet.len() - 20]);
        }
    }

    #[test]
    fn a_rewrite_has_128_bytes_at_most() {
        let bytes: Vec<u8> = (0..=MAX_REWRITE as u8).collect();
        assert_eq!(Rewrite::of(&bytes), Err(RewriteTooLong(129)));
        assert_eq!(Rewrite::of(&bytes[1..]).unwrap().header(), &bytes[1..]);
    }

    #[test]
    fn nothing_leaves_by_an_interface_that_is_down() {
        let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
        let mut interfaces = Interfaces::new(&engine, 4);
        let port = interfaces.create(&mut engine, "p", Kind::Port, MacAddr::ZERO, 1500, NodeId(7)).unwrap();
        assert_eq!(Egress::of(&interfaces, port), Egress::DOWN);
        let up = |interface: &mut Interface| (interface.admin_up, interface.link_up) = (true, true);
        interfaces.change(&mut engine, port, up).unwrap();
        assert_eq!(Egress::of(&interfaces, port), Egress { tx: NodeId(7), mtu: 1500 });
        interfaces.delete(&mut engine, port).unwrap();
        assert_eq!(Egress::of(&interfaces, port), Egress::DOWN);
    }

    #[test]
    fn holders_share_an_id_and_the_last_one_frees_it() {
        let mut domain = Domain::new(0);
        let mut adjacencies = Adjacencies::new(&domain, 2);
        let a = adjacencies.acquire(&mut domain, ip4(PORT, ROUTER)).unwrap();
        assert_eq!(adjacencies.acquire(&mut domain, ip4(PORT, ROUTER)), Ok(a));
        let b = adjacencies.acquire(&mut domain, ip4(InterfaceIndex(2), ROUTER)).unwrap();
        assert_ne!(a, b);
        assert_eq!(adjacencies.take_created(), [a, b]);
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(adjacencies.acquire(&mut domain, ip4(PORT, other)), Err(AdjacenciesFull { limit: 2 }));

        adjacencies.release(&mut domain, a);
        assert_eq!(adjacencies.find(ip4(PORT, ROUTER)), Some(a));
        adjacencies.release(&mut domain, a);
        assert_eq!(adjacencies.find(ip4(PORT, ROUTER)), None);
        assert_eq!(adjacencies.len(), 1);
        domain.reclaim();
        assert_eq!(adjacencies.acquire(&mut domain, ip4(PORT, other)), Ok(a), "the slot is free again");
    }

    #[test]
    fn each_payload_to_a_neighbor_has_an_adjacency_of_its_own() {
        let mut domain = Domain::new(0);
        let mut adjacencies = Adjacencies::new(&domain, 8);
        let ends =
            [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, Ipv6Addr::from_bits(u128::MAX)].map(IpAddr::V6);
        let by_ip6 = ends.map(|address| ip4(PORT, address));
        let ip6 = NextHop { payload: EtherType::IPV6, ..by_ip6[1] };
        let elsewhere = NextHop { interface: InterfaceIndex(2), ..ip6 };
        let all = [ip4(PORT, ROUTER), by_ip6[0], by_ip6[1], ip6, by_ip6[2], elsewhere];
        let ids = all.map(|next_hop| adjacencies.acquire(&mut domain, next_hop).unwrap());
        for (next_hop, id) in all.into_iter().zip(ids) {
            assert_eq!(adjacencies.get(id).map(Adjacency::next_hop), Some(next_hop));
        }
        let of_one: Vec<_> = adjacencies.of_neighbor(PORT, ends[1]).collect();
        assert_eq!(of_one, [(by_ip6[1], ids[2]), (ip6, ids[3])]);
        let on_link: Vec<_> = adjacencies.on_link(PORT).map(|(next_hop, _)| next_hop).collect();
        assert_eq!(on_link, all[..5]);
    }

    #[test]
    fn a_change_of_mac_keeps_the_id_and_what_a_reader_holds() {
        let mut domain = Domain::new(1);
        let mut worker = domain.register().unwrap();
        worker.online();
        let mut adjacencies = Adjacencies::new(&domain, 4);
        let reader = adjacencies.reader();
        let id = adjacencies.acquire(&mut domain, ip4(PORT, ROUTER)).unwrap();
        let rewrite = |last| {
            let mac = MacAddr([2, 0, 0, 0, 0, last]);
            Resolution::Complete(Rewrite::new(mac, build::SOURCE, VlanTags::NONE, EtherType::IPV4))
        };
        let egress = |mtu| Egress { tx: NodeId(7), mtu };
        let new = adjacencies.get(id).unwrap();
        assert_eq!((&new.resolution, new.egress), (&Resolution::Incomplete, Egress::DOWN));
        adjacencies.resolve(&mut domain, id, rewrite(1), egress(1500));
        {
            let held = reader.read(worker.guard()).get(id.0).unwrap();
            adjacencies.resolve(&mut domain, id, rewrite(2), egress(9000));
            domain.reclaim();
            assert_eq!((&held.resolution, held.egress), (&rewrite(1), egress(1500)));
            let now = reader.read(worker.guard()).get(id.0).unwrap();
            assert_eq!((&now.resolution, now.egress, now.address), (&rewrite(2), egress(9000), ROUTER));
        }
        worker.quiescent();
        assert_eq!(domain.reclaim(), 0);
    }
}

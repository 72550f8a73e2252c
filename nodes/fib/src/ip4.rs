// SPDX-License-Identifier: Apache-2.0
//! IPv4 as a [`Family`], with DIR-24-8 as its lookup structure.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use weft_engine::qsbr::Domain;
use weft_interface::{AddressFamily, Ip4};

use crate::family::{Family, Lookup, LookupWriter};
use crate::{AddressRole, Fib, FibError, FibSettings, FibWriter, LoadBalanceId};

impl Family for Ip4 {
    type Fib = FibWriter;

    /// Multicast, and the limited broadcast.
    fn own_prefixes() -> Vec<Ipv4Net> {
        vec![Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4), Ipv4Addr::BROADCAST.into()]
    }

    /// The broadcast address, and that of the subnet itself. Subnets of one or two addresses have neither (RFC 3021).
    fn roles(subnet: Ipv4Net) -> Vec<(Ipv4Addr, AddressRole)> {
        match subnet.prefix_len() {
            31.. => Vec::new(),
            _ => vec![(subnet.broadcast(), AddressRole::Host), (subnet.network(), AddressRole::Network)],
        }
    }

    fn can_be_own(address: Ipv4Net) -> bool {
        let host = address.addr();
        let is_edge = Ip4::roles(address.trunc()).iter().any(|(special, _)| *special == host);
        Ip4::is_unicast(host) && !host.is_loopback() && !is_edge
    }

    /// Not "this network", loopback, or class E.
    fn can_be_neighbor(address: Ipv4Addr) -> bool {
        !matches!(address.octets()[0], 0 | 127 | 224..)
    }
}

impl Lookup<Ip4> for Fib {
    fn lookup(&self, address: Ipv4Addr) -> LoadBalanceId {
        Fib::lookup(self, address.to_bits())
    }
}

impl LookupWriter<Ip4> for FibWriter {
    type Settings = FibSettings;
    type Error = FibError;
    type Reader = Fib;

    fn new(settings: FibSettings) -> io::Result<Self> {
        FibWriter::new(settings)
    }

    fn reader(&self) -> Arc<Fib> {
        FibWriter::reader(self)
    }

    fn expect_routes(&mut self, routes: usize) {
        FibWriter::expect_routes(self, routes);
    }

    fn check_room(&self, additions: impl Iterator<Item = Ipv4Net>) -> Result<(), FibError> {
        let new = additions.filter(|prefix| self.needs_block(*prefix));
        let mut slots: Vec<_> = new.map(|prefix| prefix.network().to_bits() >> 8).collect();
        slots.sort_unstable();
        slots.dedup();
        FibWriter::check_room(self, slots.len())
    }

    fn insert(&mut self, prefix: Ipv4Net, id: LoadBalanceId) -> Result<(), FibError> {
        FibWriter::insert(self, prefix, id)
    }

    fn remove(&mut self, domain: &mut Domain, prefix: Ipv4Net, covering: Option<(Ipv4Net, LoadBalanceId)>) {
        FibWriter::remove(self, domain, prefix, covering);
    }

    /// They see each change at once.
    fn show(&mut self, _: &mut Domain) {}
}

// SPDX-License-Identifier: Apache-2.0
//! IPv4 as a [`Family`], with DIR-24-8 as its lookup structure.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use weft_engine::qsbr::Domain;

use crate::family::{Family, Lookup, LookupWriter};
use crate::{Fib, FibError, FibSettings, FibWriter, LoadBalanceId};

/// IPv4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ip4;

impl Family for Ip4 {
    type Addr = Ipv4Addr;
    type Net = Ipv4Net;
    type Fib = FibWriter;
    const NAME: &'static str = "IPv4";

    fn is_unicast(address: Ipv4Addr) -> bool {
        !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
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

    fn insert(&mut self, _: &mut Domain, prefix: Ipv4Net, id: LoadBalanceId) -> Result<(), FibError> {
        FibWriter::insert(self, prefix, id)
    }

    fn remove(&mut self, domain: &mut Domain, prefix: Ipv4Net, covering: Option<(Ipv4Net, LoadBalanceId)>) {
        FibWriter::remove(self, domain, prefix, covering);
    }
}

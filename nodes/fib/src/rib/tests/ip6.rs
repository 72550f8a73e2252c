// SPDX-License-Identifier: Apache-2.0
//! A second family, to show that nothing of the RIB is IPv4's: IPv6 with a prefix trie under a lock.

use std::io;
use std::net::Ipv6Addr;
use std::sync::{Arc, RwLock};

use ipnet::Ipv6Net;
use prefix_trie::PrefixMap;
use thiserror::Error;
use weft_engine::qsbr::Domain;

use super::super::super::{Family, IpPrefix, LoadBalanceId, Lookup, LookupWriter};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ip6;

impl Family for Ip6 {
    type Addr = Ipv6Addr;
    type Net = Ipv6Net;
    type Fib = TrieWriter;
    const NAME: &'static str = "IPv6";

    fn is_unicast(address: Ipv6Addr) -> bool {
        !(address.is_unspecified() || address.is_multicast())
    }
}

#[derive(Default)]
pub struct Trie(RwLock<PrefixMap<Ipv6Net, LoadBalanceId>>);

impl Lookup<Ip6> for Trie {
    fn lookup(&self, address: Ipv6Addr) -> LoadBalanceId {
        let map = self.0.read().unwrap();
        map.get_lpm(&Ipv6Net::host(address)).map_or(LoadBalanceId::NO_ROUTE, |(_, id)| *id)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct TrieSettings {
    pub prefixes: usize,
}

impl Default for TrieSettings {
    fn default() -> Self {
        TrieSettings { prefixes: usize::MAX }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("no room for more than {0} prefixes")]
pub struct TrieFull(usize);

pub struct TrieWriter {
    trie: Arc<Trie>,
    settings: TrieSettings,
}

impl LookupWriter<Ip6> for TrieWriter {
    type Settings = TrieSettings;
    type Error = TrieFull;
    type Reader = Trie;

    fn new(settings: TrieSettings) -> io::Result<Self> {
        Ok(TrieWriter { trie: Arc::default(), settings })
    }

    fn reader(&self) -> Arc<Trie> {
        Arc::clone(&self.trie)
    }

    fn expect_routes(&mut self, _: usize) {}

    fn check_room(&self, additions: impl Iterator<Item = Ipv6Net>) -> Result<(), TrieFull> {
        let map = self.trie.0.read().unwrap();
        let new = additions.filter(|prefix| !map.contains_key(prefix)).count();
        match map.len() + new <= self.settings.prefixes {
            true => Ok(()),
            false => Err(TrieFull(self.settings.prefixes)),
        }
    }

    fn insert(&mut self, _: &mut Domain, prefix: Ipv6Net, id: LoadBalanceId) -> Result<(), TrieFull> {
        self.check_room([prefix].into_iter())?;
        self.trie.0.write().unwrap().insert(prefix, id);
        Ok(())
    }

    fn remove(&mut self, _: &mut Domain, prefix: Ipv6Net, covering: Option<(Ipv6Net, LoadBalanceId)>) {
        let mut map = self.trie.0.write().unwrap();
        map.remove(&prefix).expect("only what was inserted is removed");
        let found = map.get_lpm(&prefix).map(|(prefix, id)| (prefix, *id));
        assert_eq!(found, covering, "the RIB knows what covers {prefix}");
    }
}

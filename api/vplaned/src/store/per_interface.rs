// SPDX-License-Identifier: Apache-2.0
//! What belongs to an interface and goes with it: addresses, neighbours, bridge entries.

use std::collections::BTreeMap;

use super::Generation;
use crate::netlink::IfIndex;

/// Values by interface and key, each with the resync that mentioned it last.
pub(super) struct PerInterface<K, V> {
    map: BTreeMap<IfIndex, BTreeMap<K, (V, Generation)>>,
}

impl<K, V> Default for PerInterface<K, V> {
    fn default() -> Self {
        PerInterface { map: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, V: PartialEq> PerInterface<K, V> {
    /// Whether it is new or another one.
    pub fn set(&mut self, index: IfIndex, key: K, value: V, generation: Generation) -> bool {
        let values = self.map.entry(index).or_default();
        match values.insert(key, (value, generation)) {
            Some((old, _)) => old != values[&key].0,
            None => true,
        }
    }

    /// Says that it is still there, if it was.
    pub fn mention(&mut self, index: IfIndex, key: K, generation: Generation) {
        if let Some(entry) = self.map.get_mut(&index).and_then(|values| values.get_mut(&key)) {
            entry.1 = generation;
        }
    }

    pub fn remove(&mut self, index: IfIndex, key: K) -> Option<V> {
        let values = self.map.get_mut(&index)?;
        let (value, _) = values.remove(&key)?;
        if values.is_empty() {
            self.map.remove(&index);
        }
        Some(value)
    }

    /// All of an interface.
    pub fn remove_all(&mut self, index: IfIndex) -> impl Iterator<Item = (K, V)> + use<K, V> {
        let values = self.map.remove(&index).unwrap_or_default();
        values.into_iter().map(|(key, (value, _))| (key, value))
    }

    /// Of one interface.
    pub fn of(&self, index: IfIndex) -> impl Iterator<Item = (&K, &V)> {
        self.map.get(&index).into_iter().flatten().map(|(key, (value, _))| (key, value))
    }

    /// Of all interfaces.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        self.map.values().flat_map(|values| values.values().map(|(value, _)| value))
    }

    pub fn len(&self) -> usize {
        self.map.values().map(BTreeMap::len).sum()
    }

    /// Those that a resync has not mentioned.
    pub fn unmentioned(&self, generation: Generation) -> Vec<(IfIndex, K)> {
        let all = self.map.iter().flat_map(|(index, values)| values.iter().map(|entry| (*index, entry)));
        let stale = all.filter(|(_, (_, (_, mentioned)))| *mentioned != generation);
        stale.map(|(index, (key, _))| (index, *key)).collect()
    }
}

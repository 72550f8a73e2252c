// SPDX-License-Identifier: Apache-2.0
//! Which of the dataplane's tables a table of the kernel is.

use std::collections::BTreeMap;

use super::links::Links;
use super::{FibTable, Generation, PolicyTable};
use crate::netlink::TableId;

/// What the command `tablemap` says: a policy table of a VRF that the kernel keeps under a number of its own
/// (protocol page, 13.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableMap {
    /// Name of the VRF, which need not exist yet.
    pub vrf: Box<str>,
    /// As policies name it.
    pub policy: PolicyTable,
    /// `None` takes the mapping back.
    pub table: Option<TableId>,
}

/// The name that means no VRF.
const DEFAULT_VRF: &str = "default";

#[derive(Default)]
pub(super) struct TableMaps {
    maps: BTreeMap<(Box<str>, PolicyTable), (TableId, Generation)>,
}

impl TableMaps {
    /// Policy tables of the default VRF have one number everywhere, so a mapping of them says nothing.
    pub fn set(&mut self, map: TableMap, generation: Generation) {
        match map.table {
            _ if &*map.vrf == DEFAULT_VRF => {}
            Some(table) => {
                self.maps.insert((map.vrf, map.policy), (table, generation));
            }
            None => {
                self.maps.remove(&(map.vrf, map.policy));
            }
        }
    }

    /// Forgets those that a resync has not mentioned.
    pub fn sweep(&mut self, generation: Generation) {
        self.maps.retain(|_, (_, mentioned)| *mentioned == generation);
    }

    /// `None` while the VRF of the table is unknown.
    pub fn resolve(&self, table: TableId, links: &Links) -> Option<FibTable> {
        if table == TableId::MAIN {
            return Some(FibTable::MAIN);
        }
        if let Some(vrf) = links.vrf_of(table) {
            return Some(FibTable { vrf: Some(vrf), policy: None });
        }
        if table.is_default_vrf() {
            return Some(FibTable { vrf: None, policy: Some(PolicyTable(table.0)) });
        }
        let ((vrf, policy), _) = self.maps.iter().find(|(_, (mapped, _))| *mapped == table)?;
        Some(FibTable { vrf: Some(links.vrf(vrf)?), policy: Some(*policy) })
    }
}

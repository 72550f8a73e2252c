// SPDX-License-Identifier: Apache-2.0
//! Which cores this process may use, which NUMA node each belongs to, and how a thread is pinned to one.
//!
//! The affinity mask that the process was started with (taskset(1), `CPUAffinity=` of systemd) says which cores are taken first. It
//! is no limit: the kernel lets a process pin itself to any core of its cpuset, and a core that the configuration names is
//! meant. The limit is what the kernel refuses, so it is asked about each core.
//!
//! NUMA nodes are read from `/sys/devices/system/node` (Documentation/admin-guide/mm/numaperf.rst of the kernel). A host without
//! NUMA has one node, 0.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::config::values::{Core, core_list};

/// The cores that this process may use.
#[derive(Clone, Debug)]
pub struct Topology {
    /// NUMA node of each usable core.
    nodes: BTreeMap<Core, u32>,
    /// Those of the affinity mask.
    mask: BTreeSet<Core>,
}

impl Topology {
    /// Asks the kernel. To be called before any thread is pinned.
    pub fn read() -> Result<Topology> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
        let mask = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
        let mask: BTreeSet<Core> = mask.map(|core| Core(core as u32)).collect();
        let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        let mut usable = usable(core_list(online.trim()).unwrap_or_default());
        usable.extend(&mask);
        let mut nodes: BTreeMap<Core, u32> = usable.into_iter().map(|core| (core, 0)).collect();
        for entry in fs::read_dir("/sys/devices/system/node").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(node) = name.to_str().and_then(|name| name.strip_prefix("node")?.parse().ok()) else {
                continue;
            };
            // A node of memory only has an empty list.
            let list = fs::read_to_string(entry.path().join("cpulist")).unwrap_or_default();
            for core in core_list(list.trim()).unwrap_or_default() {
                if let Some(of) = nodes.get_mut(&core) {
                    *of = node;
                }
            }
        }
        if nodes.is_empty() {
            bail!("the kernel names no core that this process may use");
        }
        Ok(Topology { nodes, mask })
    }

    /// Usable cores.
    pub fn cores(&self) -> BTreeSet<Core> {
        self.nodes.keys().copied().collect()
    }

    /// Those of them that the process was started on.
    pub fn mask(&self) -> &BTreeSet<Core> {
        &self.mask
    }

    /// NUMA node of a core.
    pub fn node(&self, core: Core) -> u32 {
        self.nodes.get(&core).copied().unwrap_or(0)
    }
}

/// Those of `cores` that the kernel lets this process run on. Another thread tries, so that this one stays where it is.
fn usable(cores: BTreeSet<Core>) -> BTreeSet<Core> {
    let tried = std::thread::spawn(|| cores.into_iter().filter(|core| pin(*core).is_ok()).collect());
    tried.join().unwrap_or_default()
}

/// Pins the calling thread.
pub fn pin(core: Core) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core.0 as usize).with_context(|| format!("core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("sched_setaffinity to core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_a_core_and_a_thread_can_be_pinned_to_it() {
        let topology = Topology::read().unwrap();
        assert!(topology.mask().is_subset(&topology.cores()));
        let core = topology.cores().last().copied().unwrap();
        std::thread::spawn(move || {
            pin(core).unwrap();
            let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
            assert_eq!((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap()).count(), 1);
            assert!(set.is_set(core.0 as usize).unwrap());
        })
        .join()
        .unwrap();
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What `cpu { ... }` means on a machine: a core for each thread.
//!
//! Main is on the named core or the first of the affinity mask; workers follow on the next ones of the mask, and when these do
//! not do, on the other cores that the process may use. A named core may be any that the process may use; `relative` counts in
//! the mask. Only when nothing was asked for may a machine with one core run both threads on it.

use std::collections::BTreeSet;

use super::{
    cpu::{Cpu, Workers},
    values::Core,
};

/// A core for each thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub main: Core,
    /// In the order of the worker numbers; never empty.
    pub workers: Vec<Core>,
}

/// Why this machine cannot do what `cpu { ... }` says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    #[error("this process may use no core at all")]
    NoCore,
    #[error("cpu: core {core} is not there for this process, which may use {allowed}")]
    NotAllowed { core: Core, allowed: String },
    #[error("cpu: relative core {core} is not there: this process may use {count} cores, counted from 0")]
    NoSuchIndex { core: Core, count: usize },
    #[error("cpu: {wanted} workers need as many cores beside main's; {free} are free")]
    TooFew { wanted: u32, free: usize },
}

impl Cpu {
    /// A core for each thread, of those that the process may use; the ones of its affinity `mask` (sched_getaffinity(2)) first.
    pub fn place(
        &self,
        mask: &BTreeSet<Core>,
        allowed: &BTreeSet<Core>,
    ) -> Result<Placement, PlacementError> {
        let first = *mask.first().or(allowed.first()).ok_or(PlacementError::NoCore)?;
        let countable = if self.relative { mask } else { allowed };
        let main = match self.main_core {
            Some(core) => self.resolve(core, countable)?,
            None => first,
        };
        let workers = match &self.workers {
            Workers::On(cores) => {
                cores.iter().map(|core| self.resolve(*core, countable)).collect::<Result<Vec<_>, _>>()?
            }
            Workers::Count(count) => {
                let beyond = allowed.difference(mask).filter(|_| !self.relative);
                let free: Vec<Core> = mask
                    .iter()
                    .chain(beyond)
                    .skip(self.skip_cores as usize)
                    .copied()
                    .filter(|core| *core != main)
                    .collect();
                let wanted = count.get();
                match free.get(..wanted as usize) {
                    Some(cores) => cores.to_vec(),
                    None if self.workers == Cpu::default().workers && allowed.len() == 1 => vec![main],
                    None => return Err(PlacementError::TooFew { wanted, free: free.len() }),
                }
            }
        };
        Ok(Placement { main, workers })
    }

    fn resolve(&self, core: Core, allowed: &BTreeSet<Core>) -> Result<Core, PlacementError> {
        if self.relative {
            let count = allowed.len();
            return allowed
                .iter()
                .nth(core.0 as usize)
                .copied()
                .ok_or(PlacementError::NoSuchIndex { core, count });
        }
        match allowed.contains(&core) {
            true => Ok(core),
            false => Err(PlacementError::NotAllowed { core, allowed: ranges(allowed) }),
        }
    }
}

/// `0-3,8`, as it would be written.
fn ranges(cores: &BTreeSet<Core>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for Core(core) in cores {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => runs.push((*core, *core)),
        }
    }
    let run = |&(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, parse, values::core_list};

    fn place(cpu: &str, allowed: &str) -> Result<(u32, Vec<u32>), String> {
        place_in(cpu, allowed, allowed)
    }

    fn place_in(cpu: &str, mask: &str, allowed: &str) -> Result<(u32, Vec<u32>), String> {
        let source = Source::from_text("f", format!("cpu {{ {cpu} }}"));
        let cpu = parse(&source).map_err(|report| report.to_string())?.config.cpu;
        let (mask, allowed) = (core_list(mask).unwrap(), core_list(allowed).unwrap());
        let placement = cpu.place(&mask, &allowed).map_err(|error| error.to_string())?;
        Ok((placement.main.0, placement.workers.iter().map(|core| core.0).collect()))
    }

    #[test]
    fn defaults() {
        assert_eq!(place("", "0-3"), Ok((0, vec![1])));
        assert_eq!(place("", "4,6,7"), Ok((4, vec![6])));
        assert_eq!(place("", "5"), Ok((5, vec![5])), "one core is shared if nothing was asked for");
    }

    #[test]
    fn named_cores() {
        assert_eq!(place("main-core 0 corelist-workers 2-4", "0-7"), Ok((0, vec![2, 3, 4])));
        assert_eq!(place("main-core 1 coremask-workers 0x5", "0-3"), Ok((1, vec![0, 2])));
        assert_eq!(place("main-core 2 workers 2", "0-3"), Ok((2, vec![0, 1])));
        assert_eq!(place("main-core 0 workers 2 skip-cores 2", "0-7"), Ok((0, vec![2, 3])));
        assert_eq!(place("relative main-core 1 corelist-workers 0,2", "4,6,8"), Ok((6, vec![4, 8])));
    }

    #[test]
    fn the_mask_says_which_cores_come_first_and_is_no_limit() {
        assert_eq!(place_in("", "4-7", "0-7"), Ok((4, vec![5])));
        assert_eq!(place_in("main-core 0 corelist-workers 1,5", "4-7", "0-7"), Ok((0, vec![1, 5])));
        assert_eq!(place_in("workers 4", "4-6", "0-7"), Ok((4, vec![5, 6, 0, 1])));
        assert_eq!(place_in("relative main-core 1 corelist-workers 0", "4-5", "0-7"), Ok((5, vec![4])));
        assert!(place_in("relative main-core 2", "4-5", "0-7").unwrap_err().contains("2 cores"));
        assert!(place_in("relative workers 2", "4-5", "0-7").unwrap_err().contains("1 are free"));
    }

    #[test]
    fn what_the_machine_has_not() {
        let fails = |cpu: &str, allowed: &str| place(cpu, allowed).unwrap_err();
        assert_eq!(
            fails("main-core 0 corelist-workers 2-5", "0-3,8"),
            "cpu: core 4 is not there for this process, which may use 0-3,8"
        );
        assert_eq!(
            fails("relative main-core 3", "4,6,8"),
            "cpu: relative core 3 is not there: this process may use 3 cores, counted from 0"
        );
        assert_eq!(fails("workers 4", "0-3"), "cpu: 4 workers need as many cores beside main's; 3 are free");
        assert!(fails("main-core 0 workers 1 skip-cores 9", "0-3").contains("0 are free"));
        assert_eq!(Cpu::default().place(&BTreeSet::new(), &BTreeSet::new()), Err(PlacementError::NoCore));
    }
}

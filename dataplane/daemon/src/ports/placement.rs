// SPDX-License-Identifier: Apache-2.0
//! Which worker polls which receive queue.
//!
//! A queue belongs to one worker at a time, best to one on the NIC's NUMA node: buffers and rings are there. Among
//! those the one with the fewest queues gets the next, which makes it a round robin. Main thread only.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use weft_devices::af_xdp::socket::QueueId;
use weft_engine::{InterfaceIndex, ThreadIndex};

use crate::config::af_xdp::WorkerNumber;

/// The thread of a worker: thread 0 is main.
pub fn thread(worker: WorkerNumber) -> ThreadIndex {
    ThreadIndex(worker.0 as u16 + 1)
}

/// A queue in its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The port or TAP.
    pub interface: InterfaceIndex,
    /// Its queue.
    pub queue: QueueId,
    /// Who runs that node.
    pub worker: WorkerNumber,
    /// The worker never sleeps for the sake of this queue.
    pub polling: bool,
    /// On its way to another worker.
    pub moving: Rc<Cell<bool>>,
}

impl Placed {
    /// A queue that has arrived.
    pub fn new(interface: InterfaceIndex, queue: QueueId, worker: WorkerNumber) -> Self {
        Placed { interface, queue, worker, polling: false, moving: Rc::default() }
    }
}

/// No such worker.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no worker {}: expected 0{}", .asked.0, through(.count))]
pub struct NoWorker {
    /// What was asked for.
    pub asked: WorkerNumber,
    /// How many there are.
    pub count: usize,
}

fn through(count: &usize) -> String {
    if *count > 1 { format!(" to {}", count - 1) } else { String::new() }
}

/// All queues.
pub struct Placement {
    /// NUMA node of each worker.
    workers: Vec<u32>,
    queues: Vec<Placed>,
}

impl Placement {
    /// Nothing is placed yet.
    pub fn new(workers: Vec<u32>) -> Self {
        Placement { workers, queues: Vec::new() }
    }

    /// That there is such a worker.
    pub fn check(&self, asked: WorkerNumber) -> Result<WorkerNumber, NoWorker> {
        let count = self.workers.len();
        if (asked.0 as usize) < count { Ok(asked) } else { Err(NoWorker { asked, count }) }
    }

    /// The worker for one more queue of a device on `numa`; of the `allowed` ones, if they are given.
    pub fn choose(
        &self,
        numa: Option<u32>,
        allowed: Option<&BTreeSet<WorkerNumber>>,
    ) -> Result<WorkerNumber, NoWorker> {
        let load =
            |worker: &WorkerNumber| self.queues.iter().filter(|placed| placed.worker == *worker).count();
        if let Some(allowed) = allowed {
            let allowed = allowed.iter().map(|worker| self.check(*worker)).collect::<Result<Vec<_>, _>>()?;
            return Ok(allowed.into_iter().min_by_key(load).expect("a list of workers is never empty"));
        }
        let all = || (0..self.workers.len() as u32).map(WorkerNumber);
        let near = all().filter(|worker| numa.is_none_or(|numa| self.workers[worker.0 as usize] == numa));
        let best = near.min_by_key(load).or_else(|| all().min_by_key(load));
        Ok(best.expect("there is a worker"))
    }

    /// Notes where a queue is.
    pub fn add(&mut self, placed: Placed) {
        self.queues.push(placed);
    }

    /// The queue of an interface.
    pub fn find_mut(&mut self, interface: InterfaceIndex, queue: QueueId) -> Option<&mut Placed> {
        self.queues.iter_mut().find(|placed| placed.interface == interface && placed.queue == queue)
    }

    /// The queues of an interface.
    pub fn of(&self, interface: InterfaceIndex) -> impl Iterator<Item = &Placed> {
        self.queues.iter().filter(move |placed| placed.interface == interface)
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, interface: InterfaceIndex) -> impl Iterator<Item = &mut Placed> {
        self.queues.iter_mut().filter(move |placed| placed.interface == interface)
    }

    /// Forgets the queues of an interface.
    pub fn forget(&mut self, interface: InterfaceIndex) {
        self.queues.retain(|placed| placed.interface != interface);
    }

    /// All queues, in the order in which they were placed.
    pub fn iter(&self) -> impl Iterator<Item = &Placed> {
        self.queues.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(interface: u32, queue: u32, worker: WorkerNumber) -> Placed {
        Placed::new(InterfaceIndex(interface), QueueId(queue), worker)
    }

    fn place(placement: &mut Placement, interface: u32, numa: Option<u32>, queues: u32) -> Vec<u32> {
        (0..queues)
            .map(|queue| {
                let worker = placement.choose(numa, None).unwrap();
                placement.add(placed(interface, queue, worker));
                worker.0
            })
            .collect()
    }

    #[test]
    fn queues_go_round_the_workers_of_the_nic_s_node() {
        let mut placement = Placement::new(vec![0, 0, 1, 1]);
        assert_eq!(place(&mut placement, 0, Some(1), 3), [2, 3, 2]);
        assert_eq!(place(&mut placement, 1, Some(0), 2), [0, 1]);
        assert_eq!(place(&mut placement, 2, None, 3), [0, 1, 3], "the least loaded, the first of equals");
        assert_eq!(place(&mut placement, 3, Some(7), 1), [0], "a node without workers");
        placement.forget(InterfaceIndex(0));
        assert_eq!(place(&mut placement, 4, Some(1), 2), [2, 2]);
    }

    #[test]
    fn a_list_of_workers_overrides_the_node() {
        let mut placement = Placement::new(vec![0, 1]);
        let only: BTreeSet<_> = [WorkerNumber(1)].into();
        for queue in 0..3 {
            let worker = placement.choose(Some(0), Some(&only)).unwrap();
            assert_eq!(worker, WorkerNumber(1));
            placement.add(placed(0, queue, worker));
        }
        let error = placement.choose(None, Some(&[WorkerNumber(2)].into())).unwrap_err();
        assert_eq!(error.to_string(), "there is no worker 2: expected 0 to 1");
        assert_eq!(
            Placement::new(vec![0]).check(WorkerNumber(1)).unwrap_err().to_string(),
            "there is no worker 1: expected 0"
        );
    }
}

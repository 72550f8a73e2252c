// SPDX-License-Identifier: Apache-2.0
//! Which blocks of a forwarding table are free.
//!
//! A block that no entry points to may still be read, so it is free only when all workers were quiescent. Main thread only.

use std::sync::{Arc, Mutex, PoisonError};

use weft_engine::qsbr::Domain;

/// Blocks that no reader can see.
#[derive(Clone, Default)]
struct Free(Arc<Mutex<Vec<u32>>>);

impl Free {
    fn with<R>(&self, action: impl FnOnce(&mut Vec<u32>) -> R) -> R {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Unlinked blocks: their drop, at the end of the grace period, frees them.
struct Retired<B: AsRef<[u32]>> {
    free: Free,
    blocks: B,
}

impl<B: AsRef<[u32]>> Drop for Retired<B> {
    fn drop(&mut self) {
        self.free.with(|free| free.extend_from_slice(self.blocks.as_ref()));
    }
}

/// All blocks of one table.
pub(super) struct Blocks {
    free: Free,
    /// Blocks ever used; those from here on have never been touched.
    fresh: u32,
    limit: u32,
}

impl Blocks {
    /// `limit` blocks.
    pub fn new(limit: u32) -> Blocks {
        Blocks { free: Free::default(), fresh: 0, limit }
    }

    /// How many there are altogether.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// How many can be allocated now.
    pub fn left(&self) -> usize {
        (self.limit - self.fresh) as usize + self.free.with(|free| free.len())
    }

    /// One that no reader can see.
    pub fn allocate(&mut self) -> Option<u32> {
        if let Some(block) = self.free.with(Vec::pop) {
            return Some(block);
        }
        if self.fresh == self.limit {
            return None;
        }
        self.fresh += 1;
        Some(self.fresh - 1)
    }

    /// Gives back one that is unlinked.
    pub fn retire(&self, domain: &mut Domain, block: u32) {
        domain.retire(Retired { free: self.free.clone(), blocks: [block] });
    }

    /// Gives back several that are unlinked.
    pub fn retire_all(&self, domain: &mut Domain, blocks: Vec<u32>) {
        domain.retire(Retired { free: self.free.clone(), blocks });
    }

    /// Number of blocks that are in use, or that a reader may still see.
    #[cfg(test)]
    pub fn in_use(&self) -> usize {
        self.limit as usize - self.left()
    }
}

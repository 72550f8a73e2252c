// SPDX-License-Identifier: Apache-2.0
//! Which slots are free.

/// How far ahead of its use a free slot is named by [`FreeSlots::soon`].
const AHEAD: usize = 4;

/// The free ones of so many slots. Last in, first out from the low end, so that few pages are in use where few entries are.
pub struct FreeSlots {
    free: Vec<u32>,
    capacity: u32,
    high_water: u32,
}

impl FreeSlots {
    /// All `capacity` slots are free.
    pub fn new(capacity: u32) -> FreeSlots {
        FreeSlots { free: (0..capacity).rev().collect(), capacity, high_water: 0 }
    }

    /// Takes a free slot.
    #[inline(always)]
    pub fn allocate(&mut self) -> Option<u32> {
        let slot = self.free.pop()?;
        self.high_water = self.high_water.max(slot + 1);
        Some(slot)
    }

    /// The slot that is taken a few calls later, to be loaded ahead.
    #[inline(always)]
    pub fn soon(&self) -> Option<u32> {
        self.free.len().checked_sub(AHEAD).and_then(|at| self.free.get(at)).copied()
    }

    /// Gives back a slot that was taken.
    #[inline(always)]
    pub fn release(&mut self, slot: u32) {
        debug_assert!(slot < self.high_water, "slot {slot} was never taken");
        self.free.push(slot);
    }

    /// Slots in use.
    pub fn used(&self) -> usize {
        self.capacity as usize - self.free.len()
    }

    /// Slots in use lie below this one.
    pub fn high_water(&self) -> u32 {
        self.high_water
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn low_slots_are_taken_first_and_running_out_is_an_answer() {
        let mut free = FreeSlots::new(5);
        assert_eq!((free.soon(), free.used(), free.high_water()), (Some(3), 0, 0));
        assert_eq!([(); 5].map(|()| free.allocate()), [0, 1, 2, 3, 4].map(Some));
        assert_eq!((free.allocate(), free.used(), free.soon()), (None, 5, None));
        free.release(3);
        assert_eq!((free.used(), free.allocate(), free.high_water()), (4, Some(3), 5));
    }
}

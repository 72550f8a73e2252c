// SPDX-License-Identifier: Apache-2.0
//! The engine's packet buffers as UMEM.

use std::ptr::NonNull;
use std::sync::Arc;

use weft_engine::buffer::{Buffers, SLOT_SIZE};

use super::umem::UmemMemory;

/// Keeps the buffers mapped as long as a socket may write into them.
pub struct BufferMemory(pub Arc<Buffers>);

// SAFETY: the mapping lives as long as the `Buffers` in it. A chunk is in a ring only while its
// index is held by the node that owns the ring, and the engine refers to the bytes of a buffer only
// through its owner.
unsafe impl UmemMemory for BufferMemory {
    fn bytes(&self) -> NonNull<[u8]> {
        let memory = self.0.memory();
        NonNull::slice_from_raw_parts(memory.base(), self.0.total() * SLOT_SIZE)
    }
}

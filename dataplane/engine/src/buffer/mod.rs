// SPDX-License-Identifier: Apache-2.0
//! Packet buffers.
//!
//! One contiguous mapping holds the slots of all pools, one pool per NUMA node, so a packet has the same
//! index in the graph, in the metadata array and (shifted) as an address in the AF_XDP UMEM: forwarding from
//! port to port copies nothing. Running out is counted by who asked and never fatal.
//!
//! Ownership: a buffer is free, or in the hands of exactly one worker (in a frame, a hold queue, a device
//! ring). Indices are plain numbers, so the compiler cannot check this; debug builds do, at every
//! allocation and release. A worker allocates from and frees to its own [`BufferCache`], which trades with
//! its pool in batches under a lock that is held for one memcpy.

pub mod context;
mod memory;
mod metadata;
mod packet;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

pub use memory::{Memory, PageRequest, Pages};
pub(crate) use metadata::DROPPING;
pub use metadata::{CHAINED, FIELDS, Fields, Metadata, TRACED};
pub use packet::Packet;

use crate::ids::{BufferIndex, InterfaceIndex};

/// Where devices place the first byte of a frame: what AF_XDP leaves in front (`XDP_PACKET_HEADROOM`,
/// linux/bpf.h), room for encapsulations. A multiple of a cache line, so that the headers share one.
pub const HEADROOM: usize = 256;

/// Bytes per slot: the chunk of the UMEM. A constant, since an address is computed several times per packet and
/// node; a frame of 1518 bytes, two tags, the kernel's headroom and our own fit.
pub const SLOT_SIZE: usize = 2048;

/// Buffers that move between a cache and its pool at once.
const BATCH: usize = 256;

/// How many buffers, and of what kind.
#[derive(Clone, Debug)]
pub struct BufferConfig {
    /// Per pool: the NUMA node and the number of buffers.
    pub pools: Vec<(u32, usize)>,
    /// Pages to ask for.
    pub pages: PageRequest,
}

impl Default for BufferConfig {
    fn default() -> Self {
        BufferConfig { pools: vec![(0, 16384)], pages: PageRequest::Auto }
    }
}

/// Buffers of all pools together.
pub const MOST: usize = 1 << 24;

/// Why there are no buffers.
#[derive(Debug, thiserror::Error)]
pub enum BufferError {
    /// No pool, or an empty one.
    #[error("a buffer pool needs at least {BATCH} buffers, found {0}")]
    TooFew(usize),
    /// Indices are 32 bit wide.
    #[error("{0} buffers are more than 2^24")]
    TooMany(usize),
    /// The host has no memory.
    #[error("cannot map {bytes} bytes of buffer memory: {error}")]
    Map {
        /// Asked for.
        bytes: usize,
        /// Said by mmap(2).
        error: io::Error,
    },
}

struct Pool {
    numa: u32,
    range: Range<u32>,
    free: Mutex<Vec<BufferIndex>>,
}

/// The buffer memory of all workers.
pub struct Buffers {
    data: Memory,
    /// Reached by `bases` only.
    _lines: [Memory; 2],
    bases: Bases,
    pools: Vec<Pool>,
}

/// Where the slots and the two kinds of lines begin; a packet reaches by it what it does not always need.
pub(crate) struct Bases {
    data: *mut u8,
    meta: *mut Metadata,
    fields: *mut Fields,
}

// SAFETY: addresses of mappings that live as long as `Buffers`; who may access what they lead to is said there.
unsafe impl Send for Bases {}
// SAFETY: as above.
unsafe impl Sync for Bases {}

/// Level of one pool, for `show buffers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLevel {
    /// NUMA node.
    pub numa: u32,
    /// Buffers that exist.
    pub total: usize,
    /// Buffers in the shared free list; what caches hold is not among them.
    pub available: usize,
}

impl Buffers {
    /// Maps and populates the memory of all pools.
    pub fn new(config: &BufferConfig) -> Result<Arc<Buffers>, BufferError> {
        let smallest = config.pools.iter().map(|(_, count)| *count).min().unwrap_or(0);
        if smallest < BATCH {
            return Err(BufferError::TooFew(smallest));
        }
        let total: usize = config.pools.iter().map(|(_, count)| count).sum();
        if total > MOST {
            return Err(BufferError::TooMany(total));
        }
        let map = |bytes: usize| {
            Memory::map(bytes, config.pages).map_err(|error| BufferError::Map { bytes, error })
        };
        let data = map(total * SLOT_SIZE)?;
        let meta = map(total * size_of::<Metadata>())?;
        let fields = map(total * size_of::<Fields>())?;
        let mut pools = Vec::new();
        let mut start = 0u32;
        for &(numa, count) in &config.pools {
            let range = start..start + count as u32;
            start = range.end;
            if config.pools.len() > 1 {
                let lines = [(&meta, size_of::<Metadata>()), (&fields, size_of::<Fields>())];
                for (memory, size) in lines.into_iter().chain([(&data, SLOT_SIZE)]) {
                    let page = |index: u32| (index as usize * size) & !4095;
                    if let Err(error) = memory.prefer_node(page(range.start)..page(range.end), numa) {
                        tracing::warn!("buffers of NUMA node {numa} may lie elsewhere: mbind: {error}");
                    }
                }
            }
            pools.push(Pool {
                numa,
                // Last in, first out from the low end: what was freed last is what the cache still holds.
                free: Mutex::new(range.clone().rev().map(BufferIndex).collect()),
                range,
            });
        }
        data.populate();
        meta.populate();
        fields.populate();
        let bases = Bases {
            data: data.base().as_ptr(),
            meta: meta.base().as_ptr().cast(),
            fields: fields.base().as_ptr().cast(),
        };
        let buffers = Buffers { data, _lines: [meta, fields], bases, pools };
        if cfg!(debug_assertions) {
            for index in 0..total as u32 {
                // SAFETY: nobody else has the memory yet.
                unsafe { (*buffers.meta_ptr(BufferIndex(index))).flags = metadata::FREE };
            }
        }
        Ok(Arc::new(buffers))
    }

    /// A worker's own supply from the pool of `numa` (or the first pool, if that node has none).
    pub fn cache(self: &Arc<Self>, numa: u32) -> BufferCache {
        BufferCache {
            pool: self.pools.iter().position(|pool| pool.numa == numa).unwrap_or(0),
            buffers: Arc::clone(self),
            free: Vec::with_capacity(3 * BATCH),
        }
    }

    /// First byte and bytes of the memory that is registered as UMEM.
    pub fn memory(&self) -> &Memory {
        &self.data
    }

    /// Buffers of all pools.
    pub fn total(&self) -> usize {
        self.pools.iter().map(|pool| pool.range.len()).sum()
    }

    /// Level of each pool.
    pub fn levels(&self) -> Vec<PoolLevel> {
        self.pools
            .iter()
            .map(|pool| PoolLevel {
                numa: pool.numa,
                total: pool.range.len(),
                available: pool.free.lock().map_or(0, |free| free.len()),
            })
            .collect()
    }

    #[inline(always)]
    fn meta_ptr(&self, index: BufferIndex) -> *mut Metadata {
        debug_assert!(index.index() < self.total());
        // SAFETY: indices given out are below `total`, so the line is inside the mapping.
        unsafe { self.bases.meta.add(index.index()) }
    }

    fn pool_of(&self, index: BufferIndex) -> usize {
        self.pools.iter().position(|pool| pool.range.contains(&index.0)).unwrap_or(0)
    }
}

/// The addresses of the buffer memory, to be kept in registers over a vector: reached through the cache they
/// would be loaded again for every packet, since the compiler cannot know that no packet overwrites them.
#[derive(Clone, Copy)]
pub(crate) struct BufferView {
    meta: *mut Metadata,
    data: *mut u8,
    bases: *const Bases,
}

impl BufferView {
    /// Access to a packet.
    ///
    /// # Safety
    /// The worker owns `index`, holds no other access to it, and the buffer memory outlives `'a`.
    #[inline(always)]
    pub(crate) unsafe fn packet<'a>(self, index: BufferIndex) -> Packet<'a> {
        // SAFETY: the index lies in the pool; exclusive by the caller. Metadata keeps its invariant because
        // only `Packet` and `Metadata::received` set offset and length.
        unsafe {
            let slot = self.data.add(index.index() * SLOT_SIZE);
            Packet::new(&mut *self.meta.add(index.index()), slot, &*self.bases)
        }
    }

    /// Brings the first line of data towards the core; the metadata, which the input node has just written, is there.
    /// Any index is harmless.
    #[inline(always)]
    pub(crate) fn prefetch(self, index: BufferIndex) {
        crate::prefetch::read(self.data.wrapping_add(index.index() * SLOT_SIZE + HEADROOM));
    }
}

/// A worker's supply of buffers, and its door to the buffers that it owns.
pub struct BufferCache {
    buffers: Arc<Buffers>,
    pool: usize,
    free: Vec<BufferIndex>,
}

impl BufferCache {
    /// The first of the first lines, of the second lines, and of the slots: for plugins, which reach packets by address.
    #[inline(always)]
    pub fn addresses(&mut self) -> (*mut Metadata, *mut Fields, *mut u8) {
        let Bases { data, meta, fields } = self.buffers.bases;
        (meta, fields, data)
    }

    /// The memory behind it.
    pub fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// Buffers in this cache.
    pub fn cached(&self) -> usize {
        self.free.len()
    }

    /// Hands at most `wanted` buffers to `take`; returns how many. Their metadata is what the last packet left:
    /// [`BufferCache::receive`] begins a packet, and until then only [`BufferCache::give_back`] frees the buffer.
    /// Fewer means that the pool is dry: the caller counts it and does without.
    #[inline]
    pub fn allocate(&mut self, wanted: usize, mut take: impl FnMut(BufferIndex)) -> usize {
        let mut given = 0;
        while given < wanted {
            if self.free.is_empty() && !self.refill() {
                break;
            }
            let count = (wanted - given).min(self.free.len());
            for index in self.free.drain(self.free.len() - count..).rev() {
                if cfg!(debug_assertions) {
                    // SAFETY: a buffer in the free list is ours alone.
                    let flags = unsafe { &mut (*self.buffers.meta_ptr(index)).flags };
                    assert!(*flags & metadata::FREE != 0, "buffer {index} was in use while free");
                    *flags = 0;
                }
                take(index);
            }
            given += count;
        }
        given
    }

    /// One buffer.
    pub fn allocate_one(&mut self) -> Option<BufferIndex> {
        let mut one = None;
        self.allocate(1, |index| one = Some(index));
        one
    }

    #[cold]
    fn refill(&mut self) -> bool {
        let Ok(mut shared) = self.buffers.pools[self.pool].free.lock() else {
            return false;
        };
        let count = shared.len().min(BATCH);
        let rest = shared.len() - count;
        self.free.extend(shared.drain(rest..));
        count > 0
    }

    /// Frees whole packets: each buffer and the segments chained to it.
    #[inline]
    pub fn free(&mut self, packets: &[BufferIndex]) {
        // Packets in one buffer each, as most are, go back in one copy: 1.3 clocks per packet with all of a sink, 2.9 one
        // by one. Debug builds look at each buffer.
        for packets in packets.chunks(BATCH) {
            let view = self.view();
            // SAFETY: the caller owns the buffers it frees.
            let flags =
                packets.iter().fold(0, |all, &index| all | unsafe { (*view.meta.add(index.index())).flags });
            if flags & CHAINED == 0 && !cfg!(debug_assertions) {
                if self.free.len() + packets.len() > 3 * BATCH {
                    self.spill();
                }
                self.free.extend_from_slice(packets);
            } else {
                packets.iter().for_each(|&index| self.free_one(index));
            }
        }
    }

    /// Frees one packet and the segments chained to it.
    #[inline(always)]
    pub fn free_one(&mut self, index: BufferIndex) {
        // SAFETY: the caller owns the buffer it frees.
        let meta = unsafe { &mut *self.buffers.meta_ptr(index) };
        if meta.flags & CHAINED != 0 {
            self.free_chain(index);
        } else {
            self.give_back(index);
        }
    }

    #[cold]
    fn free_chain(&mut self, first: BufferIndex) {
        let mut next = Some(first);
        while let Some(index) = next {
            // SAFETY: who owns the first segment owns the rest.
            next = unsafe { &*self.buffers.meta_ptr(index) }.next_segment();
            self.give_back(index);
        }
    }

    /// Takes back a buffer of which the metadata may be stale (a device ring returned it).
    #[inline(always)]
    pub fn give_back(&mut self, index: BufferIndex) {
        if cfg!(debug_assertions) {
            // SAFETY: the caller owns the buffer it frees.
            let flags = unsafe { &mut (*self.buffers.meta_ptr(index)).flags };
            assert!(*flags & metadata::FREE == 0, "buffer {index} was freed twice");
            *flags = metadata::FREE;
        }
        if self.free.len() == 3 * BATCH {
            self.spill();
        }
        self.free.push(index);
    }

    /// Returns the oldest buffers to their pools.
    #[cold]
    fn spill(&mut self) {
        let oldest: Vec<BufferIndex> = self.free.drain(..BATCH).collect();
        self.return_to_pools(&oldest);
    }

    fn return_to_pools(&self, indices: &[BufferIndex]) {
        for run in indices.chunk_by(|a, b| self.buffers.pool_of(*a) == self.buffers.pool_of(*b)) {
            let pool = &self.buffers.pools[self.buffers.pool_of(run[0])];
            if let Ok(mut free) = pool.free.lock() {
                free.extend_from_slice(run);
            }
        }
    }

    /// Returns everything to the pools; the level is then what nobody holds.
    pub fn flush(&mut self) {
        let all = std::mem::take(&mut self.free);
        self.return_to_pools(&all);
        self.free = Vec::with_capacity(3 * BATCH);
    }

    #[inline(always)]
    pub(crate) fn view(&self) -> BufferView {
        let bases = &self.buffers.bases;
        BufferView { meta: bases.meta, data: bases.data, bases }
    }

    /// Access to a packet that this worker owns.
    #[inline(always)]
    pub fn packet(&mut self, index: BufferIndex) -> Packet<'_> {
        // SAFETY: the worker owns the buffers whose indices it holds (module doc), and `&mut self` excludes a
        // second access on this thread.
        unsafe { self.view().packet(index) }
    }

    /// Starts a packet that begins with its network header: `length` bytes from `data_offset` in the slot. Claims that leave
    /// the slot are cut.
    #[inline(always)]
    pub fn receive(&mut self, index: BufferIndex, data_offset: usize, length: usize, rx: InterfaceIndex) {
        self.receive_frame(index, data_offset, length, rx, 0);
    }

    /// Starts a packet as a device receives it: as [`BufferCache::receive`], with a link header of `link` bytes in front.
    /// (Most links have headers of one length; the node that reads the header corrects it for others.)
    #[inline(always)]
    pub fn receive_frame(
        &mut self,
        index: BufferIndex,
        data_offset: usize,
        length: usize,
        rx: InterfaceIndex,
        link: u16,
    ) {
        let offset = data_offset.min(SLOT_SIZE);
        let length = length.min(SLOT_SIZE - offset);
        // SAFETY: the worker owns the buffer; `Metadata` is plain data, valid whatever was there.
        unsafe {
            *self.buffers.meta_ptr(index) = Metadata::received(offset as u16, length as u16, rx, link);
        }
    }

    /// A copy of a packet in buffers of its own, bytes, headers that were taken off, both lines and all segments; `None`, and
    /// nothing is taken, if there are not enough buffers. A buffer is in one device ring at a time, and each copy gets a
    /// header of its own, so packets are copied and never shared.
    pub fn copy(&mut self, packet: BufferIndex) -> Option<BufferIndex> {
        let first = self.copy_segment(packet)?;
        let mut next = self.packet(packet).meta.next_segment();
        while let Some(segment) = next {
            let Some(copy) = self.copy_segment(segment) else {
                self.free_one(first);
                return None;
            };
            self.chain(first, copy);
            next = self.packet(segment).meta.next_segment();
        }
        Some(first)
    }

    /// One buffer of it, not chained to anything.
    fn copy_segment(&mut self, from: BufferIndex) -> Option<BufferIndex> {
        let to = self.allocate_one()?;
        let view = self.view();
        // SAFETY: two different buffers of this worker: the one was in use, the other was free.
        let (original, copied) = unsafe { (view.packet(from), view.packet(to)) };
        *copied.meta = *original.meta;
        copied.meta.rest_length = 0;
        copied.meta.flags &= !CHAINED;
        let start = original.meta.data_offset().min(original.meta.link_offset.into());
        let end = original.meta.data_offset() + original.meta.length();
        // SAFETY: two slots of the pool, which do not overlap, of two packets of this worker; `start..end` lies in a slot.
        // Of the second lines likewise.
        unsafe {
            let (source, target) = (original.slot().add(start), copied.slot().add(start));
            target.copy_from_nonoverlapping(source, end - start);
            if original.meta.flags & FIELDS != 0 {
                copied.fields().copy_from_nonoverlapping(original.fields(), 1);
            }
        }
        Some(to)
    }

    /// Has the packet in `to` go on as the one in `from` does (see [`Metadata::continue_as`]), with the same fields.
    pub fn continue_as(&mut self, to: BufferIndex, from: BufferIndex) {
        debug_assert!(to != from, "a packet goes on as it does already");
        let from = self.packet(from);
        let (meta, fields) = (*from.meta, from.written_fields());
        let to = self.packet(to);
        to.meta.continue_as(&meta);
        if meta.flags & FIELDS != 0 {
            to.meta.flags |= FIELDS;
            // SAFETY: the line of a packet of this worker, which nobody else accesses.
            unsafe { to.fields().write(fields) };
        }
    }

    /// Chains `segment` (and what follows it) after the last segment of `packet`.
    pub fn chain(&mut self, packet: BufferIndex, segment: BufferIndex) {
        // SAFETY: both belong to this worker; the references do not overlap in time.
        unsafe {
            let added = (*self.buffers.meta_ptr(segment)).total_length() as u32;
            let mut last = packet;
            loop {
                let meta = &mut *self.buffers.meta_ptr(last);
                meta.rest_length += added;
                match meta.next_segment() {
                    Some(next) => last = next,
                    None => {
                        meta.flags |= CHAINED;
                        meta.next_segment = segment;
                        return;
                    }
                }
            }
        }
    }
}

impl Drop for BufferCache {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn pool(count: usize) -> Arc<Buffers> {
        Buffers::new(&BufferConfig { pools: vec![(0, count)], ..BufferConfig::default() }).unwrap()
    }

    #[test]
    fn an_empty_pool_is_refused() {
        let config = BufferConfig { pools: vec![], ..BufferConfig::default() };
        assert!(matches!(Buffers::new(&config), Err(BufferError::TooFew(0))));
    }

    #[test]
    fn a_dry_pool_gives_what_it_has() {
        let buffers = pool(300);
        let mut cache = buffers.cache(0);
        let mut got = Vec::new();
        assert_eq!(cache.allocate(1000, |index| got.push(index)), 300);
        assert_eq!(cache.allocate_one(), None);
        got.iter().for_each(|index| cache.receive(*index, HEADROOM, 60, InterfaceIndex(0)));
        cache.free(&got);
        drop(cache);
        assert_eq!(buffers.levels()[0].available, 300);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "freed twice")]
    fn a_double_free_is_caught_in_debug_builds() {
        let mut cache = pool(256).cache(0);
        let index = cache.allocate_one().unwrap();
        cache.give_back(index);
        cache.give_back(index);
    }

    #[test]
    fn buffers_go_home_to_their_pool() {
        let config = BufferConfig { pools: vec![(0, 256), (1, 512)], ..BufferConfig::default() };
        let buffers = Buffers::new(&config).unwrap();
        let (mut zero, mut one) = (buffers.cache(0), buffers.cache(1));
        let mut got = Vec::new();
        assert_eq!(one.allocate(400, |index| got.push(index)), 400);
        assert!(got.iter().all(|index| (256..768).contains(&index.0)));
        got.iter().for_each(|index| zero.give_back(*index));
        drop((zero, one));
        let levels = buffers.levels();
        assert_eq!((levels[0].available, levels[1].available), (256, 512));
    }

    #[test]
    fn a_chain_is_freed_as_one() {
        let buffers = pool(256);
        let mut cache = buffers.cache(0);
        let segments: Vec<_> = (0..3).map(|_| cache.allocate_one().unwrap()).collect();
        for (index, length) in segments.iter().zip([100, 200, 300]) {
            cache.receive(*index, HEADROOM, length, InterfaceIndex(0));
        }
        cache.chain(segments[0], segments[1]);
        cache.chain(segments[0], segments[2]);
        assert_eq!(cache.packet(segments[0]).meta.total_length(), 600);
        assert_eq!(cache.packet(segments[1]).meta.total_length(), 500);
        cache.free(&segments[..1]);
        drop(cache);
        assert_eq!(buffers.levels()[0].available, 256);
    }

    /// Bytes of all segments.
    fn bytes(cache: &mut BufferCache, first: BufferIndex) -> Vec<u8> {
        let (mut bytes, mut next) = (Vec::new(), Some(first));
        while let Some(index) = next {
            let packet = cache.packet(index);
            bytes.extend_from_slice(packet.data());
            next = packet.meta.next_segment();
        }
        bytes
    }

    proptest! {
        #[test]
        fn packet_positions_stay_in_the_slot(steps in prop::collection::vec((0u8..5, 0usize..3000), 0..40)) {
            let mut cache = pool(256).cache(0);
            let index = cache.allocate_one().unwrap();
            cache.receive(index, HEADROOM, 100, InterfaceIndex(0));
            let (mut offset, mut length) = (HEADROOM, 100usize);
            for (step, count) in steps {
                let mut packet = cache.packet(index);
                let (ok, next) = match step {
                    0 => (packet.advance(count), (offset + count, length.wrapping_sub(count))),
                    1 => (packet.prepend(count), (offset.wrapping_sub(count), length + count)),
                    2 => (packet.append(count), (offset, length + count)),
                    3 => (packet.truncate(count), (offset, count)),
                    _ => (packet.fill(count, &[7; 64]), (count, 64)),
                };
                let fits = next.1 <= 2048 && next.0 <= 2048 && next.0 + next.1 <= 2048
                    && (step != 3 || count <= length);
                prop_assert_eq!(ok, fits);
                if ok {
                    (offset, length) = next;
                }
                prop_assert_eq!(packet.data().len(), length);
                prop_assert_eq!(packet.headroom(), offset);
            }
            cache.free(&[index]);
        }

        /// A copy is the same packet in other buffers; if there are too few of them, there is none and nothing is lost.
        #[test]
        fn a_copy_is_equal_and_apart(
            segments in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 1..5),
            taken_off in 0usize..20, mark: Option<u64>, copies in 1usize..100,
        ) {
            let buffers = pool(256);
            let mut cache = buffers.cache(0);
            let mut registry = context::ContextRegistry::default();
            let field = registry.field::<u64>("mark", None).unwrap();
            let mut first = None;
            for segment in &segments {
                let index = cache.allocate_one().unwrap();
                cache.receive_frame(index, HEADROOM, 0, InterfaceIndex(3), 14);
                prop_assert!(cache.packet(index).fill(HEADROOM, segment));
                match first {
                    None => first = Some(index),
                    Some(first) => cache.chain(first, index),
                }
            }
            let first = first.unwrap();
            let mut packet = cache.packet(first);
            packet.advance(taken_off);
            packet.meta.scratch = [1, 2, 3];
            packet.meta.flags |= TRACED;
            if let Some(mark) = mark {
                packet.set_field(field, mark);
            }
            let (meta, original) = (*packet.meta, bytes(&mut cache, first));

            let mut made = Vec::new();
            made.extend((0..copies).map_while(|_| cache.copy(first)));
            prop_assert_eq!(made.len(), copies.min(256 / segments.len() - 1));
            for &copy in &made {
                prop_assert_eq!(bytes(&mut cache, copy), &original[..]);
                let mut packet = cache.packet(copy);
                prop_assert_eq!(packet.field(field), mark.unwrap_or(0));
                let links = |meta: &Metadata| {
                    let mut meta = *meta;
                    meta.next_segment = BufferIndex(0);
                    meta
                };
                prop_assert_eq!(format!("{:?}", links(packet.meta)), format!("{:?}", links(&meta)));
                // What was taken off is there too.
                let restored = taken_off.min(segments[0].len()).min(meta.data_offset() - HEADROOM);
                prop_assert!(packet.prepend(restored));
                prop_assert_eq!(&packet.data()[..restored], &segments[0][..restored]);
                packet.advance(restored);
                // And it is nobody else's.
                packet.data_mut().fill(0xee);
                packet.set_field(field, 99);
            }
            prop_assert_eq!(bytes(&mut cache, first), original);
            prop_assert_eq!(cache.packet(first).field(field), mark.unwrap_or(0));
            cache.free(&made);
            cache.free_one(first);
            drop(cache);
            prop_assert_eq!(buffers.levels()[0].available, 256);
        }

        #[test]
        fn no_buffer_is_given_out_twice(steps in prop::collection::vec((any::<bool>(), 1usize..400), 1..60)) {
            let buffers = pool(1024);
            let mut caches = [buffers.cache(0), buffers.cache(0)];
            let mut held: Vec<BufferIndex> = Vec::new();
            for (turn, (allocate, count)) in steps.into_iter().enumerate() {
                let cache = &mut caches[turn % 2];
                if allocate {
                    let before = held.len();
                    let given = cache.allocate(count, |index| held.push(index));
                    prop_assert_eq!(held.len() - before, given);
                } else {
                    let keep = held.len().saturating_sub(count);
                    for index in held.drain(keep..) {
                        cache.receive(index, HEADROOM, 60, InterfaceIndex(0));
                        cache.free_one(index);
                    }
                }
                let distinct: HashSet<_> = held.iter().collect();
                prop_assert_eq!(distinct.len(), held.len());
                let cached: usize = caches.iter().map(BufferCache::cached).sum();
                prop_assert_eq!(buffers.levels()[0].available + cached + held.len(), 1024);
            }
        }
    }
}

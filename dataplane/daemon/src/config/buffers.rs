// SPDX-License-Identifier: Apache-2.0
//! `buffers { ... }`: the memory that packets are in.

use std::{collections::BTreeMap, num::NonZeroU32};

use super::{
    values::Bytes,
    words::{Key, Words, ignored, key, set},
};

/// A NUMA node of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumaNode(pub u16);

/// The section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffers {
    /// On each node that has a thread.
    pub per_numa: NonZeroU32,
    /// Nodes that get another number.
    pub per_node: BTreeMap<NumaNode, NonZeroU32>,
    pub page_size: PageSize,
}

/// Pages under the buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageSize {
    /// Huge pages if enough are reserved, otherwise transparent ones.
    Best,
    /// Huge pages of the kernel's default size, or no start.
    DefaultHuge,
    /// Pages of this size, or no start.
    Exactly(Bytes),
}

/// As many as all pools together may have ([`weft_engine::buffer::MOST`]).
const MOST_BUFFERS: u32 = weft_engine::buffer::MOST as u32;

pub(super) const KEYS: &[Key<Buffers>] = &[
    key("buffers-per-numa", |buffers, words| set(&mut buffers.per_numa, count(words))),
    key("numa", |buffers, words| {
        let node = words.number("NUMA node", 0..=1023).map(NumaNode)?;
        let mut of_node = None;
        words.group("numa").map(|mut words| words.read(NUMA_KEYS, &mut of_node))?;
        if let Some(count) = of_node {
            buffers.per_node.insert(node, count);
        }
        Ok(())
    }),
    // A constant of the engine, which files for VPP may repeat.
    key("default data-size", |_, words| words.one_of(&[("2048", ())])),
    key("page-size", |buffers, words| set(&mut buffers.page_size, words.value("page size", page_size))),
    ignored("layout", 1, "buffers have one layout"),
];

const NUMA_KEYS: &[Key<Option<NonZeroU32>>] =
    &[key("buffers", |of_node, words| set(of_node, count(words).map(Some)))];

fn count(words: &mut Words<'_>) -> Result<NonZeroU32, super::Diagnostic> {
    let most = NonZeroU32::new(MOST_BUFFERS).expect("the bound is a power of two");
    words.number("number of buffers", NonZeroU32::MIN..=most)
}

fn page_size(text: &str) -> Result<PageSize, &'static str> {
    match text {
        "default" => Ok(PageSize::Best),
        "default-hugepage" => Ok(PageSize::DefaultHuge),
        _ => match text.parse() {
            Ok(size @ Bytes(4096..)) if size.0.is_power_of_two() => Ok(PageSize::Exactly(size)),
            _ => Err("a page size is default, default-hugepage, or a power of two from 4k, such as 2m or 1g"),
        },
    }
}

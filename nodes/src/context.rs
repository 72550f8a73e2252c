// SPDX-License-Identifier: Apache-2.0
//! What the IP nodes keep with a packet: parts of the engine's packet context that this crate claims.
//!
//! Every forwarded packet has a forwarding table and a next hop, so they are words of the first line; what was said about
//! its frame or its origin is a flag. All are constants: a hot node tests or writes them without a load.

use weft_engine::Engine;
use weft_engine::buffer::Metadata;
use weft_engine::buffer::context::{ContextError, Word};

/// The link layer destination was a broadcast or multicast address (RFC 1122 section 3.3.6: no ICMP errors for it).
pub const LINK_BROADCAST: u32 = 1 << 8;
/// The packet was made by this host, not received: its TTL is not decremented on output.
pub const LOCALLY_ORIGINATED: u32 = 1 << 9;
/// The source of the packet says something on the link only that it came from (RFC 4007): it must not leave by another one.
pub const LINK_SCOPED: u32 = 1 << 14;

const TABLE: Word = Word::new("ip-table", 0);
const NEXT_HOP: Word = Word::new("ip-next-hop", 1);

/// In place of a next hop: the destination itself is on the link of `tx_interface`.
pub const GLEAN: u32 = u32::MAX;

/// A number that rules and flows write, and that stays with the packet: a field of that name, 0 if nobody has written it.
pub const MARK: &str = "mark";

/// Claims all of it; before the first packet.
pub(crate) fn claim(engine: &mut Engine) -> Result<(), ContextError> {
    engine.claim_flag("link-broadcast", LINK_BROADCAST)?;
    engine.claim_flag("locally-originated", LOCALLY_ORIGINATED)?;
    engine.claim_flag("link-scoped", LINK_SCOPED)?;
    engine.claim_word(TABLE)?;
    engine.claim_word(NEXT_HOP)
}

/// The words, by what they mean.
pub trait IpContext {
    /// Forwarding table (VRF) to look the destination up in.
    fn table(&self) -> u32;
    /// Has the destination looked up in another table.
    fn set_table(&mut self, table: u32);
    /// Next hop, set by the lookup.
    fn next_hop(&self) -> u32;
    /// Chooses the next hop.
    fn set_next_hop(&mut self, next_hop: u32);
}

impl IpContext for Metadata {
    #[inline(always)]
    fn table(&self) -> u32 {
        self.word(TABLE)
    }

    #[inline(always)]
    fn set_table(&mut self, table: u32) {
        self.set_word(TABLE, table);
    }

    #[inline(always)]
    fn next_hop(&self) -> u32 {
        self.word(NEXT_HOP)
    }

    #[inline(always)]
    fn set_next_hop(&mut self, next_hop: u32) {
        self.set_word(NEXT_HOP, next_hop);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! VLAN tags that a port takes off frames and puts on them: on the way in as configured, on the way out the other way round.

use weft_engine::buffer::Packet;
use weft_nodes::headers::{EtherType, VlanId, VlanTag};
use weft_nodes::interface::Tags;

/// A tag that is put on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// 802.1Q or 802.1ad.
    pub kind: EtherType,
    /// Which VLAN.
    pub vlan: VlanId,
}

/// What is done to frames that arrive: `pop` tags are taken off, then those of `push` are put on, the outer one first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rewrite {
    /// Tags that go.
    pub pop: u8,
    /// Tags that come.
    pub push: [Option<Tag>; 2],
}

impl Rewrite {
    /// What makes a frame as it was before, if it had these tags.
    pub fn back(&self, tags: &Tags) -> Rewrite {
        let outer = tags.outer.map(|(kind, vlan)| Tag { kind, vlan });
        let inner = tags.inner.map(|vlan| Tag { kind: EtherType::VLAN, vlan });
        let popped = match self.pop {
            0 => [None, None],
            1 => [outer, None],
            _ => [outer, inner],
        };
        Rewrite { pop: self.pushed(), push: popped }
    }

    /// Does it to a frame; false, and the frame is as it was, if it has fewer tags, or there is no room before it. The priority of
    /// the outer tag that goes is that of the tags that come (IEEE 802.1Q clause 6.9.4).
    pub fn apply(&self, packet: &mut Packet<'_>) -> bool {
        const MACS: usize = 12;
        let (pop, push) =
            (usize::from(self.pop) * VlanTag::LENGTH, usize::from(self.pushed()) * VlanTag::LENGTH);
        let Some(macs) = packet.data().first_chunk::<MACS>().copied() else { return false };
        let tags = packet.data().get(MACS..MACS + pop).unwrap_or_default();
        let is_tag = |tag: &[u8]| EtherType(u16::from_be_bytes([tag[0], tag[1]])).is_vlan();
        if tags.len() < pop || !tags.chunks_exact(VlanTag::LENGTH).all(is_tag) {
            return false;
        }
        let priority = tags.get(2).map_or(0, |control| control & 0xf0);
        if packet.headroom() + pop < push || !packet.advance(MACS + pop) || !packet.prepend(MACS + push) {
            return false;
        }
        let frame = packet.data_mut();
        frame[..MACS].copy_from_slice(&macs);
        let places = frame[MACS..MACS + push].chunks_exact_mut(VlanTag::LENGTH);
        for (place, Tag { kind, vlan }) in places.zip(self.push.iter().flatten()) {
            place[..2].copy_from_slice(&kind.0.to_be_bytes());
            place[2..].copy_from_slice(&(vlan.get() | u16::from(priority) << 8).to_be_bytes());
        }
        packet.meta.link_offset = packet.meta.data_offset() as u16;
        true
    }

    /// How many it puts on.
    pub fn pushed(&self) -> u8 {
        self.push.iter().flatten().count() as u8
    }
}

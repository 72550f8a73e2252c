// SPDX-License-Identifier: Apache-2.0
//! Packets that wait for the verdict on their flow: the first one and up to three that follow, in order.
//!
//! Bounded by a share of the pool, so that flows which nobody decides about cannot starve the ports. All memory is there
//! from the start. A worker owns its instance.

use weft_engine::buffer::BufferCache;
use weft_engine::{BufferIndex, InterfaceIndex};

use crate::shard::Shard;

/// Packets of one flow: the first, and three more.
pub const PER_FLOW: usize = 4;

/// Packets of one flow.
#[derive(Clone, Copy, Default)]
struct Hand {
    packets: [BufferIndex; PER_FLOW],
    count: usize,
}

/// Why a packet cannot wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Enough of its flow do.
    Flow,
    /// Enough packets do.
    Share,
}

/// Packets that wait.
pub(crate) struct Hold {
    hands: Box<[Hand]>,
    free: Vec<u32>,
    parked: usize,
}

impl Hold {
    /// Room for `limit` packets.
    pub fn new(limit: usize) -> Hold {
        Hold {
            hands: vec![Hand::default(); limit].into(),
            free: (0..limit as u32).rev().collect(),
            parked: 0,
        }
    }

    /// Packets that wait.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// Keeps a packet of the flow in `slot`.
    pub fn park(&mut self, shard: &mut Shard, slot: u32, packet: BufferIndex) -> Result<(), Refusal> {
        if self.parked == self.hands.len() {
            return Err(Refusal::Share);
        }
        let at = match shard.hand(slot) {
            Some(hand) => hand,
            None => {
                let hand = self.free.pop().ok_or(Refusal::Share)?;
                shard.set_hand(slot, Some(hand));
                hand
            }
        };
        let hand = &mut self.hands[at as usize];
        let place = hand.packets.get_mut(hand.count).ok_or(Refusal::Flow)?;
        *place = packet;
        hand.count += 1;
        self.parked += 1;
        Ok(())
    }

    /// Takes out the packets of a flow.
    pub fn take_flow(&mut self, shard: &mut Shard, slot: u32, take: impl FnMut(&[BufferIndex])) {
        if let Some(hand) = shard.hand(slot) {
            shard.set_hand(slot, None);
            self.take(hand, take);
        }
    }

    /// Takes out the packets of a hand that no flow has any more.
    pub fn take(&mut self, hand: u32, mut take: impl FnMut(&[BufferIndex])) {
        let Hand { packets, count } = std::mem::take(&mut self.hands[hand as usize]);
        take(&packets[..count]);
        self.parked -= count;
        self.free.push(hand);
    }

    /// An interface goes away: what was received there is of no interface any more, so that nothing is counted for the
    /// next one with its index.
    pub fn disown(&mut self, buffers: &mut BufferCache, interface: InterfaceIndex) {
        for hand in &self.hands {
            for &index in &hand.packets[..hand.count] {
                let packet = buffers.packet(index);
                if packet.meta.rx_interface == interface {
                    packet.meta.rx_interface = InterfaceIndex::NONE;
                }
            }
        }
    }

    /// Frees all.
    pub fn close(&mut self, buffers: &mut BufferCache) {
        for hand in &mut self.hands {
            buffers.free(&hand.packets[..hand.count]);
            hand.count = 0;
        }
        self.parked = 0;
    }
}

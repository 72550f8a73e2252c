// SPDX-License-Identifier: Apache-2.0
//! Packets that wait for room in a transmit ring, by flow.
//!
//! A NIC that is slower than its ring is filled (copy mode, a kick that the driver answers with EBUSY) would otherwise lose whatever
//! comes next, and a flow of few packets as many of them as the bulk transfer that has filled the ring. Here each flow waits in a row
//! of its own (a hash of addresses and ports), rows take turns, and when there are too many packets the longest row loses
//! its last. One per worker and port; empty as long as the ring has room, and then it costs a test per vector.

use std::collections::VecDeque;

use weft_engine::ids::BufferIndex;
use weft_headers::{EtherType, Ipv4Header, Ipv6Header, carried};
use zerocopy::FromBytes;

/// Rows: a power of two.
const ROWS: usize = 64;

/// Packets that wait at most: as many again as a ring in copy mode has.
pub(super) const MOST: usize = 512;

/// Rows of packets.
#[derive(Default)]
pub(super) struct Backlog {
    /// None before the first packet has to wait.
    rows: Vec<VecDeque<BufferIndex>>,
    packets: usize,
    /// The row whose turn it is.
    turn: usize,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.packets
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Has a packet wait, whose frame begins with `frame`. The result has no place any more.
    pub(super) fn push(&mut self, index: BufferIndex, frame: &[u8]) -> Option<BufferIndex> {
        if self.rows.is_empty() {
            self.rows.resize_with(ROWS, VecDeque::new);
        }
        let row = flow_hash(frame) as usize % ROWS;
        self.rows[row].push_back(index);
        self.packets += 1;
        if self.packets <= MOST {
            return None;
        }
        let longest = self.rows.iter_mut().max_by_key(|row| row.len())?;
        self.packets -= 1;
        longest.pop_back()
    }

    /// The packet whose turn it is, which stays.
    pub(super) fn first(&mut self) -> Option<BufferIndex> {
        if self.packets == 0 {
            return None;
        }
        while self.rows[self.turn].is_empty() {
            self.turn = (self.turn + 1) % ROWS;
        }
        self.rows[self.turn].front().copied()
    }

    /// Takes the packet that [`first`](Self::first) gave.
    pub(super) fn remove_first(&mut self) {
        if self.rows[self.turn].pop_front().is_some() {
            self.packets -= 1;
            self.turn = (self.turn + 1) % ROWS;
        }
    }

    /// All of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = BufferIndex> {
        self.packets = 0;
        self.rows.iter_mut().flat_map(|row| row.drain(..))
    }
}

/// Tells flows apart: addresses, protocol, and the first four bytes of the transport header; of other frames the MAC addresses.
fn flow_hash(frame: &[u8]) -> u32 {
    let (addresses, ports) = match carried(frame) {
        Some((EtherType::IPV4, network)) => {
            let ip = Ipv4Header::ref_from_prefix(&frame[network..]).ok().map(|(ip, _)| ip);
            // Later fragments have no ports, so no fragment is told apart by them.
            let ports = ip.filter(|ip| !ip.is_fragment()).map(|ip| network + ip.header_length());
            (network + 12..network + 20, ports)
        }
        Some((EtherType::IPV6, network)) => {
            let end = network + Ipv6Header::LENGTH;
            (network + 8..end, Some(end))
        }
        _ => (0..12, None),
    };
    // FNV-1a, by words: whoever could make flows meet gains no more than he had without rows.
    let mut hash = 0x811c_9dc5_u32;
    let mut mix = |bytes: &[u8]| {
        for word in bytes.chunks(4) {
            let word = word.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
            hash = (hash ^ word).wrapping_mul(0x0100_0193);
        }
    };
    mix(frame.get(addresses).unwrap_or_default());
    mix(ports.and_then(|at| frame.get(at..at + 4)).unwrap_or_default());
    hash ^ hash >> 16
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// UDP from port `port` to a host, at `tags` VLAN tags.
    fn frame(port: u16, tags: usize) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 7]);
        }
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(port.to_be_bytes());
        frame.extend([0, 9, 0, 8, 0, 0]);
        frame
    }

    fn order(backlog: &mut Backlog) -> Vec<u32> {
        std::iter::from_fn(|| {
            let first = backlog.first()?;
            backlog.remove_first();
            Some(first.0)
        })
        .collect()
    }

    #[test]
    fn a_flow_keeps_its_order_and_flows_take_turns() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.first(), None);
        for number in 0..4 {
            assert_eq!(backlog.push(BufferIndex(number), &frame(1000, 0)), None);
        }
        assert_eq!(backlog.push(BufferIndex(100), &frame(2000, 1)), None);
        assert_eq!(backlog.len(), 5);
        let order = order(&mut backlog);
        assert!(order.iter().position(|number| *number == 100).is_some_and(|place| place < 2), "{order:?}");
        let bulk: Vec<u32> = order.into_iter().filter(|number| *number < 100).collect();
        assert_eq!(bulk, [0, 1, 2, 3]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn the_longest_row_loses_its_last() {
        let mut backlog = Backlog::default();
        let lost: Vec<u32> = (0..2 * MOST as u32)
            .filter_map(|number| backlog.push(BufferIndex(number), &frame(1000, 0)))
            .map(|lost| lost.0)
            .collect();
        assert_eq!(lost, (MOST as u32..2 * MOST as u32).collect::<Vec<_>>(), "those that came last");
        for number in 0..8 {
            let lost = backlog.push(BufferIndex(10_000 + number), &frame(2000, 0)).expect("one has no place");
            assert_eq!(lost.0, MOST as u32 - 1 - number, "a small flow loses nothing");
        }
        assert_eq!(backlog.len(), MOST);
        assert_eq!(backlog.drain().count(), MOST);
        assert_eq!(order(&mut backlog), Vec::<u32>::new());
    }

    #[test]
    fn frames_of_any_length_have_a_hash() {
        let whole = frame(1000, 2);
        assert!((0..whole.len()).map(|length| flow_hash(&whole[..length])).max().is_some());
        let mut fragment = frame(1000, 0);
        fragment[20] = 0x20;
        let mut later = fragment.clone();
        later[34] ^= 1;
        assert_eq!(flow_hash(&fragment), flow_hash(&later), "fragments of a packet stay together");
        assert_ne!(flow_hash(&frame(1000, 0)), flow_hash(&frame(1001, 0)));
    }
}

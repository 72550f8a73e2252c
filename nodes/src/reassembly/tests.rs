// SPDX-License-Identifier: Apache-2.0
//! Fragments in any order, of any datagram, beside those of others: what comes out is what was sent, or nothing.

use proptest::prelude::*;
use weft_engine::buffer::{BufferConfig, Buffers, HEADROOM};

use super::*;

const PATIENCE: u64 = 1000;
/// Bytes before the data of each fragment.
const HEADER: usize = 20;

struct Bed {
    buffers: BufferCache,
    reassembly: Reassembly<u32>,
    given_up: Vec<Reason>,
}

impl Bed {
    fn new() -> Bed {
        let config = BufferConfig { pools: vec![(0, 4096)], ..BufferConfig::default() };
        let buffers = Buffers::new(&config).unwrap().cache(0);
        Bed { buffers, reassembly: Reassembly::new(PATIENCE), given_up: Vec::new() }
    }

    /// Adds `data` of the datagram of that number, from `offset` on.
    fn add(&mut self, now: u64, number: u32, data: &[u8], offset: usize, more: bool) -> Added {
        let key = Key { table: 0, source: 1, destination: 2, identification: number, protocol: 17 };
        let packet = self.buffers.allocate_one().expect("a buffer");
        self.buffers.receive(packet, HEADROOM, 0, InterfaceIndex(1));
        let bytes = [&[0xee; HEADER][..], data].concat();
        assert!(self.buffers.packet(packet).fill(HEADROOM, &bytes));
        let piece = Piece { packet, header: HEADER, counted: HEADER, offset, length: data.len(), more };
        let added = self.reassembly.add(&mut self.buffers, Tsc(now), key, piece);
        if let Added::Refused(_) = added {
            self.buffers.free_one(packet);
        }
        self.clear();
        added
    }

    fn clear(&mut self) {
        for (packet, why) in self.reassembly.given_up() {
            self.given_up.push(why);
            self.buffers.free_one(packet);
        }
    }

    /// The data of a whole datagram, which is given back.
    fn take(&mut self, added: Added) -> Vec<u8> {
        let Added::Whole(first, length, _) = added else {
            panic!("expected a whole datagram, found {added:?}")
        };
        let mut bytes = vec![0; HEADER + length + 1];
        let count = crate::segments::read(&mut self.buffers, first, 0, &mut bytes);
        assert_eq!(count, HEADER + length);
        self.buffers.free_one(first);
        bytes[HEADER..count].to_vec()
    }
}

#[test]
fn a_datagram_is_whole_when_the_last_fragment_has_come() {
    let mut bed = Bed::new();
    let data: Vec<u8> = (0..40).collect();
    assert_eq!(bed.add(0, 7, &data[32..], 32, false), Added::Kept);
    assert_eq!(bed.add(0, 7, &data[..16], 0, true), Added::Kept);
    assert_eq!(bed.add(0, 8, &data[..16], 0, true), Added::Kept, "another one");
    let last = bed.add(0, 7, &data[16..32], 16, true);
    assert_eq!(bed.take(last), data);
    assert_eq!(bed.reassembly.waiting(), 1);
}

#[test]
fn what_cannot_be_part_of_a_datagram_is_refused() {
    let mut bed = Bed::new();
    for (data, offset, more, why) in [
        (&[0; 0][..], 0, true, Reason::BadLength),
        (&[0; 9], 0, true, Reason::BadLength),
        (&[0; 1000], 65_000, false, Reason::TooLong),
    ] {
        assert_eq!(bed.add(0, 1, data, offset, more), Added::Refused(why));
    }
    assert_eq!(bed.add(0, 1, &[1; 16], 0, true), Added::Kept);
    assert_eq!(bed.add(0, 1, &[2; 16], 0, true), Added::Refused(Reason::Duplicate));
    // Beside it, over its end, inside of it, around it, and an end before what is there.
    for (offset, length, more) in [(8, 16, true), (8, 8, true), (0, 24, true), (0, 8, false)] {
        assert_eq!(bed.add(0, 1, &vec![2; length], offset, more), Added::Refused(Reason::Overlap));
        assert_eq!(bed.given_up, [Reason::Overlap], "the datagram ends with it");
        bed.given_up.clear();
        assert_eq!(bed.add(0, 1, &[1; 16], 0, true), Added::Kept);
    }
    // Two ends, and data beyond the end.
    assert_eq!(bed.add(0, 2, &[1; 8], 64, false), Added::Kept);
    assert_eq!(bed.add(0, 2, &[1; 8], 72, false), Added::Refused(Reason::Overlap));
    assert_eq!(bed.add(0, 2, &[1; 8], 64, false), Added::Kept);
    assert_eq!(bed.add(0, 2, &[1; 8], 80, true), Added::Refused(Reason::Overlap));
}

#[test]
fn memory_and_time_are_bounded() {
    let mut bed = Bed::new();
    for number in 0..2 * DATAGRAMS as u32 {
        assert_eq!(bed.add(number.into(), number, &[0; 8], 8, true), Added::Kept);
    }
    assert_eq!(bed.given_up, vec![Reason::NoRoom; DATAGRAMS], "those that have waited the longest");
    assert_eq!(bed.reassembly.waiting(), DATAGRAMS);
    bed.given_up.clear();

    // One datagram of too many fragments.
    for place in 0..PIECES {
        bed.add(200, 900, &[0; 8], 16 * place, true);
    }
    assert_eq!(bed.add(200, 900, &[0; 8], 16 * PIECES, true), Added::Refused(Reason::NoRoom));
    assert_eq!(bed.given_up.len(), PIECES + 1, "it, and the one that had made room for it");
    bed.given_up.clear();

    for number in 0..40 {
        for place in 0..100 {
            bed.add(300, 1000 + number, &[0; 8], 16 * place, true);
            assert!(bed.reassembly.waiting() <= BUFFERS);
        }
    }
    bed.given_up.clear();
    let mut firsts = 0;
    bed.reassembly.expire(Tsc(300 + PATIENCE - 1), |_| firsts += 1);
    assert_eq!(firsts, 0, "there is time left");
    let mut told = Vec::new();
    bed.reassembly.expire(Tsc(300 + PATIENCE), |first| told.push(first));
    let waited = told.len();
    bed.buffers.free(&told);
    bed.clear();
    assert!(waited > 0 && bed.given_up.iter().all(|why| *why == Reason::Expired));
    assert_eq!(bed.reassembly.waiting(), 0);
}

proptest! {
    /// Whatever the order and the sizes, and whoever else sends beside it.
    #[test]
    fn what_comes_out_is_what_was_sent(
        length in 1usize..9000, sizes in prop::collection::vec(1usize..180, 1..8),
        order in any::<prop::sample::Index>(), noise in prop::collection::vec((0u32..3, 0usize..40, 1usize..9, any::<bool>()), 0..40),
    ) {
        let mut bed = Bed::new();
        let data: Vec<u8> = (0..length).map(|at| (at / 8) as u8 ^ (at as u8)).collect();
        let (mut pieces, mut at, mut sizes) = (Vec::new(), 0, sizes.into_iter().cycle());
        while at < length {
            let size = (8 * sizes.next().expect("they go on")).min(length - at);
            pieces.push((at, size));
            at += size;
        }
        prop_assume!(pieces.len() <= PIECES);
        let rotate = order.index(pieces.len());
        pieces.rotate_left(rotate);
        if rotate % 2 == 1 {
            pieces.reverse();
        }
        for (number, place, count, more) in noise {
            let added = bed.add(0, number, &vec![0; 8 * count], 8 * place, more);
            if let Added::Whole(..) = added {
                bed.take(added);
            }
        }
        let mut last = Added::Kept;
        for &(at, size) in &pieces {
            prop_assert_eq!(last, Added::Kept);
            last = bed.add(1, 77, &data[at..at + size], at, at + size < length);
        }
        prop_assert_eq!(bed.take(last), data);
        let Bed { mut buffers, mut reassembly, .. } = bed;
        reassembly.close(&mut buffers);
        prop_assert_eq!(reassembly.waiting(), 0);
    }
}

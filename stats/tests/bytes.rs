// SPDX-License-Identifier: Apache-2.0
//! The segment as the clients in the field see it: bytes at offsets. Decoded here with the numbers of
//! the layout (VPP `vlib/stats/shared.h`) written out once more, so that a mistake in the crate's own
//! description cannot hide in its own reader.

use std::fs::File;
use std::os::unix::fs::FileExt;

use weft_stats::{Combined, Segment, StatsError, ThreadIndex};

struct Bytes(Vec<u8>);

impl Bytes {
    fn of(segment: &Segment) -> Bytes {
        let file = File::from(segment.fd().try_clone_to_owned().expect("a descriptor is free"));
        let mut bytes = vec![0; segment.size()];
        file.read_exact_at(&mut bytes, 0).expect("the memfd is as long as the segment");
        Bytes(bytes)
    }

    fn u32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.0[at as usize..][..4].try_into().expect("4 bytes"))
    }

    fn u64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.0[at as usize..][..8].try_into().expect("8 bytes"))
    }

    fn len(&self, vector: u64) -> u32 {
        self.u32(vector - 8)
    }

    fn text(&self, at: u64, size: usize) -> &str {
        let bytes = &self.0[at as usize..][..size];
        let end = bytes.iter().position(|&byte| byte == 0).expect("a NUL ends it");
        assert!(bytes[end..].iter().all(|&byte| byte == 0));
        std::str::from_utf8(&bytes[..end]).expect("ASCII")
    }

    /// (type, value, name) of all entries.
    fn directory(&self) -> Vec<(u32, u64, &str)> {
        let directory = self.u64(32);
        (0..u64::from(self.len(directory)))
            .map(|index| directory + index * 144)
            .map(|entry| (self.u32(entry), self.u64(entry + 8), self.text(entry + 16, 128)))
            .collect()
    }
}

fn segment(threads: usize) -> Segment {
    Segment::new(1 << 20, threads).expect("1 MiB can be mapped")
}

#[test]
fn a_new_segment_has_the_header_and_the_three_fixed_entries() {
    let segment = segment(2);
    let bytes = Bytes::of(&segment);
    assert_eq!(bytes.u64(0), 2, "version");
    assert_eq!(bytes.u64(8), 0, "base");
    assert_eq!(bytes.u64(16), 1 + 3, "epoch: from 1, one step per entry");
    assert_eq!(bytes.u64(24), 0, "in_progress");
    assert_eq!(bytes.u64(40), 0, "error vector");
    let directory = bytes.directory();
    assert_eq!(directory[0], (1, 0, "/sys/heartbeat"));
    assert_eq!(directory[1], (1, 0, "/sys/last_stats_clear"));
    assert_eq!((directory[2].0, directory[2].2), (1, "/sys/boottime"));
    assert!(directory[2].1 > 1_700_000_000, "boottime is in seconds since 1970");
    assert_eq!(directory.len(), 3);
}

#[test]
fn every_kind_of_entry_is_where_clients_look_for_it() {
    let mut segment = segment(3);
    let simple = segment.simple("/if/drops", 2, 100).expect("there is room");
    let pairs = segment.combined("/if/rx", 2, 100).expect("there is room");
    let names = segment.names("/if/names", 100).expect("there is room");
    segment.set_len(&names, 2).expect("within capacity");
    segment.set_name(&names, 0, "eth0").expect("ASCII");
    let link = segment.symlink("/interfaces/eth0/drops", simple.entry(), 1).expect("column 1 exists");
    simple.row(ThreadIndex(2)).add(1, 7);
    pairs.row(ThreadIndex(1)).add(0, 3, 180);

    let bytes = Bytes::of(&segment);
    let directory = bytes.directory();
    let (kind, table, name) = directory[3];
    assert_eq!((kind, name, bytes.len(table)), (2, "/if/drops", 3));
    let rows: Vec<u64> = (0..3).map(|thread| bytes.u64(table + thread * 8)).collect();
    assert!(rows.iter().all(|&row| bytes.len(row) == 2 && row % 64 == 0));
    assert_eq!((bytes.u64(rows[2] + 8), bytes.u64(rows[1] + 8)), (7, 0));

    let (kind, table, name) = directory[4];
    assert_eq!((kind, name, bytes.len(table)), (3, "/if/rx", 3));
    let row = bytes.u64(table + 8);
    assert_eq!((bytes.len(row), bytes.u64(row), bytes.u64(row + 8)), (2, 3, 180));

    let (kind, table, name) = directory[5];
    assert_eq!((kind, name, bytes.len(table)), (4, "/if/names", 2));
    let (first, second) = (bytes.u64(table), bytes.u64(table + 8));
    assert_eq!((bytes.len(first), bytes.text(first, 5)), (5, "eth0"), "the length counts the NUL");
    assert_eq!((bytes.len(second), bytes.text(second, 1)), (1, ""), "a slot without text is not null");

    assert_eq!(link.position(), 6);
    assert_eq!(directory[6], (6, 3 | 1 << 32, "/interfaces/eth0/drops"));
}

#[test]
fn rows_of_different_threads_share_no_cache_line() {
    let mut segment = segment(4);
    for (name, capacity) in [("/a", 0), ("/b", 1), ("/c", 7), ("/d", 8), ("/e", 64)] {
        segment.simple(name, capacity, capacity).expect("there is room");
        let bytes = Bytes::of(&segment);
        let (_, table, _) = *bytes.directory().last().expect("just added");
        let mut rows: Vec<u64> = (0..4).map(|thread| bytes.u64(table + thread * 8)).collect();
        rows.sort_unstable();
        for pair in rows.windows(2) {
            let last = (pair[0] + 8 * capacity as u64).saturating_sub(1) / 64;
            assert!(capacity == 0 || pair[1] / 64 > last, "{name}: rows at {pair:?}");
        }
    }
}

#[test]
fn a_step_is_one_epoch_whatever_it_contains() {
    let mut segment = segment(1);
    let before = Bytes::of(&segment).u64(16);
    segment.update(|update| {
        let drops = update.simple("/if/drops", 0, 8).expect("there is room");
        let names = update.names("/if/names", 8).expect("there is room");
        update.set_len(&drops, 1).expect("within capacity");
        update.set_len(&names, 1).expect("within capacity");
        update.set_name(&names, 0, "eth0").expect("ASCII");
    });
    let bytes = Bytes::of(&segment);
    assert_eq!((bytes.u64(16), bytes.u64(24)), (before + 1, 0));
}

#[test]
fn a_panic_inside_a_step_ends_the_step() {
    let mut segment = segment(1);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        segment.update(|_| std::panic::panic_any("inside the step"));
    }));
    assert!(result.is_err());
    assert_eq!(Bytes::of(&segment).u64(24), 0, "in_progress");
}

#[test]
fn a_vacant_slot_is_empty_with_a_placeholder_and_is_used_first() {
    let mut segment = segment(1);
    let gone = segment.scalar("/gone").expect("there is room");
    segment.scalar("/stays").expect("there is room");
    segment.remove(gone.entry());
    gone.set(99); // does nothing
    assert_eq!(Bytes::of(&segment).directory()[3], (5, 0, "/deleted/3"));
    let new = segment.scalar("/new").expect("there is room");
    assert_eq!(new.entry().position(), 3);
    assert_ne!(new.entry(), gone.entry());
    segment.remove(gone.entry()); // names nothing any more
    gone.set(99);
    new.set(5);
    assert_eq!(Bytes::of(&segment).directory()[3], (1, 5, "/new"));
}

#[test]
fn the_fixed_entries_cannot_be_removed() {
    let mut segment = segment(1);
    let heartbeat = segment.heartbeat().clone();
    segment.remove(heartbeat.entry());
    heartbeat.set(3);
    assert_eq!(Bytes::of(&segment).directory()[0], (1, 3, "/sys/heartbeat"));
}

#[test]
fn scalars_follow_the_directory_when_it_moves() {
    let mut segment = segment(1);
    let place = Bytes::of(&segment).u64(32);
    let scalars: Vec<_> =
        (0..300).map(|i| segment.scalar(&format!("/s/{i}")).expect("there is room")).collect();
    for (value, scalar) in scalars.iter().enumerate() {
        scalar.set(value as u64);
    }
    let bytes = Bytes::of(&segment);
    assert_ne!(bytes.u64(32), place, "300 entries do not fit into the first directory");
    let directory = bytes.directory();
    for (value, scalar) in scalars.iter().enumerate() {
        let entry = directory[scalar.entry().position() as usize];
        assert_eq!(entry, (1, value as u64, &*format!("/s/{value}")));
    }
}

#[test]
fn memory_of_a_removed_vector_waits_for_its_last_row() {
    let mut segment = segment(2);
    let before = segment.used();
    let drops = segment.simple("/if/drops", 10, 10).expect("there is room");
    let row = drops.row(ThreadIndex(1));
    segment.remove(drops.entry());
    drop(drops);
    let reuse = segment.simple("/other", 10, 10).expect("there is room");
    row.add(3, 1_000_000); // a worker that has not heard of it yet
    assert_eq!((0..10).map(|i| reuse.sum(i)).sum::<u64>(), 0);
    drop(row);
    segment.remove(reuse.entry());
    drop(reuse);
    segment.update(|_| ());
    assert_eq!(segment.used(), before);
}

#[test]
fn counters_wrap_and_ignore_what_is_beyond_the_capacity() {
    let mut segment = segment(1);
    let pairs = segment.combined("/c", 2, 2).expect("there is room");
    let row = pairs.row(ThreadIndex(0));
    row.set(1, Combined { packets: u64::MAX, bytes: u64::MAX });
    row.add(1, 2, 3);
    assert_eq!(row.get(1), Combined { packets: 1, bytes: 2 });
    row.add(2, 1, 1);
    row.add(usize::MAX, 1, 1);
    assert_eq!(row.get(2), Combined::default());
    assert_eq!(pairs.get(ThreadIndex(1), 0), Combined::default(), "no such thread");
}

#[test]
fn bad_input_is_refused_with_the_reason() {
    assert!(matches!(Segment::new(100, 1), Err(StatsError::Size { size: 100, .. })));
    assert!(matches!(Segment::new(1 << 20, 0), Err(StatsError::Threads { threads: 0 })));
    assert!(matches!(Segment::new(usize::MAX, 1), Err(StatsError::Memory { .. })));
    let mut segment = segment(1);
    let long = format!("/{}", "x".repeat(127));
    for name in ["", "if/rx", "/caf\u{e9}", "/nul\0", "/deleted/7", &long] {
        let error = segment.scalar(name).err().expect("refused");
        assert!(matches!(&error, StatsError::Name { name: found, .. } if found == name), "{name:?}: {error}");
    }
    segment.scalar(&long[..127]).expect("127 bytes fit");
    assert!(matches!(segment.scalar(&long[..127]), Err(StatsError::Taken { .. })));
    assert!(matches!(segment.simple("/a", 9, 8), Err(StatsError::Capacity { asked: 9, capacity: 8, .. })));
    let names = segment.names("/n", 1).expect("there is room");
    assert!(matches!(segment.set_name(&names, 0, "\u{e9}"), Err(StatsError::Name { .. })));
    assert!(matches!(segment.set_name(&names, 1, "x"), Err(StatsError::Capacity { .. })));
    segment.remove(names.entry());
    assert!(matches!(segment.set_name(&names, 0, "x"), Err(StatsError::Stale)));
    assert!(matches!(segment.set_len(&names, 0), Err(StatsError::Stale)));
}

#[test]
fn handles_of_another_segment_are_refused() {
    let (mut one, mut other) = (segment(1), segment(1));
    let mine = one.simple("/a", 1, 4).expect("there is room");
    other.simple("/a", 1, 4).expect("there is room");
    assert!(matches!(other.set_len(&mine, 2), Err(StatsError::Stale)));
}

#[test]
fn a_full_segment_refuses_and_stays_as_it_was() {
    let mut segment = segment(4);
    let used = segment.used();
    let directory = Bytes::of(&segment).directory().len();
    // Fits for one thread, not for four: what was allocated before the failure has to come back.
    assert!(matches!(segment.simple("/big", 0, 100_000), Err(StatsError::Full { .. })));
    assert!(matches!(segment.combined("/huge", 0, usize::MAX), Err(StatsError::Full { .. })));
    assert_eq!((segment.used(), Bytes::of(&segment).directory().len()), (used, directory));
    let mut index = 0;
    let error = loop {
        match segment.scalar(&format!("/s/{index}")) {
            Ok(_) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StatsError::Full { .. }), "{error}");
    assert_eq!(Bytes::of(&segment).directory().len(), directory + index);
}

// SPDX-License-Identifier: Apache-2.0
//! A reader is given segments with wrong bytes in them: it must return, with values or with an error.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use proptest::prelude::*;
use weft_stats::{Counter, ReadError, Reader, Segment, Selection, Value};

const SIZE: usize = 64 << 10;
/// Above the reader's own patience of one second.
const LIMIT: Duration = Duration::from_secs(3);

/// The bytes of a segment with every kind of entry in it, and how many of them are in use.
fn sound() -> (Vec<u8>, usize) {
    let mut segment = Segment::new(SIZE, 3).expect("64 KiB can be mapped");
    segment
        .update(|update| {
            let drops = update.simple("/if/drops", 5, 8)?;
            let rx = update.combined("/if/rx", 5, 8)?;
            let names = update.names("/if/names", 8)?;
            update.set_len(&names, 5)?;
            for index in 0..5 {
                update.set_name(&names, index, &format!("interface-{index}"))?;
                update.symlink(&format!("/interfaces/{index}/drops"), drops.entry(), index as u32)?;
                update.symlink(&format!("/interfaces/{index}/rx"), rx.entry(), index as u32)?;
            }
            let gone = update.scalar("/gone")?;
            update.scalar("/stays")?;
            update.remove(gone.entry());
            Ok::<(), weft_stats::StatsError>(())
        })
        .expect("64 KiB hold it");
    let mut bytes = vec![0; SIZE];
    let file = File::from(segment.fd().try_clone_to_owned().expect("a descriptor is free"));
    file.read_exact_at(&mut bytes, 0).expect("the memfd is as long as the segment");
    (bytes, segment.used())
}

fn memfd(bytes: &[u8], seals: SealFlag) -> OwnedFd {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("damaged", flags).expect("a memfd can be made"));
    file.write_all(bytes).expect("there is memory");
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("sealing is allowed");
    file.into()
}

/// Reads all there is in all ways; the answers do not matter. Returns how long the slowest took.
fn read_everything(bytes: &[u8]) -> Duration {
    match Reader::from_fd(memfd(bytes, SealFlag::F_SEAL_SHRINK)) {
        Ok(reader) => read_all(&reader, &mut reader.select(&[])),
        Err(_) => Duration::ZERO,
    }
}

fn read_all(reader: &Reader, selection: &mut Selection<'_>) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut timed = |read: &mut dyn FnMut()| {
        let started = Instant::now();
        read();
        slowest = slowest.max(started.elapsed());
    };
    timed(&mut || drop(reader.ls(&[])));
    timed(&mut || drop(reader.dump("")));
    // The second time into the memory of the first.
    timed(&mut || drop(selection.read().map(drop)));
    timed(&mut || drop(selection.read().map(drop)));
    let mut value = Value::Scalar(0);
    for name in ["/sys/heartbeat", "/if/names", "/if/rx", "/interfaces/4/rx", "/interfaces/4/drops"] {
        timed(&mut || drop(reader.read_into(&mut Counter::new(name), &mut value)));
    }
    slowest
}

/// A wrong value that is likely to mean something: a small number, an offset, a length, noise.
fn wrong() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..16u64,
        0..SIZE as u64,
        (0..SIZE as u64 / 8).prop_map(|word| word * 8),
        1u64..1 << 33,
        any::<u64>()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn wrong_words_anywhere_neither_crash_nor_hang(
        damage in prop::collection::vec((any::<prop::sample::Index>(), wrong()), 1..20),
    ) {
        let (mut bytes, used) = sound();
        for (place, value) in damage {
            let word = place.index(used / 8) * 8;
            // A busy flag that stays costs the patience of one second; it has its own test.
            if word != 24 {
                bytes[word..word + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        prop_assert!(read_everything(&bytes) < LIMIT);
    }

    /// What matters most: types, pointers, links and the first words of names.
    #[test]
    fn wrong_entries_neither_crash_nor_hang(
        damage in prop::collection::vec((0..18usize, 0..3usize, wrong()), 1..12),
    ) {
        let (mut bytes, _) = sound();
        let directory = u64_at(&bytes, 32) as usize;
        for (entry, word, value) in damage {
            let value = if word == 0 { value % 12 } else { value };
            let at = directory + entry * 144 + word * 8;
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        prop_assert!(read_everything(&bytes) < LIMIT);
    }

    #[test]
    fn noise_behind_a_sound_header_neither_crashes_nor_hangs(
        noise in prop::collection::vec(wrong(), 500),
        directory in 9..400u64,
    ) {
        let mut bytes: Vec<u8> = noise.iter().flat_map(|word| word.to_le_bytes()).collect();
        let header = [2, 0, 1, 0, directory * 8, 0];
        for (at, word) in header.iter().enumerate() {
            bytes[at * 8..][..8].copy_from_slice(&u64::to_le_bytes(*word));
        }
        // A directory of a few entries, at least.
        bytes[directory as usize * 8 - 8..][..8].copy_from_slice(&(3 + directory % 5).to_le_bytes());
        prop_assert!(read_everything(&bytes) < LIMIT);
    }

    /// As if by a writer that keeps to no protocol: what a reader knew is wrong the next time.
    #[test]
    fn damage_under_a_reader_neither_crashes_nor_hangs(
        rounds in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), wrong()), 1..8), 1..6),
    ) {
        let (bytes, used) = sound();
        let fd = memfd(&bytes, SealFlag::F_SEAL_SHRINK);
        let file = File::from(fd.try_clone().expect("a descriptor is free"));
        let reader = Reader::from_fd(fd).expect("sound");
        let mut selection = reader.select(&[]);
        for damage in rounds {
            prop_assert!(read_all(&reader, &mut selection) < LIMIT);
            for (place, value) in damage {
                let word = place.index(used / 8) * 8;
                if word != 24 {
                    file.write_all_at(&value.to_le_bytes(), word as u64).expect("not sealed");
                }
            }
        }
        prop_assert!(read_all(&reader, &mut selection) < LIMIT);
    }

    #[test]
    fn flipped_bits_anywhere_neither_crash_nor_hang(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..8u32), 1..20),
    ) {
        let (mut bytes, used) = sound();
        for (place, bit) in damage {
            let byte = place.index(used);
            if byte / 8 != 3 {
                bytes[byte] ^= 1 << bit;
            }
        }
        prop_assert!(read_everything(&bytes) < LIMIT);
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// What an attacker would do rather than chance: many entries that all point to the largest vector that
/// passes the checks.
#[test]
fn overlapping_vectors_are_refused_before_they_cost_memory() {
    let (mut bytes, _) = sound();
    // A table of 1000 pointers to itself, which are also the first elements of a row that spans the
    // segment.
    let table = 32 << 10;
    for word in 0..1000 {
        bytes[table + word * 8..][..8].copy_from_slice(&(table as u64).to_le_bytes());
    }
    bytes[table - 8..table].copy_from_slice(&4000u64.to_le_bytes());
    let directory = u64_at(&bytes, 32) as usize;
    for entry in (directory..).step_by(144).take(16) {
        bytes[entry..entry + 8].copy_from_slice(&2u64.to_le_bytes());
        bytes[entry + 8..entry + 16].copy_from_slice(&(table as u64).to_le_bytes());
    }
    let reader = Reader::from_fd(memfd(&bytes, SealFlag::F_SEAL_SHRINK)).expect("the header is sound");
    let error = reader.dump("").expect_err("refused");
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("do not overlap"), "{error}");
}

#[test]
fn a_writer_that_died_inside_a_step_is_reported() {
    let (mut bytes, _) = sound();
    bytes[24] = 1;
    let reader = Reader::from_fd(memfd(&bytes, SealFlag::F_SEAL_SHRINK)).expect("the header is sound");
    let started = Instant::now();
    assert!(matches!(reader.ls(&[]), Err(ReadError::Busy { .. })));
    assert!(started.elapsed() < LIMIT);
}

#[test]
fn what_is_not_a_segment_is_refused() {
    let (mut bytes, _) = sound();
    assert!(matches!(Reader::from_fd(memfd(&bytes, SealFlag::F_SEAL_GROW)), Err(ReadError::Unsealed)));
    assert!(matches!(
        Reader::from_fd(memfd(&bytes[..40], SealFlag::F_SEAL_SHRINK)),
        Err(ReadError::Short { found: 40 })
    ));
    bytes[0] = 3;
    assert!(matches!(
        Reader::from_fd(memfd(&bytes, SealFlag::F_SEAL_SHRINK)),
        Err(ReadError::Version { found: 3 })
    ));
    let pipe = nix::unistd::pipe().expect("a pipe can be made");
    assert!(matches!(Reader::from_fd(pipe.0), Err(ReadError::Map(_))));
}

#[test]
fn the_descriptor_that_is_handed_out_cannot_be_written_or_shrunk() {
    let segment = Segment::new(SIZE, 1).expect("64 KiB can be mapped");
    let file = File::from(segment.fd().try_clone_to_owned().expect("a descriptor is free"));
    assert!(file.set_len(0).is_err());
    assert!(file.set_len(2 * SIZE as u64).is_err());
    assert!(file.write_all_at(&[1], 0).is_err());
    assert!(memmap2::MmapOptions::new().map_raw(&file).is_err());
    assert!(fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).is_err());
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    assert!(fallocate(&file, punch, 0, 4096).is_err());
    // The seals are the file's, not the descriptor's.
    let again = File::options().read(true).write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let again = again.expect("it is our own file");
    assert!(again.write_all_at(&[1], 0).is_err());
    assert!(memmap2::MmapOptions::new().map_raw(&again).is_err());
}

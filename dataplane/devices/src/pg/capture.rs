// SPDX-License-Identifier: Apache-2.0
//! The file behind `packet-generator capture`: what was sent to a pg interface, whole and in order.
//!
//! The main thread's half; the workers' half is the [`Tap`] of the interface's output node. The file is made
//! with its first packet, so that no file means no packet.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_background::Rights;
use weft_engine::clock::{Clock, Tsc};

use super::output::{RECORD_HEADER, Tap};
use crate::pcap::{Existing, LinkType, PcapError, PcapWriter, Seen, WallClock};

/// Bytes that wait in the ring of one worker. Address space until they are used.
const RING: usize = 8 << 20;

/// A capture, on the main thread.
pub(super) struct Capture {
    path: PathBuf,
    rights: Rights,
    interface: String,
    link: LinkType,
    /// Packets that are still wanted.
    left: u64,
    rings: Vec<rtrb::Consumer<u8>>,
    writer: Option<PcapWriter>,
    lost: Arc<AtomicU64>,
    clock: Clock,
    packet: Vec<u8>,
}

/// A capture, for `show`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureStatus {
    /// The file.
    pub path: PathBuf,
    /// Packets in it.
    pub written: u64,
    /// Packets that the main thread was too slow for.
    pub lost: u64,
}

impl Capture {
    /// A capture into a file that somebody wants, and a tap for each of `workers`.
    pub fn new(
        (path, rights): (&Path, &Rights),
        interface: String,
        link: LinkType,
        count: u64,
        workers: usize,
        clock: Clock,
    ) -> Result<(Capture, Vec<Tap>), PcapError> {
        PcapWriter::try_create(rights, path)?;
        let lost = Arc::new(AtomicU64::new(0));
        let (producers, rings): (Vec<_>, _) = (0..workers).map(|_| rtrb::RingBuffer::new(RING)).unzip();
        let taps = producers.into_iter().map(|ring| Tap { ring, lost: Arc::clone(&lost) }).collect();
        let capture = Capture {
            path: path.to_owned(),
            rights: rights.clone(),
            interface,
            link,
            left: count,
            rings,
            writer: None,
            lost,
            clock,
            packet: Vec::new(),
        };
        Ok((capture, taps))
    }

    /// Writes what the workers have captured up to now.
    pub fn drain(&mut self) -> Result<(), PcapError> {
        let wall = WallClock::now(self.clock);
        // What arrives from now on waits for the next call, so that this one ends.
        let mut waiting: usize = self.rings.iter().map(rtrb::Consumer::slots).sum();
        while waiting > 0 && self.left > 0 {
            let Some((at, ring)) =
                self.rings.iter_mut().filter_map(|ring| Some((stamp(ring)?, ring))).min_by_key(|(at, _)| *at)
            else {
                break;
            };
            let Some(length) = take(ring, &mut self.packet) else {
                break;
            };
            waiting = waiting.saturating_sub(RECORD_HEADER + length);
            let writer = match &mut self.writer {
                Some(writer) => writer,
                none => {
                    let made = PcapWriter::create_as(&self.rights, &self.path, self.link, Existing::Refuse)?;
                    none.insert(made)
                }
            };
            let seen = Seen { interface: &self.interface, direction: 2, comment: None };
            writer.write(wall.at(at), length, &self.packet, seen)?;
            self.left -= 1;
        }
        self.writer.as_mut().map_or(Ok(()), PcapWriter::flush)
    }

    /// Whether as many packets are written as were asked for.
    pub fn is_complete(&self) -> bool {
        self.left == 0
    }

    pub fn status(&self) -> CaptureStatus {
        CaptureStatus {
            path: self.path.clone(),
            written: self.writer.as_ref().map_or(0, PcapWriter::written),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

/// When the first packet in the ring was sent.
fn stamp(ring: &mut rtrb::Consumer<u8>) -> Option<Tsc> {
    let mut stamp = [0; 8];
    copy(ring.read_chunk(stamp.len()).ok()?.as_slices(), &mut stamp);
    Some(Tsc(u64::from_ne_bytes(stamp)))
}

/// Takes the first packet out of the ring into `packet`; says how long it is. Workers publish whole records.
fn take(ring: &mut rtrb::Consumer<u8>, packet: &mut Vec<u8>) -> Option<usize> {
    let mut header = [0; RECORD_HEADER];
    let chunk = ring.read_chunk(RECORD_HEADER).ok()?;
    copy(chunk.as_slices(), &mut header);
    chunk.commit_all();
    let [.., a, b, c, d] = header;
    let length = u32::from_ne_bytes([a, b, c, d]) as usize;
    packet.resize(length, 0);
    let chunk = ring.read_chunk(length).ok()?;
    copy(chunk.as_slices(), packet);
    chunk.commit_all();
    Some(length)
}

fn copy((first, second): (&[u8], &[u8]), to: &mut [u8]) {
    let (front, back) = to.split_at_mut(first.len());
    front.copy_from_slice(first);
    back.copy_from_slice(second);
}

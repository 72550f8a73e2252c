// SPDX-License-Identifier: Apache-2.0
//! The text of `packet-generator new { ... }` and `configure`, parsed into types.
//!
//! The grammar is VPP's, so that scripts written for it run here. Two things are not known from the text
//! alone, whether a named node or interface exists and which header the packet begins with, so the
//! packet itself is parsed when the stream is made ([`super::Pg::new_stream`]). Runs on the main thread.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use weft_engine::frame::FRAME_SIZE;

use super::header::Layer;
use super::lex::Cursor;
pub use super::lex::ParseError;
use super::packet::{self, MAX_BYTES};
use super::template::{Description, Sizes};

/// Number of a packet-generator interface: the N of `pgN`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PgId(pub u32);

impl std::fmt::Display for PgId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pg{}", self.0)
    }
}

/// Not the name of a packet-generator interface.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("found '{0}', expected the name of a packet-generator interface (pg0, pg1, ...)")]
pub struct NotAPgName(String);

impl FromStr for PgId {
    type Err = NotAPgName;

    fn from_str(text: &str) -> Result<Self, NotAPgName> {
        let number = text.strip_prefix("pg").and_then(|number| number.parse().ok());
        number.map(PgId).ok_or_else(|| NotAPgName(text.to_owned()))
    }
}

/// Why a description is no stream.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamError {
    /// A word outside the packet.
    #[error(transparent)]
    Parameter(#[from] ParseError),
    /// A word of the packet.
    #[error("failed to parse packet data from '{}': {error}", .error.found)]
    Packet {
        /// Where, what, and what was expected.
        error: ParseError,
    },
    /// Neither `data` nor `pcap`.
    #[error("no packet data given: expected 'data {{ PACKET }}' or 'pcap FILE'")]
    NoData,
    /// Both.
    #[error("found both 'data' and 'pcap', expected one of them")]
    TwoSources,
    /// The range is upside down.
    #[error("max-size < min-size: found 'size {min}-{max}'")]
    SizeOrder {
        /// Smallest.
        min: usize,
        /// Largest.
        max: usize,
    },
    /// The description is longer than the packet.
    #[error("min-size < total header size {headers}: found 'size {min}-...'")]
    SizeBelowHeaders {
        /// Smallest.
        min: usize,
        /// Bytes that are described.
        headers: usize,
    },
    /// Lengths are 16 bit wide.
    #[error("found a size of {0} bytes, expected at most {MAX_BYTES}")]
    SizeAboveLimit(usize),
}

/// How often packets are made; `None` where one of these may stand means as fast as possible.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct PacketsPerSecond(pub f64);

/// What `configure` changes; `None` leaves it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Parameters {
    /// Stop after this many packets; `Some(None)` never.
    pub limit: Option<Option<NonZeroU64>>,
    /// Packets per second; `Some(None)` as fast as possible.
    pub rate: Option<Option<PacketsPerSecond>>,
    /// Sizes of packets.
    pub size: Option<Sizes>,
    /// Most bytes of a packet in one buffer.
    pub buffer_size: Option<usize>,
}

/// Where the packets of a stream come from.
#[derive(Clone, PartialEq, Debug)]
pub enum Packets {
    /// Built as described.
    Data(PacketText),
    /// Replayed from a file.
    Pcap(PathBuf),
}

/// The text of a packet, in its place in the description of the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketText {
    text: String,
    start: usize,
    end: usize,
}

impl PacketText {
    pub(super) fn parse(&self, first: Layer) -> Result<Description, StreamError> {
        let cursor = Cursor::part(&self.text, self.start, self.end);
        packet::parse(cursor, first).map_err(|error| StreamError::Packet { error })
    }
}

/// A stream as it was described.
#[derive(Clone, PartialEq, Debug)]
pub struct StreamSpec {
    /// Name for other commands.
    pub name: Option<String>,
    /// Limit, rate, sizes.
    pub parameters: Parameters,
    /// The packets.
    pub packets: Packets,
    /// Interface that they are received on.
    pub interface: Option<String>,
    /// The same, if it is one of the packet generator's.
    pub source: Option<PgId>,
    /// Interface that they are sent to.
    pub tx_interface: Option<String>,
    /// Node that gets them, or the interface whose output node does.
    pub node: Option<String>,
    /// Which worker makes them, from 0.
    pub worker: usize,
    /// Most packets at once.
    pub max_frame: usize,
}

impl StreamSpec {
    /// The file that its packets are in, if they are.
    pub fn pcap(&self) -> Option<&Path> {
        match &self.packets {
            Packets::Pcap(path) => Some(path),
            Packets::Data(_) => None,
        }
    }
}

impl FromStr for Parameters {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text);
        let mut parameters = Parameters::default();
        while !cursor.is_end() {
            if !parameters.parse_one(&mut cursor)? {
                return Err(cursor.error("'limit', 'rate', 'size' or 'buffer-size'"));
            }
        }
        Ok(parameters)
    }
}

impl Parameters {
    /// One parameter, if the cursor is at one.
    fn parse_one(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, ParseError> {
        if cursor.take("limit") {
            let before = *cursor;
            let limit = cursor.float()?;
            if limit < 0.0 {
                return Err(before.error("a number of packets, or 0 for no limit"));
            }
            // Written as 1e9 by people, hence a float; integers up to 2^53 are exact.
            self.limit = Some(NonZeroU64::new(limit as u64));
        } else if cursor.take("rate") {
            let before = *cursor;
            let rate = cursor.float()?;
            if rate < 0.0 {
                return Err(before.error("packets per second, or 0 for as fast as possible (negative rate)"));
            }
            self.rate = Some((rate > 0.0).then_some(PacketsPerSecond(rate)));
        } else if cursor.take("size") {
            let min = cursor.number()? as usize;
            let random = cursor.symbol_ahead("+");
            let max = match random || cursor.symbol_ahead("-") {
                true => {
                    let _ = cursor.symbol("+") || cursor.symbol("-");
                    cursor.number()? as usize
                }
                false => min,
            };
            self.size = Some(Sizes { min, max, random });
        } else if cursor.take("buffer-size") {
            let before = *cursor;
            match cursor.number()? {
                0 => return Err(before.error("a number of bytes above 0")),
                bytes => self.buffer_size = Some(bytes as usize),
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// These, with the given ones in place of what they replace.
    pub(super) fn with(self, changes: Parameters) -> Parameters {
        Parameters {
            limit: changes.limit.or(self.limit),
            rate: changes.rate.or(self.rate),
            size: changes.size.or(self.size),
            buffer_size: changes.buffer_size.or(self.buffer_size),
        }
    }

    /// The sizes of packets that are described by `described` bytes.
    pub(super) fn sizes(&self, described: usize) -> Result<Sizes, StreamError> {
        // As much as an Ethernet frame has at least, with its checksum.
        let smallest = described.max(64);
        let sizes = self.size.unwrap_or(Sizes { min: smallest, max: smallest, random: false });
        let Sizes { min, max, .. } = sizes;
        if max < min {
            return Err(StreamError::SizeOrder { min, max });
        }
        if max > MAX_BYTES {
            return Err(StreamError::SizeAboveLimit(max));
        }
        if min < described {
            return Err(StreamError::SizeBelowHeaders { min, headers: described });
        }
        Ok(sizes)
    }
}

impl FromStr for StreamSpec {
    type Err = StreamError;

    /// Parses what stands between the braces of `packet-generator new`.
    fn from_str(text: &str) -> Result<Self, StreamError> {
        let mut cursor = Cursor::new(text);
        let mut packets: Option<Packets> = None;
        let mut parameters = Parameters::default();
        let (mut name, mut interface, mut source, mut tx_interface, mut node) =
            (None, None, None, None, None);
        let (mut worker, mut max_frame) = (0, FRAME_SIZE);
        let cursor = &mut cursor;
        while !cursor.is_end() {
            let before = *cursor;
            let mut found = None;
            if cursor.take("name") {
                name = Some(cursor.word("a name")?.to_owned());
            } else if cursor.take("interface") {
                interface = Some(cursor.word("an interface")?.to_owned());
            } else if cursor.take("tx-interface") {
                tx_interface = Some(cursor.word("an interface")?.to_owned());
            } else if cursor.take("node") {
                node = Some(cursor.word("a node or an interface")?.to_owned());
            } else if cursor.take("source") {
                let at_name = *cursor;
                let expected = "a packet-generator interface (pg0, pg1, ...)";
                source = Some(cursor.word(expected)?.parse().map_err(|_| at_name.error(expected))?);
            } else if cursor.take("pcap") {
                found = Some(Packets::Pcap(cursor.word("a file name")?.into()));
            } else if cursor.take("data") {
                let (start, end) = cursor.group("PACKET")?.range();
                found = Some(Packets::Data(PacketText { text: text.to_owned(), start, end }));
            } else if cursor.take("worker") {
                worker = cursor.number()? as usize;
            } else if cursor.take("maxframe") {
                let at_count = *cursor;
                max_frame = cursor.number()? as usize;
                if !(1..=FRAME_SIZE).contains(&max_frame) {
                    return Err(at_count.error(format!("a number of packets from 1 to {FRAME_SIZE}")).into());
                }
            } else if !parameters.parse_one(cursor)? {
                return Err(before.error(PARAMETERS).into());
            }
            if found.is_some() && packets.is_some() {
                return Err(StreamError::TwoSources);
            }
            packets = packets.or(found);
        }
        let packets = packets.ok_or(StreamError::NoData)?;
        Ok(StreamSpec { name, parameters, packets, interface, source, tx_interface, node, worker, max_frame })
    }
}

const PARAMETERS: &str = "name, limit, rate, size, buffer-size, interface, tx-interface, node, source, pcap, \
    worker, maxframe or data";

// SPDX-License-Identifier: Apache-2.0
//! Packets in files: what every other tool of the trade can read and write.
//!
//! A capture is written as it happens and flushed after each batch, so that `tcpdump -r` or a test can follow
//! it. The format is classic pcap with microseconds, as VPP writes it, unless the file is named `*.pcapng`:
//! then each packet also says on which interface and in which direction it was seen, and a dropped one why.
//! All of this runs on the main thread; a worker hands packets over by a ring.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use weft_background::{Background, Rights};
use weft_engine::clock::{Clock, Tsc};
use weft_engine::trace::{Captured, Direction, Names};

/// Why a file of packets cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// It would be overwritten.
    #[error("pcap file '{}' already exists.", .0.display())]
    Exists(PathBuf),
    /// The file system refuses.
    #[error("pcap file '{}': cannot {action}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What was said.
        error: io::Error,
    },
    /// Another format.
    #[error("'{}' is no pcap file: {reason}; expected magic 0xa1b2c3d4 or 0xa1b23c4d", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: pcap_file::PcapError,
    },
    /// No file whose packets can be kept.
    #[error("pcap file: {0}")]
    File(#[from] weft_background::file::FileError),
    /// No thread, or one that has not got the rights.
    #[error("pcap file: {0}")]
    Thread(#[from] io::Error),
    /// More than are kept.
    #[error("pcap file '{}': more than {most} packets", .path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// The limit.
        most: usize,
    },
    /// A record that does not fit.
    #[error("pcap file '{}', packet {number}: {reason}", .path.display())]
    Packet {
        /// The file.
        path: PathBuf,
        /// From 1.
        number: usize,
        /// What is wrong.
        reason: pcap_file::PcapError,
    },
}

/// What the packets of a file begin with (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkType {
    /// An Ethernet header: 1.
    Ethernet,
    /// An IP header: 12, the number that VPP writes (DLT_RAW), which readers take as LINKTYPE_RAW.
    RawIp,
}

impl LinkType {
    fn number(self) -> u32 {
        match self {
            LinkType::Ethernet => 1,
            LinkType::RawIp => 12,
        }
    }
}

/// What to do about a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// Leave it, and fail.
    Refuse,
    /// Put a new file in its place. What a symbolic link points to stays untouched.
    Replace,
}

/// Longest packet that is written whole.
const SNAPLEN: u32 = 65536;

/// Time stamps as time of day. Taken anew for each batch, so that a long capture follows the host's clock.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    clock: Clock,
    tsc: Tsc,
    since_epoch: Duration,
}

impl WallClock {
    /// Now.
    pub fn now(clock: Clock) -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallClock { clock, tsc: clock.now(), since_epoch }
    }

    /// Time of day at `at`, which is not later than this was taken.
    pub fn at(&self, at: Tsc) -> Duration {
        self.since_epoch.saturating_sub(self.clock.duration(self.tsc.since(at)))
    }
}

enum Format {
    /// Written here: pcap-file's writer of this format cannot be flushed.
    Classic(BufWriter<File>),
    /// With the name of each interface described so far.
    Ng(Box<PcapNgWriter<BufWriter<File>>>, Vec<String>),
}

/// Where a packet was seen, for formats that keep it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Name of the interface.
    pub interface: &'a str,
    /// Received (1) or sent (2) there, as in the flags word of an Enhanced Packet Block; 0 if neither.
    pub direction: u32,
    /// What to say about it.
    pub comment: Option<&'a str>,
}

/// A file that packets are appended to.
pub struct PcapWriter {
    path: PathBuf,
    format: Format,
    link: LinkType,
    written: u64,
}

impl PcapWriter {
    /// Makes the file with the rights of whoever asks for it. That takes as long as a file system takes to make a file.
    pub fn create_as(
        rights: &Rights,
        path: &Path,
        link: LinkType,
        existing: Existing,
    ) -> Result<Self, PcapError> {
        let path = path.to_owned();
        let made = Background::start(rights, move || PcapWriter::create(&path, link, existing))?;
        made.wait().map_err(io::Error::from)?
    }

    /// Whether the file can be made: makes it and takes it away again.
    pub fn try_create(rights: &Rights, path: &Path) -> Result<(), PcapError> {
        let path = path.to_owned();
        let tried = Background::start(rights, move || {
            PcapWriter::create(&path, LinkType::Ethernet, Existing::Refuse)?;
            std::fs::remove_file(&path).map_err(|error| PcapError::Io {
                path: path.clone(),
                action: "remove it",
                error,
            })
        })?;
        tried.wait().map_err(io::Error::from)?
    }

    /// Makes the file, readable by its owner and group only: it holds other people's packets.
    pub fn create(path: &Path, link: LinkType, existing: Existing) -> Result<Self, PcapError> {
        use std::os::unix::fs::OpenOptionsExt;
        let io = |action, error| PcapError::Io { path: path.to_owned(), action, error };
        if existing == Existing::Replace
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(io("replace it", error));
        }
        // `create_new` is O_EXCL, which follows no link that somebody has put into /tmp.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path);
        let file = BufWriter::new(file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => PcapError::Exists(path.to_owned()),
            _ => io("create it", error),
        })?);
        let format = if path.extension().is_some_and(|extension| extension == "pcapng") {
            let writer = PcapNgWriter::new(file).map_err(|error| io("write to it", into_io(error)))?;
            Format::Ng(Box::new(writer), Vec::new())
        } else {
            Format::Classic(file)
        };
        let mut writer = PcapWriter { path: path.to_owned(), format, link, written: 0 };
        writer.header().map_err(|error| io("write to it", error))?;
        writer.flush()?;
        Ok(writer)
    }

    fn header(&mut self) -> io::Result<()> {
        let Format::Classic(file) = &mut self.format else {
            return Ok(());
        };
        file.write_all(&0xa1b2_c3d4u32.to_ne_bytes())?;
        file.write_all(&2u16.to_ne_bytes())?;
        file.write_all(&4u16.to_ne_bytes())?;
        for field in [0, 0, SNAPLEN, self.link.number()] {
            file.write_all(&field.to_ne_bytes())?;
        }
        Ok(())
    }

    /// Appends a packet of `length` bytes of which `data` was kept, seen at `at` since 1970.
    pub fn write(
        &mut self,
        at: Duration,
        length: usize,
        data: &[u8],
        seen: Seen<'_>,
    ) -> Result<(), PcapError> {
        let data = &data[..data.len().min(SNAPLEN as usize)];
        self.record(at, length, data, seen).map_err(|error| self.failed(error))?;
        self.written += 1;
        Ok(())
    }

    fn record(&mut self, at: Duration, length: usize, data: &[u8], seen: Seen<'_>) -> io::Result<()> {
        match &mut self.format {
            Format::Classic(file) => {
                let seconds = at.as_secs() as u32;
                for field in [seconds, at.subsec_micros(), data.len() as u32, length as u32] {
                    file.write_all(&field.to_ne_bytes())?;
                }
                file.write_all(data)
            }
            Format::Ng(writer, interfaces) => {
                let interface_id = match interfaces.iter().position(|name| name == seen.interface) {
                    Some(known) => known,
                    None => {
                        describe(writer, self.link, seen.interface)?;
                        interfaces.push(seen.interface.to_owned());
                        interfaces.len() - 1
                    }
                };
                let mut options = vec![EnhancedPacketOption::Flags(seen.direction)];
                options.extend(seen.comment.map(|comment| EnhancedPacketOption::Comment(comment.into())));
                let block = EnhancedPacketBlock {
                    interface_id: interface_id as u32,
                    timestamp: at,
                    original_len: length as u32,
                    data: Cow::Borrowed(data),
                    options,
                };
                writer.write_pcapng_block(block).map(drop).map_err(into_io)
            }
        }
    }

    /// Hands what was appended to the kernel, so that readers see it.
    pub fn flush(&mut self) -> Result<(), PcapError> {
        let flushed = match &mut self.format {
            Format::Classic(file) => file.flush(),
            Format::Ng(writer, _) => writer.get_mut().flush(),
        };
        flushed.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> PcapError {
        PcapError::Io { path: self.path.clone(), action: "write to it", error }
    }

    /// Packets so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Names an interface; time stamps are in nanoseconds, which is what pcap-file writes.
fn describe(writer: &mut PcapNgWriter<BufWriter<File>>, link: LinkType, name: &str) -> io::Result<()> {
    let linktype = match link {
        LinkType::Ethernet => DataLink::ETHERNET,
        LinkType::RawIp => DataLink::RAW,
    };
    let options = vec![
        InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
        InterfaceDescriptionOption::IfTsResol(9),
    ];
    let block = InterfaceDescriptionBlock { linktype, snaplen: SNAPLEN, options };
    writer.write_pcapng_block(block).map(drop).map_err(into_io)
}

fn into_io(error: pcap_file::PcapError) -> io::Error {
    match error {
        pcap_file::PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// Bytes of a file whose packets are kept in memory, and how many they may be.
const LARGEST: u64 = 1 << 30;
const MOST: usize = 10_000_000;

/// All packets of a file, back to back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PacketList {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl PacketList {
    /// Reads a classic pcap file of either byte order and resolution. It takes its time, so the main thread has another thread
    /// do it.
    pub fn read(path: &Path) -> Result<Self, PcapError> {
        let file = weft_background::file::open(path, LARGEST)?;
        let mut reader = PcapReader::new(file.take(LARGEST))
            .map_err(|reason| PcapError::Format { path: path.to_owned(), reason })?;
        let mut list = PacketList::default();
        // The raw record: the checked one refuses packets that were cut when they were captured.
        while let Some(packet) = reader.next_raw_packet() {
            let number = list.len() + 1;
            let packet =
                packet.map_err(|reason| PcapError::Packet { path: path.to_owned(), number, reason })?;
            if list.len() == MOST {
                return Err(PcapError::TooMany { path: path.to_owned(), most: MOST });
            }
            list.push(&packet.data);
        }
        Ok(list)
    }

    /// Appends a packet.
    pub fn push(&mut self, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
        self.ends.push(self.bytes.len());
    }

    /// Number of packets.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Packet number `i`, from 0; empty if there is none.
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        let start = i.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(i).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default()
    }

    /// The packets.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.get(i))
    }
}

/// The main thread's end of a capture: takes packets from the workers' rings and writes them down.
pub struct CaptureWriter {
    writer: PcapWriter,
    rings: Vec<rtrb::Consumer<Captured>>,
    clock: Clock,
    /// Most packets.
    count: u64,
}

impl CaptureWriter {
    /// Writes to `writer` what arrives on `rings` (one per worker), up to `count` packets.
    pub fn new(writer: PcapWriter, rings: Vec<rtrb::Consumer<Captured>>, clock: Clock, count: u64) -> Self {
        CaptureWriter { writer, rings, clock, count }
    }

    /// Writes what has arrived, in order of time; says how many packets that were.
    pub fn drain(&mut self, names: &dyn Names) -> Result<usize, PcapError> {
        let wall = WallClock::now(self.clock);
        // What arrives from now on waits for the next call, so that this one ends.
        let mut left: usize = self.rings.iter().map(rtrb::Consumer::slots).sum();
        let before = self.writer.written();
        while left > 0 && !self.is_complete() {
            left -= 1;
            let earliest = self
                .rings
                .iter_mut()
                .filter_map(|ring| Some((ring.peek().ok()?.at, ring)))
                .min_by_key(|(at, _)| *at);
            let Some(packet) = earliest.and_then(|(_, ring)| ring.pop().ok()) else {
                break;
            };
            self.write(&wall, &packet, names)?;
        }
        self.writer.flush()?;
        Ok((self.writer.written() - before) as usize)
    }

    fn write(&mut self, wall: &WallClock, packet: &Captured, names: &dyn Names) -> Result<(), PcapError> {
        let mut seen = Seen { interface: "", direction: 0, comment: None };
        let (interface, comment);
        if matches!(self.writer.format, Format::Ng(..)) {
            interface = names.interface(packet.interface);
            seen.interface = &interface;
            match packet.direction {
                Direction::Rx => seen.direction = 1,
                Direction::Tx => seen.direction = 2,
                Direction::Drop(reason) => {
                    comment = format!("dropped: {}", names.reason(reason));
                    seen.comment = Some(&comment);
                }
            }
        }
        self.writer.write(wall.at(packet.at), packet.length, packet.data(), seen)
    }

    /// Whether as many packets are written as were asked for.
    pub fn is_complete(&self) -> bool {
        self.writer.written() >= self.count
    }

    /// The file.
    pub fn writer(&self) -> &PcapWriter {
        &self.writer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_is_read_and_damage_is_refused_with_its_place() {
        let file = std::env::temp_dir().join(format!("weft-pcap-{}.pcap", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let mut writer = PcapWriter::create(&file, LinkType::Ethernet, Existing::Refuse).unwrap();
        let again = PcapWriter::create(&file, LinkType::Ethernet, Existing::Refuse);
        assert!(matches!(again, Err(PcapError::Exists(_))));
        let seen = Seen { interface: "", direction: 0, comment: None };
        writer.write(Duration::from_secs(1), 2000, &[1; 60], seen).unwrap();
        writer.write(Duration::from_secs(2), 70, &[2; 70], seen).unwrap();
        writer.flush().unwrap();
        // A packet that was cut when it was captured is read as far as it goes.
        let lengths: Vec<_> = PacketList::read(&file).unwrap().iter().map(<[u8]>::len).collect();
        assert_eq!(lengths, [60, 70]);

        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        let error = PacketList::read(&file).unwrap_err();
        assert!(error.to_string().contains("packet 2"), "{error}");
        std::fs::write(&file, "no packets at all, but a text").unwrap();
        let error = PacketList::read(&file).unwrap_err();
        assert!(error.to_string().contains("is no pcap file"), "{error}");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = std::env::temp_dir().join(format!("weft-pcap-link-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (target, link) = (folder.join("target"), folder.join("link"));
        std::fs::write(&target, "precious").unwrap();
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(PcapWriter::create(&link, LinkType::Ethernet, Existing::Refuse).is_err());
        PcapWriter::create(&link, LinkType::Ethernet, Existing::Replace).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
        assert!(link.symlink_metadata().unwrap().is_file());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn time_stamps_are_times_of_day() {
        let clock = Clock::calibrate();
        let wall = WallClock::now(clock);
        let second = clock.clocks(Duration::from_secs(1));
        let before = wall.at(Tsc(wall.tsc.0 - second));
        assert!((wall.since_epoch - before).abs_diff(Duration::from_secs(1)) < Duration::from_millis(1));
    }
}

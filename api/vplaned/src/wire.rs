// SPDX-License-Identifier: Apache-2.0
//! Frames of the request and publication channels, to and from typed messages.
//!
//! The protocol is easy to misread: replies without a number, snapshot messages that look like replies,
//! integers of the host's byte order. All of that is decided here and nowhere else. Nothing here keeps state.

use std::net::IpAddr;

use crate::netlink::IfIndex;
use crate::types::{
    Counters, DataplaneId, Duplex, Link, PortDescription, PortNumber, RequestNumber, Sequence, Uuid,
};

/// A message of ZeroMQ: its frames.
pub type Message = Vec<Vec<u8>>;

/// Size of `struct rtnl_link_stats64`, as far as vplaned reads it.
const COUNTERS_SIZE: usize = 200;
/// How much of a bad frame an error shows.
const EXCERPT: usize = 48;

/// What the dataplane says to vplaned.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    Connect { uuid: &'a Uuid, console: &'a str },
    ConfQuery,
    NewPort { request: RequestNumber, address: IpAddr, port: &'a PortDescription },
    DelPort { request: RequestNumber, address: IpAddr, port: PortNumber },
    WhatsUp,
    Link { port: PortNumber, address: IpAddr, link: &'a Link },
    Stats { interface: &'a str, counters: &'a Counters },
    ConfErr { dataplane: DataplaneId, command: &'a str, code: i32 },
}

impl Request<'_> {
    /// The first frame.
    pub fn word(&self) -> &'static str {
        match self {
            Request::Connect { .. } => "CONNECT",
            Request::ConfQuery => "CONFQUERY",
            Request::NewPort { .. } => "NEWPORT",
            Request::DelPort { .. } => "DELPORT",
            Request::WhatsUp => "WHATSUP?",
            Request::Link { link: Link::Up { .. }, .. } => "LINKUP",
            Request::Link { link: Link::Down, .. } => "LINKDOWN",
            Request::Stats { .. } => "STATS",
            Request::ConfErr { .. } => "DPEVENT",
        }
    }

    pub fn encode(&self) -> Message {
        let mut frames = vec![self.word().as_bytes().to_vec()];
        match self {
            Request::Connect { uuid, console } => {
                frames.extend([number32(0), uuid.as_str().into(), console.as_bytes().into()]);
            }
            Request::ConfQuery | Request::WhatsUp => {}
            Request::NewPort { request, address, port } => {
                let json = serde_json::to_vec(port).expect("strings and numbers have a JSON form");
                frames.extend([number64(request.0), address20(*address), json]);
            }
            Request::DelPort { request, address, port } => {
                // The second number is ignored by vplaned.
                frames.extend([
                    number64(request.0),
                    number32(port.0.into()),
                    number32(0),
                    address20(*address),
                ]);
            }
            Request::Link { port, address, link } => {
                frames.extend([number32(port.0.into()), address20(*address)]);
                if let Link::Up { speed, duplex, counters } = link {
                    let speed = speed.map_or(u64::from(u32::MAX), u64::from);
                    frames.extend([number64(speed), duplex_text(*duplex).into(), counters200(counters)]);
                }
            }
            Request::Stats { interface, counters } => {
                frames.extend([interface.as_bytes().into(), counters200(counters)]);
            }
            Request::ConfErr { dataplane, command, code } => frames.extend([
                b"CONFERR".to_vec(),
                dataplane.0.to_ne_bytes().into(),
                command.as_bytes().into(),
                code.to_ne_bytes().into(),
            ]),
        }
        frames
    }
}

fn number32(value: u32) -> Vec<u8> {
    value.to_ne_bytes().into()
}

fn number64(value: u64) -> Vec<u8> {
    value.to_ne_bytes().into()
}

/// A family (`AF_INET` 2, `AF_INET6` 10) and 16 bytes of address.
fn address20(address: IpAddr) -> Vec<u8> {
    let (family, mut octets) = match address {
        IpAddr::V4(v4) => (2_u32, v4.octets().to_vec()),
        IpAddr::V6(v6) => (10, v6.octets().to_vec()),
    };
    octets.resize(16, 0);
    [number32(family), octets].concat()
}

fn duplex_text(duplex: Duplex) -> &'static [u8] {
    match duplex {
        Duplex::Full => b"full",
        Duplex::Half => b"half",
        Duplex::Unknown => b"unknown",
    }
}

fn counters200(counters: &Counters) -> Vec<u8> {
    let Counters {
        rx_packets,
        tx_packets,
        rx_bytes,
        tx_bytes,
        rx_errors,
        tx_errors,
        rx_dropped,
        tx_dropped,
        multicast,
    } = *counters;
    let known =
        [rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped, multicast];
    let mut bytes = known.map(u64::to_ne_bytes).concat();
    bytes.resize(COUNTERS_SIZE, 0);
    bytes
}

/// What vplaned says on the request channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Accept {
        uuid: String,
        dataplane: DataplaneId,
    },
    Reject,
    /// `publish` is absent if no pair names it.
    Conf {
        publish: Option<String>,
    },
    PortAdded {
        request: RequestNumber,
        ifindex: IfIndex,
        name: String,
    },
    PortDeleted {
        request: RequestNumber,
        deleted: bool,
    },
    /// The peer knows no session of ours.
    Unknown,
    /// Another refusal. It bears no request number.
    Refused(String),
    Item(Item),
    End {
        last: Sequence,
    },
}

/// One piece of state: of the snapshot or published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// A hint, never data: it may be stale, and spells an IPv6 address `inet`.
    pub topic: Vec<u8>,
    pub sequence: Sequence,
    /// A netlink message, a command's text, or a `DataplaneEnvelope`.
    pub data: Vec<u8>,
}

/// A message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected}, found {found}")]
pub struct Malformed {
    pub what: &'static str,
    pub expected: &'static str,
    pub found: String,
}

impl Malformed {
    fn shape(what: &'static str, expected: &'static str, frames: &[Vec<u8>]) -> Malformed {
        let sizes: Vec<String> = frames.iter().take(6).map(|frame| frame.len().to_string()).collect();
        let more = if frames.len() > 6 { ",..." } else { "" };
        Malformed { what, expected, found: format!("frames of {}{more} bytes", sizes.join(",")) }
    }
}

impl Reply {
    /// Reads a message. The first word decides: a snapshot's message has a number in the same place as a reply.
    pub fn parse(mut frames: Message) -> Result<Reply, Malformed> {
        // An undecodable stored command leaves its envelope behind: the next message begins with the 5-byte
        // routing id (protocol page 8.5).
        if frames.len() == 4 && frames[0].len() == 5 && frames[0][0] == 0 {
            frames.remove(0);
        }
        match frames.first().map_or(&b""[..], Vec::as_slice) {
            b"ACCEPT" => match &frames[1..] {
                [uuid, id] if id.len() == 2 => Ok(Reply::Accept {
                    uuid: text(uuid, "ACCEPT")?,
                    dataplane: DataplaneId(u16::from_ne_bytes([id[0], id[1]])),
                }),
                _ => Err(Malformed::shape("ACCEPT", "a UUID and 2 bytes", &frames)),
            },
            b"REJECT" => Ok(Reply::Reject),
            b"CONF" => {
                let pairs = frames[1..].chunks_exact(2);
                if !pairs.remainder().is_empty() {
                    return Err(Malformed::shape("CONF", "pairs of name and value", &frames));
                }
                let publish = pairs.into_iter().find(|pair| pair[0] == b"PUBLISH");
                Ok(Reply::Conf { publish: publish.map(|pair| text(&pair[1], "PUBLISH")).transpose()? })
            }
            b"OK" => match &frames[1..] {
                [request, index, name] => Ok(Reply::PortAdded {
                    request: RequestNumber(take64(request, "OK")?),
                    ifindex: take_index(index, "OK")?,
                    name: text(name, "OK")?,
                }),
                [request, code] => Ok(Reply::PortDeleted {
                    request: RequestNumber(take64(request, "OK")?),
                    deleted: take32(code, "OK")? == 0,
                }),
                _ => Err(Malformed::shape("OK", "3 or 4 frames", &frames)),
            },
            b"FAIL: process_msg" if frames.len() == 1 => Ok(Reply::Unknown),
            b"THATSALLFOLKS!" => match &frames[1..] {
                [last, _] => Ok(Reply::End { last: Sequence(take64(last, "THATSALLFOLKS!")?) }),
                _ => Err(Malformed::shape("THATSALLFOLKS!", "3 frames", &frames)),
            },
            // A failure names the handler or the missing frame, and nothing else.
            _ if frames.len() == 1 => Ok(Reply::Refused(text(&frames[0], "a reply of one frame")?)),
            _ => Item::parse(frames).map(Reply::Item),
        }
    }
}

impl Item {
    /// Reads topic, number, data.
    pub fn parse(frames: Message) -> Result<Item, Malformed> {
        match <[Vec<u8>; 3]>::try_from(frames) {
            Ok([topic, sequence, data]) => {
                if topic.is_empty() {
                    return Err(Malformed::shape("update", "a topic", &[topic]));
                }
                Ok(Item { sequence: Sequence(take64(&sequence, "update")?), topic, data })
            }
            Err(frames) => Err(Malformed::shape("update", "3 frames", &frames)),
        }
    }

    /// The topic up to its first blank.
    pub fn word(&self) -> &[u8] {
        self.topic.split(|byte| *byte == b' ').next().unwrap_or_default()
    }
}

/// Start of bytes from outside, fit for a log line.
pub fn excerpt(bytes: &[u8]) -> String {
    let shown = bytes[..bytes.len().min(EXCERPT)].escape_ascii();
    if bytes.len() > EXCERPT { format!("\"{shown}\"...") } else { format!("\"{shown}\"") }
}

fn text(frame: &[u8], what: &'static str) -> Result<String, Malformed> {
    let printable = |text: &&str| !text.is_empty() && !text.chars().any(char::is_control);
    match std::str::from_utf8(frame).ok().filter(printable) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Malformed { what, expected: "text", found: excerpt(frame) }),
    }
}

fn take32(frame: &[u8], what: &'static str) -> Result<u32, Malformed> {
    match frame.try_into() {
        Ok(bytes) => Ok(u32::from_ne_bytes(bytes)),
        Err(_) => Err(Malformed { what, expected: "4 bytes", found: excerpt(frame) }),
    }
}

fn take_index(frame: &[u8], what: &'static str) -> Result<IfIndex, Malformed> {
    IfIndex::new(take32(frame, what)?).ok_or_else(|| Malformed {
        what,
        expected: "the index of an interface",
        found: "0".to_owned(),
    })
}

fn take64(frame: &[u8], what: &'static str) -> Result<u64, Malformed> {
    match frame.try_into() {
        Ok(bytes) => Ok(u64::from_ne_bytes(bytes)),
        Err(_) => Err(Malformed { what, expected: "8 bytes", found: excerpt(frame) }),
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Netlink messages for tests, written byte by byte from the kernel's headers and not from the parser's: what is wrong in one of
//! the two shows.
#![allow(dead_code, reason = "every test program uses other parts")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A message under construction.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Vec<u8>,
}

pub const AF_UNSPEC: u8 = 0;
pub const AF_INET: u8 = 2;
pub const AF_BRIDGE: u8 = 7;
pub const AF_INET6: u8 = 10;

pub const NEWLINK: u16 = 16;
pub const DELLINK: u16 = 17;
pub const NEWADDR: u16 = 20;
pub const DELADDR: u16 = 21;
pub const NEWROUTE: u16 = 24;
pub const DELROUTE: u16 = 25;
pub const NEWNEIGH: u16 = 28;
pub const DELNEIGH: u16 = 29;
pub const NEWNETCONF: u16 = 80;
pub const DELNETCONF: u16 = 81;

pub const REPLACE: u16 = 0x100;
pub const CREATE: u16 = 0x600;
pub const APPEND: u16 = 0xc00;

impl Message {
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Message {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(header);
        Message { bytes }
    }

    /// `struct ifinfomsg` of a link that is up.
    pub fn link(kind: u16, family: u8, hardware: u16, index: u32) -> Message {
        Message::link_flags(kind, family, hardware, index, 1)
    }

    pub fn link_flags(kind: u16, family: u8, hardware: u16, index: u32, flags: u32) -> Message {
        let mut header = vec![family, 0];
        header.extend(hardware.to_ne_bytes());
        header.extend(index.to_ne_bytes());
        header.extend(flags.to_ne_bytes());
        header.extend([0; 4]);
        Message::new(kind, 0, &header)
    }

    /// `struct ifaddrmsg`.
    pub fn address(kind: u16, family: u8, length: u8, scope: u8, index: u32) -> Message {
        let mut header = vec![family, length, 0x80, scope];
        header.extend(index.to_ne_bytes());
        Message::new(kind, 0, &header)
    }

    /// `struct rtmsg` of type unicast, protocol static.
    pub fn route(kind: u16, flags: u16, prefix: (IpAddr, u8), table: u32) -> Message {
        Message::route_of(kind, flags, prefix, table, 0, 1)
    }

    pub fn route_of(kind: u16, flags: u16, prefix: (IpAddr, u8), table: u32, scope: u8, rtn: u8) -> Message {
        let family = if prefix.0.is_ipv4() { AF_INET } else { AF_INET6 };
        let short = u8::try_from(table).unwrap_or(0);
        let message = Message::new(kind, flags, &[family, prefix.1, 0, 0, short, 3, scope, rtn, 0, 0, 0, 0]);
        let message = message.u32(15, table);
        if prefix.1 == 0 { message } else { message.ip(1, prefix.0) }
    }

    /// `struct ndmsg`.
    pub fn neighbor(kind: u16, family: u8, index: u32, state: u16, flags: u8) -> Message {
        let mut header = vec![family, 0, 0, 0];
        header.extend(index.to_ne_bytes());
        header.extend(state.to_ne_bytes());
        header.extend([flags, 1]);
        Message::new(kind, 0, &header)
    }

    /// `struct netconfmsg`.
    pub fn netconf(kind: u16, family: u8, index: i32) -> Message {
        Message::new(kind, 0, &[family, 0, 0, 0]).u32(1, index.cast_unsigned())
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        attribute(&mut self.bytes, kind, value);
        self
    }

    pub fn u8(self, kind: u16, value: u8) -> Message {
        self.attribute(kind, &[value])
    }

    pub fn u32(self, kind: u16, value: u32) -> Message {
        self.attribute(kind, &value.to_ne_bytes())
    }

    pub fn text(self, kind: u16, value: &str) -> Message {
        self.attribute(kind, &[value.as_bytes(), b"\0"].concat())
    }

    pub fn ip(self, kind: u16, value: IpAddr) -> Message {
        match value {
            IpAddr::V4(address) => self.attribute(kind, &address.octets()),
            IpAddr::V6(address) => self.attribute(kind, &address.octets()),
        }
    }

    /// IFLA_LINKINFO.
    pub fn link_info(self, kind: &str, data: &[(u16, &[u8])]) -> Message {
        let mut info = Vec::new();
        attribute(&mut info, 1, &[kind.as_bytes(), b"\0"].concat());
        attribute(&mut info, 2, &nested(data));
        self.attribute(18, &info)
    }

    /// RTA_MULTIPATH of interface, gateway, weight.
    pub fn multipath(self, hops: &[(u32, Option<IpAddr>, u8)]) -> Message {
        let mut value = Vec::new();
        for (index, gateway, weight) in hops {
            let mut attributes = Vec::new();
            match gateway {
                Some(IpAddr::V4(address)) => attribute(&mut attributes, 5, &address.octets()),
                Some(IpAddr::V6(address)) => attribute(&mut attributes, 5, &address.octets()),
                None => {}
            }
            value.extend((8 + attributes.len() as u16).to_ne_bytes());
            value.extend([0, weight - 1]);
            value.extend(index.to_ne_bytes());
            value.extend(attributes);
        }
        self.attribute(9, &value)
    }

    /// The whole message, its length set.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }
}

/// Attributes back to back.
pub fn nested(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in attributes {
        attribute(&mut bytes, *kind, value);
    }
    bytes
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// An Ethernet link of this kind.
pub fn new_link(index: u32, name: &str, kind: &str, data: &[(u16, &[u8])]) -> Message {
    Message::link(NEWLINK, AF_UNSPEC, 1, index)
        .text(3, name)
        .u32(4, 1500)
        .attribute(1, &[2, 0, 0, 0, 0, index as u8])
        .link_info(kind, data)
}

pub fn ip4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

pub fn ip6(text: &str) -> IpAddr {
    IpAddr::V6(text.parse::<Ipv6Addr>().expect("an address in a test"))
}

/// Every netlink message of the recorded session: topic, bytes, and what another parser (Python's) made of them.
pub fn recorded() -> Vec<(String, Vec<u8>, String)> {
    let text = include_str!("../fixtures/transcript.txt");
    let mut messages = Vec::new();
    let mut data = "";
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("] ").filter(|_| line.starts_with("  [")) {
            data = rest.split_whitespace().next().unwrap_or_default();
        } else if let Some(rest) = line.trim_start().strip_prefix("=> topic='")
            && rest.contains(" RTM_")
        {
            let (topic, description) = rest.split_once('\'').expect("a topic ends with a quote");
            let bytes = (0..data.len() / 2)
                .map(|at| u8::from_str_radix(&data[2 * at..2 * at + 2], 16).expect("recorded in hexadecimal"))
                .collect();
            messages.push((topic.to_owned(), bytes, description.to_owned()));
        }
    }
    messages
}

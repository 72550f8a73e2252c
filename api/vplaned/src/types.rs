// SPDX-License-Identifier: Apache-2.0
//! The protocol's numbers and names as types, so that a port number is never taken for an ifindex.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::netlink::MacAddr;

/// A dataplane's number at vplaned; 0 is the usual single one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataplaneId(pub u16);

/// A port's number at this dataplane. vplaned has room for 256 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PortNumber(pub u8);

/// What ties a reply to its port request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestNumber(pub u64);

/// vplaned's number of a publication: one counter for netlink and commands, 1 at every start of vplaned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// The two sockets to vplaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// DEALER to vplaned's ROUTER.
    Request,
    /// SUB to vplaned's PUB.
    Publication,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Channel::Request => "request",
            Channel::Publication => "publication",
        })
    }
}

/// A dataplane's identity as vplaned compares it: 36 characters of text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uuid(String);

/// A text that is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a UUID: expected 8-4-4-4-12 hexadecimal digits")]
pub struct NotUuid {
    pub found: String,
}

impl Uuid {
    /// Of the dataplane that runs beside its controller, whatever the files say.
    pub fn local() -> Uuid {
        Uuid("00000000-0000-0000-0000-000000000000".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Uuid {
    type Err = NotUuid;

    fn from_str(text: &str) -> Result<Uuid, NotUuid> {
        let well_formed = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if well_formed { Ok(Uuid(text.to_owned())) } else { Err(NotUuid { found: text.to_owned() }) }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What vplaned names a port by. It alone decides on the name: the answer is taken as it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortDescription {
    pub port: PortNumber,
    /// Not optional: vplaned converts it unchecked. It reads it with zero padding.
    pub mac: MacAddr,
    pub name: String,
    pub driver: String,
    /// `DDDD:BB:DD.F`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_port: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    pub multifunction: bool,
    pub uplink: bool,
    pub backplane: bool,
}

/// An interface's counters, in the order of the kernel's `struct rtnl_link_stats64`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub multicast: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplex {
    Full,
    Half,
    Unknown,
}

/// A port's carrier, as it is reported every few seconds and on change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Up {
        /// Mb/s; `None` if the device does not say.
        speed: Option<u32>,
        duplex: Duplex,
        counters: Counters,
    },
    Down,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_36_characters_of_its_form() {
        for good in [Uuid::local().as_str(), "11111111-2222-3333-4444-55555555555F"] {
            assert_eq!(good.parse::<Uuid>().expect("well formed").as_str(), good);
        }
        for bad in ["", "0", "00000000-0000-0000-0000-00000000000", "00000000x0000-0000-0000-000000000000"] {
            assert_eq!(bad.parse::<Uuid>(), Err(NotUuid { found: bad.to_owned() }));
        }
    }
}

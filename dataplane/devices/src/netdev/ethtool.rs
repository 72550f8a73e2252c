// SPDX-License-Identifier: Apache-2.0
//! What ethtool tells about an interface (linux/ethtool.h): driver, queues, offloads.
//!
//! The old ioctls, because each is one small struct that every driver answers. A leaf.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;

use super::LinkName;
use super::ioctl::ethtool;

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_SCHANNELS: u32 = 0x3d;

// `enum ethtool_flags`.
const ETH_FLAG_RXVLAN: u32 = 1 << 8;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// Who drives an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    pub name: String,
    /// PCI address, empty for a virtual interface.
    pub bus: String,
}

/// Queues in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCounts {
    pub rx: u32,
    pub tx: u32,
}

/// Offloads in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums of the local stack's packets are left to the device.
    pub tx_checksum: bool,
    /// Segmentation of TCP is left to the device.
    pub tso: bool,
    pub gro: bool,
    /// Packets are merged by the device.
    pub lro: bool,
    /// VLAN tags are taken out of received frames.
    pub rx_vlan: bool,
}

#[repr(C)]
struct DrvInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    expansion_rom: [u8; 32],
    reserved: [u8; 12],
    sizes: [u32; 5],
}

const _: () = assert!(mem::size_of::<DrvInfo>() == 196, "struct ethtool_drvinfo");

/// How many queues of which kind are in use (`struct ethtool_channels`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    cmd: u32,
    /// Receive, transmit, other, combined.
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

impl Channels {
    /// As it is noted in a file: receive, transmit, other, combined.
    pub(crate) fn to_text(self) -> String {
        format!("{} {} {} {}", self.rx, self.tx, self.other, self.combined)
    }

    /// What [`Self::to_text`] has made.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u32> = text.split(' ').map_while(|number| number.parse().ok()).collect();
        let [rx, tx, other, combined] = numbers.try_into().ok()?;
        Some(Self { rx, tx, other, combined, ..Self::default() })
    }
}

#[repr(C)]
struct Value {
    cmd: u32,
    data: u32,
}

/// Text up to the first zero byte.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

pub(super) fn driver(control: &OwnedFd, name: &LinkName) -> io::Result<Driver> {
    // SAFETY: integers only, for which zero is a value.
    let mut info: DrvInfo = unsafe { mem::zeroed() };
    info.cmd = ETHTOOL_GDRVINFO;
    // SAFETY: `DrvInfo` is `struct ethtool_drvinfo`.
    match unsafe { ethtool(control, name, &mut info) } {
        Ok(()) => Ok(Driver { name: text(&info.driver), bus: text(&info.bus) }),
        // A virtual interface without a driver, such as lo.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Ok(Driver { name: String::new(), bus: String::new() })
        }
        Err(error) => Err(error),
    }
}

pub(super) fn queues(control: &OwnedFd, name: &LinkName) -> io::Result<QueueCounts> {
    let mut channels = Channels { cmd: ETHTOOL_GCHANNELS, ..Channels::default() };
    // SAFETY: `Channels` is `struct ethtool_channels`.
    unsafe { ethtool(control, name, &mut channels)? };
    Ok(QueueCounts { rx: channels.rx + channels.combined, tx: channels.tx + channels.combined })
}

/// Queues as they are, and as they are to be for `count` in each direction: combined ones if the driver has them; `None` if they
/// are so.
pub(super) fn other_queues(
    control: &OwnedFd,
    name: &LinkName,
    count: u32,
) -> io::Result<Option<(Channels, Channels)>> {
    let mut now = Channels { cmd: ETHTOOL_GCHANNELS, ..Channels::default() };
    // SAFETY: `Channels` is `struct ethtool_channels`.
    unsafe { ethtool(control, name, &mut now)? };
    let wanted = match now.max[3] {
        0 => Channels { rx: count, tx: count, ..now },
        _ => Channels { rx: 0, tx: 0, combined: count, ..now },
    };
    Ok((wanted != now).then_some((now, wanted)))
}

/// Uses queues as said.
pub(super) fn set_channels(control: &OwnedFd, name: &LinkName, channels: Channels) -> io::Result<()> {
    let mut channels = Channels { cmd: ETHTOOL_SCHANNELS, ..channels };
    // SAFETY: `Channels` is `struct ethtool_channels`.
    unsafe { ethtool(control, name, &mut channels) }
}

fn value(control: &OwnedFd, name: &LinkName, cmd: u32) -> io::Result<u32> {
    let mut value = Value { cmd, data: 0 };
    // SAFETY: `Value` is `struct ethtool_value`, which all commands passed here take.
    match unsafe { ethtool(control, name, &mut value) } {
        Ok(()) => Ok(value.data),
        // A device that doesn't know the offload hasn't turned it on.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(0),
        Err(error) => Err(error),
    }
}

pub(super) fn strip_tags(control: &OwnedFd, name: &LinkName, strip: bool) -> io::Result<bool> {
    let flags = value(control, name, ETHTOOL_GFLAGS)?;
    if (flags & ETH_FLAG_RXVLAN != 0) == strip {
        return Ok(false);
    }
    let mut value = Value { cmd: ETHTOOL_SFLAGS, data: flags ^ ETH_FLAG_RXVLAN };
    // SAFETY: `Value` is `struct ethtool_value`, which this command takes.
    unsafe { ethtool(control, name, &mut value)? };
    Ok(true)
}

pub(super) fn offloads(control: &OwnedFd, name: &LinkName) -> io::Result<Offloads> {
    let flags = value(control, name, ETHTOOL_GFLAGS)?;
    Ok(Offloads {
        tx_checksum: value(control, name, ETHTOOL_GTXCSUM)? != 0,
        tso: value(control, name, ETHTOOL_GTSO)? != 0,
        gro: value(control, name, ETHTOOL_GGRO)? != 0,
        lro: flags & ETH_FLAG_LRO != 0,
        rx_vlan: flags & ETH_FLAG_RXVLAN != 0,
    })
}

// SPDX-License-Identifier: Apache-2.0
//! A TAP: an interface of the host whose wire is a file descriptor
//! (Documentation/networking/tuntap.rst).
//!
//! The host side of a port: what Weft doesn't handle goes up to the host's stack through it, and
//! what the host sends comes back. One frame per system call, so it carries control traffic, not
//! the forwarding path. Frames are plain Ethernet, without a virtio header; no offload is
//! announced, so the host's stack finishes checksums and segments itself.
//!
//! The interface lives as long as the value. Reading and writing take `&self`, never block, and may
//! be done by different threads; each call moves one whole frame.

#[deny(unsafe_code)]
pub mod device;
pub mod input;
pub mod output;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use self::input::FrameSource;

use crate::netdev::{self, LinkName, MacAddr, Netdev, NetdevError};
use crate::netns::{NetNs, NetNsError};

const DEVICE: &str = "/dev/net/tun";

/// What TAP to create.
#[derive(Clone, Debug)]
pub struct TapConfig {
    pub name: LinkName,
    /// Network namespace of the host side, such as `/run/netns/NAME`; `None` for that of the
    /// process.
    pub namespace: Option<PathBuf>,
    /// `None` for a random one.
    pub mac: Option<MacAddr>,
    /// `None` for 1500.
    pub mtu: Option<u32>,
    /// The host's address on the interface.
    pub address: Option<Ipv4Net>,
}

impl TapConfig {
    /// A TAP in the process's namespace, without an address.
    pub fn new(name: LinkName) -> Self {
        Self { name, namespace: None, mac: None, mtu: None, address: None }
    }
}

/// Why a TAP can't be created.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// No such device, or no permission.
    #[error("{name}: open {DEVICE}: {source}; it takes the module tun and access to the device")]
    Device { name: LinkName, source: io::Error },
    /// The name is taken, or CAP_NET_ADMIN is missing.
    #[error("{name}: create the interface (TUNSETIFF): {source}{hint}", hint = hint(source))]
    Create { name: LinkName, source: io::Error },
    /// It is no TAP, or busy.
    #[error("{name}: attach to the interface (TUNSETIFF): {source}; expected a TAP that nobody else uses")]
    Attach { name: LinkName, source: io::Error },
    #[error(transparent)]
    Netdev(#[from] NetdevError),
    #[error(transparent)]
    NetNs(#[from] NetNsError),
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST | libc::EINVAL) => "; an interface of this name exists already",
        Some(libc::EPERM) => "; it takes CAP_NET_ADMIN",
        _ => "",
    }
}

/// An open TAP.
#[derive(Debug)]
pub struct Tap {
    wire: File,
    netdev: Netdev,
}

impl Tap {
    /// Creates the interface, sets what `config` names, and sets it up.
    ///
    /// # Errors
    /// What [`TapError`] lists; no interface is left then.
    pub fn create(config: &TapConfig) -> Result<Self, TapError> {
        let namespace = match &config.namespace {
            Some(path) => NetNs::open(path)?,
            None => NetNs::current(),
        };
        let name = &config.name;
        // The interface is made in the namespace of whoever opens the device.
        let wire = namespace.run(|| {
            let wire = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE);
            let wire = wire.map_err(|source| TapError::Device { name: name.clone(), source })?;
            netdev::create_tap(wire.as_fd(), name)
                .map_err(|source| TapError::Create { name: name.clone(), source })?;
            Ok::<_, TapError>(wire)
        })??;
        let netdev = Netdev::open(&namespace, name)?;
        if let Some(mac) = config.mac {
            netdev.set_mac(mac)?;
        }
        if let Some(mtu) = config.mtu {
            netdev.set_mtu(mtu)?;
        }
        netdev.set_up(true)?;
        if let Some(address) = config.address {
            netdev.set_ipv4(address)?;
        }
        Ok(Self { wire, netdev })
    }

    /// Becomes the wire of a persistent TAP of the process's namespace. Whoever made it goes on setting its state,
    /// address and MTU, and it stays when the value is gone.
    ///
    /// # Errors
    /// What [`TapError`] lists; there is no such interface, or somebody else is its wire.
    pub fn attach(name: &LinkName) -> Result<Self, TapError> {
        // First, since TUNSETIFF would create what is not there.
        let netdev = Netdev::open(&NetNs::current(), name)?;
        let wire = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE);
        let wire = wire.map_err(|source| TapError::Device { name: name.clone(), source })?;
        netdev::join_tap(wire.as_fd(), name)
            .map_err(|source| TapError::Attach { name: name.clone(), source })?;
        Ok(Self { wire, netdev })
    }

    /// The interface as the host sees it.
    pub fn netdev(&self) -> &Netdev {
        &self.netdev
    }

    /// Gives a frame to the host.
    ///
    /// # Errors
    /// `EIO` while the interface is down, `EINVAL` for a frame shorter than an Ethernet header,
    /// `WouldBlock` if the host has no memory for it now; the frame is not sent then.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // The kernel takes a frame whole or not at all.
        (&self.wire).write(frame).map(drop)
    }
}

/// What the host sends. Give it room for the MTU and 22 bytes for the Ethernet header and two VLAN tags.
impl FrameSource for Tap {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.wire).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A TAP: an interface of the host whose wire is a file descriptor
//! (Documentation/networking/tuntap.rst).
//!
//! The host side of a port: what Weft doesn't handle goes up to the host's stack through it, and
//! what the host sends comes back. One frame per system call, so it carries control traffic, not
//! the forwarding path. A TAP that was made here announces checksums and segmentation of TCP, so that the host's stack hands
//! over up to 64 KiB at once ([`unfinished`]). One that somebody else has made has neither: it may serve others
//! after us, and would go on announcing them.
//!
//! The interface lives as long as the value. Reading and writing take `&self`, never block, and may
//! be done by different threads; each call moves one whole frame.

#[deny(unsafe_code)]
pub mod device;
pub mod input;
pub mod output;
#[deny(unsafe_code)]
pub mod unfinished;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use self::input::{FrameSource, Taken};
use self::unfinished::{HEADER, Unfinished};

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
    /// No kernel from 2.6.27 on refuses it.
    #[error("{name}: announce checksums and segmentation (TUNSETOFFLOAD): {source}")]
    Offloads { name: LinkName, source: io::Error },
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
    /// Whether each frame has a header that says what is left to do.
    offloads: bool,
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
            netdev::announce_offloads(wire.as_fd())
                .map_err(|source| TapError::Offloads { name: name.clone(), source })?;
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
        Ok(Self { wire, netdev, offloads: true })
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
        Ok(Self { wire, netdev, offloads: false })
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
        let done = match self.offloads {
            // Nothing is left to do.
            true => (&self.wire).write_vectored(&[IoSlice::new(&[0; HEADER]), IoSlice::new(frame)]),
            false => (&self.wire).write(frame),
        };
        done.map(drop)
    }
}

/// What the host sends. Give it room for the MTU and 22 bytes for the Ethernet header and two VLAN tags.
impl FrameSource for Tap {
    fn take(&self, buffer: &mut [u8], rest: &mut [u8]) -> io::Result<Option<Taken>> {
        let mut header = [0; HEADER];
        let parts = &mut [IoSliceMut::new(&mut header), IoSliceMut::new(buffer), IoSliceMut::new(rest)];
        let parts = if self.offloads { &mut parts[..] } else { &mut parts[1..] };
        let length = match (&self.wire).read_vectored(parts) {
            Ok(length) if self.offloads => length.saturating_sub(HEADER),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        // A kind of segmentation that was not announced, if there were one, is a frame that is too long.
        let unfinished = Unfinished::parse(header).unwrap_or_default();
        Ok(Some(Taken { length, unfinished }))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A Linux network interface as seen from outside: what it is, and the few settings that a device
//! changes.
//!
//! Facts come from rtnetlink and ethtool, not from `/sys/class/net`: that directory shows the
//! namespace in which sysfs was mounted, which is the wrong one as soon as an interface lives
//! elsewhere.
//!
//! For the main thread. A [`Netdev`] holds two sockets of the interface's namespace and may be used
//! from any thread.

mod ethtool;
mod events;
mod ioctl;
mod link;

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

pub use ethtool::{Channels, Driver, Offloads, QueueCounts};
pub use events::{LinkEvent, LinkEvents};
pub(crate) use ioctl::{announce_offloads, create_tap, join_tap, new_socket};
pub use link::{Link, Peer, XdpAttachment, XdpMode};
pub use weft_netlink::MacAddr;

use crate::netns::{NetNs, NetNsError};

/// The kernel's number of an interface, within its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub u32);

/// A NUMA node of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumaNode(pub u32);

/// The name of an interface: 1 to 15 bytes, as the kernel allows them (net/core/dev.c,
/// `dev_valid_name`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkName(String);

impl LinkName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LinkName {
    type Err = NetdevError;

    fn from_str(name: &str) -> Result<Self, NetdevError> {
        let forbidden = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace();
        if name.is_empty()
            || name.len() >= libc::IFNAMSIZ
            || name == "."
            || name == ".."
            || name.contains(forbidden)
        {
            return Err(NetdevError::Name(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }
}

/// Why an interface can't be read or set.
#[derive(Debug, thiserror::Error)]
pub enum NetdevError {
    /// Not a name that an interface can have.
    #[error("interface name \"{0}\", expected 1 to 15 bytes without blanks, '/' and ':'")]
    Name(String),
    /// The namespace has no such interface.
    #[error("no interface {0} in this network namespace; `ip link` lists those that exist")]
    NoSuchInterface(LinkName),
    /// A call failed.
    #[error("{interface}: {action}: {source}")]
    Call { interface: LinkName, action: &'static str, source: io::Error },
    /// The namespace can't be entered.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
}

/// A handle on one interface.
#[derive(Debug)]
pub struct Netdev {
    /// What it is known by: it can be renamed, and another one can have its name.
    index: LinkIndex,
    /// As it was called when somebody last looked.
    name: Mutex<LinkName>,
    /// An `AF_INET` datagram socket, the usual carrier of interface ioctls.
    control: OwnedFd,
    route: OwnedFd,
}

impl Netdev {
    /// Opens the interface `name` of `namespace`.
    ///
    /// # Errors
    /// If the namespace can't be entered or has no such interface.
    pub fn open(namespace: &NetNs, name: &LinkName) -> Result<Self, NetdevError> {
        let sockets = namespace.run(|| Ok((ioctl::control_socket()?, link::route_socket()?)))?;
        let (control, route) = sockets.map_err(|source| NetdevError::Call {
            interface: name.clone(),
            action: "open control sockets",
            source,
        })?;
        let link = link::query(&route, name).map_err(|source| failed("read the link", name, source))?;
        Ok(Self { index: link.index, name: Mutex::new(name.clone()), control, route })
    }

    /// The interface's name, as of the last [`Netdev::link`].
    pub fn name(&self) -> LinkName {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The kernel's number of it, for as long as it is in its namespace.
    pub fn index(&self) -> LinkIndex {
        self.index
    }

    fn call<T>(&self, action: &'static str, result: io::Result<T>) -> Result<T, NetdevError> {
        result.map_err(|source| failed(action, &self.name(), source))
    }

    /// The state of the link at this moment.
    ///
    /// # Errors
    /// If the interface has gone, or the kernel's answer can't be read.
    pub fn link(&self) -> Result<Link, NetdevError> {
        let link = self.call("read the link", link::of_index(&self.route, self.index))?;
        if let Ok(name) = link.name.parse() {
            *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
        }
        Ok(link)
    }

    /// Whether its link is up, and if not, why. An interface that has gone is down for good.
    ///
    /// # Errors
    /// A sentence's end.
    pub fn is_up(&self) -> Result<(), String> {
        match self.link() {
            Ok(link) if link.up && link.carrier => Ok(()),
            Ok(link) if !link.up => Err(format!("{} was set down", link.name)),
            Ok(link) => Err(format!("{} has no carrier", link.name)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The link with the kernel's number `index` in the same namespace, if there is one.
    pub(crate) fn neighbour(&self, index: LinkIndex) -> Option<Self> {
        let name = link::name_of(&self.route, index).ok()?;
        let clone = |fd: &OwnedFd| fd.try_clone().ok();
        let (control, route) = (clone(&self.control)?, clone(&self.route)?);
        Some(Self { index, name: Mutex::new(name), control, route })
    }

    /// Driver and place on the bus.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn driver(&self) -> Result<Driver, NetdevError> {
        self.call("read the driver (ETHTOOL_GDRVINFO)", ethtool::driver(&self.control, &self.name()))
    }

    /// Queues that are in use now.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn queues(&self) -> Result<QueueCounts, NetdevError> {
        match ethtool::queues(&self.control, &self.name()) {
            // Such a driver can't change its number of queues, so it uses those that it allocated.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let link = self.link()?;
                Ok(QueueCounts { rx: link.rx_queues, tx: link.tx_queues })
            }
            result => self.call("read the queues (ETHTOOL_GCHANNELS)", result),
        }
    }

    /// Queues as they are now and as they are with that many in each direction, if that is a change.
    ///
    /// # Errors
    /// If the driver tells nothing.
    pub fn other_queues(&self, count: u32) -> Result<Option<(Channels, Channels)>, NetdevError> {
        let result = ethtool::other_queues(&self.control, &self.name(), count);
        self.call("set the number of queues (ETHTOOL_GCHANNELS)", result)
    }

    /// Has it use these queues.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn set_channels(&self, channels: Channels) -> Result<(), NetdevError> {
        let result = ethtool::set_channels(&self.control, &self.name(), channels);
        self.call("set the number of queues (ETHTOOL_SCHANNELS)", result)
    }

    /// The same, tried for so long: the kernel takes no queue away that has a socket, and releases one a moment after its socket
    /// was closed. An interface that has gone has no queues either.
    ///
    /// # Errors
    /// If the driver refuses to the end.
    pub fn set_channels_within(&self, channels: Channels, time: Duration) -> Result<(), NetdevError> {
        let deadline = Instant::now() + time;
        loop {
            match self.set_channels(channels) {
                Err(_) if self.link().is_err() => return Ok(()),
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                done => return done,
            }
        }
    }

    /// Offloads that matter to somebody who takes frames before the stack.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn offloads(&self) -> Result<Offloads, NetdevError> {
        self.call("read the offloads (ethtool)", ethtool::offloads(&self.control, &self.name()))
    }

    /// The NUMA node of the device; `None` for a virtual one or a machine with one node.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn numa_node(&self) -> Result<Option<NumaNode>, NetdevError> {
        // -1 where the firmware doesn't say.
        Ok(self.pci("numa_node")?.and_then(|node| node.parse().ok()).map(NumaNode))
    }

    /// The number that the maker of a PCI device has given its kind; `None` for a virtual one.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn pci_device(&self) -> Result<Option<u16>, NetdevError> {
        let number = |text: String| u16::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        Ok(self.pci("device")?.and_then(number))
    }

    /// What a file of a PCI device says.
    fn pci(&self, file: &str) -> Result<Option<String>, NetdevError> {
        let bus = self.driver()?.bus;
        if bus.is_empty() || bus.contains('/') {
            return Ok(None);
        }
        let text = fs::read_to_string(format!("/sys/bus/pci/devices/{bus}/{file}"));
        Ok(text.ok().map(|text| text.trim().to_owned()))
    }

    /// Sets the administrative state.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_up(&self, up: bool) -> Result<(), NetdevError> {
        self.call("set the state", ioctl::set_up(&self.control, &self.name(), up))
    }

    /// Sets the MTU.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_mtu(&self, mtu: u32) -> Result<(), NetdevError> {
        self.call("set the MTU", ioctl::set_mtu(&self.control, &self.name(), mtu))
    }

    /// Sets the MAC address.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_mac(&self, mac: MacAddr) -> Result<(), NetdevError> {
        self.call("set the MAC address", ioctl::set_mac(&self.control, &self.name(), mac))
    }

    /// Makes `address` the interface's first IPv4 address.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_ipv4(&self, address: Ipv4Net) -> Result<(), NetdevError> {
        self.call("set the IPv4 address", ioctl::set_ipv4(&self.control, &self.name(), address))
    }

    /// Lets the interface take more frames than those for its own MAC address until the guard is dropped, or the process
    /// ends.
    ///
    /// # Errors
    /// If the namespace can't be entered or the kernel refuses.
    pub fn listen(&self, namespace: &NetNs, to: Listening) -> Result<Listens, NetdevError> {
        let index = self.link()?.index;
        let (kind, action) = match to {
            Listening::Everything => (libc::PACKET_MR_PROMISC, "enter promiscuous mode"),
            Listening::Multicast => (libc::PACKET_MR_ALLMULTI, "take all multicast frames"),
        };
        let guard = namespace.run(|| ioctl::Membership::enter(index, kind))?;
        self.call(action, guard).map(|membership| Listens { _membership: membership })
    }

    /// Has the driver take VLAN tags out of received frames, or leave them there. Says whether that is a change.
    ///
    /// # Errors
    /// If the driver cannot be told, or does not do it.
    pub fn strip_tags(&self, strip: bool) -> Result<bool, NetdevError> {
        let result = ethtool::strip_tags(&self.control, &self.name(), strip);
        self.call("set rx-vlan-offload (ETHTOOL_SFLAGS)", result)
    }
}

fn failed(action: &'static str, name: &LinkName, source: io::Error) -> NetdevError {
    match source.raw_os_error() {
        Some(libc::ENODEV) => NetdevError::NoSuchInterface(name.clone()),
        _ => NetdevError::Call { interface: name.clone(), action, source },
    }
}

/// What an interface takes beside frames for its own MAC address, the broadcast address and groups that the host has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// All that is on the wire, also with VLAN tags that nobody has asked the driver for.
    Everything,
    /// Frames for all groups.
    Multicast,
}

/// Keeps an interface listening.
#[derive(Debug)]
pub struct Listens {
    _membership: ioctl::Membership,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_kernel_allows() {
        for good in ["lo", "eth0", "enp65s0f0np0.10", "wg-a_b"] {
            assert_eq!(good.parse::<LinkName>().expect("a valid name").as_str(), good);
        }
        for bad in ["", ".", "..", "a b", "a/b", "a:1", "sixteen-bytes-xx", "a\0"] {
            let error = bad.parse::<LinkName>().expect_err("an invalid name").to_string();
            assert!(error.contains("expected 1 to 15 bytes"), "{error}");
        }
    }

    #[test]
    fn loopback_is_described() {
        let name = "lo".parse().expect("a valid name");
        let lo = Netdev::open(&NetNs::current(), &name).expect("every namespace has lo");
        let link = lo.link().expect("lo can be read");
        assert_eq!(link.index, LinkIndex(1));
        assert_eq!((link.xdp, link.peer), (None, None));
        assert_eq!(lo.queues().expect("lo has queues"), QueueCounts { rx: 1, tx: 1 });
        assert_eq!(lo.numa_node().expect("lo has a driver answer"), None);
    }

    #[test]
    fn an_interface_that_is_missing_is_named() {
        let name = "weft-none".parse().expect("a valid name");
        let error = Netdev::open(&NetNs::current(), &name).expect_err("there is no such interface");
        assert!(matches!(&error, NetdevError::NoSuchInterface(found) if *found == name), "{error}");
    }
}

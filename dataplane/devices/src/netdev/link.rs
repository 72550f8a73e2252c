// SPDX-License-Identifier: Apache-2.0
//! One question to rtnetlink: `RTM_GETLINK` for a single interface (rtnetlink(7), linux/if_link.h).
//!
//! A request and an answer of one message each. An attribute that is short or unknown is skipped.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use weft_netlink::{AF_UNSPEC, Attribute, LinkHeader, Part};

use super::ioctl::new_socket;
use super::{LinkIndex, LinkName, MacAddr};

const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_INFO_KIND: u16 = 1;

/// How a program hangs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack, after an skb was made.
    Generic,
    /// In the device.
    Hardware,
    /// Several at a time.
    Multiple,
}

/// An XDP program that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpAttachment {
    pub mode: XdpMode,
    /// The kernel's number of the program, as `bpftool prog` and `ip link` show it; 0 if several
    /// are attached.
    pub program: u32,
}

/// The other end of a veth, or the interface below a stacked one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub index: LinkIndex,
    /// The index counts in another network namespace, which can't be looked into from here.
    pub in_other_namespace: bool,
}

/// What the kernel says about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: LinkIndex,
    pub name: String,
    /// `None` if the address isn't of Ethernet's length.
    pub mac: Option<MacAddr>,
    pub mtu: u32,
    /// Administrative state.
    pub up: bool,
    /// Whether the medium is there.
    pub carrier: bool,
    /// Kind of a virtual interface: `veth`, `tun`, `bridge`, ...; empty for a device.
    pub kind: String,
    /// Queues allocated, of which fewer may be in use.
    pub rx_queues: u32,
    pub tx_queues: u32,
    pub xdp: Option<XdpAttachment>,
    /// The other end of a veth, or what a stacked interface, such as one of VLAN frames, lies on.
    pub peer: Option<Peer>,
    /// A bridge, bond or team that it is a port of.
    pub master: Option<LinkIndex>,
    /// Packets that it has received, by its own count.
    pub rx_packets: u64,
}

pub(super) fn route_socket() -> io::Result<OwnedFd> {
    new_socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
}

pub(super) fn query(route: &OwnedFd, name: &LinkName) -> io::Result<Link> {
    // Name and terminating zero; `LinkName` bounds it to 16 bytes.
    let name = [name.as_str().as_bytes(), &[0]].concat();
    ask(route, LinkIndex(0), Some((libc::IFLA_IFNAME, name.as_slice())))
}

pub(super) fn of_index(route: &OwnedFd, index: LinkIndex) -> io::Result<Link> {
    ask(route, index, None)
}

pub(super) fn name_of(route: &OwnedFd, index: LinkIndex) -> io::Result<LinkName> {
    let link = of_index(route, index)?;
    link.name.parse().map_err(|_| invalid("an interface without a name"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn ask(route: &OwnedFd, index: LinkIndex, attribute: Option<(u16, &[u8])>) -> io::Result<Link> {
    let link = LinkHeader {
        family: AF_UNSPEC,
        pad: 0,
        hardware: 0.into(),
        index: index.0.cast_signed().into(),
        flags: 0.into(),
        change: 0.into(),
    };
    let request = weft_netlink::request(libc::RTM_GETLINK, &link, attribute);
    // SAFETY: the kernel reads `request.len()` bytes.
    let sent = unsafe { libc::send(route.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    // The answer on one link is some 2 KiB; virtual functions are listed only on request.
    let mut answer = vec![0u8; 32 * 1024];
    // SAFETY: the kernel writes at most `answer.len()` bytes.
    let received = unsafe { libc::recv(route.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    parse(&answer[..received])
}

/// Attributes of `part` up to the first malformed one.
fn attributes(part: Part<'_>) -> impl Iterator<Item = Attribute<'_>> {
    part.attributes().map_while(Result::ok)
}

fn parse(message: &[u8]) -> io::Result<Link> {
    let damaged = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let (header, body) = weft_netlink::message(message).map_err(damaged)?;
    let kind = header.kind.get();
    if kind == libc::NLMSG_ERROR as u16 {
        let code = body.bytes.first_chunk().ok_or_else(|| invalid("a shortened error of rtnetlink"))?;
        return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(*code).wrapping_neg()));
    }
    if kind != libc::RTM_NEWLINK {
        return Err(invalid("an answer of rtnetlink that is no link"));
    }
    let (header, body) = body.header::<LinkHeader>("ifinfomsg").map_err(damaged)?;
    let mut link = Link {
        index: LinkIndex(header.index.get().cast_unsigned()),
        name: String::new(),
        mac: None,
        mtu: 0,
        up: header.flags.get() & libc::IFF_UP as u32 != 0,
        carrier: false,
        kind: String::new(),
        rx_queues: 0,
        tx_queues: 0,
        xdp: None,
        peer: None,
        master: None,
        rx_packets: 0,
    };
    let mut peer = None;
    let mut in_other_namespace = false;
    for attribute in attributes(body) {
        let number = attribute.u32("a number").ok();
        match attribute.kind {
            libc::IFLA_IFNAME => link.name = text(attribute),
            libc::IFLA_ADDRESS => link.mac = attribute.mac(),
            libc::IFLA_MTU => link.mtu = number.unwrap_or(0),
            libc::IFLA_CARRIER => link.carrier = attribute.value.bytes.first() == Some(&1),
            libc::IFLA_NUM_RX_QUEUES => link.rx_queues = number.unwrap_or(0),
            libc::IFLA_NUM_TX_QUEUES => link.tx_queues = number.unwrap_or(0),
            libc::IFLA_LINK => peer = number.filter(|index| *index != 0),
            libc::IFLA_MASTER => link.master = number.map(LinkIndex),
            libc::IFLA_LINK_NETNSID => in_other_namespace = true,
            libc::IFLA_LINKINFO => {
                link.kind = find(attribute, IFLA_INFO_KIND).map(text).unwrap_or_default();
            }
            libc::IFLA_XDP => link.xdp = xdp(attribute),
            // `struct rtnl_link_stats64` begins with them.
            libc::IFLA_STATS64 => {
                link.rx_packets =
                    attribute.value.bytes.first_chunk().map_or(0, |count| u64::from_ne_bytes(*count));
            }
            _ => {}
        }
    }
    link.peer = peer.map(|index| Peer { index: LinkIndex(index), in_other_namespace });
    Ok(link)
}

/// An attribute that is nested in another.
fn find(outer: Attribute<'_>, kind: u16) -> Option<Attribute<'_>> {
    attributes(outer.value).find(|inner| inner.kind == kind)
}

fn text(attribute: Attribute<'_>) -> String {
    let bytes = attribute.value.bytes;
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}

fn xdp(attribute: Attribute<'_>) -> Option<XdpAttachment> {
    let mode = match find(attribute, IFLA_XDP_ATTACHED)?.value.bytes.first()? {
        1 => XdpMode::Native,
        2 => XdpMode::Generic,
        3 => XdpMode::Hardware,
        4 => XdpMode::Multiple,
        _ => return None,
    };
    let program = find(attribute, IFLA_XDP_PROG_ID).and_then(|id| id.u32("IFLA_XDP_PROG_ID").ok());
    Some(XdpAttachment { mode, program: program.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_give_a_link_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), newlink: bool) {
            if newlink && bytes.len() >= 6 {
                let len = bytes.len() as u32;
                bytes[..4].copy_from_slice(&len.to_ne_bytes());
                bytes[4..6].copy_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
            }
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn an_error_of_the_kernel_becomes_its_errno() {
        let mut message = vec![0u8; 36];
        message[..4].copy_from_slice(&36u32.to_ne_bytes());
        message[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
        message[16..20].copy_from_slice(&(-libc::ENODEV).to_ne_bytes());
        assert_eq!(parse(&message).expect_err("an error").raw_os_error(), Some(libc::ENODEV));
    }
}

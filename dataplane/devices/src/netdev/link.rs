// SPDX-License-Identifier: Apache-2.0
//! One question to rtnetlink: `RTM_GETLINK` for a single interface (rtnetlink(7), linux/if_link.h).
//!
//! A request and an answer of one message each are too little to carry a netlink crate for. The
//! parser takes bytes and checks every length; a short or unknown attribute is skipped.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::ioctl::new_socket;
use super::{LinkIndex, LinkName, MacAddr};

const HEADER: usize = 16;
const IFINFO: usize = 16;

const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_INFO_KIND: u16 = 1;
/// Set in the type of an attribute that contains attributes.
const NLA_TYPE_MASK: u16 = 0x3fff;

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
    pub peer: Option<Peer>,
}

pub(super) fn route_socket() -> io::Result<OwnedFd> {
    new_socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
}

pub(super) fn query(route: &OwnedFd, name: &LinkName) -> io::Result<Link> {
    // Name and terminating zero; `LinkName` bounds it to 16 bytes.
    let mut attribute = Vec::with_capacity(24);
    attribute.extend((5 + name.as_str().len() as u16).to_ne_bytes());
    attribute.extend(libc::IFLA_IFNAME.to_ne_bytes());
    attribute.extend(name.as_str().bytes());
    attribute.push(0);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    ask(route, LinkIndex(0), &attribute)
}

pub(super) fn name_of(route: &OwnedFd, index: LinkIndex) -> io::Result<LinkName> {
    let link = ask(route, index, &[])?;
    link.name.parse().map_err(|_| invalid("an interface without a name"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn ask(route: &OwnedFd, index: LinkIndex, attribute: &[u8]) -> io::Result<Link> {
    let mut request = Vec::with_capacity(HEADER + IFINFO + attribute.len());
    request.extend(((HEADER + IFINFO + attribute.len()) as u32).to_ne_bytes());
    request.extend(libc::RTM_GETLINK.to_ne_bytes());
    request.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend([0; 8]); // sequence number and port
    request.extend([0; 4]); // family, padding, device type
    request.extend(index.0.to_ne_bytes());
    request.extend([0; 8]); // flags, change mask
    request.extend(attribute);
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

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Attributes of `bytes` up to the first malformed one.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let payload = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload.strip_suffix(&[0]).unwrap_or(payload)).into_owned()
}

fn parse(message: &[u8]) -> io::Result<Link> {
    let short = || invalid("a shortened answer of rtnetlink");
    let len = u32_at(message, 0).ok_or_else(short)? as usize;
    let message = message.get(..len).ok_or_else(short)?;
    let kind = u16_at(message, 4).ok_or_else(short)?;
    if kind == libc::NLMSG_ERROR as u16 {
        let code = u32_at(message, HEADER).ok_or_else(short)? as i32;
        return Err(io::Error::from_raw_os_error(-code));
    }
    if kind != libc::RTM_NEWLINK {
        return Err(invalid("an answer of rtnetlink that is no link"));
    }
    let flags = u32_at(message, HEADER + 8).ok_or_else(short)?;
    let mut link = Link {
        index: LinkIndex(u32_at(message, HEADER + 4).ok_or_else(short)?),
        name: String::new(),
        mac: None,
        mtu: 0,
        up: flags & libc::IFF_UP as u32 != 0,
        carrier: false,
        kind: String::new(),
        rx_queues: 0,
        tx_queues: 0,
        xdp: None,
        peer: None,
    };
    let mut peer = None;
    let mut in_other_namespace = false;
    for (kind, payload) in attributes(message.get(HEADER + IFINFO..).ok_or_else(short)?) {
        let number = u32_at(payload, 0);
        match kind {
            libc::IFLA_IFNAME => link.name = text(payload),
            libc::IFLA_ADDRESS => link.mac = payload.try_into().ok().map(MacAddr),
            libc::IFLA_MTU => link.mtu = number.unwrap_or(0),
            libc::IFLA_CARRIER => link.carrier = payload.first() == Some(&1),
            libc::IFLA_NUM_RX_QUEUES => link.rx_queues = number.unwrap_or(0),
            libc::IFLA_NUM_TX_QUEUES => link.tx_queues = number.unwrap_or(0),
            libc::IFLA_LINK => peer = number.filter(|index| *index != 0),
            libc::IFLA_LINK_NETNSID => in_other_namespace = true,
            libc::IFLA_LINKINFO => {
                link.kind = attributes(payload)
                    .find(|(kind, _)| *kind == IFLA_INFO_KIND)
                    .map(|(_, kind)| text(kind))
                    .unwrap_or_default();
            }
            libc::IFLA_XDP => link.xdp = xdp(payload),
            _ => {}
        }
    }
    link.peer = peer.map(|index| Peer { index: LinkIndex(index), in_other_namespace });
    Ok(link)
}

fn xdp(payload: &[u8]) -> Option<XdpAttachment> {
    let find = |wanted| attributes(payload).find(|(kind, _)| *kind == wanted).map(|(_, payload)| payload);
    let mode = match find(IFLA_XDP_ATTACHED)?.first()? {
        1 => XdpMode::Native,
        2 => XdpMode::Generic,
        3 => XdpMode::Hardware,
        4 => XdpMode::Multiple,
        _ => return None,
    };
    Some(XdpAttachment { mode, program: find(IFLA_XDP_PROG_ID).and_then(|id| u32_at(id, 0)).unwrap_or(0) })
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

// SPDX-License-Identifier: Apache-2.0
//! What the kernel tells of the links of a namespace (RTNLGRP_LINK, rtnetlink(7)): that one has gone, or is another than before.
//!
//! Only for being woken, and for a link that goes and comes back between two looks: what a link is now, [`super::Netdev::link`]
//! says. A thread of its own may wait here.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use weft_netlink::{AF_UNSPEC, LinkHeader};

use super::LinkIndex;
use super::ioctl::new_socket;
use crate::netns::{NetNs, NetNsError};

/// A piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It was deleted, or moved to another namespace.
    Gone(LinkIndex),
    /// It is new, or another than before.
    Changed(LinkIndex),
}

/// A socket that hears of links.
#[derive(Debug)]
pub struct LinkEvents {
    socket: OwnedFd,
}

impl LinkEvents {
    /// Listens in a namespace.
    ///
    /// # Errors
    /// If it cannot be entered, or the kernel refuses the socket.
    pub fn open(namespace: &NetNs) -> Result<io::Result<Self>, NetNsError> {
        namespace.run(|| {
            let socket = new_socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
            // SAFETY: zero is a value of every field.
            let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
            address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
            address.nl_groups = libc::RTMGRP_LINK as u32;
            let length = mem::size_of_val(&address) as libc::socklen_t;
            // SAFETY: the kernel reads `length` bytes of an address of that length.
            let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
            if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { socket }) }
        })
    }

    /// Waits for news, and takes it.
    ///
    /// # Errors
    /// If there was more than the socket holds (`ENOBUFS`), some of which is lost.
    pub fn wait(&self) -> io::Result<Vec<LinkEvent>> {
        let mut buffer = vec![0u8; 64 * 1024];
        // SAFETY: the kernel writes at most `buffer.len()` bytes.
        let received =
            unsafe { libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(parse(&buffer[..received]))
    }
}

/// What cannot be read is skipped: it may be of a kernel that says more.
fn parse(mut messages: &[u8]) -> Vec<LinkEvent> {
    let mut events = Vec::new();
    while let Ok((header, body)) = weft_netlink::message(messages) {
        if let Ok((link, _)) = body.header::<LinkHeader>("ifinfomsg")
            // Ports of a bridge are told of in the same way, by its family.
            && link.family == AF_UNSPEC
        {
            let index = LinkIndex(link.index.get().cast_unsigned());
            match header.kind.get() {
                libc::RTM_DELLINK => events.push(LinkEvent::Gone(index)),
                libc::RTM_NEWLINK => events.push(LinkEvent::Changed(index)),
                _ => {}
            }
        }
        let length = (header.length.get() as usize).next_multiple_of(4);
        match messages.get(length..) {
            Some(rest) if length > 0 => messages = rest,
            _ => break,
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: u8, index: i32) -> Vec<u8> {
        let link = LinkHeader {
            family,
            pad: 0,
            hardware: 0.into(),
            index: index.into(),
            flags: 0.into(),
            change: 0.into(),
        };
        weft_netlink::request(kind, &link, None)
    }

    #[test]
    fn links_that_go_and_change_are_told_of_and_ports_of_bridges_are_not() {
        let bytes = [
            message(libc::RTM_NEWLINK, AF_UNSPEC, 3),
            message(libc::RTM_DELLINK, 7, 4),
            message(libc::RTM_DELLINK, AF_UNSPEC, 5),
        ]
        .concat();
        let expected = [LinkEvent::Changed(LinkIndex(3)), LinkEvent::Gone(LinkIndex(5))];
        assert_eq!(parse(&bytes), expected);
        assert_eq!(parse(&bytes[..bytes.len() - 1]), expected[..1], "cut short");
        assert_eq!(parse(&[]), []);
    }
}

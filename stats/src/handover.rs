// SPDX-License-Identifier: Apache-2.0
//! Passing descriptors of shared memory over a socket, both sides: the only module that takes raw
//! descriptors into ownership.
//!
//! The server sends one SOCK_SEQPACKET message of no bytes with its SCM_RIGHTS descriptors (the statistics have one) and
//! closes. A client cannot tell the empty message from the end of the connection by its length, only by the
//! descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, accept4,
    connect, recvmsg, sendmsg, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// A socket of the type that the statistics protocol uses.
pub(crate) fn seqpacket(flags: SockFlag) -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, flags | SockFlag::SOCK_CLOEXEC, None)
}

/// The next waiting connection of a non-blocking listener.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let fd = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: accept4 just returned this descriptor, so it is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Most descriptors of one message (`SCM_MAX_FD`, linux/include/net/scm.h).
const MOST: usize = 253;

pub(crate) fn send(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let fds: Vec<RawFd> = fds.iter().take(MOST).map(AsRawFd::as_raw_fd).collect();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &[], &[ControlMessage::ScmRights(&fds)], flags, None).map(drop)
}

/// Connects to a server and waits up to `patience` for its descriptors; none if it closes without.
pub fn request(path: &Path, patience: Duration) -> io::Result<Vec<OwnedFd>> {
    let socket = seqpacket(SockFlag::empty())?;
    let limit = TimeVal::milliseconds(patience.as_millis() as i64);
    // connect(2) waits for the send timeout while the server's backlog is full.
    setsockopt(&socket, SendTimeout, &limit)?;
    setsockopt(&socket, ReceiveTimeout, &limit)?;
    let answer = connect(socket.as_raw_fd(), &UnixAddr::new(path)?).and_then(|()| receive(socket.as_fd()));
    match answer {
        Err(Errno::EAGAIN) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}")))
        }
        result => Ok(result?),
    }
}

fn receive(socket: BorrowedFd<'_>) -> nix::Result<Vec<OwnedFd>> {
    let mut control = cmsg_space!([RawFd; MOST]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut [], Some(&mut control), flags)?;
    let mut received = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            for fd in fds {
                // SAFETY: the kernel just installed this descriptor for us (unix(7), SCM_RIGHTS), so it
                // is open and nobody else's.
                received.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    Ok(received)
}

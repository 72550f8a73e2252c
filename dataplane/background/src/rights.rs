// SPDX-License-Identifier: Apache-2.0
//! Whose rights decide whether a file may be read or made.
//!
//! The daemon runs as root; who may give commands is a member of a group. Without this, a command that names a file would lend
//! root's rights to every member. Linux checks files by the thread's fsuid, fsgid and groups (credentials(7)): a thread that has
//! taken those of the client also loses CAP_DAC_OVERRIDE and its siblings while its fsuid is not 0 (capabilities(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// Whose rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The daemon's own: the start-up configuration, the terminal that it was started on.
    Daemon,
    /// Those of a process on the other end of a Unix socket, when it connected.
    User(Arc<User>),
    /// Of somebody whom the kernel does not know: a client of TCP. No file at all.
    Stranger,
}

/// A user, as the kernel tells (SO_PEERCRED and SO_PEERGROUPS, unix(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

impl Rights {
    /// Of the process at the other end of a Unix socket.
    pub fn of_peer(stream: &impl AsFd, uid: u32, gid: u32) -> io::Result<Rights> {
        let groups = system::peer_groups(stream.as_fd().as_raw_fd())?;
        Ok(Rights::User(Arc::new(User { uid, gid, groups })))
    }

    /// Gives the calling thread these rights, for good: it must be one that ends soon and does nothing else.
    pub(crate) fn assume(&self) -> io::Result<()> {
        match self {
            Rights::Daemon => Ok(()),
            Rights::Stranger => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "files are opened with the rights of whoever asks, and a client of TCP has none: use a Unix socket",
            )),
            // The same user: nothing to take, and a daemon that is not root could not.
            Rights::User(user) if system::is_own(user) => Ok(()),
            Rights::User(user) => system::become_user(user),
        }
    }
}

#[allow(unsafe_code)]
mod system {
    use super::User;
    use std::io;

    /// More than NGROUPS_MAX (65536) does not occur; most users have some ten.
    const MOST_GROUPS: usize = 65536;

    pub fn peer_groups(socket: i32) -> io::Result<Vec<u32>> {
        let mut groups = vec![0u32; 32];
        loop {
            let mut bytes = (groups.len() * 4) as libc::socklen_t;
            // SAFETY: the buffer has `bytes` bytes, which the kernel does not exceed.
            let done = unsafe {
                libc::getsockopt(
                    socket,
                    libc::SOL_SOCKET,
                    libc::SO_PEERGROUPS,
                    groups.as_mut_ptr().cast(),
                    &raw mut bytes,
                )
            };
            if done == 0 {
                groups.truncate(bytes as usize / 4);
                return Ok(groups);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ERANGE) if groups.len() < MOST_GROUPS => groups.resize(bytes as usize / 4, 0),
                // A kernel or a socket without it: the first group is known all the same.
                Some(libc::ENOPROTOOPT) => return Ok(Vec::new()),
                _ => return Err(error),
            }
        }
    }

    pub fn is_own(user: &User) -> bool {
        // SAFETY: no preconditions.
        unsafe { libc::geteuid() == user.uid && libc::getegid() == user.gid }
    }

    /// The raw system calls: those of the C library change all threads of the process (nptl(7)).
    pub fn become_user(user: &User) -> io::Result<()> {
        // SAFETY: the array has as many elements as is said.
        let done = unsafe { libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        // They return what was before and no error; asking for an impossible id tells what is (setfsuid(2)).
        // SAFETY: no preconditions; each concerns the calling thread alone.
        let (gid, uid) = unsafe {
            libc::syscall(libc::SYS_setfsgid, user.gid);
            libc::syscall(libc::SYS_setfsuid, user.uid);
            (libc::syscall(libc::SYS_setfsgid, u32::MAX), libc::syscall(libc::SYS_setfsuid, u32::MAX))
        };
        if (uid as u32, gid as u32) != (user.uid, user.gid) {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(())
    }
}

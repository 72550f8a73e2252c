// SPDX-License-Identifier: Apache-2.0
//! Listening unix sockets and their files, for every server of the daemon; and when clients come back ([`Backoff`]).
//!
//! - A socket that appears at its path can be connected to: it is bound under another name, gets its mode and group,
//!   listens, and only then gets its own name. So a client that waits for the file needs no second attempt, and nobody
//!   sees the mode that the umask gave. (`ss -x` shows the name of the bind, which has the process id at its end.)
//! - The file of a daemon that has died is replaced; that of a daemon that lives, and what is no socket, is not.
//! - The file goes with the [`SocketFile`], unless somebody else has taken its place.
//!
//! Any thread. Nothing here accepts clients: the servers do, each in its own way.
#![forbid(unsafe_code)]

mod backoff;
#[cfg(feature = "listener")]
mod listener;

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};

pub use backoff::Backoff;
#[cfg(feature = "listener")]
pub use listener::{Listener, OUT_OF_BREATH, Process};

/// Owner and group may connect: connecting takes write permission (unix(7)).
const MODE: u32 = 0o660;

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody serves it.
    #[error("another daemon already listens at {}", .0.display())]
    InUse(PathBuf),
    /// What is there is not ours to remove.
    #[error("{} exists and is no socket: remove it, or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "listen at".
        action: &'static str,
        /// The path asked for.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How messages are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A stream of bytes.
    Stream,
    /// Messages in order.
    SeqPacket,
}

impl Kind {
    fn open(self) -> Result<OwnedFd, Errno> {
        let kind = match self {
            Kind::Stream => SockType::Stream,
            Kind::SeqPacket => SockType::SeqPacket,
        };
        socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
    }
}

/// What a socket is like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How messages are cut.
    pub kind: Kind,
    /// The group that may connect beside the owner; `None`: that of the process.
    pub group: Option<u32>,
    /// Clients that may wait to be accepted. Further ones wait in their connect(2).
    pub backlog: i32,
}

/// Listens at `path`, without blocking. The file of a daemon that has died is replaced.
pub fn listen_at(path: &Path, options: Options) -> Result<(OwnedFd, SocketFile), BindError> {
    let failed = |action| move |source: io::Error| BindError::Io { action, path: path.to_owned(), source };
    remove_stale(path, path, options.kind)?;
    let fd = options.kind.open().map_err(|errno| failed("open a socket for")(errno.into()))?;
    let early = early_name(path);
    // A process of this number may have died between the two names.
    remove_stale(&early, path, options.kind)?;
    let address = UnixAddr::new(&early).map_err(|errno| failed("listen at")(errno.into()))?;
    bind(fd.as_raw_fd(), &address).map_err(|errno| failed("listen at")(errno.into()))?;
    let early = SocketFile::new(early).map_err(failed("look at"))?;
    fs::set_permissions(&early.path, Permissions::from_mode(MODE)).map_err(failed("set the mode of"))?;
    if let Some(group) = options.group {
        chown(&early.path, None, Some(group)).map_err(failed("set the group of"))?;
    }
    let listened = Backlog::new(options.backlog).and_then(|backlog| listen(&fd, backlog));
    listened.map_err(|errno| failed("listen at")(errno.into()))?;
    // A link and not a rename, which would replace the socket of a daemon that starts at the same moment.
    match fs::hard_link(&early.path, path) {
        Ok(()) => Ok((fd, SocketFile { path: path.to_owned(), identity: early.identity })),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(BindError::InUse(path.to_owned())),
        Err(error) => Err(failed("listen at")(error)),
    }
}

/// The name under which a socket becomes one that can be connected to.
fn early_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

/// Makes way for a new socket at `file`, if what is there is a socket that nobody serves. Errors name `path`.
fn remove_stale(file: &Path, path: &Path, kind: Kind) -> Result<(), BindError> {
    let failed = |action| move |source: io::Error| BindError::Io { action, path: path.to_owned(), source };
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket(file.to_owned()));
        }
        Ok(_) => {}
    }
    let probe = kind.open().map_err(|errno| failed("open a socket for")(errno.into()))?;
    let address = UnixAddr::new(file).map_err(|errno| failed("listen at")(errno.into()))?;
    match connect(probe.as_raw_fd(), &address) {
        Err(Errno::ECONNREFUSED) => match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove the stale socket")(error))
            }
            _ => Ok(()),
        },
        Err(Errno::ENOENT) => Ok(()),
        // EAGAIN: its queue of clients is full. EPROTOTYPE: it listens with another kind of socket. Somebody lives there.
        _ => Err(BindError::InUse(file.to_owned())),
    }
}

/// The file of a socket of ours, told from a later one at the same path by device and inode. Removes it when dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(&path)?;
        Ok(Self { path, identity: (metadata.dev(), metadata.ino()) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    const STREAM: Options = Options { kind: Kind::Stream, group: None, backlog: 4 };

    /// A directory of its own, removed at the end also when the test fails.
    struct Dir(PathBuf);

    impl Dir {
        fn new(test: &str) -> Dir {
            let dir = std::env::temp_dir().join(format!("weft-sockets-{test}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Dir(dir)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("x.sock")
        }

        fn files(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_file_is_the_groups_and_goes_with_the_socket() {
        let dir = Dir::new("mode");
        let group = nix::unistd::getegid().as_raw();
        let (_fd, file) = listen_at(&dir.socket(), Options { group: Some(group), ..STREAM }).unwrap();
        let metadata = fs::symlink_metadata(dir.socket()).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!((metadata.mode() & 0o777, metadata.gid(), dir.files()), (0o660, group, 1));
        drop(file);
        assert_eq!(dir.files(), 0);
    }

    /// The client tries as soon as there is a file, so it would meet one that does not listen yet.
    #[test]
    fn a_socket_that_appears_can_be_connected_to() {
        let dir = Dir::new("appears");
        for _ in 0..200 {
            let path = dir.socket();
            let client = std::thread::spawn(move || {
                while !path.exists() {
                    std::hint::spin_loop();
                }
                UnixStream::connect(path).map(drop)
            });
            let bound = listen_at(&dir.socket(), STREAM).unwrap();
            client.join().unwrap().expect("the file was there");
            drop(bound);
        }
    }

    #[test]
    fn a_stale_file_is_replaced_and_a_live_one_refused() {
        let dir = Dir::new("stale");
        let early = early_name(&dir.socket());
        drop(UnixListener::bind(dir.socket()).unwrap());
        drop(UnixListener::bind(&early).unwrap());
        assert_eq!(dir.files(), 2, "a process that dies leaves them");
        let _live = listen_at(&dir.socket(), STREAM).unwrap();
        for kind in [Kind::Stream, Kind::SeqPacket] {
            let error = listen_at(&dir.socket(), Options { kind, ..STREAM }).unwrap_err();
            assert!(matches!(&error, BindError::InUse(path) if *path == dir.socket()), "{error}");
        }
        assert_eq!(dir.files(), 1, "the refused one removed nothing and left nothing");
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_live() {
        let dir = Dir::new("full");
        let _live = listen_at(&dir.socket(), Options { backlog: 0, ..STREAM }).unwrap();
        let _waits = UnixStream::connect(dir.socket()).unwrap();
        assert!(matches!(listen_at(&dir.socket(), STREAM), Err(BindError::InUse(_))));
    }

    #[test]
    fn what_is_no_socket_or_somebody_elses_is_left_alone() {
        let dir = Dir::new("others");
        fs::write(dir.socket(), "precious").unwrap();
        assert!(matches!(listen_at(&dir.socket(), STREAM), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(dir.socket()).unwrap(), "precious");
        fs::remove_file(dir.socket()).unwrap();

        let (_fd, ours) = listen_at(&dir.socket(), STREAM).unwrap();
        // Kept under another name, so that its inode number is not used again.
        fs::rename(dir.socket(), dir.0.join("old")).unwrap();
        let theirs = listen_at(&dir.socket(), STREAM).unwrap();
        drop(ours);
        assert!(dir.socket().exists());
        drop(theirs);
        assert!(!dir.socket().exists());
    }

    #[test]
    fn errors_name_the_path_that_was_asked_for() {
        let error = listen_at(Path::new("/nonexistent/directory/x.sock"), STREAM).unwrap_err();
        assert!(error.to_string().starts_with("cannot listen at /nonexistent/directory/x.sock: "), "{error}");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Files that others name: clients, and whoever wrote the configuration. Every file of such a name is opened here, so that none of
//! them can be a FIFO that waits for somebody, a device without an end, or longer than anybody expects.
//!
//! To be called on a thread that may wait ([`crate::Background`]): a disk, or a server of the network, takes its time. The main thread
//! may at the start, when nobody waits for it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses.
    #[error("cannot read {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// A directory, a FIFO, a device.
    #[error("cannot read {}: it is {found}, not a regular file", .path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Longer than is read.
    #[error("cannot read {}: it has more than {most} bytes", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        most: u64,
    },
    /// There is no thread to be had, or it has not got the rights.
    #[error(transparent)]
    Thread(#[from] io::Error),
    /// No text.
    #[error("cannot read {}: byte {at} is not UTF-8", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
    },
}

/// Opens a regular file of `most` bytes at most. What the name leads to is looked at after it was opened, so that nobody can
/// change it in between, and opening a FIFO does not wait for its writer.
pub fn open(path: &Path, most: u64) -> Result<File, FileError> {
    let failed = |error| FileError::Io { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = file.map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(FileError::NotRegular { path: path.to_owned(), found: kind(found.file_type()) });
    }
    if found.len() > most {
        return Err(FileError::TooLong { path: path.to_owned(), most });
    }
    Ok(file)
}

/// Reads a regular file of `most` bytes at most. A file that grows meanwhile, or that says nothing of its size as those of /proc,
/// is held to the limit all the same.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let mut file = open(path, most)?.take(most + 1);
    file.read_to_end(&mut bytes).map_err(|error| FileError::Io { path: path.to_owned(), error })?;
    if bytes.len() as u64 > most {
        return Err(FileError::TooLong { path: path.to_owned(), most });
    }
    Ok(bytes)
}

/// As [`read`], text.
pub fn read_text(path: &Path, most: u64) -> Result<String, FileError> {
    String::from_utf8(read(path, most)?)
        .map_err(|error| FileError::NotText { path: path.to_owned(), at: error.utf8_error().valid_up_to() })
}

/// Opens a file to append to it, and makes it if it is not there. A regular file, a character device such as a terminal, or what
/// whoever started this process handed over to it ([`handed_over`]): a pipe, a socket. What is looked at is what was opened. Opening
/// does not wait for anybody, and neither does writing, but to a socket. So the main thread may.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let handed_over = handed_over(path);
    let mut options = OpenOptions::new();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let opened = options.create(true).append(true).custom_flags(flags).open(path);
    let file = match (opened, handed_over) {
        // A socket cannot be opened a second time.
        (Err(error), Some(1)) if is_no_file(&error) => io::stdout().as_fd().try_clone_to_owned()?.into(),
        (Err(error), Some(2)) if is_no_file(&error) => io::stderr().as_fd().try_clone_to_owned()?.into(),
        // Of a FIFO that nobody reads, too.
        (Err(error), _) if is_no_file(&error) => {
            return Err(not_regular(std::fs::metadata(path)?.file_type()));
        }
        (opened, _) => opened?,
    };
    let found = file.metadata()?.file_type();
    match found.is_file() || found.is_char_device() || handed_over.is_some() {
        true => Ok(file),
        false => Err(not_regular(found)),
    }
}

fn is_no_file(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

fn not_regular(found: std::fs::FileType) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {}, not a regular file", kind(found)))
}

/// Opens a configuration to read it: a regular file, a device such as a terminal, or a pipe that whoever started this process
/// handed over to it ([`handed_over`]). Reading waits for who types or writes; opening waits for nobody.
pub fn open_input(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    let found = file.metadata()?.file_type();
    match handed_over(path) {
        None if found.is_fifo() || found.is_socket() => Err(not_regular(found)),
        _ if found.is_file() => Ok(file),
        // Another time, so that reading waits; it was there a moment ago, and is no FIFO but one that is open already.
        _ => File::open(path),
    }
}

/// Makes a regular file of this text, over what it had. Who may read it is said for the case that it is not there yet.
pub fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let opened = options.create(true).truncate(false).write(true).mode(mode).custom_flags(flags).open(path);
    let mut file = match opened {
        Err(error) if is_no_file(&error) => return Err(not_regular(std::fs::metadata(path)?.file_type())),
        opened => opened?,
    };
    let found = file.metadata()?.file_type();
    if !found.is_file() {
        return Err(not_regular(found));
    }
    file.set_len(0)?;
    file.write_all(text.as_bytes())
}

/// The number of a descriptor of this process that a path is a name of: `/dev/stderr`, `/dev/fd/5`, `/proc/self/fd/1`. Whoever
/// started the process opened it, with rights of his own, and keeps its other end: the journal of systemd, a container's log.
pub fn handed_over(path: &Path) -> Option<u32> {
    /// Links that are followed, as many as the kernel does.
    const MOST_LINKS: usize = 40;
    let own = std::fs::canonicalize("/proc/self/fd").ok()?;
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let folder = path.parent()?.canonicalize().ok()?;
        if folder == own {
            return path.file_name()?.to_str()?.parse().ok();
        }
        path = folder.join(std::fs::read_link(&path).ok()?);
    }
    None
}

/// What a file is, if it is no regular one.
pub fn kind(found: std::fs::FileType) -> &'static str {
    match found {
        _ if found.is_dir() => "a directory",
        _ if found.is_fifo() => "a FIFO",
        _ if found.is_socket() => "a socket",
        _ if found.is_char_device() || found.is_block_device() => "a device",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Background;
    use crate::rights::{Rights, User};

    /// A folder of its own for a test, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("weft-background-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_regular_files_and_no_more_than_the_limit() {
        let folder = Folder::new("kinds");
        let fifo = folder.0.join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        // Does not wait for a writer.
        let error = read(&fifo, 10).unwrap_err();
        assert!(matches!(error, FileError::NotRegular { found: "a FIFO", .. }), "{error}");
        assert!(matches!(read(&folder.0, 10), Err(FileError::NotRegular { found: "a directory", .. })));
        let device = read(Path::new("/dev/zero"), 10);
        assert!(matches!(device, Err(FileError::NotRegular { found: "a device", .. })));
        // Of no size, it says, and endless or not: it is held to the limit.
        assert!(matches!(read(Path::new("/proc/self/maps"), 10), Err(FileError::TooLong { most: 10, .. })));

        let file = folder.0.join("file");
        std::fs::write(&file, [b'x'; 11]).unwrap();
        assert!(matches!(read(&file, 10), Err(FileError::TooLong { most: 10, .. })));
        assert_eq!(read(&file, 11).unwrap().len(), 11);
        std::fs::write(&file, b"ab\xff").unwrap();
        assert!(matches!(read_text(&file, 11), Err(FileError::NotText { at: 2, .. })));
        assert!(matches!(read(&folder.0.join("none"), 1), Err(FileError::Io { .. })));
    }

    #[test]
    fn only_what_takes_lines_at_once_is_appended_to() {
        let folder = Folder::new("append");
        let fifo = folder.0.join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let said = |path: &Path| open_to_append(path).unwrap_err().to_string();
        assert_eq!(said(&fifo), "it is a FIFO, not a regular file", "without a reader");
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
        assert_eq!(said(&fifo), "it is a FIFO, not a regular file", "with a reader");
        drop(reader);
        let socket = folder.0.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(said(&socket), "it is a socket, not a regular file");
        assert!(open_to_append(&folder.0).is_err());
        assert!(open_to_append(Path::new("/dev/null")).is_ok());
        assert_eq!(write(&fifo, 0o600, "a").unwrap_err().to_string(), "it is a FIFO, not a regular file");
        assert_eq!(write(&socket, 0o600, "a").unwrap_err().to_string(), "it is a socket, not a regular file");
        assert_eq!(open_input(&fifo).unwrap_err().to_string(), "it is a FIFO, not a regular file");
        let file = folder.0.join("file");
        for line in ["a", "b"] {
            std::io::Write::write_all(&mut open_to_append(&file).unwrap(), line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "ab");
    }

    #[test]
    fn what_was_handed_over_is_written_to_and_read_whatever_it_is() {
        use std::os::fd::AsRawFd;
        let (reader, writer) = io::pipe().unwrap();
        let name = |fd: i32| PathBuf::from(format!("/proc/self/fd/{fd}"));
        assert_eq!(handed_over(&name(writer.as_raw_fd())), Some(writer.as_raw_fd() as u32));
        assert_eq!(handed_over(Path::new("/dev/stderr")), Some(2));
        assert_eq!(
            handed_over(&PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()))).map(|_| ()),
            Some(())
        );
        for other in ["/dev/null", "/etc/passwd", "/nowhere/at/all", "/", "/proc/self/fd", "/proc/1/fd/2"] {
            assert_eq!(handed_over(Path::new(other)), None, "{other}");
        }
        let folder = Folder::new("handed");
        let link = folder.0.join("link");
        std::os::unix::fs::symlink(name(writer.as_raw_fd()), &link).unwrap();
        let mut log = open_to_append(&link).unwrap();
        log.write_all(b"a line\n").unwrap();
        // Nobody reads, and nobody is waited for.
        let full = std::iter::repeat_with(|| log.write(&[b'x'; 4096])).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let mut line = [0; 7];
        let mut input = open_input(&name(reader.as_raw_fd())).unwrap();
        input.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"a line\n");
    }

    #[test]
    fn a_file_is_made_or_written_over() {
        use std::os::unix::fs::MetadataExt;
        let folder = Folder::new("write");
        let file = folder.0.join("file");
        for text in ["longer", "short"] {
            write(&file, 0o600, text).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_is_read_and_made_with_the_rights_of_whoever_asks() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let folder = Folder::new("rights");
        if std::fs::metadata(&folder.0).unwrap().uid() != 0 {
            eprintln!("skipped: only root can take the rights of others");
            return;
        }
        std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o777)).unwrap();
        let secret = folder.0.join("secret");
        std::fs::write(&secret, "secret").unwrap();
        let read_as = |rights: Rights| {
            let secret = secret.clone();
            Background::start(&rights, move || read_text(&secret, 100)).unwrap().wait().unwrap()
        };
        let user =
            |gid, groups: &[u32]| Rights::User(Arc::new(User { uid: 65534, gid, groups: groups.to_vec() }));
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_as(Rights::Daemon).unwrap(), "secret");
        assert!(read_as(user(65534, &[])).is_err());
        assert!(read_as(user(65534, &[0])).is_err());
        assert!(matches!(read_as(Rights::Stranger), Err(FileError::Thread(_))));
        // By one of its groups.
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_as(user(65534, &[])).is_err());
        assert_eq!(read_as(user(65534, &[0])).unwrap(), "secret");
        assert_eq!(read_as(user(0, &[])).unwrap(), "secret");
        // What it makes belongs to it, and this thread has kept its own rights.
        let made = folder.0.join("made");
        let path = made.clone();
        let work = move || File::create(path);
        Background::start(&user(65534, &[]), work).unwrap().wait().unwrap().unwrap();
        assert_eq!(std::fs::metadata(&made).unwrap().uid(), 65534);
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The file of a plugin: who may have written it, and its bytes.
//!
//! The file is opened once, judged by what the open descriptor says, and read to the end. What is loaded is a private,
//! sealed copy of these bytes: the operator can replace the file at any time, even by writing into it, and a reload gets
//! the new one although the linker knows libraries by device and inode.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use weft_background::file;

use crate::elf;
use crate::error::PluginError;

/// Bits of the mode that let others than the owner write.
const WRITABLE: u32 = 0o022;

/// Bytes of a plugin: with all its debug information, a large one has some tens of megabytes.
const LARGEST: u64 = 512 << 20;

/// A file that may be loaded.
pub struct Image {
    pub(crate) path: PathBuf,
    bytes: Vec<u8>,
}

impl Image {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Image, PluginError> {
        let refused = |error| PluginError::Read { path: path.to_owned(), error };
        let file = file::open(path, LARGEST)?;
        trusted(path, &file.metadata().map_err(refused)?)?;
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).map_err(refused)?;
        elf::check(&bytes).map_err(|error| PluginError::Elf { path: path.to_owned(), error })?;
        Ok(Image { path: path.to_owned(), bytes })
    }

    /// A sealed copy in memory.
    pub(crate) fn copy(&self) -> Result<OwnedFd, PluginError> {
        seal(&self.bytes).map_err(|error| PluginError::Read { path: self.path.clone(), error })
    }
}

/// Whether only root, or the user that Weft runs as, can change a file or directory.
pub fn trusted(path: &Path, found: &std::fs::Metadata) -> Result<(), PluginError> {
    // SAFETY: no preconditions.
    let own = unsafe { libc::geteuid() };
    if found.uid() != 0 && found.uid() != own {
        return Err(PluginError::Owner { path: path.to_owned(), uid: found.uid() });
    }
    if found.mode() & WRITABLE != 0 {
        return Err(PluginError::Writable { path: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    Ok(())
}

fn seal(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Since Linux 6.3 whoever wants to execute says so (memfd_create(2)); before, the flag is unknown.
    let memory = create(flags | libc::MFD_EXEC).or_else(|_| create(flags))?;
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: an operation on a descriptor of our own.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file.into())
}

fn create(flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"weft-plugin".as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made just now and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// SPDX-License-Identifier: Apache-2.0
//! The loaded library of a plugin, and its descriptor.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libloading::os::unix;
use weft_plugin_sdk::abi;

use crate::error::PluginError;
use crate::foreign::{self, Described};
use crate::image::Image;

// SAFETY: integers, raw pointers and optional functions only.
unsafe impl Described for abi::Plugin {
    const SIZE_AT: usize = std::mem::offset_of!(abi::Plugin, size);
    const WHAT: &'static str = "the plugin";
}

/// Keeps the code mapped. The linker takes two files of one name for one library, and the name is that of the descriptor:
/// so no other library may get this one's as long as it is loaded.
pub(crate) struct Code {
    _library: unix::Library,
    _copy: OwnedFd,
}

/// A library that is a plugin of this host's version of the ABI.
#[derive(Clone)]
pub struct Library {
    /// Unique.
    pub name: String,
    /// For people.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// Plugins that come first.
    pub depends: Vec<String>,
    /// Of the plugin ABI.
    pub abi_version: u32,
    /// Where it was loaded from.
    pub path: PathBuf,
    pub(crate) descriptor: Descriptor,
    pub(crate) code: Arc<Code>,
}

/// The functions of the descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Descriptor {
    pub init: Init,
    pub exit: Option<unsafe extern "C" fn(*mut std::ffi::c_void)>,
    pub export_state: Option<Export>,
    pub import_state: Option<Import>,
    pub event: Option<Hear>,
}

type Init = unsafe extern "C" fn(*const abi::Host, *mut abi::Main, *mut *mut std::ffi::c_void) -> i32;
type Export = unsafe extern "C" fn(*mut std::ffi::c_void, *mut abi::Main, *mut u32, *mut abi::Text) -> i32;
type Hear = unsafe extern "C" fn(*mut std::ffi::c_void, *mut abi::Main, *const abi::Event) -> i32;
type Import = unsafe extern "C" fn(*mut std::ffi::c_void, *mut abi::Main, u32, *const u8, usize) -> i32;

impl Library {
    /// Loads the file if it is a plugin. Its constructors run, if it has any, and nothing else of it.
    pub fn open(path: &Path) -> Result<Library, PluginError> {
        let image = Image::read(path)?;
        let copy = image.copy()?;
        let refused = |error: libloading::Error| PluginError::Open {
            path: path.to_owned(),
            // The linker names the copy.
            reason: cause(&error).replace(&format!("/proc/self/fd/{}: ", copy.as_raw_fd()), ""),
        };
        let flags = unix::RTLD_NOW | unix::RTLD_LOCAL;
        // SAFETY: the file was written by root or by the user of this process, which is as trustworthy as this program.
        let library =
            unsafe { unix::Library::open(Some(format!("/proc/self/fd/{}", copy.as_raw_fd())), flags) };
        let library = library.map_err(refused)?;
        // SAFETY: whatever the symbol is, it is looked at only if its first bytes are the magic number.
        let found = unsafe { library.get::<*const abi::Plugin>(b"weft_plugin\0") };
        let found = found.map_err(|_| PluginError::NoDescriptor(path.to_owned()))?.into_raw();
        // SAFETY: the symbol is mapped as long as `code` is kept, which `Library` does.
        unsafe { describe(path, found.cast(), Arc::new(Code { _library: library, _copy: copy })) }
    }
}

/// # Safety
/// `found` is the symbol `weft_plugin` of `code`.
unsafe fn describe(path: &Path, found: *const abi::Plugin, code: Arc<Code>) -> Result<Library, PluginError> {
    let damaged =
        |problem: &str| PluginError::Descriptor { path: path.to_owned(), problem: problem.to_owned() };
    if found.is_null() || !found.is_aligned() {
        return Err(damaged("it is not aligned"));
    }
    // SAFETY: the file is as trustworthy as this program, so a symbol of this name is a descriptor, and what follows its magic
    // number is read only if that is right.
    let abi_version = unsafe {
        let magic = (&raw const (*found).magic).read();
        if magic != abi::MAGIC {
            return Err(PluginError::Magic(path.to_owned(), magic));
        }
        (&raw const (*found).abi_version).read()
    };
    if abi_version != abi::ABI_VERSION {
        return Err(PluginError::Version { path: path.to_owned(), found: abi_version });
    }
    // SAFETY: the magic number and the version say that it is a descriptor.
    let plugin = unsafe { foreign::read(found) }.map_err(|problem| damaged(&problem))?;
    if plugin.fingerprint != abi::ABI_FINGERPRINT {
        return Err(PluginError::Fingerprint { path: path.to_owned(), found: plugin.fingerprint });
    }
    // SAFETY: a descriptor's pointers are null or as the ABI says.
    let (name, version, summary, depends) = unsafe {
        (
            foreign::text(plugin.name).ok_or_else(|| damaged("it has no name"))?,
            foreign::text(plugin.version).unwrap_or_default(),
            foreign::text(plugin.summary).unwrap_or_default(),
            foreign::list(plugin.depends),
        )
    };
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 32 || !name.chars().all(good) {
        return Err(damaged(&format!("expected a name of at most 32 of a-z, 0-9, - and _, found {name:?}")));
    }
    if path.file_stem().is_none_or(|stem| stem != name.as_str()) {
        return Err(PluginError::FileName { path: path.to_owned(), name });
    }
    let init = plugin.init.ok_or_else(|| damaged("it has no init"))?;
    Ok(Library {
        name,
        version,
        summary,
        depends,
        abi_version,
        path: path.to_owned(),
        descriptor: Descriptor {
            init,
            exit: plugin.exit,
            export_state: plugin.export_state,
            import_state: plugin.import_state,
            event: plugin.event,
        },
        code,
    })
}

/// What the linker said: the innermost error.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

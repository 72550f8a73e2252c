// SPDX-License-Identifier: Apache-2.0
//! The life of a plugin, and the descriptor that it exports.

use std::ffi::c_void;

use crate::abi;
use crate::event::Event;
use crate::main_thread::Main;
use crate::panic::{self, catch};
use crate::refusal::Result;
use crate::setup::Setup;

/// What one incarnation hands over to the next when a plugin is reloaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Of the form of `bytes`: the next incarnation may be older or newer.
    pub version: u32,
    /// Whatever the plugin makes of it.
    pub bytes: Vec<u8>,
}

/// A plugin, on the main thread.
pub trait Plugin: Sized + 'static {
    /// Registers everything, and makes the state.
    fn start(setup: &mut Setup<'_, Self>) -> Result<Self>;

    /// What the next incarnation needs. Called while packets flow: what workers do later is not in it.
    fn export_state(&mut self) -> Option<State> {
        None
    }

    /// Takes over what the one before has exported, before this one sees its first packet. What it refuses, refuses the
    /// reload.
    fn import_state(&mut self, _main: &mut Main<'_>, _state: State) -> Result<()> {
        Ok(())
    }

    /// Something has become of an interface or a table. It has happened, or will, whatever is answered: a refusal is a line
    /// in the log.
    fn hear(&mut self, _main: &mut Main<'_>, _event: Event) -> Result<()> {
        Ok(())
    }
}

/// Exports a plugin: `weft_plugin! { plugin: Acl, name: "acl", summary: "...", depends: ["other"] }`.
///
/// The file that it is loaded from is `<name>.so`.
#[macro_export]
macro_rules! weft_plugin {
    (plugin: $plugin:ty, name: $name:literal, summary: $summary:literal
        $(, depends: [$($depends:literal),* $(,)?])? $(,)?) => {
        const _: () = {
            const DEPENDS: &[*const ::core::ffi::c_char] =
                &[$($(concat!($depends, "\0").as_ptr().cast(),)*)? ::core::ptr::null()];

            #[unsafe(export_name = "weft_plugin")]
            pub static WEFT_PLUGIN: $crate::abi::Plugin = $crate::plugin::describe::<$plugin>(
                concat!($name, "\0"),
                concat!(env!("CARGO_PKG_VERSION"), "\0"),
                concat!($summary, "\0"),
                DEPENDS,
            );
        };
    };
}

/// The descriptor; the texts end in NUL, the list in null.
pub const fn describe<P: Plugin>(
    name: &'static str,
    version: &'static str,
    summary: &'static str,
    depends: &'static [*const std::ffi::c_char],
) -> abi::Plugin {
    abi::Plugin {
        magic: abi::MAGIC,
        abi_version: abi::ABI_VERSION,
        size: size_of::<abi::Plugin>() as u32,
        fingerprint: abi::ABI_FINGERPRINT,
        name: name.as_ptr().cast(),
        version: version.as_ptr().cast(),
        summary: summary.as_ptr().cast(),
        depends: depends.as_ptr(),
        init: Some(init::<P>),
        exit: Some(exit::<P>),
        export_state: Some(export_state::<P>),
        import_state: Some(import_state::<P>),
        event: Some(event::<P>),
    }
}

/// Tells the host how a call has ended.
pub(crate) fn finish(main: &Main<'_>, done: std::result::Result<Result<()>, String>) -> i32 {
    match done {
        Ok(Ok(())) => abi::OK,
        Ok(Err(refusal)) => {
            main.fail(&refusal.0);
            abi::REFUSED
        }
        Err(said) => {
            main.fail(&said);
            abi::PANICKED
        }
    }
}

/// What the host keeps as the plugin's state.
pub(crate) struct Running<P> {
    pub plugin: P,
    pub host: *const abi::Host,
}

unsafe extern "C" fn init<P: Plugin>(
    host: *const abi::Host,
    main: *mut abi::Main,
    state: *mut *mut c_void,
) -> i32 {
    panic::remember();
    // SAFETY: both are those of this call.
    let mut setup = Setup::new(unsafe { Main::new(host, main) });
    let started = catch(|| P::start(&mut setup));
    let done = started.map(|started| {
        started.map(|plugin| {
            let running = Box::new(Running { plugin, host });
            // SAFETY: the host gives a place for the state.
            unsafe { state.write(Box::into_raw(running).cast()) };
        })
    });
    let code = finish(&setup, done);
    if code != abi::OK {
        panic::forget();
    }
    code
}

unsafe extern "C" fn exit<P: Plugin>(state: *mut c_void) {
    // SAFETY: made by `init` for this type, and ended once.
    let _ = catch(|| drop(unsafe { Box::from_raw(state.cast::<Running<P>>()) }));
    panic::forget();
}

unsafe extern "C" fn export_state<P: Plugin>(
    state: *mut c_void,
    main: *mut abi::Main,
    version: *mut u32,
    bytes: *mut abi::Text,
) -> i32 {
    // SAFETY: made by `init` for this type; the host calls nothing else of the plugin meanwhile.
    let running = unsafe { &mut *state.cast::<Running<P>>() };
    let done = catch(|| running.plugin.export_state()).map(|exported| {
        if let Some(State { version: of, bytes: exported }) = exported {
            // SAFETY: the host's table lives as long as the plugin; both places are good during this call.
            unsafe {
                version.write(of);
                ((*running.host).write)(bytes, exported.as_ptr(), exported.len());
            }
        }
        Ok(())
    });
    // SAFETY: both are those of this call.
    finish(&unsafe { Main::new(running.host, main) }, done)
}

unsafe extern "C" fn import_state<P: Plugin>(
    state: *mut c_void,
    main: *mut abi::Main,
    version: u32,
    bytes: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: as in `export_state`; the bytes are good during this call.
    let (running, bytes) =
        unsafe { (&mut *state.cast::<Running<P>>(), std::slice::from_raw_parts(bytes, length).to_vec()) };
    // SAFETY: both are those of this call.
    let mut main = unsafe { Main::new(running.host, main) };
    let done = catch(|| running.plugin.import_state(&mut main, State { version, bytes }));
    finish(&main, done)
}

unsafe extern "C" fn event<P: Plugin>(
    state: *mut c_void,
    main: *mut abi::Main,
    event: *const abi::Event,
) -> i32 {
    // SAFETY: as in `export_state`; the event is good during this call.
    let (running, event) = unsafe { (&mut *state.cast::<Running<P>>(), Event::read(&*event)) };
    // SAFETY: both are those of this call.
    let mut main = unsafe { Main::new(running.host, main) };
    let Some(event) = event else { return abi::OK };
    let done = catch(|| running.plugin.hear(&mut main, event));
    finish(&main, done)
}

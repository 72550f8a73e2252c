// SPDX-License-Identifier: Apache-2.0
//! What is left of a daemon that dies of its own fault: a report on standard error and in the log.
//!
//! A panic on the main thread ends the process. Tasks of the main loop are futures whose panics the runtime would keep to itself: a
//! daemon without its neighbour timer, say, would go on for hours and forward less and less. A worker that panics ends, which the
//! main loop notices. A plugin's panics never come here: it has a library and a hook of its own (`plugins/sdk`).
//!
//! A fault of memory is reported by the thread that it happens on, in the signal handler, so only what is safe there is done:
//! write(2) to descriptors that are open already. The functions in the report name the node that was at work.
//!
//! [`install`] is called once, by the main thread.

#![allow(unsafe_code)]

use std::backtrace::Backtrace;
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{PanicHookInfo, set_hook};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use crate::VERSION;

/// The log, for the handler; -1 if there is none.
static LOG: AtomicI32 = AtomicI32::new(-1);

/// Frames of a report.
const FRAMES: usize = 64;

/// The log that reports are appended to from now on.
pub fn log_to(file: &File) {
    if let Ok(own) = file.try_clone() {
        let before = LOG.swap(own.into_raw_fd(), Ordering::Relaxed);
        if before >= 0 {
            // SAFETY: it was ours, and nobody finds it in `LOG` any more. A handler that runs at this moment writes to none.
            drop(unsafe { OwnedFd::from_raw_fd(before) });
        }
    }
}

/// Reports panics of all threads and faults of memory from now on.
pub fn install() {
    let main = thread::current().id();
    set_hook(Box::new(move |panic| {
        report(panic);
        if thread::current().id() == main {
            // Whatever the panic has left half-way, nobody works on with it. The kernel takes XDP programs off.
            std::process::abort();
        }
    }));
    catch_faults();
}

fn report(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let text = format!(
        "weft {VERSION}: thread {} {panic}\n{}\n",
        thread.name().unwrap_or("without a name"),
        Backtrace::force_capture()
    );
    // Not by way of the log's own machinery, which may be what has failed.
    let _ = io::stderr().write_all(text.as_bytes());
    write(LOG.load(Ordering::Relaxed), text.as_bytes());
}

/// Writes what can be written.
fn write(file: i32, bytes: &[u8]) {
    if file >= 0 {
        // SAFETY: the bytes are valid for the call; a descriptor that is none is an error, and nobody is left to tell of it.
        unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) };
    }
}

fn catch_faults() {
    // The first call loads the unwinder, which a signal handler may not do (backtrace(3)).
    let mut frames = [std::ptr::null_mut::<c_void>(); FRAMES];
    // SAFETY: the array has as many elements as is said.
    unsafe { libc::backtrace(frames.as_mut_ptr(), FRAMES as i32) };
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE] {
        // SAFETY: an all-zero sigaction is a valid one. The handler does what is safe in one. The standard library gives threads a
        // stack for handlers, so that one that has used up its own is reported too.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

extern "C" fn fault(signal: i32, info: *mut libc::siginfo_t, _: *mut c_void) {
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGILL => "SIGILL",
        _ => "SIGFPE",
    };
    let mut thread = [0u8; 16];
    let mut frames = [std::ptr::null_mut::<c_void>(); FRAMES];
    // SAFETY: the kernel gives a valid `info`; the buffers are as long as is said.
    let (address, count) = unsafe {
        libc::prctl(libc::PR_GET_NAME, thread.as_mut_ptr());
        ((*info).si_addr() as usize, libc::backtrace(frames.as_mut_ptr(), FRAMES as i32))
    };
    let length = thread.iter().position(|byte| *byte == 0).unwrap_or(thread.len());
    let mut digits = [0u8; 18];
    let head: [&[u8]; 8] = [
        b"weft ",
        VERSION.as_bytes(),
        b": thread ",
        &thread[..length],
        b" got ",
        name.as_bytes(),
        b" at address ",
        hexadecimal(address, &mut digits),
    ];
    for file in [libc::STDERR_FILENO, LOG.load(Ordering::Relaxed)] {
        head.iter().for_each(|part| write(file, part));
        write(file, b"\n");
        if file >= 0 {
            // SAFETY: `count` frames were filled in.
            unsafe { libc::backtrace_symbols_fd(frames.as_ptr(), count, file) };
        }
    }
    // The action is the default one again (SA_RESETHAND): the process dies of the signal when this returns. One that somebody has
    // sent does not come back by itself.
    // SAFETY: no preconditions.
    unsafe { libc::raise(signal) };
}

/// Without memory of its own.
fn hexadecimal(number: usize, digits: &mut [u8; 18]) -> &[u8] {
    digits[..2].copy_from_slice(b"0x");
    for (place, digit) in digits[2..].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[number >> (60 - 4 * place) & 0xf];
    }
    digits
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    /// Runs a test of this module that dies, in a process of its own.
    fn dies(test: &str, log: &Path) -> Output {
        let program = std::env::current_exe().expect("a test has a file");
        let name = format!("crash::tests::{test}");
        Command::new(program)
            .args(["--exact", &name, "--ignored", "--nocapture"])
            .env("WEFT_CRASH_LOG", log)
            .output()
            .expect("it can be run")
    }

    fn begin() {
        let log = std::env::var_os("WEFT_CRASH_LOG").expect("the parent has set it");
        log_to(&File::options().append(true).open(log).expect("the parent has made it"));
        install();
    }

    fn log(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("weft-crash-{}-{name}", std::process::id()));
        std::fs::write(&path, "").expect("a file can be made");
        path
    }

    #[test]
    #[ignore = "dies, in a process of its own"]
    fn a_task_panics() {
        begin();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            tokio::task::spawn_local(async { panic!("of a task") });
            std::future::pending::<()>().await;
        });
    }

    #[test]
    #[ignore = "dies, in a process of its own"]
    fn a_thread_faults() {
        begin();
        let worker = std::thread::Builder::new().name("weft_wk_0".into());
        // SAFETY: none; that is the point.
        let fault = || unsafe { std::ptr::with_exposed_provenance::<u8>(0x1230).read_volatile() };
        let _ = worker.spawn(fault).expect("a thread").join();
    }

    #[test]
    fn a_panic_in_a_task_of_the_main_thread_ends_the_process_with_a_report() {
        let log = log("panic");
        let Output { status, stderr, .. } = dies("a_task_panics", &log);
        assert_eq!(status.signal(), Some(libc::SIGABRT));
        for said in [String::from_utf8_lossy(&stderr).into_owned(), std::fs::read_to_string(&log).unwrap()] {
            assert!(said.contains(&format!("weft {VERSION}: thread ")), "{said}");
            assert!(said.contains("of a task") && said.contains("a_task_panics"), "{said}");
        }
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_fault_of_memory_leaves_a_report_with_the_thread_and_dies_of_its_signal() {
        let log = log("fault");
        let status = dies("a_thread_faults", &log).status;
        assert_eq!(status.signal(), Some(libc::SIGSEGV));
        let said = std::fs::read_to_string(&log).unwrap();
        let head = format!("weft {VERSION}: thread weft_wk_0 got SIGSEGV at address 0x0000000000001230\n");
        assert!(said.starts_with(&head), "{said}");
        assert!(said.lines().count() > 3, "{said}");
        std::fs::remove_file(log).unwrap();
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Where panics end.
//!
//! What a panic says is kept in memory of the thread that needs no destructor: a destructor of a thread-local would keep
//! the library mapped until its thread ends, however often it is unloaded.

use std::cell::Cell;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

const LONGEST: usize = 240;

#[derive(Clone, Copy)]
struct Line {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let taken = text.len().min(LONGEST - self.length);
        self.bytes[self.length..self.length + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        Ok(())
    }
}

const EMPTY: Line = Line { bytes: [0; LONGEST], length: 0 };

thread_local! {
    static LAST: Cell<Line> = const { Cell::new(EMPTY) };
}

/// From now on a panic is remembered instead of printed.
pub fn remember() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let mut line = EMPTY;
        let said = info.payload_as_str().unwrap_or("panic without a text");
        // A line is cut rather than refused.
        let _ = match info.location() {
            Some(at) => write!(line, "{said}, at {}:{}", at.file(), at.line()),
            None => write!(line, "{said}"),
        };
        LAST.set(line);
    }));
}

/// Undoes [`remember`].
pub fn forget() {
    drop(std::panic::take_hook());
}

/// Runs code of the plugin; an error is what it has said when it panicked.
pub fn catch<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        // Its destructor is the plugin's code too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        let line = LAST.replace(EMPTY);
        String::from_utf8_lossy(&line.bytes[..line.length]).into_owned()
    })
}

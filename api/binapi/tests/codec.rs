// SPDX-License-Identifier: Apache-2.0
//! Every message: what is written can be read again, and what is read may be anything.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use weft_binapi::api;
use weft_binapi::codec::{DecodeError, Reader};
use weft_binapi::message::{Message, MessageInfo};

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all work is left to the system's allocator; the counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(|total| total.set(total.get() + layout.size()));
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What can be done with a message whose type is not known.
struct Case {
    info: MessageInfo,
    /// Reads and writes again.
    recode: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
    /// Reads; how many bytes were allocated.
    cost: fn(&[u8]) -> usize,
}

fn case<M: Message>() -> Case {
    Case {
        info: M::INFO,
        recode: |bytes| {
            let mut out = Vec::new();
            M::take(&mut Reader::new(bytes))?.put(&mut out).expect("what was counted can be counted again");
            Ok(out)
        },
        cost: |bytes| {
            let before = ALLOCATED.get();
            let _ = M::take(&mut Reader::new(bytes));
            ALLOCATED.get() - before
        },
    }
}

macro_rules! cases {
    ($($module:ident :: $name:ident,)*) => { vec![$(case::<api::$module::$name>()),*] };
}

fn cases() -> Vec<Case> {
    messages!(cases)
}

/// The largest a value is in memory, compared with its form on the wire. Labels of a path are padded from 7 bytes to
/// 12, and vectors double when they grow.
const GROWTH: usize = 4;

#[test]
fn a_message_of_zeros_takes_its_fewest_bytes() {
    for case in cases() {
        let zeros = vec![0; case.info.least];
        assert_eq!((case.recode)(&zeros), Ok(zeros), "{}", case.info.name);
        if let Some(missing) = case.info.least.checked_sub(1) {
            let short = (case.recode)(&vec![0; missing]);
            assert!(matches!(short, Err(DecodeError::Short { .. })), "{}: {short:?}", case.info.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        for case in cases() {
            prop_assert!((case.cost)(&bytes) <= GROWTH * bytes.len(), "{}", case.info.name);
            let Ok(once) = (case.recode)(&bytes) else { continue };
            prop_assert!(once.len() <= bytes.len(), "{}", case.info.name);
            prop_assert_eq!((case.recode)(&once), Ok(once.clone()), "{}", case.info.name);
        }
    }

    /// Small numbers make counts that hold.
    #[test]
    fn lists_are_read_and_written(bytes in prop::collection::vec(prop_oneof![9 => Just(0), 1 => 1..4_u8], 1500)) {
        for case in cases() {
            prop_assert!((case.cost)(&bytes) <= GROWTH * bytes.len(), "{}", case.info.name);
            let Ok(once) = (case.recode)(&bytes) else { continue };
            prop_assert_eq!((case.recode)(&once), Ok(once.clone()), "{}", case.info.name);
            for end in [0, once.len() / 2, once.len().saturating_sub(1)] {
                let _ = (case.recode)(&once[..end]);
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The statistics segment: counters in shared memory, so that reading them costs the dataplane nothing.
//!
//! A worker counts with a load and a store into memory that it alone writes; a client maps the same
//! memory read-only and takes what it wants, as often as it wants, without a message to the daemon. The
//! layout is VPP's version 2, hence vpp_papi, GoVPP and the Prometheus exporters built on them are
//! clients.
//!
//! | who | thread | what |
//! |---|---|---|
//! | [`Segment`] | main | makes, removes, resizes and names entries |
//! | [`SimpleRow`], [`CombinedRow`] | one worker each | count |
//! | [`StatsListener`] | any | hands the memory to clients |
//! | [`Reader`] | any process | lists and copies entries |
//! | [`tables::Snapshot`] | any process | what the daemon keeps there, as typed tables |
//!
//! ```
//! use weft_stats::{Reader, Segment, ThreadIndex, Value};
//!
//! let mut segment = Segment::new(1 << 20, 2)?;
//! let drops = segment.simple("/if/drops", 3, 64)?;
//! let row = drops.row(ThreadIndex(1)); // moves to worker 1
//! row.add(2, 5);
//! assert_eq!(drops.sum(2), 5);
//!
//! let reader = Reader::from_fd(segment.fd().try_clone_to_owned()?)?;
//! let expected = Value::Simple(vec![vec![0, 0, 0], vec![0, 0, 5]]);
//! assert_eq!(reader.dump("/if/")?, [("/if/drops".to_owned(), expected)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod alloc;
mod directory;
mod epoch;
mod error;
#[allow(unsafe_code)]
mod handover;
mod layout;
#[allow(unsafe_code)]
mod memory;
mod reader;
mod segment;
mod server;
pub mod tables;
mod value;
mod vector;
mod view;

/// Memory of other tables that are handed out like the segment.
pub mod shared {
    pub use crate::handover::request;
    pub use crate::memory::{Cells, OpenError, Pages, ReadMemory, Shared, SharedMemory};
}

pub use directory::EntryIndex;
pub use error::{ReadError, ServerError, StatsError};
pub use reader::{Counter, Reader, Selection};
pub use segment::{Segment, Update};
pub use server::{Client, StatsListener};
pub use value::{Combined, Value};
pub use vector::{
    CombinedRow, CombinedVector, NameVector, Part, Row, Scalar, SimpleRow, SimpleVector, ThreadIndex, Vector,
};

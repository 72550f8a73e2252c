// SPDX-License-Identifier: Apache-2.0
//! Bridging: interfaces whose frames are switched by their MAC addresses, and not routed.
//!
//! ```text
//!  ethernet-input --> l2-input --(arc l2-input)--> l2-forward --> the port that leads to the station
//!       ^                 |                            |
//!       |                 +-- the same work, where the arc is empty
//!       |                                              +--> l2-flood --> a copy to every other port
//!       +---- the routed port (BVI), a loopback -------+
//!                                                      +--> l2-output --(arcs l2-output, interface-output)--> transmit
//!                                                           where tags are rewritten or features wait; else straight on
//! ```
//!
//! A *bridge domain* is one broadcast domain. An interface is a *port* of one domain, or it is *cross-connected*: all that arrives
//! on it leaves by another interface. [`Config`] says which, as plain data; [`Switch`] is the main thread's side, and publishes what
//! workers know of it, which they read with one load per vector.
//!
//! # MAC addresses, and how workers learn them
//!
//! All domains share one table ([`weft_table::Writer`]) of a fixed number of entries, which the main thread alone writes (decision
//! 0010): a worker never waits, and never takes a lock. A worker that meets a source that is unknown, or that was elsewhere before,
//! tells the main thread, which writes the entry. Until then frames to that station are flooded, which is what a switch does with
//! frames to stations that it does not know. This is bounded at each step, whatever is sent:
//!
//! | step | bound | beyond it |
//! |---|---|---|
//! | a worker tells of one station on one port | once in 100 ms, as far as its small memory of those that it has told of reaches | nothing is told |
//! | a worker's ring to the main thread | so many notices ([`Settings::notices`]) | event `notices_lost`; the next frame tells again |
//! | the main thread's work at once | what the caller of [`Switch::hear`] says | it does other work, then comes back |
//! | entries of a port, of a domain, of the table | their limits | events `port_full`, `domain_full`, `table_full`; a full one is known to workers by a flag, so a flood of new addresses is not even told of |
//!
//! Frames from sources that are not learned are forwarded all the same: a limit protects the table, and not the stations of
//! the domain from each other.
//!
//! An entry notes when its station was last heard, in seconds: workers write that note, once a second at most. The main
//! thread sweeps the table a few slots at a time ([`Switch::tick`]), and takes out what is older than its domain allows and what a
//! flush has asked for.
//!
//! # Invariants
//!
//! - A frame never leaves by the interface that it came in by, nor by one of the same split-horizon group (but 0).
//! - An entry is believed only if its interface is a port of the frame's domain *now*: an entry that is on its way out of
//!   the table leads nowhere.
//! - A copy is a packet that began here, and the engine counts it (`copies`), so the conservation law holds.
//! - Entries of operators are never changed by what is heard; a frame from such a station on another port is dropped.
//!
//! The main thread calls [`Switch`] and [`Config`]; workers run the nodes.
#![deny(unsafe_code)]

mod config;
mod egress;
mod flood;
mod input;
mod learn;
mod macs;
mod output;
mod switch;
mod tags;
mod view;

pub use config::{
    AGE, Config, Domain, Facts, HIGHEST_ID, L2Error, LinkGroups, Mode, Port, Role, StaticChanges, Target,
};
pub use flood::L2_FLOOD;
pub use input::{L2_FORWARD, L2_INPUT, L2_INPUT_ARC};
pub use output::{L2_OUTPUT, L2_OUTPUT_ARC};
pub use switch::{DomainView, MacView, Settings, Switch};
pub use tags::{Rewrite, Tag};

// SPDX-License-Identifier: Apache-2.0
//! Interfaces: ports, sub-interfaces and loopbacks, what is configured on them, and what workers see of it.
//!
//! [`Interfaces`] belongs to the main thread and is the only place where an interface comes into being. It
//! knows no protocol beyond the addresses and tags that every node needs; routes that follow from an address
//! are the business of whoever keeps routes. A deleted interface's index is given out again only when no
//! table, message or packet can name it any more ([`weft_engine::lease::Lease`]), so no counter of the old one is ever written to the new.
//!
//! Interfaces come, change and go in transactions, which workers and readers of counters see when they are committed:
//! [`Interfaces::begin`], then the changes, then [`Interfaces::ready`], the last that can fail, and [`Interfaces::commit`]; or
//! [`Interfaces::roll_back`]. What goes can be looked up by its index ([`Interfaces::get`]), and by nothing else, until those
//! who keep something of it have let go of it ([`Interfaces::forget`]).

#![deny(unsafe_code)]

#[macro_use]
mod family;
mod error;
mod events;
mod interface;
mod kind;
mod owner;
mod registry;
mod settings;
mod table;

pub use error::InterfaceError;
pub use events::{Changes, Event};
pub use family::{AddressFamily, Addressing, Ip4, Ip6, IpPrefix, IpVersion};
pub use interface::Interface;
pub use kind::Kind;
pub use owner::Owner;
pub use registry::{Interfaces, Reserved};
pub use settings::{
    AdvertisedPrefix, GratuitousArp, Layer2, LinkState, RouterAdvertisements, SourceCheck, TableIndex,
};
pub use table::{Entry, InterfaceTable, Tags};

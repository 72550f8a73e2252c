// SPDX-License-Identifier: Apache-2.0
//! Text that a person has typed: commands, `startup.conf`, stream descriptions, `.api` files.
//!
//! Whoever reads such text must be able to say where something is wrong, what was found and what was perhaps meant. So
//! a token keeps its [`Span`], a span becomes a [`Position`] and an [`Excerpt`] with carets, and [`suggest`] names the
//! word that was most likely meant. Text of others is shown as [`printable`] makes it. [`scan`] cuts text by the rules that command lines and `startup.conf` share.
//!
//! Pure functions, any thread.
#![forbid(unsafe_code)]

mod number;
mod place;
mod printable;
pub mod suggest;
mod token;

pub use number::no_number;
pub use place::{Excerpt, Position, Span, WIDEST, position};
pub use printable::{LogText, printable};
pub use token::{Fault, Kind, Rules, Token, scan};

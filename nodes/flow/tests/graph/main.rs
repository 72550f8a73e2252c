// SPDX-License-Identifier: Apache-2.0
//! The tracker in a whole router, and on two workers: crafted packets in, exact bytes and counters out.
//!
//! The router is that of the built-in nodes; it checks the conservation law and the pool after every test.

mod router;
mod workers;

// SPDX-License-Identifier: Apache-2.0
//! The session against recorded dialogues, against each trap of the protocol page, and against noise.

mod bench;
mod life;
mod noise;
mod recorded;
mod traps;

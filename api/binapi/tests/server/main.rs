// SPDX-License-Identifier: Apache-2.0
//! The server against clients that behave and clients that do not, over real sockets.

mod batch;
mod conversation;
mod daemon;
mod handshake;
mod misbehaviour;
mod papi;
mod peer;

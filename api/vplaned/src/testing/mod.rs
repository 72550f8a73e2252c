// SPDX-License-Identifier: Apache-2.0
//! What several tests of this crate share.

pub mod transcript;

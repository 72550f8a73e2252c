// SPDX-License-Identifier: Apache-2.0
//! The route broker's protocol.

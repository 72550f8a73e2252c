// SPDX-License-Identifier: Apache-2.0
//! Netlink topics as typed events.

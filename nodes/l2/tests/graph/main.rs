// SPDX-License-Identifier: Apache-2.0
//! Frames in, exact frames out of the right ports, exact counters; the bed checks the conservation law at the end of each test.

mod domains;
mod lab;
mod limits;
mod model;
mod ports;
mod rules;
mod tags;

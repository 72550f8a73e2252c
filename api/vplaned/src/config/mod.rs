// SPDX-License-Identifier: Apache-2.0
//! Where vplaned is and who we are: the values of `vplaned { }`, or the files that a vplaned installation has already.
//!
//! A dataplane that is put beside an existing vplaned should need no second description of it, so `dataplane.conf` and
//! `controller.conf` (protocol page 2) are read as they are. Unknown keys are ignored there, as all readers of these
//! files do; a known key with a bad value is an error with file and line.

mod ini;
mod settings;
#[cfg(test)]
mod tests;

pub use self::ini::{Ini, IniError};
pub use self::settings::{Authentication, ConfigError, Draft, RouteSource, Settings};

// SPDX-License-Identifier: Apache-2.0
//! The table of sessions: `session-cfg sessions-max N`, `session-cfg logging ...`.

use std::time::Duration;

use super::{CommandError, Feature, Words};

/// The feature.
#[derive(Debug)]
pub struct Sessions;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionSetting {
    /// How many sessions there may be.
    Most(u32),
    /// What is logged; `None`: as before.
    Logging {
        creation: Option<bool>,
        deletion: Option<bool>,
        /// Between two reports of a session that lives; zero: none.
        periodic: Option<Duration>,
    },
}

impl Feature for Sessions {
    const WORDS: &'static [&'static str] = &["session-cfg"];
    type Value = SessionSetting;

    fn text(mut words: Words<'_>) -> Result<SessionSetting, CommandError> {
        let logging = words.one_of(&[("sessions-max", false), ("logging", true)])?;
        if !logging {
            let most = words.value("a number of sessions")?;
            words.end()?;
            return Ok(SessionSetting::Most(most));
        }
        let expected = "creation=on|off, deletion=on|off or periodic=SECONDS";
        let (mut creation, mut deletion, mut periodic) = (None, None, None);
        loop {
            let word = words.word(expected)?;
            match word.split_once('=') {
                Some(("creation", value @ ("on" | "off"))) => creation = Some(value == "on"),
                Some(("deletion", value @ ("on" | "off"))) => deletion = Some(value == "on"),
                Some(("periodic", seconds)) => {
                    let seconds: u32 = seconds.parse().map_err(|_| words.wrong_last(expected))?;
                    periodic = Some(Duration::from_secs(seconds.into()));
                }
                _ => return Err(words.wrong_last(expected)),
            }
            if words.is_empty() {
                return Ok(SessionSetting::Logging { creation, deletion, periodic });
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! `show logging`.

use weft_cli::{Command, Reply};

use super::clock::Date;
use super::{doing, left, row, showing};
use crate::config::logging::{LEVELS, Level};
use crate::log::Line;
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        showing("show logging", |dataplane| Ok(Reply::each("lines", dataplane.log().lines(), render)))
            .help("The last messages"),
        showing("clear logging", |dataplane| {
            dataplane.log().clear();
            Ok(Reply::empty())
        })
        .help("Forget the last messages"),
        doing("set logging class", |dataplane, args| {
            let class = args.word("class of messages")?.to_owned();
            let mut level = None;
            while !args.is_empty() || level.is_none() {
                if args.keyword("level") {
                    level = Some(args.one_of(LEVELS)?);
                } else if args.keyword("rate-limit") {
                    args.word("number")?;
                    return Err(args.reject("messages are not throttled"));
                } else if args.keyword("syslog-level") {
                    args.one_of(LEVELS)?;
                    return Err(args.reject("there is one log, which syslog reads from standard error"));
                } else {
                    return Err(args.unexpected());
                }
            }
            if let Some(level) = level {
                dataplane.log().set_level(&class, level);
            }
            Ok(())
        })
        .synopsis("<class> level emerg|alert|crit|err|warn|notice|info|debug|disabled")
        .help("Keep messages of a class from a level on, until Weft ends; logging { class } in startup.conf for good"),
        doing("test log", |_, args| {
            let class = args.word("class")?.to_owned();
            let subclass = args.word("subclass")?.to_owned();
            let level = args.one_of(LEVELS)?;
            let message = args.rest().to_owned();
            match level {
                Level::Debug => tracing::debug!("{class}/{subclass}: {message}"),
                Level::Info | Level::Notice => tracing::info!("{class}/{subclass}: {message}"),
                Level::Warning => tracing::warn!("{class}/{subclass}: {message}"),
                Level::Error | Level::Critical | Level::Alert | Level::Emergency => {
                    tracing::error!("{class}/{subclass}: {message}");
                }
                Level::Disabled => {}
            }
            Ok(())
        })
        .synopsis("<class> <subclass> <level> <message>")
        .help("Write a message to the log, to see where it arrives"),
    ]
}

fn render(line: &Line) -> String {
    let time = format!("{} ", utc(line.time));
    let class = format!("{:14} ", line.class);
    row([time, left(line.level, 10), " ".into(), class, line.message.clone()])
}

/// `2026-01-31 23:59:59.123`, in UTC.
fn utc(seconds: f64) -> String {
    let milliseconds = (seconds * 1000.0) as u64;
    let Date { year, month, day, hour, minute, second, .. } = Date::of(milliseconds / 1000);
    let milliseconds = milliseconds % 1000;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milliseconds:03}")
}

#[cfg(test)]
mod tests {
    use super::utc;

    /// Against `date -u -d @N`.
    #[test]
    fn seconds_become_dates() {
        for (seconds, text) in [
            (0.0, "1970-01-01 00:00:00.000"),
            (951_782_400.0, "2000-02-29 00:00:00.000"),
            (951_868_799.5, "2000-02-29 23:59:59.500"),
            (1_709_251_200.0, "2024-03-01 00:00:00.000"),
            (4_107_542_399.25, "2100-02-28 23:59:59.250"),
            (1_767_225_599.0, "2025-12-31 23:59:59.000"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}

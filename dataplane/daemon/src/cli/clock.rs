// SPDX-License-Identifier: Apache-2.0
//! `show clock`, and dates in UTC.

use std::time::SystemTime;

use serde::Serialize;
use weft_cli::{Command, Reply};

use super::showing;
use crate::state::Dataplane;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment of the proleptic Gregorian calendar.
pub struct Date {
    pub year: u64,
    /// From 1.
    pub month: u64,
    pub day: u64,
    pub hour: u64,
    pub minute: u64,
    pub second: u64,
    pub weekday: &'static str,
}

impl Date {
    /// So many seconds after 1970 began. By the algorithm with years that begin in March, so that the leap day is the last.
    pub fn of(seconds: u64) -> Date {
        let (since_1970, second) = (seconds / 86_400, seconds % 86_400);
        // Day 0 is 1 March of year 0.
        let days = since_1970 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Date {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            weekday: DAYS[(since_1970 % 7) as usize],
        }
    }
}

#[derive(Serialize)]
struct Clock {
    /// Seconds since the start.
    now: f64,
    /// Seconds since 1970.
    time: u64,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        showing("show clock", |dataplane| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let now = dataplane.uptime().as_secs_f64();
            Ok(Reply::new(Clock { now, time: since.as_secs() }, render))
        })
        .help("Seconds since the start, and the date"),
    ]
}

fn render(clock: &Clock) -> String {
    let Date { year, month, day, hour, minute, second, weekday } = Date::of(clock.time);
    let month = MONTHS[(month - 1) as usize];
    format!(
        "Time now {:.6}, {weekday}, {day} {month} {year} {hour:02}:{minute:02}:{second:02} GMT\n",
        clock.now
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `date -u -d @N`.
    #[test]
    fn a_date() {
        let clock = Clock { now: 1.5, time: 1_709_251_199 };
        assert_eq!(render(&clock), "Time now 1.500000, Thu, 29 Feb 2024 23:59:59 GMT\n");
        let clock = Clock { now: 0.0, time: 1_767_225_600 };
        assert_eq!(render(&clock), "Time now 0.000000, Thu, 1 Jan 2026 00:00:00 GMT\n");
    }
}

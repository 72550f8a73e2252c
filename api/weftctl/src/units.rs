// SPDX-License-Identifier: Apache-2.0
//! Numbers and names as people read them: three digits and a prefix, in five columns at most; names without what would
//! disturb a terminal.

use std::{borrow::Cow, time::Duration};

const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// Three digits and a decimal prefix: `0`, `0.25`, `12.3`, `999`, `1.5k`, `12.3M`. What is no number of that size is `-`.
pub fn si(value: f64) -> String {
    if !(0.0..999.5e18).contains(&value) {
        return "-".into();
    }
    let mut scaled = value;
    let mut prefixes = PREFIXES.iter();
    let mut prefix = prefixes.next();
    // What would be rounded up to 1000.
    while scaled >= 999.5 {
        scaled /= 1000.0;
        prefix = prefixes.next();
    }
    let digits = match scaled {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{scaled:.digits$}");
    let short = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{short}{}", prefix.unwrap_or(&""))
}

/// A share as per cent with one digit after the point.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}", share * 100.0) } else { "-".into() }
}

/// `05:06`, `04:05:06`, `3d 04:05:06`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes, seconds) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes:02}:{seconds:02}"),
        (0, _) => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}d {hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// A text of the segment without characters that would do something to the terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) { text.replace(char::is_control, "?").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 5;

    #[test]
    fn numbers() {
        for (value, text) in [
            (0.0, "0"),
            (0.001, "0"),
            (0.25, "0.25"),
            (1.0, "1"),
            (9.994, "9.99"),
            (9.996, "10"),
            (99.96, "100"),
            (999.0, "999"),
            (999.6, "1k"),
            (1500.0, "1.5k"),
            (12_345.0, "12.3k"),
            (999_499.0, "999k"),
            (14_880_952.0, "14.9M"),
            (100e9, "100G"),
            (u64::MAX as f64, "18.4E"),
            (f64::NAN, "-"),
            (f64::INFINITY, "-"),
            (-1.0, "-"),
        ] {
            assert_eq!(si(value), text, "{value}");
        }
        assert_eq!(percent(0.5), "50.0");
        assert_eq!(percent(f64::NAN), "-");
        assert_eq!(duration(Duration::from_secs(306)), "05:06");
        assert_eq!(duration(Duration::from_secs(14_706)), "04:05:06");
        assert_eq!(duration(Duration::from_secs(273_906)), "3d 04:05:06");
    }

    /// What [`si`] wrote, read back.
    fn parse(text: &str) -> f64 {
        let digits = text.trim_end_matches(char::is_alphabetic);
        let power = PREFIXES.iter().position(|prefix| *prefix == &text[digits.len()..]).unwrap();
        digits.parse::<f64>().unwrap() * 1000f64.powi(power as i32)
    }

    proptest! {
        #[test]
        fn a_number_keeps_three_digits_and_fits(mantissa in 1.0..10.0f64, exponent in -2..20i32) {
            let value = mantissa * 10f64.powi(exponent);
            let text = si(value);
            prop_assert!(text.len() <= WIDTH, "{text}");
            prop_assert!((parse(&text) - value).abs() <= (value * 0.005).max(0.005), "{value} is not {text}");
        }

        #[test]
        fn a_larger_number_never_looks_smaller(a in 0.0..1e20f64, b in 0.0..1e20f64) {
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(parse(&si(less)) <= parse(&si(more)));
        }

        #[test]
        fn every_number_has_a_text(value: f64) {
            prop_assert!((1..=WIDTH).contains(&si(value).len()));
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Names and numbers as they stand on the page.

use std::fmt::{self, Display, Write};
use std::time::Duration;

/// Text for HTML and SVG, in content and in double-quoted attributes.
pub(crate) struct Html<T>(pub T);

impl<T: Display> Display for Html<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for c in text.chars() {
                    match c {
                        '&' => self.0.write_str("&amp;"),
                        '<' => self.0.write_str("&lt;"),
                        '>' => self.0.write_str("&gt;"),
                        '"' => self.0.write_str("&quot;"),
                        '\'' => self.0.write_str("&#39;"),
                        c => self.0.write_char(c),
                    }?;
                }
                Ok(())
            }
        }
        write!(Escaping(f), "{}", self.0)
    }
}

/// A number that is not negative, in three digits: 0.12, 1.23, 12.3, 123, 1.23k, 1.23M, ...
pub(crate) struct Short(pub f64);

impl Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 999.5 would be printed as 1000.
        let (mut value, mut unit) = (self.0, 0);
        while value >= 999.5 && unit < UNITS.len() - 1 {
            value /= 1000.0;
            unit += 1;
        }
        let decimals = match value {
            _ if value == 0.0 => 0,
            _ if value < 9.995 => 2,
            _ if value < 99.95 => 1,
            _ => 0,
        };
        write!(f, "{value:.decimals$}{}", UNITS[unit])
    }
}

/// A count: as it is below 1000.
pub(crate) struct Count(pub u64);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 { write!(f, "{}", self.0) } else { write!(f, "{}", Short(self.0 as f64)) }
    }
}

const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// A time in its two largest units.
pub(crate) struct Age(pub Duration);

impl Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, ..) => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers() {
        let text: Vec<String> =
            [0.0, 0.5, 7.0, 9.994, 9.996, 99.96, 999.4, 999.6, 1234.0, 12.3e6, 18e18, 2e22]
                .iter()
                .map(|value| Short(*value).to_string())
                .collect();
        let expected =
            ["0", "0.50", "7.00", "9.99", "10.0", "100", "999", "1.00k", "1.23k", "12.3M", "18.0E", "20000E"];
        assert_eq!(text, expected);
    }

    #[test]
    fn ages() {
        let text = [59, 61, 3600, 90_061].map(|seconds| Age(Duration::from_secs(seconds)).to_string());
        assert_eq!(text, ["59 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

        #[test]
        fn escaped_text_has_no_markup(text in "[a-z<>&\"'é/ ]*") {
            let escaped = Html(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']), "{}", escaped);
            let back = escaped
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            prop_assert_eq!(back, text);
        }
    }
}

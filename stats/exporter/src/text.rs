// SPDX-License-Identifier: Apache-2.0
//! The two text formats of metrics, and which of them a client wants.
//!
//! Sources: Prometheus "Exposition formats", text format 0.0.4; OpenMetrics 1.0.0. They differ in the
//! name that a counter is declared under, in escapes, in units, and in the end mark.

use std::fmt::{self, Display, Write};

/// What a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

const OPEN_METRICS: &str = "application/openmetrics-text";

impl Format {
    /// What the value of an `Accept` header (RFC 9110, section 12.5.1) asks for: OpenMetrics only if it
    /// is named and wanted at least as much as plain text, as Prometheus does.
    pub fn wanted(accept: &str) -> Format {
        let mut best = [None::<f32>; 2];
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let slot = match &name[..] {
                OPEN_METRICS => 1,
                "text/plain" | "text/*" | "*/*" => 0,
                _ => continue,
            };
            let quality =
                parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            let quality = quality.unwrap_or(0.0);
            best[slot] = Some(best[slot].map_or(quality, |best: f32| best.max(quality)));
        }
        match best {
            [plain, Some(open)] if open > 0.0 && open >= plain.unwrap_or(0.0) => Format::OpenMetrics,
            _ => Format::Prometheus,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// How a value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the daemon starts again.
    Counter,
    Gauge,
    /// Always 1; the labels are what it says.
    Info,
}

const UNITS: [&str; 3] = ["bytes", "hertz", "seconds"];

/// A metric family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Without the `_total` of a counter and the `_info` of an info.
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

impl Family {
    fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        }
    }

    /// A name ends in its unit, where there is one.
    fn unit(&self) -> Option<&'static str> {
        UNITS.into_iter().find(|unit| self.name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }

    /// The name of its samples, in both formats.
    fn sample_name(&self) -> String {
        format!("{}{}", self.name, self.suffix())
    }
}

/// A label: name and value.
pub type Label<'a> = (&'static str, &'a dyn Display);

/// Metrics as text, under construction.
pub struct Text {
    format: Format,
    text: String,
    /// Of the family that is being written.
    sample: String,
}

impl Text {
    pub fn new(format: Format) -> Text {
        Text { format, text: String::new(), sample: String::new() }
    }

    /// Begins a family; the samples that follow belong to it.
    pub fn family(&mut self, family: &Family) {
        self.sample = family.sample_name();
        let open = self.format == Format::OpenMetrics;
        let (name, kind) = match (self.format, family.kind) {
            (Format::OpenMetrics, Kind::Counter) => (family.name, "counter"),
            (Format::OpenMetrics, Kind::Info) => (family.name, "info"),
            (Format::Prometheus, Kind::Counter) => (&self.sample[..], "counter"),
            (_, Kind::Gauge | Kind::Info) => (&self.sample[..], "gauge"),
        };
        let help = Escaped { text: family.help, quote: open };
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        if let Some(unit) = family.unit().filter(|_| open) {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }

    /// A sample of the family.
    pub fn sample(&mut self, labels: &[Label<'_>], value: u64) {
        self.text.push_str(&self.sample);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push_str(if index == 0 { "{" } else { "," });
            self.text.push_str(name);
            self.text.push_str("=\"");
            let _ = write!(Escaping { to: &mut self.text, quote: true }, "{value}");
            self.text.push('"');
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

struct Escaped<'a> {
    text: &'a str,
    quote: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaping { to: f, quote: self.quote }.write_str(self.text)
    }
}

/// Escapes what is written through it: backslash, line feed, and with `quote` the double quote.
struct Escaping<'a, W> {
    to: &'a mut W,
    quote: bool,
}

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let special = |c: char| c == '\\' || c == '\n' || (c == '"' && self.quote);
        let mut rest = text;
        while let Some(at) = rest.find(special) {
            self.to.write_str(&rest[..at])?;
            self.to.write_str(match rest.as_bytes()[at] {
                b'\\' => "\\\\",
                b'\n' => "\\n",
                _ => "\\\"",
            })?;
            // The special characters are ASCII.
            rest = &rest[at + 1..];
        }
        self.to.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACKETS: Family = Family { name: "p", kind: Kind::Counter, help: "a \"b\"\\\nc" };
    const BYTES: Family = Family { name: "b_bytes", kind: Kind::Gauge, help: "h" };
    const BUILD: Family = Family { name: "i", kind: Kind::Info, help: "h" };

    fn all(format: Format) -> String {
        let mut text = Text::new(format);
        text.family(&PACKETS);
        text.sample(&[("a", &"x"), ("t", &1)], 7);
        text.family(&BYTES);
        text.sample(&[], 8);
        text.family(&BUILD);
        text.sample(&[("v", &"1")], 1);
        text.finish()
    }

    #[test]
    fn prometheus() {
        let expected = "# HELP p_total a \"b\"\\\\\\nc\n# TYPE p_total counter\np_total{a=\"x\",t=\"1\"} 7\n\
             # HELP b_bytes h\n# TYPE b_bytes gauge\nb_bytes 8\n\
             # HELP i_info h\n# TYPE i_info gauge\ni_info{v=\"1\"} 1\n";
        assert_eq!(all(Format::Prometheus), expected);
    }

    #[test]
    fn open_metrics() {
        let expected = "# HELP p a \\\"b\\\"\\\\\\nc\n# TYPE p counter\np_total{a=\"x\",t=\"1\"} 7\n\
             # HELP b_bytes h\n# TYPE b_bytes gauge\n# UNIT b_bytes bytes\nb_bytes 8\n\
             # HELP i h\n# TYPE i info\ni_info{v=\"1\"} 1\n# EOF\n";
        assert_eq!(all(Format::OpenMetrics), expected);
    }

    #[test]
    fn what_clients_ask_for() {
        // What Prometheus 2.x and 3.x, curl, and a browser send.
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
             version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, expected) in [
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain;q=0.5, Application/OpenMetrics-Text; version=1.0.0; q=0.9", Format::OpenMetrics),
            ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.5", Format::Prometheus),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            ("application/openmetrics-text;q=much", Format::Prometheus),
            (browser, Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("", Format::Prometheus),
        ] {
            assert_eq!(Format::wanted(accept), expected, "{accept}");
        }
    }

    /// The reader's side of an escaped label value, as the formats describe it.
    fn unescape(value: &str) -> String {
        let mut chars = value.chars();
        let mut text = String::new();
        while let Some(c) = chars.next() {
            text.push(match c {
                '\\' => match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => panic!("\\ before {other:?}"),
                },
                '"' | '\n' => panic!("bare {c:?}"),
                c => c,
            });
        }
        text
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn any_label_comes_back(value in "[a-z\"\\\\\n{},=é]*") {
            let mut text = Text::new(Format::Prometheus);
            text.family(&BYTES);
            text.sample(&[("a", &value)], 1);
            let text = text.finish();
            let line = text.lines().last().expect("there is a sample");
            let escaped = line.strip_prefix("b_bytes{a=\"").and_then(|line| line.strip_suffix("\"} 1"));
            prop_assert_eq!(unescape(escaped.expect("one line, one label")), value);
        }

        #[test]
        fn no_header_is_too_odd(accept in ".*") {
            Format::wanted(&accept);
        }
    }
}

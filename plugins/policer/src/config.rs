// SPDX-License-Identifier: Apache-2.0
//! What an operator says of a policer: the words of `policer add`, read and written.
//!
//! The words are VPP's. They are also how a policer is handed over when the plugin is reloaded, so that there is one
//! form.

use std::fmt;

use weft_plugin_sdk::{Refusal, Result, Words};

use crate::meter::{Colour, Kind, Meter, Profile};

/// 400 Gbit/s, in units of 1000 bit/s.
const MOST_KBPS: u64 = 400_000_000;
/// Bytes: at the lowest rate it takes three months to fill, which the buckets can count.
const MOST_BURST: u64 = 1_000_000_000;
/// Bytes per second of 1000 bit/s.
const KBPS: u64 = 125;

/// What becomes of a packet of some colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Transmit,
    Drop,
    /// Transmit with this code point.
    Mark(u8),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Transmit => f.write_str("transmit"),
            Action::Drop => f.write_str("drop"),
            Action::Mark(dscp) => write!(f, "mark-and-transmit {dscp}"),
        }
    }
}

/// The algorithm, by the operator's word.
pub const TYPES: [(&str, Kind); 4] = [
    ("1r2c", Kind::SingleRate),
    ("1r3c", Kind::SingleRate),
    ("2r3c-2698", Kind::TwoRate),
    ("2r3c-4115", Kind::Differentiated),
];

/// A policer as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub name: String,
    /// Index in [`TYPES`].
    pub kind: usize,
    /// Whether the colour that a packet came with counts.
    pub color_aware: bool,
    pub cir: u64,
    pub cb: u64,
    pub eir: u64,
    pub eb: u64,
    /// By colour.
    pub actions: [Action; 3],
}

impl Config {
    /// Reads what stands behind `policer add`.
    pub fn parse(words: &mut Words<'_>) -> Result<Config> {
        words.expect("name")?;
        let mut config = Config {
            name: words.word("name of the policer")?.to_owned(),
            kind: 0,
            color_aware: false,
            cir: 0,
            cb: 0,
            eir: 0,
            eb: 0,
            actions: [Action::Transmit, Action::Transmit, Action::Drop],
        };
        while !words.is_empty() {
            match words.word("option")? {
                "rate" => words.expect("kbps")?,
                "type" => config.kind = kind(words.word("type")?)?,
                "color-aware" => config.color_aware = true,
                "cir" => config.cir = number(words, "cir in kbit/s", 1, MOST_KBPS)?,
                "cb" => config.cb = number(words, "cb in bytes", 1, MOST_BURST)?,
                "eir" => config.eir = number(words, "eir in kbit/s", 1, MOST_KBPS)?,
                "eb" => config.eb = number(words, "eb in bytes", 0, MOST_BURST)?,
                "conform-action" => config.actions[0] = action(words)?,
                "exceed-action" => config.actions[1] = action(words)?,
                "violate-action" => config.actions[2] = action(words)?,
                other => {
                    let expected = "rate, type, color-aware, cir, cb, eir, eb, conform-action, exceed-action or \
                                    violate-action";
                    return Err(format!("expected {expected}, found {other:?}").into());
                }
            }
        }
        config.check()?;
        Ok(config)
    }

    /// What the type needs is there, and nothing that it does not know.
    fn check(&self) -> Result<()> {
        let (word, _) = TYPES[self.kind];
        let needs = |what: &str, value: u64, wanted: bool| match (value > 0, wanted) {
            (false, true) => Err(Refusal::from(format!("type {word} needs {what}"))),
            (true, false) => Err(Refusal::from(format!("type {word} has no {what}"))),
            _ => Ok(()),
        };
        needs("cir", self.cir, true)?;
        needs("cb", self.cb, true)?;
        needs("eir", self.eir, self.kind >= 2)?;
        // RFC 2697 section 2: one of the two bursts may be zero; then no packet is yellow.
        if word != "1r3c" {
            needs("eb", self.eb, self.kind >= 2)?;
        }
        if self.kind() == Kind::TwoRate && self.eir < self.cir {
            let (eir, cir) = (self.eir, self.cir);
            return Err(
                format!("eir, the peak rate, is {eir}: expected at least cir, {cir} (RFC 2698)").into()
            );
        }
        Ok(())
    }

    fn kind(&self) -> Kind {
        TYPES[self.kind].1
    }

    /// Full buckets of these sizes.
    pub fn meter(&self, clocks_per_second: f64) -> Meter {
        let profile = |kbps, burst| Profile { rate: kbps * KBPS, burst };
        Meter::new(clocks_per_second, self.kind(), profile(self.cir, self.cb), profile(self.eir, self.eb))
    }

    /// The words between the name and the actions.
    pub fn parameters(&self) -> String {
        let mut words = format!("type {} rate kbps cir {} cb {}", TYPES[self.kind].0, self.cir, self.cb);
        for (word, value) in [("eir", self.eir), ("eb", self.eb)] {
            if value > 0 {
                words += &format!(" {word} {value}");
            }
        }
        if self.color_aware {
            words += " color-aware";
        }
        words
    }

    /// As members of a JSON object.
    pub fn json(&self) -> String {
        let Config { color_aware, cir, cb, eir, eb, .. } = self;
        format!(
            r#""type":"{}","color_aware":{color_aware},"cir_kbps":{cir},"cb_bytes":{cb},"eir_kbps":{eir},"eb_bytes":{eb}"#,
            TYPES[self.kind].0
        )
    }
}

/// All words behind `policer add`.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "name {} {}", self.name, self.parameters())?;
        for (colour, action) in Colour::ALL.into_iter().zip(self.actions) {
            write!(f, " {}-action {action}", word(colour))?;
        }
        Ok(())
    }
}

/// The operator's word for a colour.
pub fn word(colour: Colour) -> &'static str {
    match colour {
        Colour::Green => "conform",
        Colour::Yellow => "exceed",
        Colour::Red => "violate",
    }
}

fn kind(found: &str) -> Result<usize> {
    let place = TYPES.iter().position(|(word, _)| *word == found);
    place.ok_or_else(|| format!("expected type 1r2c, 1r3c, 2r3c-2698 or 2r3c-4115, found {found:?}").into())
}

fn number(words: &mut Words<'_>, what: &str, least: u64, most: u64) -> Result<u64> {
    let number = words.parse(what)?;
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => Err(format!("expected {what} from {least} to {most}, found {number}").into()),
    }
}

fn action(words: &mut Words<'_>) -> Result<Action> {
    match words.word("transmit, drop or mark-and-transmit")? {
        "transmit" => Ok(Action::Transmit),
        "drop" => Ok(Action::Drop),
        "mark-and-transmit" => Ok(Action::Mark(number(words, "code point", 0, 63)? as u8)),
        other => Err(format!("expected transmit, drop or mark-and-transmit, found {other:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> std::result::Result<Config, String> {
        Config::parse(&mut Words::new(line)).map_err(|refusal| refusal.sentence().to_owned())
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for line in [
            "name a cir 1000 cb 15000",
            "name b type 1r3c rate kbps cir 1 cb 1 eb 1000000000 color-aware conform-action mark-and-transmit 10",
            "name c type 2r3c-2698 cir 5 cb 6 eir 7 eb 8 exceed-action mark-and-transmit 63 violate-action transmit",
            "name d type 2r3c-4115 cir 400000000 cb 6 eir 1 eb 8 conform-action drop",
            "name e type 1r3c cir 5 cb 6",
            "name f type 1r3c cir 5 cb 6 eb 0",
        ] {
            let config = parse(line).unwrap();
            assert_eq!(parse(&config.to_string()).unwrap(), config);
        }
        assert_eq!(
            parse("name a cir 1000 cb 15000").unwrap().to_string(),
            "name a type 1r2c rate kbps cir 1000 cb 15000 conform-action transmit exceed-action transmit \
             violate-action drop"
        );
    }

    #[test]
    fn refusals() {
        for (line, why) in [
            ("cir 5", "expected name, found \"cir\""),
            ("name a", "type 1r2c needs cir"),
            ("name a cir 5", "type 1r2c needs cb"),
            ("name a cir 5 cb 5 eb 5", "type 1r2c has no eb"),
            ("name a type 1r3c cir 5 cb 5 eb 5 eir 5", "type 1r3c has no eir"),
            ("name a type 2r3c-4115 cir 5 cb 5 eir 4", "type 2r3c-4115 needs eb"),
            (
                "name a type 2r3c-2698 cir 5 cb 5 eir 4 eb 5",
                "eir, the peak rate, is 4: expected at least cir, 5 (RFC 2698)",
            ),
            ("name a cir 0 cb 5", "expected cir in kbit/s from 1 to 400000000, found 0"),
            ("name a cir 5 cb 5 rate pps", "expected kbps, found \"pps\""),
            (
                "name a cir 5 cb 5 conform-action mark-and-transmit 64",
                "expected code point from 0 to 63, found 64",
            ),
            (
                "name a cir 5 cb 5 conform-action pass",
                "expected transmit, drop or mark-and-transmit, found \"pass\"",
            ),
        ] {
            assert_eq!(parse(line), Err(why.to_owned()), "{line}");
        }
    }
}

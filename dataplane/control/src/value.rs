// SPDX-License-Identifier: Apache-2.0
//! Values of settings, and how they are written.
//!
//! A grammar is data, so that every front end reads a value in the same way: the command line and startup.conf by word, the
//! binary API by string; and the documentation says of each setting what it can be.

use std::fmt::Write;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use weft_classify::Exempt;
use weft_engine::InterfaceIndex;
use weft_l2::{Domain, Port};
use weft_nodes::headers::{DomainName, MacAddr};
use weft_nodes::interface::{AddressFamily, AdvertisedPrefix, Interfaces, Ip6};

use crate::rule::WantedRule;

/// A value of a setting, or what is known of an object beside that it is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Value {
    /// Nothing: the setting is off, or has its default.
    #[default]
    None,
    /// On or off.
    Switch(bool),
    /// A number.
    Number(u64),
    /// One of the words of [`Grammar::Choice`], by its place.
    Choice(usize),
    /// A text.
    Text(String),
    /// A MAC address.
    Mac(MacAddr),
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// A link-local address that stays the same, whatever the MAC address.
    Stable,
    /// IPv6 addresses.
    Addresses(Vec<Ipv6Addr>),
    /// Domain names.
    Domains(Vec<DomainName>),
    /// What hosts are told of a prefix.
    Prefix(AdvertisedPrefix),
    /// Another interface.
    Interface(InterfaceIndex),
    /// Who does not meet a rule set.
    Exempt(Exempt),
    /// A rule.
    Rule(Arc<WantedRule>),
    /// What is configured of a bridge domain.
    Domain(Arc<Domain>),
    /// How an interface is switched.
    Port(Port),
}

/// What values a setting takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grammar {
    /// One of two words.
    Switch {
        /// For [`Value::Switch`] of true.
        on: &'static str,
        /// For false.
        off: &'static str,
    },
    /// A number.
    Number {
        /// What it counts, with its unit: "seconds".
        what: &'static str,
        /// The lowest.
        low: u64,
        /// The highest.
        high: u64,
        /// The word for [`Value::None`], if there is one.
        none: Option<&'static str>,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any ASCII text of so many bytes at most.
    Text {
        /// What it is.
        what: &'static str,
        /// Its length.
        longest: usize,
    },
    /// A MAC address of a station.
    Mac,
    /// An IPv6 address that says something on its own link only.
    LinkLocal {
        /// The word for [`Value::None`].
        none: &'static str,
        /// The word for [`Value::Stable`].
        stable: &'static str,
    },
    /// IPv6 addresses of hosts, with commas between.
    Addresses {
        /// How many.
        most: usize,
        /// The word for none.
        none: &'static str,
    },
    /// Domain names, with commas between.
    Domains {
        /// Bytes of all of them on the wire.
        longest: usize,
        /// The word for none.
        none: &'static str,
    },
    /// The name of an interface.
    Interface {
        /// The word for [`Value::None`].
        none: &'static str,
    },
}

/// What was found where a value was expected.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("expected {expected}, found {found:?}")]
pub struct ValueError {
    /// What would be a value.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl Grammar {
    /// Reads a value. `interface` finds an interface by its name.
    pub fn parse(
        &self,
        text: &str,
        interface: impl FnOnce(&str) -> Option<InterfaceIndex>,
    ) -> Result<Value, ValueError> {
        let value = match self {
            Grammar::Switch { on, .. } if text == *on => Some(Value::Switch(true)),
            Grammar::Switch { off, .. } if text == *off => Some(Value::Switch(false)),
            Grammar::Switch { .. } => None,
            Grammar::Number { none: Some(none), .. } if text == *none => Some(Value::None),
            Grammar::Number { .. } => text.parse().ok().map(Value::Number),
            Grammar::Choice(words) => words.iter().position(|word| *word == text).map(Value::Choice),
            Grammar::Text { .. } => Some(Value::Text(text.to_owned())),
            Grammar::Mac => text.parse().ok().map(Value::Mac),
            Grammar::LinkLocal { none, .. } if text == *none => Some(Value::None),
            Grammar::LinkLocal { stable, .. } if text == *stable => Some(Value::Stable),
            Grammar::LinkLocal { .. } => text.parse().ok().map(Value::Ip6),
            Grammar::Addresses { none, .. } => list(text, none).map(Value::Addresses),
            Grammar::Domains { none, .. } => list(text, none).map(Value::Domains),
            Grammar::Interface { none } if text == *none => Some(Value::None),
            Grammar::Interface { .. } => interface(text).map(Value::Interface),
        };
        value.ok_or_else(|| self.error(text))
    }

    /// That a value is one of this grammar.
    pub fn check(&self, value: &Value) -> Result<(), ValueError> {
        let good = match (self, value) {
            (Grammar::Switch { .. }, Value::Switch(_)) | (Grammar::Interface { .. }, Value::Interface(_)) => {
                true
            }
            (Grammar::Number { low, high, .. }, Value::Number(number)) => (low..=high).contains(&number),
            (Grammar::Number { none, .. }, Value::None) => none.is_some(),
            (Grammar::Interface { .. } | Grammar::LinkLocal { .. }, Value::None) => true,
            (Grammar::LinkLocal { .. }, Value::Ip6(address)) => Ip6::is_link_scoped(*address),
            (Grammar::LinkLocal { .. }, Value::Stable) => true,
            (Grammar::Addresses { most, .. }, Value::Addresses(addresses)) => {
                addresses.len() <= *most && addresses.iter().all(|address| Ip6::is_unicast(*address))
            }
            (Grammar::Domains { longest, .. }, Value::Domains(domains)) => {
                domains.iter().map(DomainName::wire_length).sum::<usize>() <= *longest
            }
            (Grammar::Choice(words), Value::Choice(place)) => *place < words.len(),
            (Grammar::Text { longest, .. }, Value::Text(text)) => text.is_ascii() && text.len() <= *longest,
            (Grammar::Mac, Value::Mac(mac)) => mac.is_station(),
            _ => false,
        };
        if good { Ok(()) } else { Err(self.error(&self.show(value, |index| index.to_string()))) }
    }

    fn error(&self, found: &str) -> ValueError {
        ValueError { expected: self.expected(), found: found.to_owned() }
    }

    /// What an error says instead of a value.
    pub fn expected(&self) -> String {
        match self {
            Grammar::Switch { on, off } => format!("{on} or {off}"),
            Grammar::Number { what, low, high, none } => {
                let mut text = format!("{what} from {low} to {high}");
                if let Some(none) = none {
                    let _ = write!(text, ", or {none}");
                }
                text
            }
            Grammar::Choice(words) => match words {
                [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
                words => words.concat(),
            },
            Grammar::Text { what, longest } => format!("{what} of at most {longest} ASCII characters"),
            Grammar::Mac => "a unicast MAC address".to_owned(),
            Grammar::LinkLocal { none, stable } => format!("an address of fe80::/10, {stable} or {none}"),
            Grammar::Addresses { most, none } => {
                format!("up to {most} IPv6 addresses of hosts with commas between, or {none}")
            }
            Grammar::Domains { longest, none } => {
                format!("domain names with commas between, of {longest} bytes in all at most, or {none}")
            }
            Grammar::Interface { none } => format!("the name of an interface, or {none}"),
        }
    }

    /// A value as it is read. `name` gives an interface its name.
    pub fn show(&self, value: &Value, name: impl FnOnce(InterfaceIndex) -> String) -> String {
        match (self, value) {
            (Grammar::Switch { on, .. }, Value::Switch(true)) => (*on).to_owned(),
            (Grammar::Switch { off, .. }, Value::Switch(false)) => (*off).to_owned(),
            (Grammar::Choice(words), Value::Choice(place)) => {
                words.get(*place).copied().unwrap_or("").to_owned()
            }
            (
                Grammar::Number { none: Some(none), .. }
                | Grammar::Interface { none }
                | Grammar::LinkLocal { none, .. },
                Value::None,
            ) => (*none).to_owned(),
            (Grammar::LinkLocal { stable, .. }, _) if *value == Value::Stable => (*stable).to_owned(),
            (Grammar::Addresses { none, .. }, Value::Addresses(list)) if list.is_empty() => {
                (*none).to_owned()
            }
            (Grammar::Domains { none, .. }, Value::Domains(list)) if list.is_empty() => (*none).to_owned(),
            (_, Value::Interface(index)) => name(*index),
            (_, Value::None) => String::new(),
            (_, Value::Switch(on)) => on.to_string(),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Choice(place)) => place.to_string(),
            (_, Value::Text(text)) => text.clone(),
            (_, Value::Mac(mac)) => mac.to_string(),
            (_, Value::Ip6(address)) => address.to_string(),
            (_, Value::Addresses(list)) => joined(list),
            (_, Value::Domains(list)) => joined(list),
            (
                _,
                Value::Stable
                | Value::Prefix(_)
                | Value::Exempt(_)
                | Value::Rule(_)
                | Value::Domain(_)
                | Value::Port(_),
            ) => String::new(),
        }
    }

    /// The value as a synopsis has it.
    pub fn synopsis(&self) -> String {
        match self {
            Grammar::Switch { on, off } => format!("{on}|{off}"),
            Grammar::Number { what, none, .. } => match none {
                Some(none) => format!("<{what}>|{none}"),
                None => format!("<{what}>"),
            },
            Grammar::Choice(words) => words.join("|"),
            Grammar::Text { what, .. } => format!("<{what}>"),
            Grammar::Mac => "<mac>".to_owned(),
            Grammar::LinkLocal { none, stable } => format!("<address>|{stable}|{none}"),
            Grammar::Addresses { none, .. } => format!("<address>[,..]|{none}"),
            Grammar::Domains { none, .. } => format!("<domain>[,..]|{none}"),
            Grammar::Interface { .. } => "<interface>".to_owned(),
        }
    }

    /// As [`Grammar::show`], with names from the registry.
    pub fn text(&self, value: &Value, interfaces: &Interfaces) -> String {
        self.show(value, |index| {
            interfaces.get(index).map_or_else(|| index.to_string(), |it| it.name.clone())
        })
    }
}

/// Reads what has commas between its parts.
fn list<T: FromStr>(text: &str, none: &str) -> Option<Vec<T>> {
    match text == none {
        true => Some(Vec::new()),
        false => text.split(',').map(|part| part.parse().ok()).collect(),
    }
}

fn joined(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        let interface = |name: &str| (name == "loop0").then_some(InterfaceIndex(3));
        for (grammar, values) in [
            (Grammar::Switch { on: "up", off: "down" }, vec![Value::Switch(true), Value::Switch(false)]),
            (
                Grammar::Number { what: "bytes", low: 1, high: 9, none: Some("off") },
                vec![Value::Number(1), Value::Number(9), Value::None],
            ),
            (Grammar::Choice(&["a", "b"]), vec![Value::Choice(0), Value::Choice(1)]),
            (Grammar::Text { what: "note", longest: 9 }, vec![Value::Text("x y".into())]),
            (Grammar::Mac, vec![Value::Mac(MacAddr([2, 0, 0, 0, 0, 1]))]),
            (
                Grammar::LinkLocal { none: "eui-64", stable: "stable" },
                vec![Value::Ip6("fe80::7".parse().expect("an address")), Value::Stable, Value::None],
            ),
            (
                Grammar::Addresses { most: 2, none: "none" },
                vec![
                    Value::Addresses(vec![]),
                    Value::Addresses(["2001:db8::53", "fe80::53"].map(|it| it.parse().expect("one")).into()),
                ],
            ),
            (
                Grammar::Domains { longest: 99, none: "none" },
                vec![
                    Value::Domains(vec![]),
                    Value::Domains(["a.example", "b"].map(|it| it.parse().expect("one")).into()),
                ],
            ),
            (Grammar::Interface { none: "none" }, vec![Value::Interface(InterfaceIndex(3)), Value::None]),
        ] {
            for value in values {
                grammar.check(&value).expect("it is one");
                let text = grammar.show(&value, |_| "loop0".into());
                assert_eq!(grammar.parse(&text, interface), Ok(value), "{text}");
            }
        }
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        let grammar = Grammar::Number { what: "seconds", low: 1, high: 9, none: Some("default") };
        let error = grammar.parse("soon", |_| None).expect_err("no number");
        assert_eq!(error.to_string(), "expected seconds from 1 to 9, or default, found \"soon\"");
        assert_eq!(grammar.check(&Value::Number(10)).expect_err("too high").found, "10");
        let words = Grammar::Choice(&["off", "loose", "strict"]);
        assert_eq!(words.expected(), "off, loose or strict");
        assert!(Grammar::Mac.check(&Value::Mac(MacAddr([1, 0, 0, 0, 0, 1]))).is_err());
        let addresses = Grammar::Addresses { most: 2, none: "none" };
        for text in ["2001:db8::1,", "", "2001:db8::1 fe80::1", "10.0.0.1"] {
            assert!(addresses.parse(text, |_| None).is_err(), "{text:?}");
        }
        for text in ["::", "ff02::1", "2001:db8::1,2001:db8::2,2001:db8::3"] {
            let value = addresses.parse(text, |_| None).expect("they are addresses");
            assert!(addresses.check(&value).is_err(), "{text:?}");
        }
        let domains = Grammar::Domains { longest: 20, none: "none" };
        assert!(domains.parse("a..b", |_| None).is_err());
        let value = domains.parse("corp.example,b.example", |_| None).expect("they are names");
        assert!(domains.check(&value).is_err(), "14 and 11 bytes");
    }
}

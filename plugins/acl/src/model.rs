// SPDX-License-Identifier: Apache-2.0
//! Lists, and the interfaces that they are applied to. Plain values: what they mean is said in [`crate::compile`].

use std::collections::BTreeMap;

use weft_plugin_sdk::{Direction, InterfaceIndex, Result, RuleId};

use crate::rule::Ace;

/// A list's number, which it has for life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Number(pub u32);

/// An access control list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// Its name, or nothing.
    pub tag: String,
    /// In the order in which they are asked. A rule keeps its id when the list is replaced by one that has it too.
    pub rules: Vec<(RuleId, Ace)>,
}

/// The interface and direction of lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct At {
    pub interface: InterfaceIndex,
    pub name: String,
    pub direction: Direction,
}

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lists {
    pub lists: BTreeMap<Number, List>,
    /// Lists by interface and direction, in the order in which they are asked; never none.
    pub applied: BTreeMap<At, Vec<Number>>,
    /// The id of the next new rule; 0 is that of the end of each list.
    pub next_id: u32,
}

impl Default for Lists {
    fn default() -> Lists {
        Lists { lists: BTreeMap::new(), applied: BTreeMap::new(), next_id: 1 }
    }
}

impl Lists {
    /// Makes a list, or replaces the one of that number.
    pub fn set(&mut self, number: Option<Number>, tag: Option<String>, rules: Vec<Ace>) -> Result<Number> {
        let free = || (0..).map(Number).find(|number| !self.lists.contains_key(number)).unwrap_or(Number(0));
        let (number, before) = match number {
            Some(number) => (number, Some(self.get(number)?)),
            None => (free(), None),
        };
        let before_tag = || before.map(|list| list.tag.clone()).unwrap_or_default();
        let tag = tag.unwrap_or_else(before_tag);
        let mut ids = before.map(|list| list.rules.clone()).unwrap_or_default();
        let rules = rules.into_iter().map(|rule| {
            let id = match ids.iter().position(|(_, known)| *known == rule) {
                Some(place) => ids.remove(place).0,
                None => {
                    self.next_id += 1;
                    RuleId(self.next_id - 1)
                }
            };
            (id, rule)
        });
        let rules = rules.collect();
        self.lists.insert(number, List { tag, rules });
        Ok(number)
    }

    /// Deletes a list that is applied nowhere.
    pub fn delete(&mut self, number: Number) -> Result<()> {
        self.get(number)?;
        if let Some((at, _)) = self.applied.iter().find(|(_, numbers)| numbers.contains(&number)) {
            return Err(format!("list {} is applied to {}; take it off first", number.0, at.name).into());
        }
        self.lists.remove(&number);
        Ok(())
    }

    /// Appends a list to those of an interface.
    pub fn apply(&mut self, at: At, number: Number) -> Result<()> {
        self.get(number)?;
        let name = at.name.clone();
        let numbers = self.applied.entry(at).or_default();
        if numbers.contains(&number) {
            return Err(format!("list {} is applied to {name} in this direction already", number.0).into());
        }
        numbers.push(number);
        Ok(())
    }

    /// Takes a list off an interface.
    pub fn take_off(&mut self, at: &At, number: Number) -> Result<()> {
        let numbers = self.applied.get_mut(at);
        let place = numbers.as_ref().and_then(|numbers| numbers.iter().position(|known| *known == number));
        let (Some(numbers), Some(place)) = (numbers, place) else {
            return Err(format!("list {} is not applied to {} in this direction", number.0, at.name).into());
        };
        numbers.remove(place);
        if numbers.is_empty() {
            self.applied.remove(at);
        }
        Ok(())
    }

    /// A list by its number.
    pub fn get(&self, number: Number) -> Result<&List> {
        Ok(self.lists.get(&number).ok_or_else(|| format!("there is no list {}", number.0))?)
    }

    /// A list by its number or tag.
    pub fn find(&self, word: &str) -> Result<Number> {
        if let Ok(number) = word.parse() {
            self.get(Number(number))?;
            return Ok(Number(number));
        }
        let mut named = self.lists.iter().filter(|(_, list)| list.tag == word).map(|(number, _)| *number);
        match (named.next(), named.next()) {
            (Some(number), None) => Ok(number),
            (None, _) => Err(format!("expected a list's number or tag, found {word:?}").into()),
            (Some(_), Some(_)) => Err(format!("several lists have the tag {word:?}; use a number").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_plugin_sdk::Words;

    fn rules(texts: &[&str]) -> Vec<Ace> {
        texts.iter().map(|text| crate::rule::read(&mut Words::new(text)).expect("good")).collect()
    }

    fn ids(lists: &Lists, number: Number) -> Vec<u32> {
        lists.lists[&number].rules.iter().map(|(id, _)| id.0).collect()
    }

    fn at(name: &str) -> At {
        At { interface: InterfaceIndex(1), name: name.to_owned(), direction: Direction::Input }
    }

    #[test]
    fn a_rule_that_stays_keeps_its_id_and_no_id_comes_twice() {
        let mut lists = Lists::default();
        let (web, dns) = ("permit proto tcp dport 80", "permit proto udp dport 53");
        let number = lists.set(None, Some("a".into()), rules(&[web, dns])).expect("good");
        assert_eq!(ids(&lists, number), [1, 2]);
        let other = lists.set(None, None, rules(&[web])).expect("good");
        assert_eq!(ids(&lists, other), [3]);
        lists.set(Some(number), None, rules(&[dns, "deny", web, web])).expect("good");
        assert_eq!(ids(&lists, number), [2, 4, 1, 5]);
        assert_eq!(lists.lists[&number].tag, "a");
        assert!(lists.set(Some(Number(7)), None, vec![]).is_err());
    }

    #[test]
    fn lists_in_use_stay() {
        let mut lists = Lists::default();
        let number = lists.set(None, Some("a".into()), vec![]).expect("good");
        assert_eq!(lists.find("a").ok(), Some(number));
        assert!(lists.apply(at("p0"), number).is_ok());
        assert!(lists.apply(at("p0"), number).is_err(), "twice");
        assert!(lists.delete(number).is_err(), "in use");
        assert!(lists.take_off(&at("p1"), number).is_err());
        assert!(lists.take_off(&at("p0"), number).is_ok());
        assert!(lists.applied.is_empty());
        assert!(lists.delete(number).is_ok());
        assert!(lists.find("a").is_err());
    }
}

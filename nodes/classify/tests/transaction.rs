// SPDX-License-Identifier: Apache-2.0
//! Changes of several rule sets that are made as a whole or not at all, while packets meet them.

use weft_classify::{
    Action, ClassifyError, Direction, Match, PortRange, Priority, Rule, RuleId, RuleSet, RuleSets, Verdict,
};
use weft_engine::InterfaceIndex;

use weft_testing::Bed;

const LIMIT: usize = 8;

/// Drops packets to these ports; the ids are the ports.
fn rules(ports: &[u16]) -> RuleSet {
    let rule = |port: &u16| Rule {
        id: RuleId((*port).into()),
        priority: Priority(0),
        matches: Match { destination_ports: PortRange::only(*port), ..Match::default() },
        action: Action::only(Verdict::Drop),
    };
    RuleSet::of(ports.iter().map(rule)).unwrap()
}

/// A set, and where it is to be attached.
struct Wanted {
    name: &'static str,
    rules: RuleSet,
    attached: Vec<(InterfaceIndex, Direction)>,
}

fn set(name: &'static str, ports: &[u16], at: &[(u32, Direction)]) -> Wanted {
    let attached = at.iter().map(|(index, direction)| (InterfaceIndex(*index), *direction)).collect();
    Wanted { name, rules: rules(ports), attached }
}

struct Lab {
    bed: Bed,
    sets: RuleSets,
}

impl Lab {
    fn new() -> Lab {
        let mut bed = Bed::new();
        let interfaces = bed.interfaces.published();
        let sets = RuleSets::new(&mut bed.engine, &interfaces, LIMIT).unwrap();
        Lab { bed, sets }
    }

    /// These sets are there from now on, and no others; or, on an error, those that there were.
    fn set(&mut self, wanted: &[Wanted]) -> Result<(), ClassifyError> {
        self.sets.begin();
        let done = self.make(wanted);
        match done {
            Ok(()) => self.sets.commit(&mut self.bed.engine),
            Err(_) => self.sets.roll_back(&mut self.bed.engine),
        }
        self.bed.run();
        done
    }

    fn make(&mut self, wanted: &[Wanted]) -> Result<(), ClassifyError> {
        let Lab { bed: Bed { engine, interfaces, .. }, sets } = self;
        let attached: Vec<_> = sets.attached().map(|(on, direction, _)| (on, direction)).collect();
        for (on, direction) in attached {
            sets.detach(engine, interfaces, on, direction)?;
        }
        let gone = |name: &&str| !wanted.iter().any(|set| set.name == *name);
        let gone: Vec<String> = sets.iter().map(|set| set.name).filter(gone).map(str::to_owned).collect();
        gone.iter().try_for_each(|name| sets.delete(engine, interfaces, name))?;
        for Wanted { name, rules, attached } in wanted {
            sets.change(engine, interfaces, name, |set| {
                set.clone_from(rules);
                Ok(())
            })?;
            for (on, direction) in attached {
                sets.attach(engine, interfaces, name, *on, *direction)?;
            }
        }
        Ok(())
    }

    /// Whether a packet from a port to the other one passes.
    fn passes(&mut self, port: usize, to: u16) -> bool {
        let (from, other) = (self.bed.ports[port], self.bed.ports[1 - port]);
        let packet = from.incoming().ipv4(from.peer, other.peer).udp(1, to);
        self.bed.pass(port, &packet);
        self.bed.sent(1 - port).len() == 1
    }

    fn hits(&self, name: &str, rule: u32) -> u64 {
        self.sets.get(name).unwrap().hits(RuleId(rule)).packets
    }

    fn names(&self) -> Vec<&str> {
        self.sets.iter().map(|set| set.name).collect()
    }
}

use Direction::{Input, Output};

#[test]
fn what_is_not_wanted_any_more_goes() {
    let mut lab = Lab::new();
    lab.set(&[set("a", &[1, 2], &[(0, Input)]), set("b", &[3], &[(0, Output), (1, Output)])]).unwrap();
    assert_eq!(
        [lab.passes(0, 1), lab.passes(0, 3), lab.passes(1, 3), lab.passes(1, 1)],
        [false, false, false, true]
    );
    lab.set(&[set("b", &[3], &[(1, Output)])]).unwrap();
    assert_eq!([lab.passes(0, 1), lab.passes(0, 3), lab.passes(1, 3)], [true, false, true]);
    lab.set(&[]).unwrap();
    assert!(lab.passes(0, 3) && lab.names().is_empty());
    assert_eq!(lab.sets.attached().count(), 0);
    // Counters are free when the worker has left the rules behind.
    for _ in 0..10 {
        lab.bed.run();
        lab.bed.engine.reclaim();
    }
    assert_eq!(lab.sets.room(), LIMIT);
}

#[test]
fn rules_that_stay_go_on_counting() {
    let mut lab = Lab::new();
    lab.set(&[set("a", &[1, 2], &[(0, Input)])]).unwrap();
    assert!(!lab.passes(0, 1));
    lab.set(&[set("a", &[1, 2], &[(0, Input)])]).unwrap();
    lab.set(&[set("a", &[5, 1], &[(0, Input)])]).unwrap();
    assert_eq!((lab.hits("a", 1), lab.hits("a", 5)), (1, 0));
    assert!(!lab.passes(0, 1) && lab.passes(0, 2) && !lab.passes(0, 5));
    assert_eq!((lab.hits("a", 1), lab.hits("a", 5)), (2, 1));
}

#[test]
fn one_set_takes_the_place_of_another() {
    let mut lab = Lab::new();
    lab.set(&[set("a", &[1], &[(0, Input)])]).unwrap();
    lab.set(&[set("b", &[2], &[(0, Input)])]).unwrap();
    assert!(lab.passes(0, 1) && !lab.passes(0, 2));
    assert_eq!(lab.names(), ["b"]);
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut lab = Lab::new();
    lab.set(&[set("a", &[1, 7], &[(0, Input)])]).unwrap();
    assert!(!lab.passes(0, 1));
    let many: Vec<u16> = (1..20).collect();
    for (wanted, why) in [
        (vec![set("b", &[2], &[(0, Input)]), set("a", &[3], &[(9, Input)])], "no interface has index 9"),
        (vec![set("a", &[7], &[(0, Output)]), set("b b", &[3], &[])], "cannot name a rule set"),
        (vec![set("b", &[1], &[(1, Input)]), set("a", &many, &[(0, Input)])], "no room for 17 more rules"),
    ] {
        let error = lab.set(&wanted).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!lab.passes(0, 1) && lab.passes(0, 2) && lab.passes(1, 7), "{why}");
        assert_eq!(lab.names(), ["a"]);
    }
    assert_eq!(lab.hits("a", 1), 4, "no rule has lost its counter");
    for _ in 0..10 {
        lab.bed.run();
        lab.bed.engine.reclaim();
    }
    assert_eq!(lab.sets.room(), LIMIT - 2, "and no counter is lost");
}

#[test]
fn a_rule_that_goes_and_comes_again_in_what_is_refused_has_its_counter() {
    let mut lab = Lab::new();
    lab.set(&[set("a", &[1], &[(0, Input)])]).unwrap();
    assert!(!lab.passes(0, 1));
    lab.sets.begin();
    for ports in [&[2][..], &[1, 2]] {
        let Bed { engine, interfaces, .. } = &mut lab.bed;
        let changed = lab.sets.change(engine, interfaces, "a", |set| {
            *set = rules(ports);
            Ok(())
        });
        changed.unwrap();
    }
    assert_eq!(lab.hits("a", 1), 0, "it is another rule");
    lab.sets.roll_back(&mut lab.bed.engine);
    assert!(!lab.passes(0, 1) && lab.passes(0, 2));
    assert_eq!(lab.hits("a", 1), 2);
}

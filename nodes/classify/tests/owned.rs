// SPDX-License-Identifier: Apache-2.0
//! Rule sets of one owner, replaced together, while packets meet them.

use weft_classify::{
    Action, ClassifyError, Direction, Match, OwnedSet, PortRange, Priority, Rule, RuleId, RuleSet, RuleSets,
    Verdict,
};
use weft_engine::InterfaceIndex;

use weft_testing::Bed;

const OWNER: &str = "plugin.test";
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

fn set(name: &str, ports: &[u16], at: &[(u32, Direction)]) -> OwnedSet {
    let attached = at.iter().map(|(index, direction)| (InterfaceIndex(*index), *direction)).collect();
    OwnedSet { name: format!("{OWNER}.{name}"), rules: rules(ports), attached }
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

    fn set(&mut self, wanted: &[OwnedSet]) -> Result<(), ClassifyError> {
        let Bed { engine, interfaces, .. } = &mut self.bed;
        let done = self.sets.set_owned(engine, interfaces, OWNER, wanted);
        self.bed.run();
        done
    }

    /// Whether a packet from a port to the other one passes.
    fn passes(&mut self, port: usize, to: u16) -> bool {
        let (from, other) = (self.bed.ports[port], self.bed.ports[1 - port]);
        let packet = from.incoming().ipv4(from.peer, other.peer).udp(1, to);
        self.bed.pass(port, &packet);
        self.bed.sent(1 - port).len() == 1
    }

    fn hits(&self, name: &str, rule: u32) -> u64 {
        self.sets.get(&format!("{OWNER}.{name}")).unwrap().hits(RuleId(rule)).packets
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
    assert_eq!(lab.names(), ["plugin.test.b"]);
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut lab = Lab::new();
    lab.set(&[set("a", &[1], &[(0, Input)])]).unwrap();
    let Bed { engine, interfaces, .. } = &mut lab.bed;
    lab.sets
        .change(engine, interfaces, "mine", |set| {
            *set = rules(&[7]);
            Ok(())
        })
        .unwrap();
    lab.sets.attach(engine, interfaces, "mine", InterfaceIndex(1), Input).unwrap();
    let many: Vec<u16> = (1..20).collect();
    let foreign = OwnedSet { name: "other.a".to_owned(), ..set("a", &[2], &[(0, Output)]) };
    for (wanted, why) in [
        (vec![set("a", &[2], &[(1, Input)])], "'p1' has rules in this direction already: set 'mine'"),
        (
            vec![set("a", &[2], &[(0, Input)]), set("b", &[2], &[(0, Input)])],
            "has rules in this direction already",
        ),
        (vec![set("a", &[2], &[(9, Input)])], "no interface has index 9"),
        (vec![set("a", &[2], &[])], "expected an owner's own name"),
        (vec![set("a", &[2], &[(0, Input)]), set("a", &[3], &[(0, Output)])], "once"),
        (vec![foreign], "expected an owner's own name"),
        (vec![set("a", &many, &[(0, Input)])], "no room for 18 more rules"),
    ] {
        let error = lab.set(&wanted).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!lab.passes(0, 1) && lab.passes(0, 2) && !lab.passes(1, 7), "{why}");
        assert_eq!(lab.names(), ["mine", "plugin.test.a"]);
    }
}

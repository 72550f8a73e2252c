// SPDX-License-Identifier: Apache-2.0
//! Plugins in C in an engine that the test turns by hand: exact packets, exact counters, and nothing left behind.

mod bed;

use bed::{Bed, compile};
use weft_plugin_host::health::Mode;
use weft_plugin_host::settings::SettingKind;

/// Every fifth packet dropped, of the others the even ones to `other` and the odd ones on along the arc.
const SORTER: &str = include_str!("sorter.c");
/// Fails on packet 7. Has state per worker and of its own, a command and a counter, all allocated.
const FAILING: &str = include_str!("failing.c");

/// An input node, and a feature that finds its packets in a table of the host's.
const BRINGER: &str = include_str!("bringer.c");

#[test]
fn a_plugin_brings_packets_in_and_finds_them_in_a_table() {
    let mut bed = Bed::new(1);
    let plugin = bed.load(&compile("bringer", BRINGER));
    bed.enable("looker");
    // Three packets a turn; a send turns the worker twice. 4 is not in the table, 9 never was.
    bed.send(9..10);
    bed.send(0..0);
    assert_eq!(bed.other(), [7, 6, 5, 3, 2, 1, 0]);
    assert_eq!(bed.last(), [9, 4]);
    bed.send(2..3);
    assert_eq!(bed.other(), [2]);
    // Seven entries, none of them untouched.
    assert_eq!(bed.answer(&plugin, "show looker"), "07 00 00 01 01 01 02 02 03 01 05 01 06 01 07 01 ");
    assert_eq!(plugin.health.mode(), Mode::Running);
    bed.unload(plugin);
}

/// Has an arc of its own.
const GATE: &str = include_str!("gate.c");

#[test]
fn a_plugin_has_an_arc_of_its_own() {
    let mut bed = Bed::new(1);
    let gate = compile("gate", GATE);
    for _ in 0..2 {
        let plugin = bed.load(&gate);
        bed.enable("gate");
        bed.send(0..4);
        assert_eq!(bed.other(), [0, 1, 2, 3], "nobody has features on the arc");
        bed.enable_on("gate", "even");
        bed.send(0..4);
        assert_eq!((bed.other(), bed.last()), (vec![1, 3], vec![0, 2]));
        // Another interface has none.
        bed.send_on(1, 0..4);
        assert_eq!((bed.other(), bed.last()), (vec![0, 1, 2, 3], vec![]));
        // When it comes back, the arc is the one that it has left.
        bed.unload(plugin);
        bed.send(0..2);
        assert_eq!(bed.last(), [0, 1]);
    }
    let next = ".next = \"other\"";
    for (words, other, why) in [
        (next, ".next = \"other\", .by_tx = 2", "by_tx is 2: expected 0 or 1"),
        ("\"gate\", .next", "\"Gate\", .next", "an arc needs a name of a-z, 0-9, - and _"),
    ] {
        let started = bed.try_start(&compile("gate", &GATE.replace(words, other)));
        let said = started.err().expect(other).to_string();
        assert!(said.contains(why), "{other}: {said}");
    }
    // The arc that is there already has another key.
    let by_tx = compile("gate", &GATE.replace(next, ".next = \"other\", .by_tx = 1"));
    let said = bed.try_load(&by_tx).err().expect("another arc").to_string();
    assert!(said.contains("there is an arc 'gate' already"), "{said}");
}

/// Hands packets to another worker.
const CROSSER: &str = include_str!("crosser.c");

#[test]
fn packets_go_on_in_the_same_node_on_another_worker() {
    let mut bed = Bed::new(2);
    let plugin = bed.load(&compile("crosser", CROSSER));
    bed.enable("crosser");
    bed.send_to(0, &[0, 1, 2, 3, 101]);
    assert_eq!(bed.last_of(0), [1, 3]);
    assert_eq!(bed.last_of(1), [] as [u8; 0]);
    bed.send_to(1, &[4]);
    assert_eq!(bed.last_of(1), [0, 2, 4], "what was handed over comes first");
    assert_eq!(bed.count("crosser", "handoff_full"), 1);
    bed.unload(plugin);
}

#[test]
fn what_finds_no_room_on_the_way_to_another_worker_is_counted() {
    const PLACES: usize = 4;
    let mut bed = Bed::with_rings(2, PLACES);
    let plugin = bed.load(&compile("crosser", CROSSER));
    bed.enable("crosser");
    let before = bed.free();
    bed.send_to(0, &[0, 2, 1, 4, 6, 8, 10]);
    assert_eq!(before - bed.free(), PLACES, "in flight");
    assert_eq!((bed.last_of(0), bed.count("crosser", "handoff_full")), (vec![1], 2));
    bed.send_to(1, &[]);
    assert_eq!(bed.last_of(1), [0, 2, 4, 6]);
    assert_eq!(bed.free(), before, "every packet has one end");
    bed.unload(plugin);
}

#[test]
fn what_is_on_its_way_to_a_node_that_leaves_goes_on_along_the_arc() {
    let mut bed = Bed::new(2);
    let plugin = bed.load(&compile("crosser", CROSSER));
    bed.enable("crosser");
    let before = bed.free();
    bed.send_to(0, &[0, 2, 4]);
    assert_eq!(before - bed.free(), 3, "in flight");
    bed.unload(plugin);
    assert_eq!((bed.last_of(0), bed.last_of(1)), (vec![], vec![0, 2, 4]));
    assert_eq!(bed.free(), before);
}

/// Declares a setting.
const DECLARES: &str = include_str!("declares.c");

#[test]
fn a_setting_says_what_its_values_are() {
    let mut bed = Bed::new(1);
    let mut declared = |setting: &str, words: &str| {
        let source = DECLARES.replace("WORDS", words).replace("SETTING}", &format!("{setting}}}"));
        let started = bed.try_start(&compile("declares", &source));
        started.map(|plugin| plugin.settings()[0].kind.clone()).map_err(|error| error.to_string())
    };
    for (setting, words, why) in [
        (".kind = WEFT_SETTING_SWITCH", "\"on\",", "is a switch: expected two words"),
        (".kind = WEFT_SETTING_SWITCH", "\"on\", \"on\",", "is a switch: expected two words"),
        (".kind = WEFT_SETTING_NUMBER, .high = 5", "", "does not say what it counts or holds"),
        (".kind = WEFT_SETTING_NUMBER, .what = \"x\", .low = 2, .high = 1", "", "expected low up to high"),
        (".kind = WEFT_SETTING_CHOICE", "", "is a choice: expected words"),
        (".kind = WEFT_SETTING_CHOICE", "\"two words\",", "of a-z, 0-9, - and _"),
        (".kind = WEFT_SETTING_TEXT, .what = \"x\", .high = 1 << 20", "", "expected high from 1 to 1024"),
        (".kind = WEFT_SETTING_MAC", "\"none\",", "is a MAC address: expected no words"),
        (".kind = 9", "", "is of kind 9, which is not known"),
    ] {
        let said = declared(setting, words).expect_err(setting);
        assert!(said.contains(why), "{setting}: {said}");
    }
    let on_off = SettingKind::Switch { on: "on".to_owned(), off: "off".to_owned() };
    assert_eq!(declared(".kind = WEFT_SETTING_SWITCH", "\"on\", \"off\","), Ok(on_off));
    let number = ".kind = WEFT_SETTING_NUMBER, .what = \"packets\", .low = 1, .high = 9";
    let none =
        SettingKind::Number { what: "packets".to_owned(), low: 1, high: 9, none: Some("none".to_owned()) };
    assert_eq!(declared(number, "\"none\","), Ok(none));
}

#[test]
fn packets_go_where_a_plugin_sends_them() {
    let mut bed = Bed::new(1);
    let plugin = bed.load(&compile("sorter", SORTER));
    bed.enable("sorter");
    bed.send(0..20);
    assert_eq!(bed.other(), [0, 2, 6, 8, 10, 12, 16, 18]);
    assert_eq!(bed.last(), [1, 3, 5, 7, 11, 13, 15, 17]);
    assert_eq!(bed.count("sorter", "fifth"), 4);
    assert_eq!(bed.count("sorter", "unused"), 0);
    assert_eq!((bed.count("sorter", "never"), bed.count("sorter", "odd")), (0, 8));
    bed.unload(plugin);
    bed.send(0..3);
    assert_eq!(bed.last(), [0, 1, 2]);
}

#[test]
fn a_failure_costs_one_packet() {
    let mut bed = Bed::new(1);
    let plugin = bed.load(&compile("failing", FAILING));
    bed.enable("failing");
    bed.send(0..6);
    assert_eq!(bed.other(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(plugin.health.mode(), Mode::Running);
    bed.send(5..10);
    assert_eq!(bed.other(), [5, 6], "what it has sent before goes there");
    assert_eq!(bed.last(), [8, 9], "what it has not seen goes on");
    assert_eq!(bed.count("failing", "plugin_failed"), 1);
    assert_eq!(plugin.health.mode(), Mode::Failed);
    let failure = &plugin.health.news()[0];
    assert_eq!((failure.place.as_str(), failure.said.as_str()), ("node failing", "seven"));
    bed.send(0..3);
    assert_eq!(bed.last(), [0, 1, 2], "it is not called any more");
    plugin.health.set(Mode::Running);
    bed.send(0..3);
    assert_eq!(bed.other(), [0, 1, 2]);
    plugin.health.set(Mode::Disabled);
    bed.send(0..3);
    assert_eq!(bed.last(), [0, 1, 2]);
    bed.unload(plugin);
}

#[test]
fn a_replacement_is_one_change_for_a_worker() {
    let mut bed = Bed::new(1);
    let path = compile("sorter", SORTER);
    let mut old = bed.load(&path);
    bed.enable("sorter");
    for round in 0..20 {
        let mut new = bed.start(&path);
        bed.replace(&mut old, &mut new);
        bed.send(0..4);
        assert_eq!((bed.other(), bed.last()), (vec![0, 2], vec![1, 3]), "round {round}");
        std::mem::swap(&mut old, &mut new);
        bed.end(new);
    }
    bed.unload(old);
}

#[test]
fn what_comes_and_goes_leaves_nothing() {
    let mut bed = Bed::new(2);
    let path = compile("failing", FAILING);
    let mut figures = None;
    for round in 0..10 {
        let plugin = bed.load(&path);
        bed.enable("failing");
        bed.send(0..6);
        assert_eq!(bed.other().len(), 6);
        bed.unload(plugin);
        let now = (bed.engine.graph().len(), bed.engine.stats.used());
        // Ids of a node are free again when the workers have forgotten it; from then on the same are used.
        match round {
            0 => {}
            1 => figures = Some(now),
            _ => assert_eq!(figures, Some(now), "round {round}"),
        }
    }
}

/// The same under valgrind: no access to what is freed or unmapped, and nothing of a plugin is lost.
#[test]
fn nothing_dangles() {
    let test = std::env::current_exe().expect("the test knows itself");
    let done = std::process::Command::new("valgrind")
        .args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"])
        .arg(concat!("--suppressions=", env!("CARGO_MANIFEST_DIR"), "/tests/valgrind.supp"))
        .arg(test)
        .args(["--exact", "what_comes_and_goes_leaves_nothing", "--test-threads=1"])
        .output()
        .expect("valgrind is there (scripts/setup)");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

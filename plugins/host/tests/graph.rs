// SPDX-License-Identifier: Apache-2.0
//! Plugins in C in an engine that the test turns by hand: exact packets, exact counters, and nothing left behind.

mod bed;

use bed::{Bed, compile};
use weft_engine::NodeId;
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
        bed.unload(plugin);
        bed.send(0..2);
        assert_eq!(bed.last(), [0, 1]);
        assert!(bed.engine.features().arc("gate").is_err(), "its arc goes with it");
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
    // Who wants another arc of that name is refused while it is there, and has it then.
    let by_tx = [
        (next, ".next = \"other\", .by_tx = 1"),
        (".name = \"gate\", .edges", ".name = \"door\", .edges"),
        (".node = \"gate\"", ".node = \"door\""),
        ("\"even\"", "\"odd\""),
        (".name = \"gate\",\n    .version", ".name = \"door\",\n    .version"),
    ];
    let by_tx = by_tx.iter().fold(GATE.to_owned(), |source, (words, other)| source.replace(words, other));
    let by_tx = compile("door", &by_tx);
    let plugin = bed.load(&gate);
    let said = bed.try_load(&by_tx).err().expect("another arc").to_string();
    assert!(said.contains("there is an arc 'gate' already"), "{said}");
    bed.unload(plugin);
    let plugin = bed.load(&by_tx);
    bed.unload(plugin);
}

/// A feature of a plugin that is none of its own arc's.
const GUEST: &str = include_str!("guest.c");

#[test]
fn an_arc_stays_as_long_as_others_have_features_on_it() {
    let mut bed = Bed::new(1);
    let gate = compile("gate", GATE);
    let mut plugin = bed.load(&gate);
    let guest = bed.load(&compile("guest", GUEST));
    bed.enable("gate");
    bed.enable_on("gate", "even");
    bed.enable_on("gate", "guest");
    let ends = |bed: &mut Bed| {
        bed.send(0..4);
        (bed.other(), bed.last())
    };
    // Even packets leave the arc, and then the guest takes that of number 3.
    let first = ends(&mut bed);
    assert_eq!(first, (vec![1], vec![0, 2, 3]));
    // A new incarnation finds the arc, and the guest on it.
    let mut new = bed.start(&gate);
    bed.replace(&mut plugin, &mut new);
    bed.end(plugin);
    assert_eq!(ends(&mut bed), first);
    bed.unload(new);
    let arc = bed.engine.features().arc("gate").expect("the guest is on it");
    assert!(bed.engine.features().has_feature(arc, "guest"));
    assert_eq!(ends(&mut bed), (vec![], vec![0, 1, 2, 3]), "nobody starts it");
    // It comes back to an arc where the guest is enabled as before.
    let plugin = bed.load(&gate);
    bed.enable("gate");
    bed.enable_on("gate", "even");
    assert_eq!(ends(&mut bed), first);
    bed.unload(plugin);
    bed.unload(guest);
    assert!(bed.engine.features().arc("gate").is_err(), "the last one has gone");
}

/// Handles a number, and a reason of `sorter`.
const TAKER: &str = include_str!("taker.c");

#[test]
fn what_a_plugin_has_registered_goes_with_it() {
    let mut bed = Bed::new(1);
    let empty = bed.registered();
    for (name, source) in [
        ("sorter", SORTER),
        ("failing", FAILING),
        ("bringer", BRINGER),
        ("gate", GATE),
        ("crosser", CROSSER),
        ("taker", TAKER),
    ] {
        let other = (name == "taker").then(|| bed.load(&compile("sorter", SORTER)));
        let before = bed.registered();
        let path = compile(name, source);
        let mut plugin = bed.load(&path);
        let there = bed.registered();
        assert!(there.len() > before.len() + 1, "{name}: {there:?}");
        let mut new = bed.start(&path);
        bed.replace(&mut plugin, &mut new);
        bed.end(plugin);
        assert_eq!(bed.registered(), there, "a new incarnation of {name} has the same");
        bed.unload(new);
        assert_eq!(bed.registered(), before, "{name} is gone");
        other.into_iter().for_each(|other| bed.unload(other));
    }
    assert_eq!(bed.registered(), empty);
}

#[test]
fn what_a_trace_has_kept_is_not_the_next_nodes() {
    let mut bed = Bed::new(1);
    let plugin = bed.load(&compile("sorter", SORTER));
    bed.enable("sorter");
    bed.rest();
    bed.trace_first(2);
    bed.send(0..2);
    let sorter = bed.engine.graph().id("sorter").expect("it is there");
    let of = |bed: &Bed, node| bed.traced().filter(|(at, next)| *at == node || *next == Some(node)).count();
    // Each packet comes to it from the first node, and leaves it.
    assert_eq!((of(&bed, sorter), of(&bed, NodeId::GONE)), (4, 0));
    bed.trace_node(sorter, 5);
    bed.unload(plugin);
    bed.rest();
    let plugin = bed.load(&compile("picker", &SORTER.replace("\"sorter\"", "\"picker\"")));
    assert_eq!(bed.engine.graph().id("picker"), Some(sorter), "the number is given out again");
    bed.enable("picker");
    bed.send(0..2);
    assert_eq!((of(&bed, sorter), of(&bed, NodeId::GONE)), (0, 4));
    bed.unload(plugin);
}

#[test]
fn who_handles_a_reason_waits_for_its_node() {
    let mut bed = Bed::new(1);
    let sorter = compile("sorter", SORTER);
    let taker = compile("taker", TAKER);
    let said = bed.try_load(&taker).err().expect("no such reason").to_string();
    assert!(said.contains("registry 'reason' has no entry 'sorter/fifth'"), "{said}");
    bed.rest();
    let entry = "reason sorter/fifth by taker of taker";
    let mut old = bed.load(&sorter);
    let plugin = bed.load(&taker);
    assert!(bed.registered().contains(entry));
    let mut new = bed.start(&sorter);
    bed.replace(&mut old, &mut new);
    bed.end(old);
    assert!(bed.registered().contains(entry), "over a reload");
    bed.unload(new);
    assert!(!bed.registered().contains(entry), "nobody has the reason");
    let back = bed.load(&sorter);
    assert!(bed.registered().contains(entry), "it is back");
    bed.unload(plugin);
    assert!(!bed.registered().contains(entry));
    bed.unload(back);
    let back = bed.load(&sorter);
    assert!(!bed.registered().contains(entry), "nobody waits any more");
    bed.unload(back);
}

/// Claims packet fields by the name `NAME`, and fails in `init` after that if `FAILS`.
const CLAIMS: &str = include_str!("claims.c");

#[test]
fn fields_are_claimed_as_long_as_the_plugin_is_there() {
    let mut bed = Bed::new(1);
    let claims = |name: &str, bytes: u32, fails: u32| {
        let with = format!("#define NAME \"{name}\"\n#define BYTES {bytes}\n#define FAILS {fails}\n{CLAIMS}");
        compile("claims", &with)
    };
    // More plugins than there is room for at once, and each finds it; so do those that fail.
    for number in 0..20 {
        let (name, fails) = (format!("large-{number}-"), number % 2);
        match (fails, bed.try_start(&claims(&name, 8, fails))) {
            (0, Ok(plugin)) => assert!(plugin.is_idle()),
            (1, Err(error)) => assert!(error.to_string().contains("claimed, and failed"), "{error}"),
            (_, started) => panic!("{number}: {:?}", started.err().map(|error| error.to_string())),
        }
    }
    // While one is there, its fields are its own, and have its type.
    let plugin = bed.start(&claims("own-", 8, 0));
    let said = bed.try_start(&claims("other-", 8, 0)).err().expect("no room").to_string();
    assert!(said.contains("no room for packet field 'other-"), "{said}");
    let said = bed.try_start(&claims("own-", 4, 0)).err().expect("another type").to_string();
    assert!(said.contains("packet field 'own-0' is u64, and cannot be u32 too"), "{said}");
    drop(plugin);
    drop(bed.start(&claims("own-", 4, 0)));
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

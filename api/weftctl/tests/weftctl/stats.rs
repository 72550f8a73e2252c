// SPDX-License-Identifier: Apache-2.0
//! `weftctl stats`: one look, many looks, and what is said when there is nothing to look at.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use serde_json::Value;

use crate::{
    daemon::run,
    segment::{Daemon, Folder},
};

fn json(text: &str) -> Value {
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    serde_json::from_str(text).unwrap()
}

#[test]
fn names_by_pattern() {
    let folder = Folder::new("ls");
    let _daemon = Daemon::start(&folder);
    let ran = run(folder.weftctl(), &["stats", "ls", "^/if/[rd]", "/node/(calls|clocks)$"]);
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.stdout, "/if/rx\n/if/drops\n/sys/node/calls\n/sys/node/clocks\n");
    let ran = run(folder.weftctl(), &["--json", "stats", "ls", "/if/"]);
    assert_eq!(json(&ran.stdout), serde_json::json!(["/if/names", "/if/rx", "/if/drops"]));
    assert!(run(folder.weftctl(), &["stats", "ls"]).stdout.lines().count() > 10, "all without a pattern");
}

#[test]
fn values_by_pattern() {
    let folder = Folder::new("dump");
    let _daemon = Daemon::start(&folder);
    let ran = run(folder.weftctl(), &["stats", "dump", "/if/"]);
    let first: Vec<&str> = ran.stdout.lines().take(3).collect();
    let expected = ["[0]: local0 /if/names", "[1]: p0 /if/names", "[0 @ 0]: 0 packets, 0 bytes /if/rx"];
    assert_eq!(first, expected);
    let ran = run(
        folder.weftctl(),
        &["stats", "dump", "/if/rx", "--no-zeros", "--summary", "-s", folder.socket().to_str().unwrap()],
    );
    assert!(ran.stdout.lines().count() <= 1 && !ran.stdout.contains("[0]"), "{}", ran.stdout);
    let ran = run(folder.weftctl(), &["stats", "dump", "--json", "/if/(rx|names)"]);
    let dump = json(&ran.stdout);
    assert_eq!(dump["/if/names"], serde_json::json!({ "type": "names", "values": ["local0", "p0"] }));
    let p0 = &dump["/if/rx"]["values"][1][1];
    assert_eq!(p0["bytes"].as_u64().unwrap(), p0["packets"].as_u64().unwrap() * 60);
}

#[test]
fn polling_tells_the_change_per_second() {
    let folder = Folder::new("poll");
    let _daemon = Daemon::start(&folder);
    let words = ["stats", "poll", "^/if/rx$", "--interval", "0.1", "--count", "3", "--json"];
    let ran = run(folder.weftctl(), &words);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let looks: Vec<Value> = ran.stdout.lines().map(json).collect();
    assert_eq!(looks.len(), 3);
    assert_eq!(looks[0]["/if/rx"].get("per_second"), None, "nothing to compare the first with");
    for look in &looks[1..] {
        let rate = &look["/if/rx"]["per_second"][1][1];
        let (packets, bytes) = (rate["packets"].as_f64().unwrap(), rate["bytes"].as_f64().unwrap());
        assert!(packets > 0.0 && (bytes / packets - 60.0).abs() < 0.01, "{rate}");
    }
    let ran = run(folder.weftctl(), &["stats", "poll", "^/if/rx$", "-i", "0.1", "-c", "2", "--summary"]);
    let (first, second) = ran.stdout.split_once("\n\n").expect("an empty line between two looks");
    assert!(
        !first.contains("/s)") && second.contains("[1]: ") && second.contains("/s) /if/rx"),
        "{}",
        ran.stdout
    );
}

#[test]
fn polling_waits_for_a_daemon_that_is_restarted() {
    let folder = Folder::new("restart");
    let daemon = Daemon::start(&folder);
    let mut weftctl = folder.weftctl();
    weftctl.args(["stats", "poll", "/if/drops", "--interval", "0.02", "--json"]);
    let mut child = weftctl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut looks = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    json(&looks.next().unwrap().unwrap());
    drop(daemon);
    let waits = words.next().unwrap().unwrap();
    assert!(waits.starts_with("weftctl: cannot connect") && waits.ends_with("waiting for it"), "{waits}");
    let _daemon = Daemon::start(&folder);
    // Some looks may still be in the pipe; more follow for as long as somebody reads.
    for _ in 0..100 {
        json(&looks.next().expect("it goes on").unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn polling_goes_on_while_nobody_answers() {
    let folder = Folder::new("busy");
    let _daemon = Daemon::busy(&folder, 1);
    let ran = run(folder.weftctl(), &["stats", "poll", "^/if/rx$", "-i", "0.1", "-c", "2", "--json"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let looks: Vec<Value> = ran.stdout.lines().map(json).collect();
    let packets = |look: &Value| look["/if/rx"]["values"][1][1]["packets"].as_u64().unwrap();
    assert!(packets(&looks[1]) > packets(&looks[0]), "it is the memory that is counted in");
}

#[test]
fn a_pattern_that_matches_nothing() {
    let folder = Folder::new("nothing");
    let _daemon = Daemon::start(&folder);
    for command in ["ls", "dump", "poll"] {
        let ran = run(folder.weftctl(), &["stats", command, "/fi/", "^x"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""));
        assert_eq!(ran.stderr, "weftctl: no counter matches /fi/ or ^x\n");
    }
    let ran = run(folder.weftctl(), &["stats", "ls", "("]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("'('") && ran.stderr.contains("PATTERN"), "{}", ran.stderr);
}

#[test]
fn no_daemon() {
    let folder = Folder::new("absent");
    for command in ["ls", "dump", "poll"] {
        let ran = run(folder.weftctl(), &["stats", command]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
        let expected =
            format!("weftctl: cannot connect to the statistics socket {}", folder.socket().display());
        assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
    }
}

#[test]
fn a_damaged_segment() {
    let folder = Folder::new("damaged");
    let listener = weft_stats::StatsListener::bind(folder.socket(), None).unwrap();
    let mut file = File::create(folder.0.join("file")).unwrap();
    file.write_all(&[0xff; 4096]).unwrap();
    let serving = std::thread::spawn(move || {
        while listener.accept_and_send(std::os::fd::AsFd::as_fd(&file)).unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    let ran = run(folder.weftctl(), &["stats", "dump"]);
    serving.join().unwrap();
    assert_eq!(ran.status, Some(2));
    assert!(ran.stderr.starts_with("weftctl: ") && ran.stderr.contains("segment"), "{}", ran.stderr);
}

// SPDX-License-Identifier: Apache-2.0
//! Inputs that strangers might have written (`tests/strangers/README.md`), each file a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::check::Finding;
use crate::config::{self, Config, Source};
use crate::state::Dataplane;
use crate::testing::Bed;
use crate::topology::Topology;

/// Far more than anything takes, and far less than for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// The files of a kind, in the order of their names.
pub fn files(kind: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/strangers").join(kind);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has files", folder.display());
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// What `--check-config` says: errors and warnings.
fn check(text: &str) -> (String, String) {
    let source = Source::from_text("f", text);
    let report = match config::parse(&source) {
        Err(report) => return (report.to_string(), String::new()),
        Ok(parsed) => parsed,
    };
    let found = crate::trial::check(&report.config, &source, &Topology::read().unwrap());
    let say = |list: &[Finding], severity: &str| {
        list.iter().map(|it| it.said_of("f", severity)).collect::<Vec<_>>().join("\n")
    };
    (say(&found.errors, "error"), format!("{}\n{}", report.warnings, say(&found.warnings, "warning")))
}

#[test]
fn start_up_configurations_are_judged_and_soon() {
    for (path, text) in files("startup") {
        let name = path.display();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        let started = Instant::now();
        let (errors, warnings) = check(&text);
        assert!(started.elapsed() < PATIENCE, "{name} took {:?}", started.elapsed());
        match expected.split_once(": ") {
            None if expected == "ok" => assert_eq!((errors.trim(), warnings.trim()), ("", ""), "{name}"),
            Some(("warning", part)) => {
                assert!(errors.is_empty() && warnings.contains(part), "{name}: {errors}{warnings}");
            }
            Some(("error", part)) => assert!(errors.contains(part), "{name}: {errors}"),
            _ => panic!("{name}: expected '# ok', '# warning: ...' or '# error: ...' in the first line"),
        }
    }
}

#[test]
fn a_configuration_of_a_quarter_of_a_million_braces_ends() {
    for text in ["{".repeat(250_000), "}".repeat(250_000), "{}".repeat(125_000), "unix{}".repeat(40_000)] {
        let started = Instant::now();
        let (errors, _) = check(&text);
        assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
        assert!(errors.len() < 200_000, "{} bytes of complaints", errors.len());
    }
}

#[test]
fn commands_are_answered_as_their_files_say() {
    for (path, text) in files("commands") {
        let name = path.display();
        let mut bed = Bed::new("", 1);
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')).peekable();
        while let Some((number, command)) = lines.next() {
            let started = Instant::now();
            let is_check = |line: &str| line.starts_with("= ") || line.starts_with("! ");
            let check = lines.next_if(|(_, line)| is_check(line)).map(|(_, line)| line.split_at(2));
            let place = format!("{name}:{}: {command}", number + 1);
            match check {
                Some(("! ", part)) => {
                    let said = bed.refusal(command).to_string();
                    assert!(said.contains(part), "{place}\nis refused with: {said}");
                }
                Some((_, part)) => {
                    let said = bed.text(command);
                    assert!(said.contains(part), "{place}\nsays: {said}");
                }
                None => drop(bed.text(command)),
            }
            assert!(started.elapsed() < PATIENCE, "{place}\ntook {:?}", started.elapsed());
        }
    }
}

#[test]
fn a_stats_segment_that_is_too_small_is_a_sentence_at_any_size() {
    let make = |kilobytes: u64| {
        let mut config = Config::default();
        config.statseg.size.0 = kilobytes << 10;
        config.buffers.per_numa = std::num::NonZeroU32::new(1024).unwrap();
        config
    };
    // From far too small for the first table to enough for all that is made below; around the end of what the start takes, in
    // small steps, since it is there that what comes later meets a full segment.
    let mut ended = 0;
    for kilobytes in (1024..6000).step_by(700).chain((6080..6500).step_by(28)) {
        let Some(mut bed) = Bed::of(make(kilobytes)) else {
            ended += 1;
            continue;
        };
        for command in
            (0..24).map(|_| "create loopback interface").chain(["create packet-generator interface pg0"])
        {
            // Refused or not: it must say so.
            let _ = bed.execute(command);
        }
        let names: Vec<String> =
            bed.dataplane.interfaces().iter().map(|(_, interface)| interface.name.clone()).collect();
        for name in names {
            delete(&mut bed.dataplane, &name);
        }
        // What went has left its room.
        bed.rest();
        let _ = bed.execute("create loopback interface");
    }
    assert!(ended > 0, "a segment of a megabyte holds no dataplane");
}

fn delete(dataplane: &mut Dataplane, name: &str) {
    if let Some(index) = dataplane.interfaces().find(name) {
        dataplane.delete_interface(index).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

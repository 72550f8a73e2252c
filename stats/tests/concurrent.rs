// SPDX-License-Identifier: Apache-2.0
//! Readers, workers and the writer at the same time, through separate mappings of the same memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use weft_stats::{Combined, Counter, ReadError, Reader, Segment, StatsError, ThreadIndex, Value};

fn reader(segment: &Segment) -> Reader {
    Reader::from_fd(segment.fd().try_clone_to_owned().expect("a descriptor is free")).expect("sound")
}

#[test]
fn counts_of_several_workers_add_up() {
    const WORKERS: u16 = 3;
    const PACKETS: u64 = 200_000;
    let mut segment = Segment::new(1 << 20, 1 + usize::from(WORKERS)).expect("1 MiB can be mapped");
    let rx = segment.combined("/if/rx", 4, 4).expect("there is room");
    thread::scope(|scope| {
        for worker in 1..=WORKERS {
            let row = rx.row(ThreadIndex(worker));
            scope.spawn(move || {
                for packet in 0..PACKETS {
                    row.add(packet as usize % 4, 1, 60);
                }
            });
        }
    });
    let expected = PACKETS / 4 * u64::from(WORKERS);
    for index in 0..4 {
        assert_eq!(rx.sum(index), Combined { packets: expected, bytes: expected * 60 });
    }
}

/// The writer changes lengths, names, symlinks and whole entries, each time together; a reader must
/// never see half of it.
#[test]
fn readers_see_whole_steps_only() {
    const STEPS: usize = 3_000;
    const CAPACITY: usize = 16;
    let mut segment = Segment::new(1 << 20, 3).expect("1 MiB can be mapped");
    let readers = [reader(&segment), reader(&segment)];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        let watchers: Vec<_> =
            readers.iter().map(|reader| scope.spawn(move || watch(reader, done))).collect();
        let result = change(&mut segment, STEPS, CAPACITY);
        done.store(true, Ordering::Relaxed);
        let seen: usize =
            watchers.into_iter().map(|watcher| watcher.join().expect("a reader saw half a step")).sum();
        result.expect("the segment is large enough");
        assert!(seen > 10, "the readers hardly got a word in: {seen} dumps");
    });
}

fn change(segment: &mut Segment, steps: usize, capacity: usize) -> Result<(), StatsError> {
    let names = segment.names("/if/names", capacity)?;
    let drops = segment.simple("/if/drops", 0, capacity)?;
    let mut rx = segment.combined("/if/rx", 0, capacity)?;
    let mut links = Vec::new();
    for step in 0..steps {
        let len = 1 + step % capacity;
        segment.update(|update| {
            links.drain(..).for_each(|link| update.remove(link));
            update.remove(rx.entry());
            rx = update.combined("/if/rx", len, capacity)?;
            update.set_len(&drops, len)?;
            update.set_len(&names, len)?;
            for index in 0..len {
                update.set_name(&names, index, &format!("{step}{}", "x".repeat(step % 90)))?;
                links.push(update.symlink(&format!("/link/{index}"), rx.entry(), index as u32)?);
            }
            Ok::<(), StatsError>(())
        })?;
        // As a worker does, into the row of the vector of this step.
        rx.row(ThreadIndex(1)).set(0, Combined { packets: step as u64, bytes: 0 });
        // The writer has pauses between its steps, as in life.
        if step % 8 == 0 {
            thread::sleep(Duration::from_micros(100));
        }
    }
    Ok(())
}

/// Dumps until told to stop, and checks what belongs together. Returns how often.
fn watch(reader: &Reader, done: &AtomicBool) -> usize {
    let started = Instant::now();
    let mut seen = 0;
    let mut heartbeat = Counter::new("/sys/heartbeat");
    while !done.load(Ordering::Relaxed) && started.elapsed() < Duration::from_secs(20) {
        let dump = match reader.dump("") {
            Ok(dump) => dump,
            // The writer's pauses may all fall between this thread's turns on a loaded machine.
            Err(ReadError::Busy { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let value = |name: &str| dump.iter().find(|(found, _)| found == name).map(|(_, value)| value);
        let Some(Value::Names(names)) = value("/if/names") else { continue };
        if names.is_empty() {
            continue; // before the first step
        }
        let Some(Value::Simple(drops)) = value("/if/drops") else { panic!("no /if/drops in {dump:?}") };
        let Some(Value::Combined(rx)) = value("/if/rx") else { panic!("no /if/rx in {dump:?}") };
        assert!(names.iter().all(|name| *name == names[0]), "names of two steps: {names:?}");
        assert!(drops.len() == 3 && drops.iter().all(|row| row.len() == names.len()), "{names:?} {drops:?}");
        assert!(rx.len() == 3 && rx.iter().all(|row| row.len() == names.len()), "{names:?} {rx:?}");
        let links = dump.iter().filter(|(name, _)| name.starts_with("/link/")).count();
        assert_eq!(links, names.len());
        let step = names[0].trim_end_matches('x');
        let counted = rx[1][0].packets;
        assert!(counted == 0 || counted.to_string() == step, "the row of another step: {counted} in {step}");
        match reader.read(&mut heartbeat) {
            Ok(value) => assert_eq!(value, Value::Scalar(0)),
            Err(ReadError::Busy { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        seen += 1;
    }
    seen
}

#[test]
fn a_counter_is_found_again_after_it_moved() {
    let mut segment = Segment::new(1 << 20, 1).expect("1 MiB can be mapped");
    let reader = reader(&segment);
    let mut counter = Counter::new("/wanted");
    let absent = |result| matches!(result, Err(ReadError::NotFound { name }) if name == "/wanted");
    assert!(absent(reader.read(&mut counter)));
    let first = segment.scalar("/other").expect("there is room");
    let wanted = segment.scalar("/wanted").expect("there is room");
    wanted.set(1);
    assert_eq!(reader.read(&mut counter).expect("sound"), Value::Scalar(1));
    segment.update(|update| {
        update.remove(wanted.entry());
        update.remove(first.entry());
        // The vacant slots are taken in reverse order, so the two change places.
        update.scalar("/wanted").expect("there is room").set(2);
        update.scalar("/other").expect("there is room").set(3);
    });
    assert_eq!(reader.read(&mut counter).expect("sound"), Value::Scalar(2));
    // The daemon restarted: another segment, with another structure under the same epoch.
    let mut restarted = Segment::new(1 << 20, 1).expect("1 MiB can be mapped");
    let other = self::reader(&restarted);
    assert!(absent(other.read(&mut counter)));
    restarted.scalar("/wanted").expect("there is room").set(4);
    assert_eq!(other.read(&mut counter).expect("sound"), Value::Scalar(4));
}

#[test]
fn a_selection_follows_the_structure_and_the_values() {
    let mut segment = Segment::new(1 << 20, 2).expect("1 MiB can be mapped");
    let reader = reader(&segment);
    let drops = segment.simple("/if/drops", 1, 4).expect("there is room");
    let mut selection = reader.select(&["^/if/", "^/i/"]);
    let expected = |values: &[u64]| Value::Simple(vec![values.to_vec(), values.to_vec()]);
    assert_eq!(selection.read().expect("sound"), [("/if/drops".to_owned(), expected(&[0]))]);
    let rows = [0, 1].map(|thread| drops.row(ThreadIndex(thread)));
    let count = |index: usize| rows.iter().for_each(|row| row.add(index, 7));
    count(0);
    assert_eq!(selection.read().expect("sound")[0].1, expected(&[7]));
    segment.set_len(&drops, 3).expect("the capacity is 4");
    segment.symlink("/i/2", drops.entry(), 2).expect("there is room");
    segment.scalar("/other").expect("there is room");
    count(2);
    let column = ("/i/2".to_owned(), Value::SimpleColumn(vec![7, 7]));
    assert_eq!(
        selection.read().expect("sound"),
        [("/if/drops".to_owned(), expected(&[7, 0, 7])), column.clone()]
    );
    assert_eq!(selection.read().expect("sound"), reader.dump("/i").expect("sound"));
    segment.remove(drops.entry());
    assert_eq!(selection.read().expect("sound"), []);
    assert_eq!(reader.select(&[]).read().expect("sound"), reader.dump("").expect("sound"));
}

#[test]
fn patterns_match_anywhere_unless_tied() {
    let mut segment = Segment::new(1 << 20, 1).expect("1 MiB can be mapped");
    for name in ["/if/rx", "/x/if/rx-miss", "/err/if/"] {
        segment.scalar(name).expect("there is room");
    }
    let reader = reader(&segment);
    let ls = |patterns: &[&str]| reader.ls(patterns).expect("sound");
    assert_eq!(ls(&["/if/"]), ["/if/rx", "/x/if/rx-miss", "/err/if/"]);
    assert_eq!(ls(&["^/if/"]), ["/if/rx"]);
    assert_eq!(ls(&["rx$"]), ["/if/rx"]);
    assert_eq!(ls(&["^/err/if/$", "-miss"]), ["/x/if/rx-miss", "/err/if/"]);
    assert_eq!(ls(&["nothing"]), [""; 0]);
    assert_eq!(ls(&[]).len(), 6);
}

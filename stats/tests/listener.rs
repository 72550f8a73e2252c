// SPDX-License-Identifier: Apache-2.0
//! The hand-over over the socket, with real processes' habits: stale files, several clients, clients
//! that hang up.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use weft_sockets::BindError;
use weft_stats::{ReadError, Reader, Segment, ServerError, StatsListener, Value};

/// A directory of its own, removed at the end also when the test fails.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("weft-stats-{test}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        Dir(dir)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("stats.sock")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn segment() -> Segment {
    Segment::new(64 << 10, 1).expect("64 KiB can be mapped")
}

/// Serves `clients` clients.
fn serve(listener: &StatsListener, segment: &Segment, clients: usize) {
    let started = Instant::now();
    let mut served = 0;
    while served < clients {
        assert!(started.elapsed() < Duration::from_secs(5), "served {served} of {clients} clients");
        match listener.accept_and_send(segment.fd()).expect("the listener works") {
            Some(client) => {
                assert_eq!(client.pid, std::process::id() as i32);
                served += 1;
            }
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[test]
fn clients_map_the_segment_that_is_served() {
    let dir = Dir::new("serve");
    let segment = segment();
    segment.heartbeat().set(41);
    let listener = StatsListener::bind(dir.socket(), None).expect("the path is free");
    assert!(
        listener.accept_and_send(segment.fd()).expect("the listener works").is_none(),
        "nobody waits, and it returns"
    );
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| Reader::connect(dir.socket()))).collect();
        serve(&listener, &segment, 4);
        for client in clients {
            let reader = client.join().expect("no panic").expect("connected");
            let dump = reader.dump("/sys/heartbeat").expect("sound");
            assert_eq!(dump, [("/sys/heartbeat".to_owned(), Value::Scalar(41))]);
            segment.heartbeat().set(42);
            let dump = reader.dump("/sys/heartbeat").expect("sound");
            assert_eq!(dump, [("/sys/heartbeat".to_owned(), Value::Scalar(42))], "it is the same memory");
            segment.heartbeat().set(41);
        }
    });
}

#[test]
fn the_socket_file_is_group_writable_and_removed_at_the_end() {
    let dir = Dir::new("mode");
    let listener = StatsListener::bind(dir.socket(), None).expect("the path is free");
    let file = fs::symlink_metadata(dir.socket()).expect("it exists");
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    drop(listener);
    assert!(!dir.socket().exists());
}

#[test]
fn a_file_that_took_our_place_is_not_removed() {
    let dir = Dir::new("replaced");
    let listener = StatsListener::bind(dir.socket(), None).expect("the path is free");
    // Kept under another name, so that its inode number is not used again.
    fs::rename(dir.socket(), dir.0.join("old")).expect("it exists");
    let successor = StatsListener::bind(dir.socket(), None).expect("the path is free");
    drop(listener);
    assert!(dir.socket().exists());
    drop(successor);
    assert!(!dir.socket().exists());
}

#[test]
fn a_stale_socket_file_is_replaced_and_a_live_one_refused() {
    let dir = Dir::new("stale");
    {
        let dead =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        bind(dead.as_raw_fd(), &UnixAddr::new(&dir.socket()).expect("short path")).expect("the path is free");
        listen(&dead, Backlog::new(1).expect("small")).expect("bound");
    }
    assert!(dir.socket().exists(), "a process that dies leaves the file");
    let live = StatsListener::bind(dir.socket(), None).expect("nobody listens there");
    let error = StatsListener::bind(dir.socket(), None).err().expect("refused");
    assert!(matches!(&error, ServerError::Bind(BindError::InUse(path)) if *path == dir.socket()), "{error}");
    assert!(dir.socket().exists(), "the refused one removed nothing");
    drop(live);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = Dir::new("file");
    fs::write(dir.socket(), "precious").expect("writable");
    let error = StatsListener::bind(dir.socket(), None).err().expect("refused");
    assert!(matches!(error, ServerError::Bind(BindError::NotASocket(_))), "{error}");
    assert_eq!(fs::read_to_string(dir.socket()).expect("still there"), "precious");
}

#[test]
fn clients_that_hang_up_disturb_nobody() {
    let dir = Dir::new("hangup");
    let segment = segment();
    let listener = StatsListener::bind(dir.socket(), None).expect("the path is free");
    for _ in 0..10 {
        let hasty =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        connect(hasty.as_raw_fd(), &UnixAddr::new(&dir.socket()).expect("short path")).expect("it listens");
    }
    thread::scope(|scope| {
        let client = scope.spawn(|| Reader::connect(dir.socket()));
        serve(&listener, &segment, 11);
        client.join().expect("no panic").expect("connected");
    });
}

#[test]
fn a_reader_reports_who_does_not_answer() {
    let dir = Dir::new("mute");
    let absent = Reader::connect(dir.socket()).err().expect("nobody listens");
    assert!(matches!(&absent, ReadError::Connect { path, .. } if *path == dir.socket()), "{absent}");
    let _mute = StatsListener::bind(dir.socket(), None).expect("the path is free");
    let started = Instant::now();
    let mute = Reader::connect(dir.socket()).err().expect("nobody answers");
    assert!(matches!(mute, ReadError::Connect { .. }), "{mute}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

/// How many descriptors of this process refer to the segment.
fn descriptors(segment: &Segment) -> usize {
    let file = |fd: &PathBuf| fs::metadata(fd).map(|file| (file.dev(), file.ino())).ok();
    let ours = file(&PathBuf::from(format!("/proc/self/fd/{}", segment.fd().as_raw_fd())));
    let all = fs::read_dir("/proc/self/fd").expect("procfs is mounted");
    all.flatten().filter(|entry| file(&entry.path()) == ours).count()
}

#[test]
fn the_handed_over_descriptor_is_closed_once_it_is_mapped() {
    let dir = Dir::new("leak");
    let segment = segment();
    let listener = StatsListener::bind(dir.socket(), None).expect("the path is free");
    let readers: Vec<Reader> = (0..5)
        .map(|_| {
            thread::scope(|scope| {
                let client = scope.spawn(|| Reader::connect(dir.socket()));
                serve(&listener, &segment, 1);
                client.join().expect("no panic").expect("connected")
            })
        })
        .collect();
    assert_eq!(descriptors(&segment), 1, "the segment's own");
    drop(readers);
}

// SPDX-License-Identifier: Apache-2.0
//! A segment as the daemon's, served by a thread, and the real `weftctl` against it.

use std::{
    path::PathBuf,
    process::Command as Process,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

use weft_stats::{Segment, StatsListener, ThreadIndex};

/// How often the thread looks for clients.
const LOOK: Duration = Duration::from_millis(2);

/// A directory for a test. It goes with it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weftctl-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("stats.sock")
    }

    /// `weftctl` for the segment that is served here.
    pub fn weftctl(&self) -> Process {
        let mut process = Process::new(env!("CARGO_BIN_EXE_weftctl"));
        process.env("WEFT_STATS_SOCKET", self.socket()).env("TERM", "xterm");
        process
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The daemon, as far as its counters are concerned. They go on counting.
pub struct Daemon {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Serves a segment with two interfaces, of which `p0` receives, and three nodes.
    pub fn start(folder: &Folder) -> Self {
        Self::busy(folder, usize::MAX)
    }

    /// Has time for some clients only.
    pub fn busy(folder: &Folder, mut clients: usize) -> Self {
        let listener = StatsListener::bind(folder.socket(), None).unwrap();
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut segment = Segment::new(1 << 20, 2).unwrap();
            let worker = fill(&mut segment);
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
                worker();
                while clients > 0 && listener.accept_and_send(segment.fd()).unwrap().is_some() {
                    clients -= 1;
                }
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        let joined = self.thread.take().expect("set until dropped").join();
        assert!(joined.is_ok() || thread::panicking(), "the daemon panicked");
    }
}

/// Makes the entries; what it returns counts one vector of packets.
fn fill(segment: &mut Segment) -> impl Fn() + use<> {
    let names = |segment: &mut Segment, name: &str, texts: &[&str]| {
        let vector = segment.names(name, texts.len()).unwrap();
        for (index, text) in texts.iter().enumerate() {
            segment.set_name(&vector, index, text).unwrap();
        }
        segment.set_len(&vector, texts.len()).unwrap();
    };
    names(segment, "/if/names", &["local0", "p0"]);
    names(segment, "/sys/node/names", &["drop", "ip4-input", "ip4-lookup"]);
    names(segment, "/sys/reason/names", &["ip4-lookup/no-route", "ip4-input/ttl"]);
    names(segment, "/sys/reason/sentences", &["no route to the destination", "time to live exceeded"]);
    names(segment, "/sys/reason/kinds", &["drop", "drop"]);
    let rx = segment.combined("/if/rx", 2, 2).unwrap().row(ThreadIndex(1));
    let drops = segment.simple("/if/drops", 2, 2).unwrap().row(ThreadIndex(1));
    let calls = segment.simple("/sys/node/calls", 3, 3).unwrap().row(ThreadIndex(1));
    let vectors = segment.simple("/sys/node/vectors", 3, 3).unwrap().row(ThreadIndex(1));
    let clocks = segment.simple("/sys/node/clocks", 3, 3).unwrap().row(ThreadIndex(1));
    let reasons = segment.simple("/node/errors", 2, 2).unwrap().row(ThreadIndex(1));
    let workers = segment.simple("/sys/workers", 4, 4).unwrap().row(ThreadIndex(1));
    move || {
        rx.add(1, 100, 6000);
        drops.add(1, 10);
        reasons.add(0, 10);
        for (node, packets, cost) in [(0, 10, 5), (1, 100, 20), (2, 100, 40)] {
            calls.add(node, 1);
            vectors.add(node, packets);
            clocks.add(node, packets * cost);
        }
        for (column, n) in [(0, 2), (1, 1), (2, 1), (3, 100 * 70)] {
            workers.add(column, n);
        }
    }
}

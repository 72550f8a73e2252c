// SPDX-License-Identifier: Apache-2.0
//! The exporter in front of segments that come and go, asked over HTTP.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use weft_exporter::metrics::Detail;
use weft_exporter::server::Exporter;
use weft_stats::{Segment, StatsListener, ThreadIndex};

const WORKER: ThreadIndex = ThreadIndex(1);
/// A name with everything that the formats have to escape.
const ODD: &str = "a\"<b>&\\'x\n";

/// A directory of its own, removed at the end also when the test fails.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("weft-exporter-{}-{serial}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
        Dir(dir)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("stats.sock")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Does what the daemon does for its statistics while `body` runs.
fn with_daemon<R>(dir: &Dir, mut segment: Segment, body: impl FnOnce() -> R) -> R {
    fill(&mut segment);
    with_segment(dir, segment, |_| (), body)
}

/// As [`with_daemon`]; calls `pass` every few milliseconds.
fn with_segment<R>(
    dir: &Dir,
    segment: Segment,
    mut pass: impl FnMut(&Segment) + Send,
    body: impl FnOnce() -> R,
) -> R {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    let listener = StatsListener::bind(dir.socket(), None).expect("the path is free");
    thread::scope(|scope| {
        let stopped = &stop;
        scope.spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                listener.accept_and_send(segment.fd()).expect("the listener works");
                segment.heartbeat().set(segment.heartbeat().get() + 1);
                pass(&segment);
                thread::sleep(Duration::from_millis(2));
            }
        });
        let _stop = Stop(&stop);
        body()
    })
}

fn segment() -> Segment {
    Segment::new(1 << 20, 2).expect("1 MiB can be mapped")
}

fn name(segment: &mut Segment, entry: &str, texts: &[&str]) {
    segment.update(|update| {
        let names = update.names(entry, texts.len()).expect("there is room");
        update.set_len(&names, texts.len()).expect("that is its capacity");
        for (index, text) in texts.iter().enumerate() {
            update.set_name(&names, index, text).expect("there is room");
        }
    });
}

fn count(segment: &mut Segment, entry: &str, values: &[u64]) {
    let row = segment.simple(entry, values.len(), values.len()).expect("there is room").row(WORKER);
    values.iter().enumerate().for_each(|(index, value)| row.add(index, *value));
}

/// Every entry that the exporter knows.
fn fill(segment: &mut Segment) {
    name(segment, "/if/names", &["p0", ODD]);
    for entry in ["/if/rx", "/if/tx"] {
        let row = segment.combined(entry, 2, 2).expect("there is room").row(WORKER);
        row.add(0, 3, 180);
        row.add(1, 5, 300);
    }
    for entry in ["drops", "punt", "ip4", "ip6", "rx-no-buf", "rx-miss", "rx-error", "tx-error"] {
        count(segment, &format!("/if/{entry}"), &[1, 2]);
    }
    name(segment, "/sys/node/names", &["ip4-input", "ip4-lookup", "drop", ODD, "idle-node"]);
    for (entry, values) in
        [("calls", [2, 2, 1, 1, 0]), ("vectors", [8, 7, 1, 1, 0]), ("clocks", [800, 70, 10, 10, 0])]
    {
        count(segment, &format!("/sys/node/{entry}"), &values);
    }
    let odd_edge = format!("ip4-lookup {ODD}");
    name(segment, "/sys/edge/names", &["ip4-input ip4-lookup", "ip4-lookup drop", &odd_edge]);
    count(segment, "/sys/edge/packets", &[7, 1, 1]);
    name(segment, "/sys/reason/names", &["ip4-lookup/no_route"]);
    name(segment, "/sys/reason/sentences", &["no route to \"there\""]);
    name(segment, "/sys/reason/severities", &["error"]);
    name(segment, "/sys/reason/kinds", &["drop"]);
    count(segment, "/node/errors", &[1]);
    count(segment, "/sys/workers", &[100, 60, 5, 4000]);
    segment.scalar("/sys/clocks_per_second").expect("there is room").set(2_600_000_000);
    for (level, buffers) in [("used", 10), ("cached", 20), ("available", 30)] {
        let gauge = segment.scalar(&format!("/buffer-pools/default-numa-0/{level}"));
        gauge.expect("there is room").set(buffers);
    }
    count(segment, "/mem/main heap", &[0; 7]);
}

/// An exporter of its own for the socket in `dir`; ends with the test process.
fn exporter(dir: &Dir, detail: Detail) -> SocketAddr {
    let exporter = Exporter::new(dir.socket(), detail);
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            send.send(listener.local_addr().expect("it is bound")).expect("the test waits");
            let router = exporter.router();
            tokio::join!(exporter.sample(), async { axum::serve(listener, router).await })
        })
    });
    receive.recv().expect("the exporter has started")
}

/// Status, headers in lower case, and body.
fn get(address: SocketAddr, path: &str, accept: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).expect("the exporter listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a socket");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAccept: {accept}\r\n\r\n")
        .expect("the exporter reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the exporter answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends so");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), head.to_ascii_lowercase(), body.to_owned())
}

fn metrics(address: SocketAddr) -> String {
    let (status, _, body) = get(address, "/metrics", "*/*");
    assert_eq!(status, 200);
    body
}

/// Waits until `look` gives something.
fn until<R>(what: &str, mut look: impl FnMut() -> Option<R>) -> R {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{what} in 30 s");
        thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "no line {line:?} in:\n{text}");
    }
}

#[test]
fn a_scrape_has_what_was_counted() {
    let dir = Dir::new();
    let address = exporter(&dir, Detail::Sums);
    with_daemon(&dir, segment(), || {
        let (status, head, text) = get(address, "/metrics", "*/*");
        assert_eq!(status, 200);
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert_lines(
            &text,
            &[
                "weft_up 1",
                "weft_clock_hertz 2600000000",
                "# TYPE weft_interface_receive_packets_total counter",
                "weft_interface_receive_packets_total{interface=\"p0\"} 3",
                "weft_interface_receive_bytes_total{interface=\"p0\"} 180",
                "weft_interface_transmit_bytes_total{interface=\"a\\\"<b>&\\\\'x\\n\"} 300",
                "weft_interface_receive_missed_total{interface=\"p0\"} 1",
                "weft_node_clocks_total{node=\"ip4-input\"} 800",
                "weft_edge_packets_total{from=\"ip4-lookup\",to=\"drop\"} 1",
                "weft_node_errors_total{node=\"ip4-lookup\",reason=\"no_route\",severity=\"error\",kind=\"drop\"} 1",
                "weft_node_error_info{node=\"ip4-lookup\",reason=\"no_route\",sentence=\"no route to \\\"there\\\"\"} 1",
                "weft_worker_idle_turns_total{thread=\"1\"} 60",
                "weft_buffers{pool=\"default-numa-0\",state=\"cached\"} 20",
                "weft_memory_size_bytes{memory=\"main heap\"} 0",
            ],
        );
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "not in this format:\n{text}");

        let (_, head, text) = get(address, "/metrics", "application/openmetrics-text;version=1.0.0");
        let expected = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(head.contains(expected), "{head}");
        assert_lines(
            &text,
            &[
                "# TYPE weft_interface_receive_bytes counter",
                "# UNIT weft_interface_receive_bytes bytes",
                "weft_interface_receive_bytes_total{interface=\"p0\"} 180",
                "# TYPE weft_node_error info",
            ],
        );
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        assert_eq!(get(address, "/nothing", "*/*").0, 404);
    });
}

#[test]
fn threads_are_told_apart_if_wanted() {
    let dir = Dir::new();
    let address = exporter(&dir, Detail::Threads);
    with_daemon(&dir, segment(), || {
        assert_lines(
            &metrics(address),
            &[
                "weft_interface_receive_packets_total{interface=\"p0\",thread=\"0\"} 0",
                "weft_interface_receive_packets_total{interface=\"p0\",thread=\"1\"} 3",
                "weft_node_errors_total{node=\"ip4-lookup\",reason=\"no_route\",severity=\"error\",kind=\"drop\",thread=\"1\"} 1",
            ],
        );
    });
}

#[test]
fn what_the_segment_lacks_is_left_out() {
    let dir = Dir::new();
    let address = exporter(&dir, Detail::Sums);
    let mut bare = segment();
    name(&mut bare, "/if/names", &["p0"]);
    count(&mut bare, "/if/drops", &[4]);
    with_segment(
        &dir,
        bare,
        |_| (),
        || {
            let text = metrics(address);
            assert_lines(&text, &["weft_up 1", "weft_interface_drops_total{interface=\"p0\"} 4"]);
            let families = text.lines().filter(|line| line.starts_with("# TYPE")).count();
            assert_eq!(families, 5, "up, build, start, heartbeats, drops:\n{text}");
        },
    );
}

#[test]
fn daemons_may_come_and_go() {
    let dir = Dir::new();
    let address = exporter(&dir, Detail::Sums);
    let down = || {
        let text = metrics(address);
        assert_lines(&text, &["weft_up 0"]);
        assert!(!text.contains("weft_interface"), "old figures are gone:\n{text}");
        let page = until("the page says so", || {
            Some(get(address, "/", "*/*").2).filter(|page| page.contains("No such file"))
        });
        assert!(page.contains("class=\"state down\""), "{page}");
    };
    down();
    for run in 1..=3 {
        let mut segment = segment();
        name(&mut segment, "/if/names", &["p0"]);
        count(&mut segment, "/if/drops", &[run]);
        with_segment(
            &dir,
            segment,
            |_| (),
            || {
                let line = format!("weft_interface_drops_total{{interface=\"p0\"}} {run}");
                assert_lines(&metrics(address), &["weft_up 1", &line]);
            },
        );
        down();
    }
}

#[test]
fn a_main_thread_that_hangs_hides_nothing() {
    let dir = Dir::new();
    let address = exporter(&dir, Detail::Sums);
    let mut segment = segment();
    fill(&mut segment);
    let listener = StatsListener::bind(dir.socket(), None).expect("the path is free");
    thread::scope(|scope| {
        let first = scope.spawn(|| metrics(address));
        until("the exporter connects", || listener.accept_and_send(segment.fd()).expect("it works"));
        assert_lines(&first.join().expect("no panic"), &["weft_up 1"]);
    });
    // From here on nobody accepts, and no heart beats.
    let started = Instant::now();
    while started.elapsed() < weft_exporter::source::SILENCE * 2 {
        assert_lines(&metrics(address), &["weft_up 1"]);
        thread::sleep(Duration::from_millis(200));
    }
}

/// The text between `before` and the next quote, wherever it occurs.
fn values<'a>(html: &'a str, before: &'a str) -> Vec<&'a str> {
    html.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_page_draws_what_goes_on() {
    const ESCAPED: &str = "a&quot;&lt;b&gt;&amp;\\&#39;x\n";
    let dir = Dir::new();
    let address = exporter(&dir, Detail::Sums);
    let mut segment = segment();
    fill(&mut segment);
    with_segment(
        &dir,
        segment,
        |_| (),
        || {
            let html = until("the page is up", || {
                Some(get(address, "/", "text/html").2).filter(|html| html.contains("class=\"state up\""))
            });
            assert_eq!(values(&html, "data-node=\""), [ESCAPED, "ip4-input", "ip4-lookup"]);
            let edges: BTreeSet<_> =
                values(&html, "data-from=\"").into_iter().zip(values(&html, "data-to=\"")).collect();
            let expected = [("ip4-input", "ip4-lookup"), ("ip4-lookup", ESCAPED)];
            assert_eq!(edges, expected.into_iter().collect());
            assert!(html.contains("no route to &quot;there&quot; (1 in all)"), "{html}");
            assert!(html.contains("1 dropped so far"), "{html}");
            assert!(!html.contains(ODD), "unescaped");
            let (_, head, all) = get(address, "/?all", "text/html");
            assert!(values(&all, "data-node=\"").contains(&"idle-node"));
            assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
        },
    );
}

#[test]
fn rates_and_widths_follow_the_traffic() {
    let dir = Dir::new();
    let address = exporter(&dir, Detail::Sums);
    let mut segment = segment();
    name(&mut segment, "/sys/node/names", &["from", "to", "drop"]);
    let mut vector = |entry: &str| segment.simple(entry, 3, 3).expect("there is room").row(WORKER);
    let (calls, vectors, clocks) =
        (vector("/sys/node/calls"), vector("/sys/node/vectors"), vector("/sys/node/clocks"));
    name(&mut segment, "/sys/edge/names", &["from to", "from drop"]);
    let edges = segment.simple("/sys/edge/packets", 2, 2).expect("there is room").row(WORKER);
    let load = AtomicU32::new(1);
    let offered = &load;
    let run = move |_: &Segment| {
        let load = u64::from(offered.load(Ordering::Relaxed));
        if load == 0 {
            return;
        }
        for node in 0..3 {
            calls.add(node, 1);
            vectors.add(node, load * 10);
            clocks.add(node, load * 1000);
        }
        edges.add(0, load * 10);
        edges.add(1, load);
    };
    with_segment(&dir, segment, run, || {
        let edge = || -> Option<(f64, f64)> {
            let html = get(address, "/", "text/html").2;
            let rate = values(&html, "data-rate=\"").first()?.parse().expect("a number");
            let width = values(&html, "style=\"stroke-width:").first()?.split("px").next()?.parse();
            Some((rate, width.expect("a number")))
        };
        let html = until("traffic is seen", || {
            Some(get(address, "/", "text/html").2).filter(|html| html.contains("edge busy"))
        });
        // A sample may fall between the counts of one pass.
        for (unit, expected) in [(" clocks/packet", 100.0), (" vectors/call", 10.0)] {
            let figures: Vec<f64> =
                html.split(unit).filter_map(|text| text.rsplit('>').next()?.parse().ok()).collect();
            let near = |figure: &f64| (figure / expected - 1.0).abs() < 0.1;
            assert!(figures.len() == 2 && figures.iter().all(near), "{unit}: {figures:?}");
        }
        assert!(html.contains("class=\"drops\""), "{html}");
        let (slow, narrow) = edge().expect("there is an edge");
        assert!(slow > 0.0);
        load.store(100, Ordering::Relaxed);
        let (fast, wide) = until("more traffic is seen", || edge().filter(|(rate, _)| *rate > slow * 20.0));
        assert!(wide > narrow * 1.3, "{slow} {narrow} {fast} {wide}");
        load.store(0, Ordering::Relaxed);
        until("its end is seen", || edge().filter(|(rate, width)| *rate == 0.0 && *width < narrow));
    });
}

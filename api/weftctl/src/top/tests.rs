// SPDX-License-Identifier: Apache-2.0
//! Screens of made-up tables, on terminals of all sizes.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use weft_stats::{
    ThreadIndex,
    tables::{BufferPool, Interface, Node, PerThread, Reason, Snapshot, System, Tables, Worker},
};

use super::{
    app::{App, Ask},
    frame::{Frame, Order},
    screen,
    table::{Pane, text},
};

const BOOT: Duration = Duration::from_secs(1_000_000);

fn per_thread(count: u64) -> PerThread {
    [0, count].into_iter().collect()
}

fn interface(name: &str, rx: u64, tx: u64, drops: u64) -> Interface {
    let none = PerThread::default;
    Interface {
        name: name.to_owned(),
        state: "up".to_owned(),
        rx_packets: per_thread(rx),
        rx_bytes: per_thread(rx * 100),
        tx_packets: per_thread(tx),
        tx_bytes: per_thread(tx * 100),
        drops: per_thread(drops),
        punts: none(),
        ip4: none(),
        ip6: none(),
        rx_no_buffer: none(),
        rx_missed: none(),
        rx_errors: none(),
        tx_errors: none(),
    }
}

fn node(name: &str, calls: u64, vectors: u64, clocks: u64) -> Node {
    Node {
        name: name.to_owned(),
        calls: per_thread(calls),
        vectors: per_thread(vectors),
        clocks: per_thread(clocks),
    }
}

fn reason(node: &str, reason: &str, sentence: &str, count: u64) -> Reason {
    Reason {
        node: node.to_owned(),
        reason: reason.to_owned(),
        sentence: sentence.to_owned(),
        severity: "error".to_owned(),
        kind: "drop".to_owned(),
        count: per_thread(count),
    }
}

/// A daemon that has forwarded `n` vectors of 100 packets from p0 to p1 and lost a tenth of them.
fn snapshot(n: u64, taken: Instant) -> Snapshot {
    Snapshot {
        taken,
        system: System {
            boot_time: BOOT,
            heartbeat: n,
            version: Some("0.1.0".to_owned()),
            pid: Some(4242),
            clocks_per_second: Some(1_000_000),
            threads: vec!["weft_main".to_owned(), "weft_wk_0".to_owned()],
        },
        counters: Tables {
            interfaces: vec![
                interface("idle", 0, 0, 0),
                interface("p0", 100 * n, 0, 10 * n),
                interface("p1", 0, 90 * n, 0),
            ],
            nodes: vec![
                node("drop", n, 10 * n, 100 * n),
                node("ip4-input", n, 100 * n, 2000 * n),
                node("ip4-lookup", n, 100 * n, 3000 * n),
                node("never", 0, 0, 0),
            ],
            reasons: vec![
                reason("arp-input", "bad", "never seen", 0),
                reason("ip4-input", "ttl", "time to live exceeded", 7),
                reason("ip4-lookup", "no-route", "no route to the destination", 10 * n),
            ],
            edges: Vec::new(),
            workers: vec![Worker {
                thread: ThreadIndex(1),
                turns: 3 * n,
                idle_turns: n,
                sleeps: 2 * n,
                busy_clocks: 5000 * n,
            }],
        },
        pools: vec![BufferPool { name: "default-numa-0".to_owned(), cached: 10, used: 250, available: 740 }],
        memory: Vec::new(),
    }
}

fn wall(seconds: u64) -> Duration {
    BOOT + Duration::from_secs(seconds)
}

/// After two looks, ten vectors and two seconds apart.
fn frame() -> Frame {
    let start = Instant::now();
    Frame::new(&snapshot(10, start), &snapshot(20, start + Duration::from_secs(2)), wall(306))
}

fn app() -> App {
    let start = Instant::now();
    let mut app = App::new();
    app.look(snapshot(10, start), wall(304));
    app.look(snapshot(20, start + Duration::from_secs(2)), wall(306));
    app
}

/// Lines of a screen, without the blanks at their ends.
fn screen(app: &mut App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(app, frame.area(), frame.buffer_mut(), Instant::now())).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn press(app: &mut App, code: KeyCode) -> Ask {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn rates_shares_and_order() {
    let frame = frame();
    assert_eq!(frame.interval_seconds, 2.0);
    assert_eq!(frame.uptime_seconds, 306);
    let names: Vec<&str> = frame.interfaces.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["p0", "p1", "idle"], "the busiest first");
    let p0 = &frame.interfaces[0];
    assert_eq!((p0.rx.packets_per_second, p0.rx.bits_per_second), (500.0, 400_000.0));
    assert_eq!((p0.rx.total_packets, p0.total_drops), (2000, 200));
    assert_eq!((frame.rx.packets_per_second, frame.tx.packets_per_second), (500.0, 450.0));
    assert_eq!(frame.drops_per_second, 50.0);
    assert_eq!((frame.buffers.used, frame.buffers.total), (250, 1000));

    let names: Vec<&str> = frame.nodes.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["ip4-lookup", "ip4-input", "drop"], "what never ran is left out");
    let lookup = &frame.nodes[0];
    assert_eq!((lookup.vectors_per_call, lookup.clocks_per_packet), (Some(100.0), Some(30.0)));
    let share = lookup.share.unwrap();
    assert!((share - 3000.0 / 5100.0).abs() < 1e-9, "{share}");

    let drops: Vec<_> =
        frame.drops.iter().map(|row| (row.reason.as_str(), row.per_second, row.total)).collect();
    assert_eq!(drops, [("no-route", 50.0, 200), ("ttl", 0.0, 7)]);

    let worker = &frame.workers[0];
    assert_eq!(
        (worker.name.as_str(), worker.busy, worker.clocks_per_packet),
        ("weft_wk_0", Some(0.025), Some(50.0))
    );
    assert_eq!((worker.loops_per_second, worker.sleeps_per_second), (15.0, 10.0));
}

#[test]
fn what_ended_no_packet_is_no_drop() {
    let start = Instant::now();
    let snapshot = |n: u64, taken| {
        let mut snapshot = snapshot(n, taken);
        let event = Reason { kind: "event".to_owned(), ..reason("arp-reply", "replies_sent", "answered", n) };
        snapshot.counters.reasons.push(event);
        snapshot
    };
    let frame = Frame::new(&snapshot(0, start), &snapshot(10, start + Duration::from_secs(1)), wall(1));
    assert!(frame.drops.iter().all(|row| row.kind == "drop"), "{:?}", frame.drops);
    assert_eq!(frame.events.len(), 1);
    assert_eq!((frame.events[0].reason.as_str(), frame.events[0].per_second), ("replies_sent", 10.0));
}

#[test]
fn packets_of_sub_interfaces_are_counted_once() {
    let start = Instant::now();
    let snapshot = |n: u64, taken| {
        let mut snapshot = snapshot(n, taken);
        let names = ["eth0.100", "p0", "p0.100", "p0.x"];
        snapshot.counters.interfaces = names.map(|name| interface(name, n, n, 0)).to_vec();
        snapshot
    };
    let frame = Frame::new(&snapshot(0, start), &snapshot(10, start + Duration::from_secs(1)), wall(1));
    assert_eq!(frame.rx.packets_per_second, 30.0, "p0.100 is part of p0; eth0.100 and p0.x stand alone");
    assert_eq!((frame.tx.total_packets, frame.workers[0].packets_per_second), (30, 30.0));
    assert_eq!(frame.interfaces.len(), 4);
}

#[test]
fn a_first_look_has_no_rates() {
    let one = snapshot(10, Instant::now());
    let frame = Frame::new(&one, &one, wall(0));
    assert_eq!(frame.interval_seconds, 0.0);
    assert_eq!((frame.rx.packets_per_second, frame.rx.total_packets), (0.0, 1000));
    assert_eq!((frame.nodes[0].vectors_per_call, frame.workers[0].clocks_per_packet), (None, None));
}

#[test]
fn a_frame_as_text() {
    assert_eq!(
        text(&frame()),
        "weft 0.1.0  up 05:06  pid 4242\n\
         rx 500 pkt/s 400k bit/s  tx 450 pkt/s 360k bit/s  drops 50/s  buffers 25.0 % used\n\
         \n\
         Interfaces\n\
         Name  rx pkt/s  rx bit/s  tx pkt/s  tx bit/s  drops/s  State  rx total  tx total  drops total\n\
         p0         500      400k         0         0       50  up         2000         0          200\n\
         p1           0         0       450      360k        0  up            0      1800            0\n\
         idle         0         0         0         0        0  up            0         0            0\n\
         \n\
         Nodes\n\
         Name        pkt/s  calls/s  vectors/call  clocks/pkt  time %\n\
         ip4-lookup    500        5           100          30    58.8\n\
         ip4-input     500        5           100          20    39.2\n\
         drop           50        5            10          10     2.0\n\
         \n\
         Drops\n\
         /s  total  Node        Reason    Sentence\n\
         50    200  ip4-lookup  no-route  no route to the destination\n \
         0      7  ip4-input   ttl       time to live exceeded\n\
         \n\
         Workers\n\
         Thread     busy %  pkt/s  clocks/pkt  loops/s  sleeps/s\n\
         weft_wk_0     2.5    500          50       15        10\n\
         \n\
         Events\n\
         /s  total  Node  Event  Sentence\n"
    );
}

#[test]
fn a_full_screen() {
    let mut app = app();
    let lines = screen(&mut app, 80, 24);
    assert_eq!(lines[0], "weft 0.1.0  up 05:06  pid 4242  heartbeat 0 s ago");
    assert_eq!(lines[1], "rx 500 pkt/s 400k bit/s  tx 450 pkt/s 360k bit/s  drops 50/s  buffers 25.0 % use");
    assert_eq!(
        lines[2],
        format!("{:65}9 of 10 columns", "1 Interfaces  2 Nodes  3 Drops  4 Workers  5 Events")
    );
    assert_eq!(lines[3], "Name  rx pkt/s  rx bit/s  tx pkt/s  tx bit/s  drops/s  State  rx total  tx total");
    assert_eq!(lines[4], "p0         500      400k         0         0       50  up         2000         0");
    assert_eq!(lines[6], "idle         0         0         0         0        0  up            0         0");
    assert_eq!(lines[7], "");
    assert_eq!(lines[23], "q quit  Tab 1-5 pane  arrows scroll  s sorted by activity  p pause");
}

#[test]
fn keys_choose_what_is_shown() {
    let mut app = app();
    assert_eq!(press(&mut app, KeyCode::Tab), Ask::Nothing);
    assert!(screen(&mut app, 80, 24)[4].starts_with("ip4-lookup "));
    press(&mut app, KeyCode::Char('3'));
    assert_eq!(screen(&mut app, 80, 24)[4], "50    200  ip4-lookup  no-route  no route to the destination");
    press(&mut app, KeyCode::Char('4'));
    assert_eq!(screen(&mut app, 80, 24)[4], "weft_wk_0     2.5    500          50       15        10");
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Tab);
    assert_eq!(app.pane, Pane::Interfaces, "round");
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.pane, Pane::Events, "and back");

    press(&mut app, KeyCode::Char('1'));
    press(&mut app, KeyCode::Char('s'));
    assert_eq!(app.order, Order::Name);
    assert!(screen(&mut app, 80, 24)[4].starts_with("idle "), "at once");
    let start = Instant::now();
    app.look(snapshot(30, start + Duration::from_secs(4)), wall(308));
    assert!(screen(&mut app, 80, 24)[4].starts_with("idle "), "and after the next look");

    press(&mut app, KeyCode::Char('p'));
    assert!(screen(&mut app, 80, 24)[0].starts_with("paused  weft 0.1.0"));
    press(&mut app, KeyCode::Char('p'));
    assert!(screen(&mut app, 80, 24)[0].starts_with("weft 0.1.0"));

    for code in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut app, code), Ask::Quit);
    }
    assert_eq!(app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Ask::Quit);
}

#[test]
fn a_small_terminal_shows_what_matters() {
    let mut app = app();
    let lines = screen(&mut app, 20, 5);
    let expected =
        ["weft 0.1.0  up 05:06", "1 Interfaces", "Name  rx pkt/s", "p0         500", "p1           0"];
    assert_eq!(lines, expected);
    press(&mut app, KeyCode::Down);
    assert_eq!(screen(&mut app, 24, 5)[1], "1 Interfaces    2-3 of 3");
    assert!(screen(&mut app, 24, 5)[4].starts_with("idle "));
    press(&mut app, KeyCode::Char('3'));
    assert_eq!(screen(&mut app, 20, 4)[3], "50    200  ip4-look~");
    assert_eq!(screen(&mut app, 3, 1), ["wef"]);
}

fn many(count: usize, taken: Instant) -> Snapshot {
    let name = |index| format!("GigabitEthernet0/8/{index:04}");
    let interfaces = (0..count).map(|index| interface(&name(index), 0, 0, 0)).collect();
    let mut snapshot = snapshot(0, taken);
    snapshot.counters.interfaces = interfaces;
    snapshot
}

#[test]
fn a_thousand_interfaces_scroll() {
    let mut app = App::new();
    app.look(many(1000, Instant::now()), wall(0));
    let lines = screen(&mut app, 80, 24);
    assert_eq!(
        lines[2],
        format!("{:51}1-19 of 1000, 7 of 10 columns", "1 Interfaces"),
        "before the other panes"
    );
    assert!(lines[4].starts_with("GigabitEthernet0/8/0000 "));
    press(&mut app, KeyCode::PageDown);
    assert!(screen(&mut app, 80, 24)[4].starts_with("GigabitEthernet0/8/0019 "));
    press(&mut app, KeyCode::End);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[2].contains(" 982-1000 of 1000, ") && lines[22].starts_with("GigabitEthernet0/8/0999 "));
    press(&mut app, KeyCode::Up);
    assert!(screen(&mut app, 80, 24)[4].starts_with("GigabitEthernet0/8/0980 "));
    // They were deleted meanwhile.
    app.look(many(3, Instant::now()), wall(1));
    assert!(screen(&mut app, 80, 24)[4].starts_with("GigabitEthernet0/8/0000 "));
    press(&mut app, KeyCode::Home);
    assert!(screen(&mut app, 20, 5)[3].starts_with("GigabitEt~"), "a name gives way to a number");
}

#[test]
fn a_daemon_that_goes_and_comes_back() {
    let mut app = App::new();
    app.wait("nobody listens at /run/weft/stats.sock".to_owned());
    let lines = screen(&mut app, 80, 24);
    assert_eq!(lines[0], "waiting for weft: nobody listens at /run/weft/stats.sock");
    assert!(lines[1..].iter().all(String::is_empty), "there is nothing to show yet");

    let start = Instant::now();
    app.look(snapshot(10, start), wall(304));
    app.look(snapshot(20, start + Duration::from_secs(2)), wall(306));
    app.wait("it is gone".to_owned());
    let lines = screen(&mut app, 80, 24);
    assert_eq!(lines[0], "waiting for weft: it is gone");
    assert!(lines[4].starts_with("p0         500"), "what was seen last stays");

    let mut restarted = snapshot(1, start + Duration::from_secs(60));
    restarted.system.boot_time += Duration::from_secs(350);
    app.look(restarted, wall(355));
    let lines = screen(&mut app, 80, 24);
    assert_eq!(lines[0], "weft 0.1.0  up 00:05  pid 4242");
    assert!(lines[4].starts_with("p0           0"), "no rate over the time without a daemon: {}", lines[4]);
}

#[test]
fn silence_is_measured_from_the_last_change() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut app = App::new();
    app.look(snapshot(1, at(0)), wall(0));
    assert_eq!(app.silence(at(1)), None, "it may have changed long ago");
    app.look(snapshot(2, at(1)), wall(1));
    app.look(snapshot(2, at(2)), wall(2));
    assert_eq!(app.silence(at(5)), Some(Duration::from_secs(4)));
}

proptest! {
    // A case draws up to twenty screens.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_terminal_and_every_key_will_do(
        width in 0..200u16,
        height in 0..60u16,
        keys in prop::collection::vec(0..12usize, 0..20),
        rows in 0..50usize,
    ) {
        let codes = [
            KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::PageUp, KeyCode::PageDown,
            KeyCode::Home, KeyCode::End, KeyCode::Char('s'), KeyCode::Char('p'), KeyCode::Char('3'), KeyCode::Enter,
        ];
        let mut app = App::new();
        app.look(many(rows, Instant::now()), wall(0));
        for key in keys {
            press(&mut app, codes[key]);
            screen(&mut app, width, height);
        }
    }
}

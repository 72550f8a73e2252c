// SPDX-License-Identifier: Apache-2.0
//! AF_XDP ports on real veth pairs: frames through shared packet memory, every chunk accounted for,
//! nothing left behind.

#![cfg(not(loom))]

mod common;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use common::{
    Namespace, PacketMemory, RawSocket, all_chunks, checksum_is_right, eventually, send_from_host, serial,
    udp, veth,
};
use weft_devices::af_xdp::port::{AfXdpConfig, AfXdpPort, PortError, Queue, Rung};
use weft_devices::af_xdp::program::{Arp, Filter, Match};
use weft_devices::af_xdp::socket::{BusyPoll, Effect, RingSizes};
use weft_devices::af_xdp::stall::Stall;
use weft_devices::af_xdp::umem::{ChunkIndex, Descriptor, KERNEL_HEADROOM, Umem, UmemAddr};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// Ports live in `near`; `far` plays the hosts at the other ends.
struct Bed {
    near: Namespace,
    far: Namespace,
}

impl Bed {
    fn new(pairs: &[&str], queues: u32) -> Self {
        let bed = Self { near: Namespace::new("near"), far: Namespace::new("far") };
        for name in pairs {
            veth(&bed.near, name, &bed.far, &format!("{name}-far"), queues);
        }
        bed
    }

    fn config(&self, interface: &str) -> AfXdpConfig {
        AfXdpConfig {
            namespace: Some(self.near.path()),
            rings: Some(RingSizes::all(64)),
            ..AfXdpConfig::new(interface.parse().expect("a valid name"))
        }
    }

    fn far_socket(&self, interface: &str) -> RawSocket {
        RawSocket::open(&self.far, &format!("{interface}-far"))
    }

    /// Gives both ends IPv4 addresses and each the other's MAC address, so that a ping needs no ARP: the
    /// kernel's neighbour table has one limit for all namespaces, which a test elsewhere may have reached.
    fn make_hosts(&self, interface: &str) {
        let far_interface = format!("{interface}-far");
        let ends = [(&self.near, interface, 2), (&self.far, far_interface.as_str(), 1)];
        for (namespace, interface, host) in ends {
            namespace.ip(&format!("link set {interface} address 02:00:00:00:00:0{host}"));
            namespace.ip(&format!("addr add 10.0.0.{host}/24 dev {interface}"));
            let other = 3 - host;
            let neighbour = format!("10.0.0.{other} lladdr 02:00:00:00:00:0{other} nud permanent");
            namespace.ip(&format!("neigh add {neighbour} dev {interface}"));
        }
    }

    /// No program on the interface, as `ip` sees it.
    fn assert_clean(&self, interface: &str) {
        let shown = self.near.ip(&format!("-d link show dev {interface}"));
        assert!(!shown.contains("xdp"), "{shown}");
    }
}

fn fill(queue: &mut Queue, free: &mut Vec<ChunkIndex>, count: u32) {
    let mut places = queue.rx.fill(count.min(free.len() as u32));
    while places.remaining() > 0 {
        places.push(free.pop().expect("as many chunks as places"));
    }
}

fn assert_all_there(mut free: Vec<ChunkIndex>, umem: &Umem) {
    free.sort_unstable();
    assert_eq!(free, all_chunks(umem), "every chunk exactly once");
}

fn single(mut queues: Vec<Queue>) -> Queue {
    assert_eq!(queues.len(), 1, "one queue");
    queues.remove(0)
}

#[test]
fn two_ports_forward_through_shared_memory_without_a_copy() {
    const FRAMES: u32 = 1000;
    let headroom = 64;
    // Each port in a namespace of its own: packet memory knows no namespaces.
    let (left_bed, right_bed) = (Bed::new(&["left"], 1), Bed::new(&["right"], 1));
    let memory = PacketMemory::new(256);
    let umem = memory.umem(headroom);
    let mut free = all_chunks(&umem);

    let (left_port, left) = AfXdpPort::open(&left_bed.config("left"), &umem).expect("left opens");
    let (right_port, right) = AfXdpPort::open(&right_bed.config("right"), &umem).expect("right opens");
    assert_eq!(left_port.rung(), Rung::NativeCopy, "veth has native XDP but no zero-copy");
    assert_eq!(left_port.refusals().len(), 1);
    assert!(
        left_port.refusals()[0].to_string().contains("native zero-copy: the driver has no zero-copy mode"),
        "{}",
        left_port.refusals()[0]
    );
    assert!(left_port.reports().all(|report| !report.zero_copy));
    let (mut left, mut right) = (single(left), single(right));
    fill(&mut left, &mut free, 64);
    fill(&mut right, &mut free, 64);
    left_port.start().expect("left starts");
    right_port.start().expect("right starts");

    let (source, sink) = (left_bed.far_socket("left"), right_bed.far_socket("right"));
    let mut sent = 0;
    let mut expected = 0;
    let mut inbound = BTreeSet::new();
    let mut outbound = BTreeSet::new();
    eventually("all frames forwarded", || {
        while sent < FRAMES && sent < expected + 32 {
            source.send(&udp(HOST, 53, sent));
            sent += 1;
        }
        // In on the left.
        let mut moving = Vec::new();
        for descriptor in left.rx.receive(64) {
            assert_eq!(
                descriptor.addr.offset(),
                KERNEL_HEADROOM + headroom,
                "the kernel leaves both headrooms"
            );
            inbound.insert(descriptor.addr.chunk());
            let frame = memory.read(descriptor.addr, descriptor.len);
            match serial(&frame) {
                Some(_) => moving.push(descriptor),
                None => free.push(descriptor.addr.chunk()), // The far hosts' IPv6 stacks chatter.
            }
        }
        // Out on the right: the same chunk.
        let mut places = right.tx.transmit(moving.len() as u32);
        assert_eq!(places.remaining() as usize, moving.len(), "at most 32 are on their way");
        for descriptor in moving {
            places.push(Descriptor { options: 0, ..descriptor });
        }
        drop(places);
        if right.tx.needs_wakeup() {
            right.tx.wake().expect("right is up");
        }
        for addr in right.tx.complete(64) {
            outbound.insert(addr.chunk());
            free.push(addr.chunk());
        }
        if left.rx.needs_wakeup() {
            left.rx.wake().expect("left is up");
        }
        free.extend(right.rx.receive(64).map(|descriptor| descriptor.addr.chunk()));
        fill(&mut left, &mut free, 64);
        fill(&mut right, &mut free, 64);

        while let Some(frame) = sink.receive(|frame| serial(frame).is_some()) {
            assert_eq!(frame, udp(HOST, 53, expected), "unchanged and in order");
            expected += 1;
        }
        (expected == FRAMES && right.tx.in_flight() == 0).then_some(())
    });
    assert!(outbound.is_subset(&inbound), "what leaves on the right came in on the left");
    assert_eq!(left_port.statistics().expect("statistics")[0].rx_ring_full, 0);
    assert_eq!(right_port.statistics().expect("statistics")[0].tx_invalid_descs, 0);

    for (port, queue) in [(left_port, left), (right_port, right)] {
        let reclaimed = port.close(vec![queue]);
        assert_eq!(reclaimed.lost, 0);
        free.extend(reclaimed.chunks);
    }
    assert_all_there(free, &umem);
    left_bed.assert_clean("left");
    right_bed.assert_clean("right");
}

#[test]
fn chunks_are_accounted_for_when_the_receive_ring_overflows() {
    let bed = Bed::new(&["port"], 1);
    let memory = PacketMemory::new(128);
    let umem = memory.umem(0);
    let mut free = all_chunks(&umem);
    let config = AfXdpConfig { rings: Some(RingSizes { rx: 8, ..RingSizes::all(64) }), ..bed.config("port") };
    let (port, queues) = AfXdpPort::open(&config, &umem).expect("the port opens");
    let mut queue = single(queues);
    fill(&mut queue, &mut free, 64);
    port.start().expect("the port starts");
    let source = bed.far_socket("port");
    for serial in 0..100 {
        source.send(&udp(HOST, 53, serial));
    }
    eventually("the receive ring is full", || {
        (port.statistics().expect("statistics")[0].rx_ring_full > 0).then_some(())
    });
    // Frames that the kernel had begun and couldn't deliver stay in its own list, frames in the
    // ring are never taken.
    free.extend(queue.rx.receive(3).map(|descriptor| descriptor.addr.chunk()));
    let reclaimed = port.close(vec![queue]);
    assert_eq!(reclaimed.chunks.len(), 64 - 3);
    free.extend(reclaimed.chunks);
    assert_all_there(free, &umem);
}

#[test]
fn frames_waiting_to_be_sent_are_sent_before_a_port_closes() {
    let bed = Bed::new(&["port"], 1);
    let memory = PacketMemory::new(64);
    let umem = memory.umem(0);
    let (port, queues) = AfXdpPort::open(&bed.config("port"), &umem).expect("the port opens");
    let mut queue = single(queues);
    let sink = bed.far_socket("port");
    let mut places = queue.tx.transmit(64);
    for (serial, chunk) in all_chunks(&umem).into_iter().enumerate() {
        let frame = udp(HOST, 53, serial as u32);
        // Anywhere in the chunk, as an encapsulation leaves it.
        let addr = UmemAddr::new(chunk, 700);
        memory.write(addr, &frame);
        places.push(Descriptor { addr, len: frame.len() as u32, options: 0 });
    }
    drop(places);
    assert_eq!(queue.tx.in_flight(), 64);
    let reclaimed = port.close(vec![queue]);
    assert_eq!(reclaimed.lost, 0);
    assert_all_there(reclaimed.chunks, &umem);
    for expected in 0..64 {
        let frame = eventually("the frame arrives", || sink.receive(|frame| serial(frame).is_some()));
        assert_eq!(serial(&frame), Some(expected));
    }
}

#[test]
fn each_queue_has_a_socket_of_its_own() {
    let bed = Bed::new(&["port"], 2);
    let memory = PacketMemory::new(128);
    let umem = memory.umem(0);
    let mut free = all_chunks(&umem);
    let (port, mut queues) = AfXdpPort::open(&bed.config("port"), &umem).expect("the port opens");
    assert_eq!(queues.len(), 2);
    queues.iter_mut().for_each(|queue| fill(queue, &mut free, 32));
    port.start().expect("the port starts");
    let source = bed.far_socket("port");
    let mut received = [0u32; 2];
    let mut serial_sent = 0;
    // The far end spreads by flow hash over its two queues; addresses make flows.
    eventually("frames on both queues", || {
        source.send(&udp(Ipv4Addr::from(0x0a00_0000 + serial_sent), 53, serial_sent));
        serial_sent += 1;
        for queue in &mut queues {
            for descriptor in queue.rx.receive(64) {
                received[queue.id.0 as usize] += 1;
                free.push(descriptor.addr.chunk());
            }
            fill(queue, &mut free, 32);
        }
        received.iter().all(|count| *count > 0).then_some(())
    });
    free.extend(port.close(queues).chunks);
    assert_all_there(free, &umem);
}

#[test]
fn halves_work_on_two_threads() {
    let bed = Bed::new(&["port"], 1);
    let memory = PacketMemory::new(128);
    let umem = memory.umem(0);
    let (port, queues) = AfXdpPort::open(&bed.config("port"), &umem).expect("the port opens");
    let Queue { id, mut rx, mut tx } = single(queues);
    let mut places = rx.fill(64);
    (0..64).map(ChunkIndex).for_each(|chunk| places.push(chunk));
    drop(places);
    port.start().expect("the port starts");
    let far = bed.far_socket("port");
    let (to_sender, from_receiver) = std::sync::mpsc::channel();
    // One thread receives, the other sends the frame back.
    let free = std::thread::scope(|scope| {
        let rx = &mut rx;
        let receiver = scope.spawn(|| {
            let mut seen = 0;
            let mut strays = Vec::new();
            eventually("32 frames", || {
                for descriptor in rx.receive(8) {
                    if serial(&memory.read(descriptor.addr, descriptor.len)).is_some() {
                        seen += 1;
                        to_sender.send(descriptor).expect("the sender lives");
                    } else {
                        strays.push(descriptor.addr.chunk());
                    }
                }
                (seen == 32).then_some(())
            });
            strays
        });
        let tx = &mut tx;
        let sender = scope.spawn(move || {
            let mut free = Vec::new();
            let mut sent = 0;
            eventually("32 completions", || {
                if let Ok(descriptor) = from_receiver.try_recv() {
                    tx.transmit(1).push(Descriptor { options: 0, ..descriptor });
                    sent += 1;
                }
                tx.wake().expect("the port is up");
                free.extend(tx.complete(8).map(|addr| addr.chunk()));
                (sent == 32 && tx.in_flight() == 0).then_some(())
            });
            free
        });
        (0..32).for_each(|serial| far.send(&udp(HOST, 53, serial)));
        let strays = receiver.join().expect("the receiver's assertions hold");
        let mut free = sender.join().expect("the sender's assertions hold");
        free.extend(strays);
        free
    });
    let mut chunks = port.close(vec![Queue { id, rx, tx }]).chunks;
    chunks.extend(free);
    chunks.extend((64..128).map(ChunkIndex));
    assert_all_there(chunks, &umem);
}

#[test]
fn a_pinhole_leaves_the_rest_to_the_host() {
    let bed = Bed::new(&["port"], 1);
    bed.make_hosts("port");
    let memory = PacketMemory::new(64);
    let umem = memory.umem(0);
    let mut free = all_chunks(&umem);
    let taken = Match::Destination("192.0.2.0/24".parse().expect("a prefix"));
    let config = AfXdpConfig {
        filter: Filter::Pinhole { matches: vec![taken], arp: Arp::Pass },
        ..bed.config("port")
    };
    let (port, queues) = AfXdpPort::open(&config, &umem).expect("the port opens");
    let mut queue = single(queues);
    fill(&mut queue, &mut free, 64);
    port.start().expect("the port starts");
    bed.far_socket("port").send(&udp(Ipv4Addr::new(192, 0, 2, 1), 53, 77));
    let descriptor = eventually("the frame of the pinhole", || queue.rx.receive(1).next());
    assert_eq!(serial(&memory.read(descriptor.addr, descriptor.len)), Some(77));
    free.push(descriptor.addr.chunk());
    bed.far.exec("ping -c 1 -W 2 10.0.0.2");
    assert_eq!(queue.rx.receive(64).len(), 0, "the host's traffic stays with the host");
    free.extend(port.close(vec![queue]).chunks);
    assert_all_there(free, &umem);
}

#[test]
fn a_port_that_is_stopped_leaves_everything_to_the_host() {
    let bed = Bed::new(&["port"], 1);
    bed.make_hosts("port");
    let umem = PacketMemory::new(64).umem(0);
    let (mut port, queues) = AfXdpPort::open(&bed.config("port"), &umem).expect("the port opens");
    bed.far.exec("ping -c 1 -W 2 10.0.0.2");
    port.start().expect("the port starts");
    let unanswered = std::process::Command::new("ip")
        .args(["netns", "exec", &bed.far.name, "ping", "-c", "1", "-W", "1", "10.0.0.2"])
        .output()
        .expect("ping runs");
    assert!(!unanswered.status.success(), "a port that runs takes everything");
    port.stop();
    bed.far.exec("ping -c 1 -W 2 10.0.0.2");
    port.close(queues);
}

/// The kernel fact behind `Advice::PeerChecksum`.
#[test]
fn the_host_behind_a_veth_leaves_checksums_undone_until_told() {
    let bed = Bed::new(&["port"], 1);
    bed.far.ip("addr add 10.0.0.1/24 dev port-far");
    bed.far.ip("neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev port-far");
    let memory = PacketMemory::new(64);
    let umem = memory.umem(0);
    let mut free = all_chunks(&umem);
    let (port, queues) = AfXdpPort::open(&bed.config("port"), &umem).expect("the port opens");
    let mut queue = single(queues);
    fill(&mut queue, &mut free, 64);
    port.start().expect("the port starts");
    let mut is_right = || {
        send_from_host(&bed.far, HOST);
        eventually("the datagram", || {
            let descriptor = queue.rx.receive(1).next()?;
            checksum_is_right(&memory.read(descriptor.addr, descriptor.len))
        })
    };
    assert!(!is_right());
    bed.far.exec("ethtool -K port-far tx off");
    assert!(is_right());
    port.close(vec![queue]);
}

#[test]
fn the_ladder_is_what_the_configuration_allows() {
    let bed = Bed::new(&["port"], 1);
    let memory = PacketMemory::new(64);
    let umem = memory.umem(0);
    let config = |rungs: &[Rung]| AfXdpConfig { rungs: rungs.to_vec(), ..bed.config("port") };

    let (port, queues) =
        AfXdpPort::open(&config(&[Rung::GenericCopy]), &umem).expect("generic works everywhere");
    assert_eq!((port.rung(), port.refusals()), (Rung::GenericCopy, &[][..]));
    assert!(bed.near.ip("-d link show dev port").contains("xdpgeneric"));
    let mut queue = single(queues);
    let mut free = all_chunks(&umem);
    fill(&mut queue, &mut free, 64);
    port.start().expect("the port starts");
    bed.far_socket("port").send(&udp(HOST, 53, 5));
    let frame = eventually("the frame", || {
        let descriptor = queue.rx.receive(1).next()?;
        Some(memory.read(descriptor.addr, descriptor.len)).filter(|frame| serial(frame).is_some())
    });
    assert_eq!(frame, udp(HOST, 53, 5));
    port.close(vec![queue]);

    let error = refusal(&config(&[Rung::NativeZeroCopy]), &umem);
    assert!(matches!(&error, PortError::NoRung { refusals, .. } if refusals.len() == 1), "{error}");
    let error = refusal(&config(&[]), &umem);
    assert!(error.to_string().contains("none is allowed"), "{error}");
    bed.assert_clean("port");
}

fn refusal(config: &AfXdpConfig, umem: &Umem) -> PortError {
    match AfXdpPort::open(config, umem) {
        Ok((port, _)) => panic!("opened on {}", port.rung()),
        Err(error) => error,
    }
}

#[test]
fn settings_are_read_back() {
    let bed = Bed::new(&["port"], 1);
    let umem = PacketMemory::new(64).umem(0);
    let busy_poll = BusyPoll { microseconds: 20, budget: 16 };
    let config = AfXdpConfig { tx_budget: Some(48), busy_poll: Some(busy_poll), ..bed.config("port") };
    let (port, queues) = AfXdpPort::open(&config, &umem).expect("the port opens");
    let report = port.reports().next().expect("one queue");
    assert_eq!(report.busy_poll, Effect::InEffect(busy_poll));
    // Linux before 6.17 doesn't know the budget.
    assert!(
        matches!(report.tx_budget, Effect::InEffect(48) | Effect::Refused(libc::ENOPROTOOPT)),
        "{:?}",
        report.tx_budget
    );
    port.close(queues);
}

#[test]
fn an_interface_listens_while_a_port_is_open() {
    let bed = Bed::new(&["port"], 1);
    let umem = PacketMemory::new(64).umem(0);
    let assert_listens = |promiscuous: u32, multicast: u32, when: &str| {
        let shown = bed.near.ip("-d link show dev port");
        let wanted = format!("promiscuity {promiscuous}  allmulti {multicast} ");
        assert!(shown.contains(&wanted), "{when}: {wanted}: {shown}");
    };
    let (mut port, queues) = AfXdpPort::open(&bed.config("port"), &umem).expect("the port opens");
    assert_listens(0, 1, "open");
    for _ in 0..2 {
        port.set_tagged(true).expect("a veth takes no tags out");
    }
    assert_listens(1, 1, "with sub-interfaces");
    port.set_tagged(false).expect("the same");
    assert_listens(0, 1, "without");
    port.set_tagged(true).expect("the same");
    port.close(queues);
    assert_listens(0, 0, "closed");
}

#[test]
fn refusals_name_interface_limit_and_remedy() {
    let bed = Bed::new(&["port"], 2);
    let umem = PacketMemory::new(64).umem(0);
    let check = |config: AfXdpConfig, words: &[&str]| {
        let text = refusal(&config, &umem).to_string();
        for word in words {
            assert!(text.contains(word), "\"{word}\" is missing in: {text}");
        }
    };
    check(bed.config("missing"), &["no interface missing"]);
    check(
        AfXdpConfig { namespace: Some("/run/netns/weft-none".into()), ..bed.config("port") },
        &["/run/netns/weft-none"],
    );
    check(
        AfXdpConfig { namespace: Some("/dev/null".into()), ..bed.config("port") },
        &["/dev/null", "/proc/PID/ns/net"],
    );
    check(
        AfXdpConfig { queues: Some(3), ..bed.config("port") },
        &["port: 3 queues asked", "2 receive and 2 transmit", "ethtool -L port"],
    );
    check(
        AfXdpConfig { rings: Some(RingSizes { tx: 100, ..RingSizes::all(64) }), ..bed.config("port") },
        &["port: transmit ring of 100"],
    );
    check(
        AfXdpConfig { tx_budget: Some(65), ..bed.config("port") },
        &["port: transmit budget 65", "32 to 64"],
    );
    bed.near.ip("link set port mtu 30443");
    check(bed.config("port"), &["port: MTU 30443", "is 30442", "ip link set dev port mtu 30442"]);
    bed.near.ip("link set port mtu 1500");

    let (port, queues) = AfXdpPort::open(&bed.config("port"), &umem).expect("the port opens");
    check(bed.config("port"), &["port: XDP program", "attached already", "ip link set dev port xdp off"]);
    assert!(port.has_open_checksums(), "the peer of a veth leaves them to a NIC");
    port.close(queues);
    bed.assert_clean("port");
}

#[test]
fn an_interface_that_vanishes_under_a_port_loses_no_chunk() {
    let bed = Bed::new(&["port"], 1);
    let umem = PacketMemory::new(64).umem(0);
    let mut free = all_chunks(&umem);
    let (port, queues) = AfXdpPort::open(&bed.config("port"), &umem).expect("the port opens");
    let mut queue = single(queues);
    fill(&mut queue, &mut free, 32);
    port.start().expect("the port starts");
    bed.near.ip("link set port down");
    let chunk = free.pop().expect("32 are left");
    queue.tx.transmit(1).push(Descriptor { addr: UmemAddr::new(chunk, 0), len: 60, options: 0 });
    assert_eq!(queue.tx.wake().expect_err("the interface is down").raw_os_error(), Some(libc::ENETDOWN));
    bed.near.ip("link del port");
    let reclaimed = port.close(vec![queue]);
    assert_eq!(reclaimed.lost, 0);
    free.extend(reclaimed.chunks);
    assert_all_there(free, &umem);
}

#[test]
fn a_rung_that_passes_nothing_is_left() {
    let bed = Bed::new(&["port"], 1);
    let memory = PacketMemory::new(64);
    let umem = memory.umem(0);
    let mut free = all_chunks(&umem);
    let config = AfXdpConfig { rungs: vec![Rung::NativeCopy], ..bed.config("port") };
    let (mut port, queues) = AfXdpPort::open(&config, &umem).expect("the port opens");
    let mut queue = single(queues);
    fill(&mut queue, &mut free, 64);
    port.start().expect("the port starts");
    let far = bed.far_socket("port");
    let mut number = 0;
    let mut arrives = |queue: &mut Queue, free: &mut Vec<ChunkIndex>| {
        number += 1;
        far.send(&udp(Ipv4Addr::new(192, 0, 2, 1), 53, number));
        let descriptor = eventually("the frame", || {
            queue.rx.receive(1).next().filter(|descriptor| {
                free.push(descriptor.addr.chunk());
                serial(&memory.read(descriptor.addr, descriptor.len)) == Some(number)
            })
        });
        assert!(descriptor.len > 0);
    };
    arrives(&mut queue, &mut free);
    let said = port.recover(Stall { packets: 12, times: 1 }).expect("it is attached again");
    assert!(said.contains("12 packets") && said.contains("attached again"), "{said}");
    assert_eq!(port.rung(), Rung::NativeCopy);
    arrives(&mut queue, &mut free);
    let said = port.recover(Stall { packets: 12, times: 2 }).expect("the stack takes it");
    assert!(said.contains("generic copy"), "{said}");
    assert_eq!(port.rung(), Rung::GenericCopy);
    assert!(
        port.refusals()[0].to_string().contains("native copy: veth lets nothing through"),
        "{:?}",
        port.refusals()
    );
    arrives(&mut queue, &mut free);
    let said = port.recover(Stall { packets: 12, times: 3 }).expect("nothing is done");
    assert!(said.contains("still: look for"), "{said}");
    free.extend(port.close(vec![queue]).chunks);
    assert_all_there(free, &umem);
    bed.assert_clean("port");
}

// SPDX-License-Identifier: Apache-2.0
//! A session under test, with a clock of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::netlink::MacAddr;
use crate::session::{Event, Output, Session, SessionSettings, Timing};
use crate::types::{Channel, PortDescription, PortNumber, RequestNumber, Uuid};
use crate::wire::Message;

pub const CONSOLE: &str = "ipc:///var/run/vyatta/fake-dp-console";
pub const PUBLISHER: &str = "ipc:///var/run/vyatta/vplaned.pub";
pub const FIRST: u64 = 0x3eb;

pub struct Bench {
    pub session: Session,
    pub now: Instant,
}

pub fn settings() -> SessionSettings {
    SessionSettings {
        uuid: Uuid::local(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        first_request: RequestNumber(FIRST),
        timing: Timing::default(),
    }
}

pub fn port(number: u8) -> PortDescription {
    PortDescription {
        port: PortNumber(number),
        mac: MacAddr([2, 0, 0, 0, 1, number]),
        name: format!("eth{number}"),
        driver: "net_virtio".to_owned(),
        pci_address: Some(format!("0000:00:{:02x}.0", 4 + u32::from(number))),
        slot: None,
        firmware: None,
        dev_port: None,
        hypervisor: None,
        mtu: None,
        multifunction: false,
        uplink: false,
        backplane: false,
    }
}

/// A message of text frames.
pub fn text(frames: &[&str]) -> Message {
    frames.iter().map(|frame| frame.as_bytes().to_vec()).collect()
}

pub fn item(topic: &str, sequence: u64, data: &[u8]) -> Message {
    vec![topic.into(), sequence.to_ne_bytes().into(), data.into()]
}

pub fn end(sequence: u64) -> Message {
    item("THATSALLFOLKS!", sequence, b"")
}

pub fn accept() -> Message {
    vec![b"ACCEPT".into(), Uuid::local().as_str().into(), vec![0, 0]]
}

pub fn conf() -> Message {
    text(&["CONF", "PUBLISH", PUBLISHER])
}

pub fn port_added(request: u64, ifindex: u32, name: &str) -> Message {
    vec![b"OK".into(), request.to_ne_bytes().into(), ifindex.to_ne_bytes().into(), name.into()]
}

pub fn fail(what: &str) -> Message {
    text(&[what])
}

impl Bench {
    pub fn new() -> Bench {
        Bench { session: Session::new(settings(), CONSOLE.to_owned()), now: Instant::now() }
    }

    pub fn with_ports(numbers: &[u8]) -> Bench {
        let mut bench = Bench::new();
        for number in numbers {
            bench.session.add_port(bench.now, port(*number));
        }
        bench
    }

    /// Everything the session wants done now.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll()).collect()
    }

    pub fn events(&mut self) -> Vec<Event> {
        let event = |output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        };
        self.outputs().into_iter().filter_map(event).collect()
    }

    /// First words of what the session sends now.
    pub fn words(&mut self) -> Vec<String> {
        let word = |output| match output {
            Output::Send(message) => Some(String::from_utf8_lossy(&message[0]).into_owned()),
            _ => None,
        };
        self.outputs().into_iter().filter_map(word).collect()
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.session.tick(self.now);
    }

    pub fn up(&mut self, channel: Channel) {
        self.session.channel_up(self.now, channel);
    }

    pub fn receive(&mut self, message: Message) {
        self.session.received(self.now, message);
    }

    /// Up to the subscription.
    pub fn subscribed(&mut self) {
        self.session.start();
        self.up(Channel::Request);
        self.receive(accept());
        self.receive(conf());
        self.up(Channel::Publication);
    }

    /// Up to the point where the snapshot is asked for; ports get interfaces 2, 3, ...
    pub fn asked_for_snapshot(&mut self) {
        self.subscribed();
        for (index, request) in (2..).zip(FIRST..) {
            if self.session.deadline() != Some(self.now + self.session.settings.timing.port) {
                break;
            }
            self.receive(port_added(request, index, &format!("dp0p0s{index}")));
        }
        self.pass(Duration::from_millis(100));
    }

    /// All of it, with an empty snapshot up to `sequence`.
    pub fn ready(&mut self, sequence: u64) {
        self.asked_for_snapshot();
        self.receive(end(sequence));
        assert!(self.session.is_ready(), "{}", self.session.state_name());
        self.outputs();
    }
}

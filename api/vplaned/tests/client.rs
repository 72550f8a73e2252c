// SPDX-License-Identifier: Apache-2.0
//! The client on real ZeroMQ sockets against a double of vplaned: restarts, order, loss, CURVE.

mod double;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::time::timeout;
use weft_sockets::Backoff;
use weft_vplaned::client::{Client, Target};
use weft_vplaned::netlink::MacAddr;
use weft_vplaned::session::{BackoffSettings, Event, LostReason, Session, SessionSettings, Timing};
use weft_vplaned::transport::{Keys, PublicKey, Transport};
use weft_vplaned::types::{Duplex, Link, PortDescription, PortNumber, RequestNumber, Uuid};

use double::{Double, Folder, Place};

const PATIENCE: Duration = Duration::from_secs(20);

fn quick() -> Timing {
    let backoff = BackoffSettings {
        failed: Backoff { first: Duration::from_millis(10), most: Duration::from_millis(100) },
        taken_over: Duration::from_millis(100),
        rejected: Duration::from_millis(100),
    };
    Timing { settling: Duration::from_millis(20), backoff, ..Timing::default() }
}

fn client_of(request: &str, uuid: Uuid, timing: Timing, curve: Option<(Keys, PublicKey)>) -> Client {
    let settings = SessionSettings {
        uuid,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        first_request: RequestNumber(1000),
        timing,
    };
    let request = request.parse().expect("an endpoint");
    let session = Session::new(settings, "ipc:///run/console".to_owned());
    Client::new(Transport::new(), Target { request, curve }, session)
}

fn client(place: &Place) -> Client {
    client_of(&place.request, Uuid::local(), quick(), None)
}

fn port(number: u8) -> PortDescription {
    PortDescription {
        port: PortNumber(number),
        mac: MacAddr([2, 0, 0, 0, 1, number]),
        name: format!("eth{number}"),
        driver: "net_af_xdp".to_owned(),
        pci_address: None,
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

/// What a dataplane would know: updates by topic, swept at the end of a snapshot.
#[derive(Default, Debug, PartialEq, Eq)]
struct Known {
    items: BTreeMap<Vec<u8>, Vec<u8>>,
    arriving: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Known {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::SnapshotBegin => self.arriving = Some(BTreeMap::new()),
            Event::SnapshotEnd { .. } => self.items = self.arriving.take().expect("begun"),
            Event::Lost { .. } => self.arriving = None,
            Event::Update(item) => {
                let items = self.arriving.as_mut().unwrap_or(&mut self.items);
                items.insert(item.topic.clone(), item.data.clone());
            }
            _ => {}
        }
    }

    fn is(&self, expected: &[(String, Vec<u8>)]) -> bool {
        let expected: BTreeMap<Vec<u8>, Vec<u8>> =
            expected.iter().map(|(topic, data)| (topic.clone().into_bytes(), data.clone())).collect();
        self.items == expected
    }
}

/// Takes events until one satisfies `wanted`, applying all to `known`.
async fn until(client: &mut Client, known: &mut Known, mut wanted: impl FnMut(&Event) -> bool) -> Vec<Event> {
    let mut all = Vec::new();
    let wait = async {
        loop {
            let mut events = Vec::new();
            client.events(&mut events, 256).await;
            let mut found = false;
            for event in events {
                known.apply(&event);
                found |= wanted(&event);
                all.push(event);
            }
            if found {
                return;
            }
        }
    };
    timeout(PATIENCE, wait).await.expect("the event comes");
    all
}

fn synchronised(event: &Event) -> bool {
    matches!(event, Event::SnapshotEnd { .. })
}

fn links(count: usize) -> Vec<(String, Vec<u8>)> {
    (1..=count).map(|index| (format!("link {index} 0 "), format!("data of {index}").into_bytes())).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn ports_snapshot_and_live_updates_arrive_in_order() {
    let folder = Folder::new("order");
    let place = Place::of(&folder.0);
    let double = Double::start(&place, &links(3));
    let (mut client, mut known) = (client(&place), Known::default());
    client.session().add_port(std::time::Instant::now(), port(0));
    let events = until(&mut client, &mut known, synchronised).await;
    let ready = events.iter().position(|event| matches!(event, Event::PortReady { .. }));
    let begin = events.iter().position(|event| *event == Event::SnapshotBegin);
    assert!(ready.is_some() && ready < begin, "{events:?}");
    assert!(known.is(&links(3)));

    for number in 0..20_000_u32 {
        double.publish("route", &number.to_ne_bytes());
    }
    let mut next = 0_u32;
    until(&mut client, &mut known, |event| {
        if let Event::Update(item) = event {
            assert_eq!(item.data, next.to_ne_bytes(), "none lost, none twice, in order");
            next += 1;
        }
        next == 20_000
    })
    .await;

    let link = Link::Up { speed: Some(1000), duplex: Duplex::Full, counters: Default::default() };
    client.session().report_link(PortNumber(0), &link);
    // It goes out with the next events, which there are none of.
    let none = timeout(Duration::from_millis(50), client.events(&mut Vec::new(), 1)).await;
    assert!(none.is_err());
    double.wait_for("LINKUP");
}

#[tokio::test(flavor = "current_thread")]
async fn ten_thousand_commands_in_a_snapshot() {
    let folder = Folder::new("commands");
    let place = Place::of(&folder.0);
    let commands: Vec<(String, Vec<u8>)> = (0..10_000)
        .map(|number| {
            let command = format!("npf-cfg add fw:F{number} 1 action=accept");
            (format!("npf-cfg add {number}"), command.into_bytes())
        })
        .collect();
    let _double = Double::start(&place, &commands);
    let (mut client, mut known) = (client(&place), Known::default());
    until(&mut client, &mut known, synchronised).await;
    assert!(known.is(&commands));
}

#[tokio::test(flavor = "current_thread")]
async fn vplaned_is_killed_ten_times_and_the_state_is_the_same_after_each() {
    let folder = Folder::new("killed");
    let place = Place::of(&folder.0);
    let (mut client, mut known) = (client(&place), Known::default());
    client.session().add_port(std::time::Instant::now(), port(0));
    for round in 0..10_usize {
        // It comes up after the client has begun to look for it, with a state of its own.
        let double = Double::start(&place, &links(5 + round));
        let events = until(&mut client, &mut known, synchronised).await;
        assert!(known.is(&links(5 + round)), "round {round}");
        assert!(events.iter().any(|event| matches!(event, Event::PortReady { .. })), "round {round}");
        // Numbers begin again: the first publication is no duplicate.
        double.publish("link 99 0 ", b"late");
        until(
            &mut client,
            &mut known,
            |event| matches!(event, Event::Update(item) if item.topic == b"link 99 0 "),
        )
        .await;
        double.kill();
        until(&mut client, &mut known, |event| matches!(event, Event::Lost { .. })).await;
        // What was known stays.
        assert_eq!(known.items.len(), 6 + round);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_malformed_message_is_told_once_and_the_session_goes_on() {
    let folder = Folder::new("malformed");
    let place = Place::of(&folder.0);
    let double = Double::start(&place, &links(1));
    let (mut client, mut known) = (client(&place), Known::default());
    until(&mut client, &mut known, synchronised).await;
    let bad: Vec<Vec<Vec<u8>>> = vec![
        vec![vec![]],
        vec![vec![0xff]],
        vec![vec![], vec![], vec![]],
        vec![b"OK".to_vec()],
        vec![b"OK".to_vec(), vec![1, 2, 3], vec![0; 4], b"x".to_vec()],
        vec![b"OK".to_vec(), vec![0; 8], vec![0; 4], vec![0xc3]],
        vec![b"ACCEPT".to_vec(), vec![0]],
        vec![b"CONF".to_vec(), b"odd".to_vec()],
        vec![b"THATSALLFOLKS!".to_vec(), vec![0; 7], vec![]],
        vec![b"link 1 0 ".to_vec(), vec![0; 9], vec![]],
        vec![vec![7; 5]; 40],
        vec![vec![0; 100_000], vec![0; 100_000]],
        vec![vec![1]; 1000],
    ];
    let count = bad.len();
    for message in bad {
        double.say(message);
    }
    double.publish("link 2 0 ", b"after");
    let mut malformed = 0;
    let mut updated = false;
    until(&mut client, &mut known, |event| {
        malformed += usize::from(matches!(event, Event::Malformed { .. }));
        updated |= matches!(event, Event::Update(item) if item.data == b"after");
        malformed == count && updated
    })
    .await;
    assert!(client.session().is_ready());
    assert_eq!(client.session().counts().malformed, count as u64);
}

#[tokio::test(flavor = "current_thread")]
async fn line_1_silence_is_answered_by_another_attempt() {
    let folder = Folder::new("silence");
    let place = Place::of(&folder.0);
    let double = Double::start(&place, &[]);
    let stranger = "11111111-2222-3333-4444-555555555555".parse().expect("a UUID");
    let timing = Timing { accept: Duration::from_millis(100), ..quick() };
    let mut client = client_of(&place.request, stranger, timing, None);
    for _ in 0..2 {
        let events =
            until(&mut client, &mut Known::default(), |event| matches!(event, Event::Lost { .. })).await;
        assert!(
            matches!(&events[..], [Event::Lost { reason: LostReason::Silent("CONNECT"), .. }]),
            "{events:?}"
        );
    }
    assert!(double.heard().len() >= 2);
}

#[tokio::test(flavor = "current_thread")]
async fn line_17_tcp_with_a_mapped_address_works() {
    let place = Place {
        request: "tcp://[::ffff:127.0.0.1]:*".to_owned(),
        publish: "tcp://[::ffff:127.0.0.1]:*".to_owned(),
        curve: None,
    };
    let double = Double::start(&place, &links(2));
    assert!(double.request.starts_with("tcp://[::ffff:127.0.0.1]:"), "{}", double.request);
    let (mut client, mut known) =
        (client_of(&double.request, Uuid::local(), quick(), None), Known::default());
    until(&mut client, &mut known, synchronised).await;
    assert!(known.is(&links(2)));
}

#[tokio::test(flavor = "current_thread")]
async fn line_17_curve_admits_who_has_the_key_and_nobody_else() {
    weft_vplaned::transport::require_curve().expect("the system's libzmq has CURVE");
    let folder = Folder::new("curve");
    let server_file = folder.0.join("controller.cert");
    let made = Keys::read_or_make(&server_file, &Uuid::local()).expect("made");
    let public = PublicKey::read(&server_file).expect("the public part");
    assert_eq!(made.public, public);
    // The double needs the raw keys: they stand in the file.
    let text = std::fs::read_to_string(folder.0.join("controller.cert_secret")).expect("the secret part");
    let key = |name: &str| {
        let line = text.lines().find(|line| line.trim().starts_with(name)).expect("a key");
        zmq::z85_decode(line.split('"').nth(1).expect("quoted")).expect("Z85")
    };
    let place = Place { curve: Some((key("public-key"), key("secret-key"))), ..Place::of(&folder.0) };
    let _double = Double::start(&place, &links(1));

    let own = Keys::read_or_make(&folder.0.join("dataplane.cert"), &Uuid::local()).expect("made");
    let mut client = client_of(&place.request, Uuid::local(), quick(), Some((own, public)));
    until(&mut client, &mut Known::default(), synchronised).await;

    // A client that takes another for the server, and one without keys, never get up.
    let other = Keys::read_or_make(&folder.0.join("other.cert"), &Uuid::local()).expect("made");
    let own = Keys::read_or_make(&folder.0.join("dataplane.cert"), &Uuid::local()).expect("read");
    for curve in [Some((own, other.public)), None] {
        let mut stranger = client_of(&place.request, Uuid::local(), quick(), curve);
        let nothing = timeout(Duration::from_millis(400), stranger.events(&mut Vec::new(), 1)).await;
        assert!(nothing.is_err());
        assert_eq!(stranger.session().state_name(), "connecting");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A route broker on real sockets, both formats: `cargo test --release -p weft-vplaned --test broker -- --nocapture` prints routes
//! per second for a million routes. A debug build takes a fiftieth.

mod messages;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use messages::{CREATE, Message, NEWROUTE, ip4, new_link};
use prost::Message as _;
use weft_vplaned::broker::{Broker, BrokerEvent};
use weft_vplaned::netlink::{IfIndex, Topic, parse};
use weft_vplaned::proto::route as pb;
use weft_vplaned::store::{Change, Owner, Store};
use weft_vplaned::transport::Transport;
use weft_vplaned::types::Uuid;

const ROUTES: u32 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the two sockets of a test are.
struct Place {
    folder: std::path::PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("weft-broker-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for sockets");
        Place { folder }
    }

    fn endpoint(&self, name: &str) -> String {
        format!("ipc://{}/{name}", self.folder.display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What the test has the broker do.
enum Order {
    /// Push these.
    Push(Vec<Vec<u8>>),
    /// Say this word to the dataplane.
    Say(&'static str),
}

/// A broker that accepts everybody; it ends when its orders do. Tells each word it hears.
fn broker(control: String, data: String, format: u32) -> (Sender<Order>, Receiver<String>, JoinHandle<()>) {
    let (orders, to_do) = channel::<Order>();
    let (heard, words) = channel();
    let thread = std::thread::spawn(move || {
        let context = zmq::Context::new();
        let router = context.socket(zmq::ROUTER).expect("a ROUTER");
        let push = context.socket(zmq::PUSH).expect("a PUSH");
        for socket in [&router, &push] {
            socket.set_linger(0).expect("linger");
        }
        router.set_rcvtimeo(10).expect("a timeout");
        // As small as that of the original's test server: the dataplane's pace is the broker's.
        push.set_sndhwm(100).expect("a high-water mark");
        push.set_sndtimeo(PATIENCE.as_millis() as i32).expect("a timeout");
        router.bind(&control).expect("the control endpoint");
        push.bind(&data).expect("the data endpoint");
        let mut peer = Vec::new();
        loop {
            if let Ok(frames) = router.recv_multipart(0) {
                peer = frames[0].clone();
                if frames[1] == b"CONNECT" {
                    assert_eq!((frames[2].as_slice(), frames.len()), (&[0u8; 4][..], 4));
                    let reply = [&peer, &b"ACCEPT"[..].to_vec(), &frames[3], &data.clone().into_bytes()];
                    let format = format.to_ne_bytes().to_vec();
                    router.send_multipart(reply.into_iter().chain([&format]), 0).expect("sent");
                }
                let _ = heard.send(String::from_utf8_lossy(&frames[1]).into_owned());
            }
            match to_do.try_recv() {
                Ok(Order::Push(messages)) => {
                    for message in messages {
                        push.send(message, 0).expect("the dataplane takes routes");
                    }
                }
                Ok(Order::Say(word)) => router.send_multipart([&peer[..], word.as_bytes()], 0).expect("sent"),
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
            }
        }
    });
    (orders, words, thread)
}

fn prefix(number: u32) -> Ipv4Addr {
    // Bijective in 23 bits: all prefixes differ.
    let place = number.wrapping_mul(2_654_435_761) % (1 << 23);
    Ipv4Addr::from((1 << 31) | (place << 8))
}

fn as_netlink(number: u32) -> Vec<u8> {
    let gateway = ip4(192, 0, 2, (number % 100) as u8 + 1);
    Message::route(NEWROUTE, CREATE, (IpAddr::V4(prefix(number)), 24), 254).u32(4, 2).ip(5, gateway).bytes()
}

fn as_protobuf(number: u32) -> Vec<u8> {
    let image = |address: Ipv4Addr| u32::from_ne_bytes(address.octets());
    let gateway = Ipv4Addr::new(192, 0, 2, (number % 100) as u8 + 1);
    let nexthop =
        pb::IpAddress { address_oneof: Some(pb::ip_address::AddressOneof::Ipv4Addr(image(gateway))) };
    let prefix = pb::IpAddressOrLabel {
        address_oneof: Some(pb::ip_address_or_label::AddressOneof::Ipv4Addr(image(prefix(number)))),
    };
    let path = pb::Path { nexthop: Some(nexthop), ifindex: Some(2), ..Default::default() };
    let route =
        pb::Route { prefix: Some(prefix), prefix_length: Some(24), paths: vec![path], ..Default::default() };
    pb::RibUpdate { action: None, route: Some(route) }.encode_to_vec()
}

/// The dataplane's side: the broker's client, the store, and the number of routes that a dataplane would have.
struct Bed {
    client: Broker,
    store: Store,
    routes: u32,
    resets: u32,
    replays_ended: u32,
}

impl Bed {
    fn new(control: &str, stale_time: Duration) -> Bed {
        let endpoint = control.parse().expect("an endpoint");
        let client = Broker::new(Transport::new(), endpoint, Uuid::local(), stale_time).expect("a socket");
        let mut bed = Bed { client, store: Store::default(), routes: 0, resets: 0, replays_ended: 0 };
        let port = IfIndex::new(2).expect("not 0");
        let link = parse(Topic::Link, &new_link(2, "dp0p2", "tun", &[]).bytes()).expect("a link");
        bed.store.bind_port(port, &mut Vec::new());
        bed.store.apply(Owner::Vplaned, link, &mut Vec::new());
        bed
    }

    /// Works until the condition holds.
    async fn until(&mut self, what: &str, done: impl Fn(&Bed) -> bool) {
        let start = Instant::now();
        let (mut events, mut changes) = (Vec::new(), Vec::new());
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            let short = Duration::from_millis(50);
            let _ = tokio::time::timeout(short, self.client.events(&mut events, 1024)).await;
            for event in events.drain(..) {
                match event {
                    BrokerEvent::Said(event) => self.store.apply(Owner::Broker, event, &mut changes),
                    BrokerEvent::ReplayBegins => self.store.begin_resync(Owner::Broker),
                    BrokerEvent::ReplayEnds => {
                        self.replays_ended += 1;
                        self.store.end_resync(Owner::Broker, &mut changes);
                    }
                    BrokerEvent::Reset => self.resets += 1,
                }
            }
            for change in changes.drain(..) {
                match change {
                    Change::Route(..) => self.routes += 1,
                    Change::RouteGone(..) => self.routes -= 1,
                    _ => {}
                }
            }
        }
    }
}

async fn converges(name: &str, format: u32, route: fn(u32) -> Vec<u8>) {
    let place = Place::new(name);
    let (control, data) = (place.endpoint("control"), place.endpoint("data"));
    let messages: Vec<Vec<u8>> = (0..ROUTES).map(route).collect();
    let mut bed = Bed::new(&control, PATIENCE);
    let (orders, _words, thread) = broker(control, data, format);
    bed.until("accepted", |bed| bed.client.counts().accepts == 1).await;
    let start = Instant::now();
    orders.send(Order::Push(messages)).expect("the broker lives");
    bed.until("all routes", |bed| bed.routes == ROUTES).await;
    let took = start.elapsed();
    println!("{name}: {ROUTES} routes in {took:.0?}, {:.0} routes/s", f64::from(ROUTES) / took.as_secs_f64());
    assert_eq!((bed.client.counts().routes, bed.client.counts().malformed), (ROUTES.into(), 0));
    drop(orders);
    thread.join().expect("the broker ends");
}

#[tokio::test]
async fn a_million_routes_converge_in_both_formats() {
    converges("netlink", 0, as_netlink).await;
    converges("protobuf", 1, as_protobuf).await;
}

#[tokio::test]
async fn a_broker_that_dies_is_greeted_again_and_what_it_forgot_goes() {
    let place = Place::new("restart");
    let (control, data) = (place.endpoint("control"), place.endpoint("data"));
    let mut bed = Bed::new(&control, Duration::from_millis(300));
    let (orders, words, thread) = broker(control.clone(), data.clone(), 1);
    bed.until("accepted", |bed| bed.client.counts().accepts == 1).await;
    orders.send(Order::Push((0..100).map(as_protobuf).collect())).expect("the broker lives");
    bed.until("routes", |bed| bed.routes == 100).await;
    bed.until("the first replay is over", |bed| bed.replays_ended == 1).await;
    assert_eq!(words.recv_timeout(PATIENCE).as_deref(), Ok("CONNECT"));
    drop(orders);
    thread.join().expect("the broker ends");
    assert_eq!(bed.routes, 100, "its routes stay");

    let (orders, words, thread) = broker(control, data, 1);
    bed.until("greeted again", |bed| bed.client.counts().accepts == 2).await;
    orders.send(Order::Push((50..120).map(as_protobuf).collect())).expect("the broker lives");
    bed.until("the second replay is over", |bed| bed.replays_ended == 2).await;
    bed.until("70 routes", |bed| bed.routes == 70).await;
    assert_eq!(words.recv_timeout(PATIENCE).as_deref(), Ok("CONNECT"));

    orders.send(Order::Say("RECONNECT")).expect("the broker lives");
    bed.until("a reset", |bed| bed.resets == 1).await;
    bed.until("accepted again", |bed| bed.client.counts().accepts == 3).await;
    orders.send(Order::Push(vec![b"no update".to_vec(), as_protobuf(200)])).expect("the broker lives");
    bed.until("a route behind a bad message", |bed| bed.routes == 71 && bed.client.counts().malformed == 1)
        .await;
    drop(orders);
    thread.join().expect("the broker ends");
}

// SPDX-License-Identifier: Apache-2.0
//! A vplaned for tests: the request and publication channels of the protocol page, on a thread of its own.
//!
//! Answers as the recordings do, keeps a snapshot by topic as vplaned does, counts sequence numbers from 1 at each start,
//! and can be killed at any time. Everything it hears is kept for the test to look at.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub type Message = Vec<Vec<u8>>;

const UUID: &str = "00000000-0000-0000-0000-000000000000";

/// How the sockets are protected and reached.
#[derive(Clone)]
pub struct Place {
    pub request: String,
    pub publish: String,
    /// The server's key pair.
    pub curve: Option<(Vec<u8>, Vec<u8>)>,
}

impl Place {
    pub fn of(folder: &Path) -> Place {
        Place {
            request: format!("ipc://{}/vplaned.req", folder.display()),
            publish: format!("ipc://{}/vplaned.pub", folder.display()),
            curve: None,
        }
    }
}

enum Order {
    /// Publish, and keep for snapshots.
    Publish(String, Vec<u8>),
    /// Send on the request channel to the connected dataplane.
    Say(Message),
}

pub struct Double {
    orders: Sender<Order>,
    heard: Arc<Mutex<Vec<Message>>>,
    thread: Option<JoinHandle<()>>,
    /// Where it really listens.
    pub request: String,
}

impl Double {
    /// Starts with this snapshot, in this order.
    pub fn start(place: &Place, snapshot: &[(String, Vec<u8>)]) -> Double {
        let (orders, taken) = channel();
        let (tell, told) = channel();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (place, heard_there) = (place.clone(), Arc::clone(&heard));
        let snapshot: Vec<(String, Vec<u8>)> = snapshot.to_vec();
        let thread = std::thread::spawn(move || {
            let context = zmq::Context::new();
            let mut server = Server::bind(&context, &place, snapshot, heard_there);
            let endpoint = server.request.get_last_endpoint().expect("bound").expect("text");
            tell.send(endpoint).expect("the test waits");
            server.run(&taken);
        });
        let request = told.recv().expect("the double starts");
        Double { orders, heard, thread: Some(thread), request }
    }

    pub fn publish(&self, topic: &str, data: &[u8]) {
        self.orders.send(Order::Publish(topic.to_owned(), data.to_vec())).expect("it lives");
    }

    pub fn say(&self, message: Message) {
        self.orders.send(Order::Say(message)).expect("it lives");
    }

    /// First words of what it heard.
    pub fn heard(&self) -> Vec<String> {
        let word = |message: &Message| String::from_utf8_lossy(&message[0]).into_owned();
        self.heard.lock().expect("no panic").iter().map(word).collect()
    }

    /// Waits until it has heard this word, at most ten seconds.
    pub fn wait_for(&self, word: &str) {
        let begin = Instant::now();
        while !self.heard().iter().any(|heard| heard == word) {
            assert!(begin.elapsed() < Duration::from_secs(10), "{word} does not come: {:?}", self.heard());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends without a word, as after a kill -9.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let (orders, _) = channel();
        self.orders = orders;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.end();
    }
}

struct Server {
    request: zmq::Socket,
    publisher: zmq::Socket,
    publish: String,
    heard: Arc<Mutex<Vec<Message>>>,
    snapshot: Vec<(String, Vec<u8>, u64)>,
    places: HashMap<String, usize>,
    sequence: u64,
    session: Option<Vec<u8>>,
    ports: BTreeMap<u64, u32>,
}

impl Server {
    fn bind(
        context: &zmq::Context,
        place: &Place,
        snapshot: Vec<(String, Vec<u8>)>,
        heard: Arc<Mutex<Vec<Message>>>,
    ) -> Server {
        let open = |kind| {
            let socket = context.socket(kind).expect("a socket");
            socket.set_linger(0).expect("linger");
            socket.set_sndhwm(0).expect("no limit");
            socket.set_rcvhwm(0).expect("no limit");
            socket.set_ipv6(true).expect("IPv6");
            socket
        };
        let (request, publisher) = (open(zmq::ROUTER), open(zmq::PUB));
        if let Some((_, secret)) = &place.curve {
            request.set_curve_server(true).expect("CURVE");
            request.set_curve_secretkey(secret).expect("a key");
        }
        bind(&request, &place.request);
        bind(&publisher, &place.publish);
        let publish = publisher.get_last_endpoint().expect("bound").expect("text");
        let mut server = Server {
            request,
            publisher,
            publish,
            heard,
            snapshot: Vec::new(),
            places: HashMap::new(),
            sequence: 0,
            session: None,
            ports: BTreeMap::new(),
        };
        for (topic, data) in snapshot {
            server.keep(topic, data);
        }
        server
    }

    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Publish(topic, data)) => {
                        let sequence = self.keep(topic.clone(), data.clone());
                        let frames = [topic.into_bytes(), sequence.to_ne_bytes().to_vec(), data];
                        self.publisher.send_multipart(frames, 0).expect("published");
                    }
                    Ok(Order::Say(message)) => {
                        let session = self.session.clone().expect("a dataplane is connected");
                        self.answer(&session, message);
                    }
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
            if self.request.poll(zmq::POLLIN, 5).expect("poll") > 0 {
                let mut frames = self.request.recv_multipart(0).expect("a message");
                let peer = frames.remove(0);
                self.heard.lock().expect("no panic").push(frames.clone());
                self.serve(peer, frames);
            }
        }
    }

    fn keep(&mut self, topic: String, data: Vec<u8>) -> u64 {
        self.sequence += 1;
        let entry = (topic.clone(), data, self.sequence);
        match self.places.get(&topic) {
            Some(at) => self.snapshot[*at] = entry,
            None => {
                self.places.insert(topic, self.snapshot.len());
                self.snapshot.push(entry);
            }
        }
        self.sequence
    }

    fn serve(&mut self, peer: Vec<u8>, frames: Message) {
        let known = self.session.as_ref() == Some(&peer);
        match &frames[0][..] {
            b"CONNECT" if frames[2] == UUID.as_bytes() => {
                self.session = Some(peer.clone());
                self.answer(&peer, vec![b"ACCEPT".into(), UUID.into(), vec![0, 0]]);
            }
            // Silence.
            b"CONNECT" => {}
            _ if !known => self.answer(&peer, vec![b"FAIL: process_msg".into()]),
            b"CONFQUERY" => {
                let publish = self.publish.clone().into_bytes();
                self.answer(&peer, vec![b"CONF".into(), b"PUBLISH".into(), publish]);
            }
            b"NEWPORT" => {
                let port: serde_json::Value = serde_json::from_slice(&frames[3]).expect("JSON");
                let number = port["port"].as_u64().expect("a number");
                let next = 2 + self.ports.len() as u32;
                let index = *self.ports.entry(number).or_insert(next);
                let name = format!("dp0p0s{index}");
                self.answer(
                    &peer,
                    vec![b"OK".into(), frames[1].clone(), index.to_ne_bytes().into(), name.into()],
                );
            }
            b"DELPORT" => self.answer(&peer, vec![b"OK".into(), frames[1].clone(), vec![0; 4]]),
            b"WHATSUP?" => {
                for (topic, data, sequence) in self.snapshot.clone() {
                    self.answer(&peer, vec![topic.into(), sequence.to_ne_bytes().into(), data]);
                }
                let last = self.sequence.to_ne_bytes().into();
                self.answer(&peer, vec![b"THATSALLFOLKS!".into(), last, vec![]]);
            }
            _ => {}
        }
    }

    fn answer(&self, peer: &[u8], message: Message) {
        let frames = std::iter::once(peer.to_vec()).chain(message);
        self.request.send_multipart(frames, 0).expect("answered");
    }
}

/// A port that was just closed may still be taken for a moment.
fn bind(socket: &zmq::Socket, endpoint: &str) {
    let begin = Instant::now();
    while let Err(error) = socket.bind(endpoint) {
        assert!(begin.elapsed() < Duration::from_secs(10), "{endpoint}: {error}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder for sockets that goes away with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("weft-vplaned-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

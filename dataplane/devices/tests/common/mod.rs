// SPDX-License-Identifier: Apache-2.0
//! A test bed of its own: network namespaces that end with the test, packet memory, and a packet
//! socket as the far host.
//!
//! Everything here needs root, and says so where it is missing: a test that can't run has failed.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use memmap2::MmapRaw;
use weft_devices::af_xdp::umem::{CHUNK_SIZE, ChunkIndex, Umem, UmemAddr, UmemMemory};
use weft_devices::netdev::LinkIndex;
use weft_devices::netns::NetNs;

/// Fails the test if it can't make namespaces and sockets.
pub fn require_root() {
    // SAFETY: no arguments.
    let user = unsafe { libc::geteuid() };
    assert_eq!(user, 0, "this test makes network namespaces and AF_XDP sockets: run it as root");
}

/// Runs a command and returns what it prints.
pub fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command has a name");
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the command prints text")
}

/// A network namespace that is deleted, with all interfaces in it, when the value is dropped.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    pub fn new(role: &str) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        require_root();
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("weft-dev-{}-{serial}-{role}", std::process::id());
        run(&format!("ip netns add {name}"));
        run(&format!("ip -n {name} link set lo up"));
        Self { name }
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    pub fn open(&self) -> NetNs {
        NetNs::open(&self.path()).expect("the namespace was made just now")
    }

    /// `ip` within the namespace.
    pub fn ip(&self, arguments: &str) -> String {
        run(&format!("ip -n {} {arguments}", self.name))
    }

    /// Any command within the namespace.
    pub fn exec(&self, line: &str) -> String {
        run(&format!("ip netns exec {} {line}", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A veth pair, one end per namespace, both up.
pub fn veth(near: &Namespace, near_name: &str, far: &Namespace, far_name: &str, queues: u32) {
    let queues = format!("numrxqueues {queues} numtxqueues {queues}");
    let peer = format!("{far_name} netns {} {queues}", far.name);
    near.ip(&format!("link add {near_name} {queues} type veth peer name {peer}"));
    near.ip(&format!("link set {near_name} up"));
    far.ip(&format!("link set {far_name} up"));
}

/// Anonymous packet memory.
pub struct PacketMemory(MmapRaw);

// SAFETY: the mapping stays at its address until the value is dropped.
unsafe impl UmemMemory for PacketMemory {
    fn bytes(&self) -> NonNull<[u8]> {
        let base = NonNull::new(self.0.as_mut_ptr()).expect("a mapping is not at address 0");
        NonNull::slice_from_raw_parts(base, self.0.len())
    }
}

impl PacketMemory {
    pub fn new(chunks: u32) -> Arc<Self> {
        let map = memmap2::MmapOptions::new()
            .len((chunks * CHUNK_SIZE) as usize)
            .map_anon()
            .expect("memory is there");
        Arc::new(Self(MmapRaw::from(map)))
    }

    pub fn umem(self: &Arc<Self>, headroom: u32) -> Umem {
        Umem::new(Arc::clone(self) as Arc<dyn UmemMemory>, headroom).expect("the memory is aligned")
    }

    fn at(&self, addr: UmemAddr, len: usize) -> *mut u8 {
        assert!(addr.0 as usize + len <= self.0.len(), "address within the memory");
        // SAFETY: checked just above.
        unsafe { self.0.as_mut_ptr().add(addr.0 as usize) }
    }

    /// Copies a frame out of a chunk that isn't with the kernel.
    pub fn read(&self, addr: UmemAddr, len: u32) -> Vec<u8> {
        let from = self.at(addr, len as usize);
        let mut frame = vec![0; len as usize];
        // SAFETY: `at` checked the range; the kernel has handed the chunk back.
        unsafe { ptr::copy_nonoverlapping(from, frame.as_mut_ptr(), frame.len()) };
        frame
    }

    /// Writes into a chunk that isn't with the kernel.
    pub fn write(&self, addr: UmemAddr, bytes: &[u8]) {
        let to = self.at(addr, bytes.len());
        // SAFETY: `at` checked the range; the chunk is ours.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

/// All chunks of a memory, in order.
pub fn all_chunks(umem: &Umem) -> Vec<ChunkIndex> {
    (0..umem.chunks()).map(ChunkIndex).collect()
}

/// A packet socket on one interface: sends and receives whole frames.
pub struct RawSocket(OwnedFd);

impl RawSocket {
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        let all = (libc::ETH_P_ALL as u16).to_be();
        let name = std::ffi::CString::new(interface).expect("a name without zero");
        namespace
            .open()
            .run(|| {
                // SAFETY: `name` ends with a zero.
                let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
                assert_ne!(index, 0, "{interface} exists");
                // SAFETY: no pointers are passed.
                let fd = unsafe {
                    libc::socket(
                        libc::AF_PACKET,
                        libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                        i32::from(all),
                    )
                };
                assert!(fd >= 0, "a packet socket: {}", std::io::Error::last_os_error());
                // SAFETY: the kernel has just given us this descriptor.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                // SAFETY: zero is a value of every field.
                let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_protocol = all;
                address.sll_ifindex = index as i32;
                // SAFETY: the kernel reads one `sockaddr_ll`.
                let bound = unsafe {
                    libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), size_of_val(&address) as u32)
                };
                assert_eq!(bound, 0, "bind to {interface}: {}", std::io::Error::last_os_error());
                Self(fd)
            })
            .expect("the namespace can be entered")
    }

    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the kernel reads `frame.len()` bytes.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "send: {}", std::io::Error::last_os_error());
    }

    /// The next frame that waits and that `wanted` accepts; frames sent from this interface are
    /// left out.
    pub fn receive(&self, mut wanted: impl FnMut(&[u8]) -> bool) -> Option<Vec<u8>> {
        let mut frame = vec![0u8; 4096];
        loop {
            // SAFETY: zero is a value of every field.
            let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            let mut from_len = size_of_val(&from) as libc::socklen_t;
            // SAFETY: the kernel writes at most the lengths given.
            let len = unsafe {
                libc::recvfrom(
                    self.0.as_raw_fd(),
                    frame.as_mut_ptr().cast(),
                    frame.len(),
                    0,
                    ptr::from_mut(&mut from).cast(),
                    &mut from_len,
                )
            };
            if len < 0 {
                return None;
            }
            if from.sll_pkttype != libc::PACKET_OUTGOING && wanted(&frame[..len as usize]) {
                frame.truncate(len as usize);
                return Some(frame);
            }
        }
    }
}

/// Repeats `step` until it gives a value, for at most thirty seconds, so that a loaded machine fails no test.
pub fn eventually<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = step() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within thirty seconds");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// An Ethernet frame of IPv4/UDP; `serial` marks it.
pub fn udp(destination: Ipv4Addr, port: u16, serial: u32) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00];
    let payload = serial.to_be_bytes();
    let length = 20 + 8 + payload.len() as u16;
    frame.extend([0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1]);
    frame.extend(destination.octets());
    frame.extend(4000u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame.resize(60, 0);
    frame
}

/// The mark of a frame made by [`udp`], or `None` for any other.
pub fn serial(frame: &[u8]) -> Option<u32> {
    let is_ours = frame.len() >= 46 && frame[12..14] == [0x08, 0x00] && frame[23] == 17;
    is_ours.then(|| u32::from_be_bytes(frame[42..46].try_into().expect("four bytes")))
}

/// Number of a link in the namespace.
pub fn link_index(namespace: &Namespace, interface: &str) -> LinkIndex {
    let name = interface.parse().expect("a valid name");
    weft_devices::netdev::Netdev::open(&namespace.open(), &name)
        .and_then(|netdev| netdev.link())
        .expect("the interface exists")
        .index
}

/// A datagram from the namespace's own stack.
pub fn send_from_host(namespace: &Namespace, destination: Ipv4Addr) {
    let send = || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a port is free");
        socket.send_to(b"check", (destination, 9)).expect("the destination is on the link");
    };
    namespace.open().run(send).expect("the namespace can be entered");
}

/// Whether the UDP checksum of an Ethernet frame made by [`send_from_host`] is right (RFC 768);
/// `None` for any other frame.
pub fn checksum_is_right(frame: &[u8]) -> Option<bool> {
    let packet = frame.get(14..)?;
    if packet.len() != 20 + 8 + 5 || packet[9] != 17 {
        return None;
    }
    // Pseudo header: addresses, protocol, length; then the datagram, padded to whole words.
    let mut words = packet[12..20].to_vec();
    words.extend([0, packet[9]]);
    words.extend((packet.len() as u16 - 20).to_be_bytes());
    words.extend(&packet[20..]);
    words.push(0);
    let sum: u32 = words.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    Some((sum & 0xffff) + (sum >> 16) == 0xffff)
}

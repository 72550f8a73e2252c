// SPDX-License-Identifier: Apache-2.0
//! What is left when a port closes or its process dies: nothing. A binary of its own, since it
//! counts what the process has.

#![cfg(not(loom))]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{Namespace, PacketMemory, veth};
use weft_devices::af_xdp::port::{AfXdpConfig, AfXdpPort, Queue};
use weft_devices::af_xdp::socket::RingSizes;
use weft_devices::af_xdp::umem::Umem;

/// Where the child process finds the namespace of the interface.
const CHILD: &str = "WEFT_TEST_NAMESPACE";

fn open(namespace: PathBuf, umem: &Umem) -> (AfXdpPort, Vec<Queue>) {
    let name = "port".parse().expect("a valid name");
    let config =
        AfXdpConfig { namespace: Some(namespace), rings: Some(RingSizes::all(64)), ..AfXdpConfig::new(name) };
    AfXdpPort::open(&config, umem).unwrap_or_else(|error| panic!("{error}"))
}

fn has_program(near: &Namespace) -> bool {
    near.ip("-d link show dev port").contains("xdp")
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("procfs is mounted").count()
}

fn ring_mappings() -> usize {
    fs::read_to_string("/proc/self/maps").expect("procfs is mounted").matches("socket:").count()
}

/// One test for both, so that nothing else opens descriptors while they are counted.
#[test]
fn a_port_leaves_nothing_behind() {
    if let Some(namespace) = std::env::var_os(CHILD) {
        let umem = PacketMemory::new(64).umem(0);
        let (port, _queues) = open(namespace.into(), &umem);
        port.start().expect("the port starts");
        // As a crash does it: no destructor runs.
        std::process::abort();
    }
    let (near, far) = (Namespace::new("near"), Namespace::new("far"));
    veth(&near, "port", &far, "port-far", 1);
    let umem = PacketMemory::new(64).umem(0);

    // Twenty times in a row: each time the queue must have been released by the kernel.
    let before = descriptors();
    for round in 0..20 {
        let (port, queues) = open(near.path(), &umem);
        assert!(has_program(&near), "round {round}");
        assert_eq!(ring_mappings(), 4, "round {round}");
        let reclaimed = port.close(queues);
        assert_eq!((reclaimed.chunks.len(), reclaimed.lost), (0, 0), "round {round}");
        assert!(!has_program(&near), "round {round}");
    }
    assert_eq!(descriptors(), before);
    assert_eq!(ring_mappings(), 0);

    // Dropped without closing.
    drop(open(near.path(), &umem));
    assert!(!has_program(&near));
    assert_eq!((descriptors(), ring_mappings()), (before, 0));

    // Killed.
    let died = Command::new(std::env::current_exe().expect("the test has a path"))
        .env(CHILD, near.path())
        .output()
        .expect("the test can be started");
    assert!(!died.status.success() && died.status.code().is_none(), "the child dies by a signal: {died:?}");
    assert!(!has_program(&near));
    open(near.path(), &umem).0.start().expect("the queue is free again");
}

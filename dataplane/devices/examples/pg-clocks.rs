// SPDX-License-Identifier: Apache-2.0
//! Clocks per packet that the packet generator makes: `cargo run --release --example pg-clocks`.
//!
//! The generator feeds benchmarks, so its own cost has to be known. The rival is a node that does nothing but
//! take buffers and copy 64 bytes into them: what no generator on these buffers can undercut.

use std::error::Error;

use weft_devices::pg::Pg;
use weft_engine::buffer::HEADROOM;
use weft_engine::context::Context;
use weft_engine::engine::{Engine, EngineConfig};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::ids::{BufferIndex, InterfaceIndex, NodeId};
use weft_engine::node::{Nexts, Node, NodeSpec, Role};
use weft_engine::worker::Worker;

weft_engine::edges! { enum ToSink { Sink => "sink" } }

static SINK: NodeSpec = NodeSpec::internal("sink").role(Role::Output);
static BARE: NodeSpec = NodeSpec::input("bare").next(&["sink"]);

struct Sink;

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        cx.buffers.free(frame.packets());
    }
}

struct Bare {
    on: bool,
    bytes: [u8; 64],
    next: Nexts<ToSink>,
}

impl Node for Bare {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        if !self.on {
            return;
        }
        let mut packets = [BufferIndex(0); FRAME_SIZE];
        let mut given = 0;
        cx.buffers.allocate(FRAME_SIZE, |index| {
            packets[given % FRAME_SIZE] = index;
            given += 1;
        });
        for &index in &packets[..given] {
            cx.buffers.receive(index, HEADROOM, 64, InterfaceIndex(0));
            cx.buffers.packet(index).data_mut().copy_from_slice(&self.bytes);
        }
        cx.send(self.next.to(ToSink::Sink), &packets[..given]);
    }
}

const ROUNDS: usize = 101;
const TURNS: usize = 200;

/// Least, middle and most clocks per packet of `node`, over rounds of some milliseconds.
fn measure(engine: &Engine, worker: &mut Worker, node: NodeId) -> [f64; 3] {
    let counters = &engine.counters;
    let mut results: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let before = (counters.clocks.sum(node.index()), counters.vectors.sum(node.index()));
            for _ in 0..TURNS {
                worker.turn();
            }
            let clocks = counters.clocks.sum(node.index()) - before.0;
            clocks as f64 / (counters.vectors.sum(node.index()) - before.1) as f64
        })
        .collect();
    results.sort_by(f64::total_cmp);
    [results[0], results[ROUNDS / 2], results[ROUNDS - 1]]
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut engine, mut workers) = Engine::new(&EngineConfig::default())?;
    let nodes = vec![
        NodeDef::new(&SINK, |_| Box::new(Sink)),
        NodeDef::new(&BARE, |w| Box::new(Bare { on: true, bytes: [7; 64], next: w.nexts() })),
    ];
    let bare = engine.add_nodes("bench", nodes)?[1];
    let mut pg = Pg::new(&mut engine)?;
    let worker = &mut workers[0];
    worker.turn();
    println!("{:<48} {:>7} {:>7} {:>7} {:>7}", "clocks per packet", "min", "median", "max", "ratio");
    let [min, floor, max] = measure(&engine, worker, bare);
    println!("{:<48} {min:>7.1} {floor:>7.1} {max:>7.1} {:>7.2}", "bare copy of 64 bytes (rival)", 1.0);
    if let Some(bare) = worker.node_mut::<Bare>(bare) {
        bare.on = false;
    }
    let udp = "node sink data { IP4: 1.2.3 -> 4.5.6 UDP:";
    for (name, text) in [
        ("64 bytes, fixed", format!("{udp} 10.0.0.1 -> 10.0.0.2 UDP: 1 -> 2 }}")),
        (
            "64 bytes, destination counts up",
            format!("{udp} 10.0.0.1 -> 10.0.0.2-10.255.255.255 UDP: 1 -> 2 }}"),
        ),
        ("64 bytes, destination random", format!("{udp} 10.0.0.1 -> 10.0.0.2+10.255.255.255 UDP: 1 -> 2 }}")),
        (
            "64 bytes, addresses and ports random",
            format!("{udp} 10.0.0.1+10.9.9.9 -> 10.0.0.2+10.255.255.255 UDP: 1+65535 -> 1+65535 }}"),
        ),
        ("64 to 1500 bytes, fixed", format!("size 64-1500 {udp} 10.0.0.1 -> 10.0.0.2 UDP: 1 -> 2 }}")),
        ("1500 bytes, fixed", format!("size 1500-1500 {udp} 10.0.0.1 -> 10.0.0.2 UDP: 1 -> 2 }}")),
    ] {
        let stream = pg.new_stream(&mut engine, text.parse()?, None, |_| None)?;
        pg.enable(&mut engine, Some(&stream))?;
        worker.turn();
        let [min, median, max] = measure(&engine, worker, pg.input());
        println!("{name:<48} {min:>7.1} {median:>7.1} {max:>7.1} {:>7.2}", median / floor);
        pg.delete_stream(&mut engine, &stream)?;
        worker.turn();
    }
    Ok(())
}

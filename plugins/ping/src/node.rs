// SPDX-License-Identifier: Apache-2.0
//! ping: sends requests when they are due, and takes their answers out of what is for this host.
//!
//! A feature of the arcs `ip4-local` and `ip6-local`, so that it sees answers before the host does; what is no answer to a ping of
//! ours goes on to it. And a timer, since requests are sent when nothing arrives, too.

use std::sync::Arc;

use weft_plugin_sdk::{Done, Packet, PluginNode, PublishedReader, Thread, Vector};

use crate::message;
use crate::run::{Run, Settings, Taken};

weft_plugin_sdk::edges! {
    /// Where requests go.
    pub enum Next { Ip4 => "ip4-lookup", Ip6 => "ip6-lookup" }
}

weft_plugin_sdk::drops! {
    /// What answers were.
    pub enum Reason {
        /// answer to a ping of this router
        Reply = "replies", Info;
        /// second answer to one request of a ping of this router
        Duplicate = "duplicates", Warn;
        /// answer to a ping of this router, with other data than what was sent
        Damaged = "damaged", Warn;
        /// ICMP error about a ping of this router
        Error = "errors", Info;
    }
}

/// How often the timer looks for requests that are due: the shortest interval of a ping.
pub const PERIOD_MS: u32 = 10;
/// The worker that sends.
const SENDER: Thread = Thread(1);

/// One worker's instance.
pub struct PingNode {
    pub runs: PublishedReader<Vec<Arc<Run>>>,
}

impl PluginNode for PingNode {
    fn process(&mut self, mut vector: Vector<'_>) -> Done {
        let (runs, now) = (self.runs.read(vector.guard()), vector.now());
        if vector.thread() == SENDER {
            for run in runs {
                let Settings { route, size, ttl, destination, .. } = run.settings;
                let lookup = if destination.is_ipv4() { Next::Ip4 } else { Next::Ip6 };
                run.send_next(now, |request| {
                    // If one of them has no buffer all are sent again, and the first ones count as duplicates where they arrive.
                    message::pieces(destination, size).all(|piece| {
                        vector.originate(lookup, |packet| {
                            if !packet.append(piece.packet_length()) {
                                return false;
                            }
                            message::write(packet.data_mut(), request, ttl, size, piece);
                            packet.set_table(route.table);
                            // A ping of an address of this router is received by the interface that has it.
                            packet.set_rx_interface(route.interface);
                            // To a station of the link there is no other way.
                            packet.set_tx_interface(route.interface);
                            packet.set_locally_originated();
                            true
                        })
                    })
                });
            }
        }
        vector.each(|packet| match take(runs, now, packet) {
            None => packet.pass(),
            Some(Taken::First) => packet.drop(Reason::Reply),
            Some(Taken::Duplicate) => packet.drop(Reason::Duplicate),
            Some(Taken::Damaged) => packet.drop(Reason::Damaged),
            Some(Taken::Error) => packet.drop(Reason::Error),
        })
    }
}

fn take(runs: &[Arc<Run>], now: u64, packet: &Packet<'_>) -> Option<Taken> {
    if runs.is_empty() {
        return None;
    }
    let (request, answer) = message::read(packet.data(), packet.total_length())?;
    runs.iter().find_map(|run| run.take(now, request, answer))
}

// SPDX-License-Identifier: Apache-2.0
//! policer-input and policer-output: meter packets, and do what their colour says.
//!
//! What is metered is the packet of IPv4 or IPv6, without link header, so that a policer measures the same in both directions.

use std::sync::Arc;

use weft_plugin_sdk::{
    Counter, Done, InterfaceIndex, Next, Packet, PluginNode, PublishedReader, Row, Vector,
};
use weft_token_bucket::Moment;

use crate::config::Action;
use crate::ip;
use crate::meter::{Colour, Meter};

weft_plugin_sdk::drops! {
    /// Why packets end here.
    pub enum Reason {
        /// within its rate, and the policer drops such packets
        Conform = "conform", Warn;
        /// above the committed rate of a policer
        Exceed = "exceed", Info;
        /// above all rates of a policer
        Violate = "violate", Info;
    }
}

/// Which way packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Input,
    Output,
}

impl Direction {
    pub const ALL: [Direction; 2] = [Direction::Input, Direction::Output];

    pub fn word(self) -> &'static str {
        match self {
            Direction::Input => "input",
            Direction::Output => "output",
        }
    }

    /// Where its packets pass.
    pub fn arcs(self) -> &'static [&'static str] {
        match self {
            Direction::Input => &["ip4-unicast", "ip6-unicast"],
            Direction::Output => &["interface-output"],
        }
    }

    pub fn node(self) -> &'static str {
        match self {
            Direction::Input => "policer-input",
            Direction::Output => "policer-output",
        }
    }

    /// What applies a policer in this direction.
    pub fn command(self) -> &'static str {
        match self {
            Direction::Input => "policer input",
            Direction::Output => "policer output",
        }
    }
}

/// Where a policer counts: columns of the counters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place(pub u32);

impl Place {
    /// Packets; bytes are in the next one.
    pub fn column(self) -> u32 {
        self.0 * 2
    }
}

/// A policer, as workers see it.
#[derive(Debug)]
pub struct Policer {
    pub meter: Meter,
    pub color_aware: bool,
    pub actions: [Action; 3],
    pub place: Place,
}

/// Policers by direction and interface.
#[derive(Clone, Default, Debug)]
pub struct Attached([Vec<Option<Arc<Policer>>>; 2]);

impl Attached {
    pub fn set(&mut self, direction: Direction, interface: InterfaceIndex, policer: Arc<Policer>) {
        let (table, index) = (&mut self.0[direction as usize], interface.0 as usize);
        if table.len() <= index {
            table.resize(index + 1, None);
        }
        table[index] = Some(policer);
    }

    #[inline(always)]
    fn get(&self, direction: Direction, interface: InterfaceIndex) -> Option<&Policer> {
        self.0[direction as usize].get(interface.0 as usize)?.as_deref()
    }
}

/// One worker's instance.
pub struct PolicerNode {
    pub direction: Direction,
    pub attached: PublishedReader<Attached>,
    /// By colour.
    pub counters: [Counter; 3],
}

impl PluginNode for PolicerNode {
    fn process(&mut self, vector: Vector<'_>) -> Done {
        let attached = self.attached.read(vector.guard());
        let (now, rows) = (Moment::new(vector.now()), self.counters.map(|counter| vector.counter(counter)));
        match self.direction {
            Direction::Input => {
                vector.each(|packet| match attached.get(Direction::Input, packet.rx_interface()) {
                    Some(policer) => policer.police(packet, 0, now, &rows),
                    None => packet.pass(),
                })
            }
            Direction::Output => vector.each(|packet| {
                let policer = attached.get(Direction::Output, packet.tx_interface());
                match (policer, ip::offset_in_frame(packet.data())) {
                    (Some(policer), Some(header)) => policer.police(packet, header, now, &rows),
                    // ARP, for one, keeps the link alive.
                    _ => packet.pass(),
                }
            }),
        }
    }
}

impl Policer {
    /// `header`: where the IP header begins.
    #[inline(always)]
    fn police(&self, packet: &mut Packet<'_>, header: usize, now: Moment, rows: &[Row<'_>; 3]) -> Next {
        // It keeps the link alive, as ARP does.
        if packet.data().get(header..).is_some_and(ip::is_discovery) {
            return packet.pass();
        }
        let before = match self.color_aware {
            true => packet.data().get(header..).map_or(Colour::Green, |ip| Colour::of_dscp(ip::dscp(ip))),
            false => Colour::Green,
        };
        let bytes = packet.total_length().saturating_sub(header);
        let colour = self.meter.colour(now, bytes, before);
        let (row, column) = (rows[colour as usize], self.place.column() as usize);
        row.add(column, 1);
        row.add(column + 1, bytes as u64);
        match self.actions[colour as usize] {
            Action::Transmit => packet.pass(),
            Action::Drop => packet.drop(match colour {
                Colour::Green => Reason::Conform,
                Colour::Yellow => Reason::Exceed,
                Colour::Red => Reason::Violate,
            }),
            Action::Mark(dscp) => {
                if let Some(ip) = packet.data_mut().get_mut(header..) {
                    ip::set_dscp(ip, dscp);
                }
                packet.pass()
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! ip4-arp: IPv4 packets that wait for a neighbour's MAC address. How they wait is that of all families ([`crate::hold`]).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use weft_engine::buffer::Packet;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, NodeSpec, Reasons, Role};
use weft_fib::Ip4;

use super::icmp_error::IcmpError;
use super::input::format_header;
use crate::headers::Ipv4Header;
use crate::hold::{Event, Held, Hold, Reason};
use crate::interface::{InterfaceTable, TableIndex};
use crate::setup::{Added, ONE_EACH, Setup, built_in};

weft_engine::edges! {
    /// Where packets go that need not wait.
    pub enum Next { Rewrite => "ip4-rewrite" }
}

/// Descriptor of ip4-arp. The clock runs it too, to end what nobody released.
pub static IP4_ARP: NodeSpec = NodeSpec::timer("ip4-arp", Duration::from_secs(1))
    .role(Role::Hold)
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .trace(format_header);

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let (tables, clock, mut senders) = (setup.tables.clone(), setup.engine.clock, setup.notice_senders());
    Ok(NodeDef::new(&IP4_ARP, move |w| {
        let sender = senders.next().expect(ONE_EACH);
        let rewrite = w.nexts::<Next>().to(Next::Rewrite);
        let read = (Arc::clone(&tables.interfaces), tables.adjacencies.clone());
        let reasons = (w.reasons(), w.events());
        Box::new(Ip4Arp::new(tables.settings.hold, &clock, read, sender, rewrite, reasons))
    }))
}

/// One worker's instance.
pub type Ip4Arp = Hold<Ip4>;

impl Held for Ip4 {
    fn station(packet: &Packet<'_>, interfaces: &InterfaceTable, table: TableIndex) -> Option<Ipv4Addr> {
        let destination = packet.header::<Ipv4Header>()?.destination();
        interfaces.is_unicast4(table, destination).then_some(destination)
    }

    fn mark_unreachable(packet: &mut Packet<'_>) {
        IcmpError::HOST_UNREACHABLE.mark(packet);
    }
}

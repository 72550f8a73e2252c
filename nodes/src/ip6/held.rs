// SPDX-License-Identifier: Apache-2.0
//! ip6-discover-neighbor: IPv6 packets that wait for a neighbour's MAC address. How they wait is that of all families
//! ([`crate::hold`]).

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use weft_engine::buffer::Packet;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, NodeSpec, Reasons, Role};
use weft_fib::{Family, Ip6};

use super::icmp_error::Icmp6Error;
use super::input::format_header;
use crate::headers::Ipv6Header;
use crate::hold::{Event, Held, Hold, Reason};
use crate::interface::{InterfaceTable, TableIndex};
use crate::setup::{Added, ONE_EACH, Setup, built_in};

weft_engine::edges! {
    /// Where packets go that need not wait.
    pub enum Next { Rewrite => "ip6-rewrite" }
}

/// Descriptor of ip6-discover-neighbor. The clock runs it too, to end what nobody released.
pub static IP6_DISCOVER_NEIGHBOR: NodeSpec = NodeSpec::timer("ip6-discover-neighbor", Duration::from_secs(1))
    .role(Role::Hold)
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .trace(format_header);

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let (tables, clock, mut senders) = (setup.tables.clone(), setup.engine.clock, setup.notice_senders());
    Ok(NodeDef::new(&IP6_DISCOVER_NEIGHBOR, move |w| {
        let sender = senders.next().expect(ONE_EACH);
        let rewrite = w.nexts::<Next>().to(Next::Rewrite);
        let read = (Arc::clone(&tables.interfaces), tables.adjacencies.clone());
        let reasons = (w.reasons(), w.events());
        Box::new(Hold::<Ip6>::new(tables.settings.hold, &clock, read, sender, rewrite, reasons))
    }))
}

impl Held for Ip6 {
    fn station(packet: &Packet<'_>, _: &InterfaceTable, _: TableIndex) -> Option<Ipv6Addr> {
        let destination = packet.header::<Ipv6Header>()?.destination();
        Ip6::can_be_neighbor(destination).then_some(destination)
    }

    fn mark_unreachable(packet: &mut Packet<'_>) {
        Icmp6Error::ADDRESS_UNREACHABLE.mark(packet);
    }
}

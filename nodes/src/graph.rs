// SPDX-License-Identifier: Apache-2.0
//! The one list of the nodes of this crate, and what they are made of.
//!
//! The main thread makes the tables, adds the nodes once, and from then on speaks to them by published tables and by
//! messages ([`HeldPackets`]).

use std::sync::Arc;

use rtrb::{Consumer, RingBuffer};
use weft_engine::graph::{BUILT_IN, GraphError, NodeDef, Registration};
use weft_engine::node::NodeSpec;
use weft_engine::{Engine, NodeId};
use weft_fib::Ip4;

use crate::arcs::{
    self, ARP_ARC, ETHERNET_ARC, ETHERNET_PUNT_ARC, INTERFACE_OUTPUT_ARC, IP4_DROP_ARC, IP4_LOCAL_ARC,
    IP4_MULTICAST_ARC, IP4_OUTPUT_ARC, IP4_PUNT_ARC, IP4_UNICAST_ARC,
};
use crate::arp::{ARP_INPUT, ARP_REPLY, ArpInput, ArpReply};
use crate::ethernet::{ETHERNET_END, ETHERNET_INPUT, EthernetEnd, EthernetInput};
use crate::hold::HeldPackets;
use crate::ip4::{
    AdmissionNodes, IP4_ARP, IP4_FRAG, IP4_ICMP_ERROR, IP4_INPUT, IP4_LOCAL, IP4_LOCAL_END, IP4_LOCAL_ONLY,
    IP4_LOOKUP, IP4_REWRITE, IP4_URPF_LOOSE, IP4_URPF_STRICT, IcmpLimits, Ip4Arp, Ip4Frag, Ip4IcmpError,
    Ip4Input, Ip4Local, Ip4LocalEnd, Ip4LocalOnly, Ip4Lookup, Ip4Rewrite, Ip4Urpf, Whereabouts,
};
use crate::loopback::{LOOPBACK_TX, LoopbackTx};
use crate::neighbor::{NeighborNotice, NoticeSender};
use crate::punt::{PUNT, Punt};
use crate::registries::{self, ETHER_TYPES, IP4_PROTOCOLS, PUNT_REASONS, UDP4_PORTS};
pub use crate::tables::{Settings, Tables};

/// The nodes, as the main thread knows them.
pub struct Nodes {
    /// Where ports send what they receive.
    pub ethernet_input: NodeId,
    /// Where packets enter that are made here.
    pub ip4_lookup: NodeId,
    /// Transmits on loopback interfaces.
    pub loopback_tx: NodeId,
    /// Tells senders of what cannot go on, within limits.
    pub ip4_icmp_error: NodeId,
    /// What interfaces let in.
    pub admission: AdmissionNodes,
    /// What to do with IPv4 packets that wait.
    pub held: HeldPackets<Ip4>,
    /// News of neighbours: two rings per worker.
    pub notices: Vec<Consumer<NeighborNotice>>,
}

const ONE_EACH: &str = "there is a ring for each worker";

/// Adds arcs and nodes.
pub fn add_nodes(engine: &mut Engine, tables: &Tables) -> Result<Nodes, GraphError> {
    crate::context::claim(engine)?;
    let counter = |name: &str, engine: &mut Engine| {
        engine.interface_counter(name).map_err(|error| GraphError::Stats(IP4_INPUT.name.to_owned(), error))
    };
    let received = counter("/if/ip4", engine)?;
    // Nobody counts here yet; readers expect it.
    counter("/if/ip6", engine)?;
    let clock = engine.clock;

    let mut notices = Vec::new();
    let threads = engine.threads().count();
    let mut senders = || {
        let rings = (0..threads).map(|_| RingBuffer::new(tables.settings.notices));
        let (producers, consumers): (Vec<_>, Vec<_>) = rings.unzip();
        notices.extend(consumers);
        producers.into_iter().map(|ring| NoticeSender::new(ring, tables.main.clone()))
    };
    let (mut reply_senders, mut hold_senders) = (senders(), senders());
    let interfaces = || Arc::clone(&tables.interfaces);
    let whereabouts = || Whereabouts {
        tables: tables.fibs.clone(),
        load_balances: tables.load_balances.clone(),
        adjacencies: tables.adjacencies.clone(),
    };

    let nodes = vec![
        NodeDef::new(&ETHERNET_INPUT, |w| {
            Box::new(EthernetInput {
                interfaces: interfaces(),
                arc: w.arc(&ETHERNET_ARC),
                punts: w.arc(&ETHERNET_PUNT_ARC),
                types: w.registry(&ETHER_TYPES),
                next: w.nexts(),
                reasons: w.reasons(),
            })
        }),
        NodeDef::new(&ETHERNET_END, |w| {
            Box::new(EthernetEnd {
                interfaces: interfaces(),
                punts: w.arc(&ETHERNET_PUNT_ARC),
                types: w.registry(&ETHER_TYPES),
                next: w.nexts(),
                reasons: w.reasons(),
            })
        }),
        NodeDef::new(&ARP_INPUT, |w| {
            Box::new(ArpInput { arc: w.arc(&ARP_ARC), next: w.nexts(), reasons: w.reasons() })
        }),
        NodeDef::new(&ARP_REPLY, |w| {
            let sender = reply_senders.next().expect(ONE_EACH);
            Box::new(ArpReply::new(
                tables,
                &clock,
                sender,
                w.arc(&INTERFACE_OUTPUT_ARC),
                w.nexts(),
                (w.reasons(), w.events()),
            ))
        }),
        NodeDef::new(&IP4_INPUT, |w| {
            Box::new(Ip4Input {
                arc: w.arc(&IP4_UNICAST_ARC),
                multicast: w.arc(&IP4_MULTICAST_ARC),
                received: received.row(w.thread()),
                next: w.nexts(),
                reasons: w.reasons(),
            })
        }),
        NodeDef::new(&IP4_URPF_STRICT, |w| {
            Box::new(Ip4Urpf { strict: true, routes: whereabouts(), reasons: w.reasons() })
        }),
        NodeDef::new(&IP4_URPF_LOOSE, |w| {
            Box::new(Ip4Urpf { strict: false, routes: whereabouts(), reasons: w.reasons() })
        }),
        NodeDef::new(&IP4_LOCAL_ONLY, |w| {
            Box::new(Ip4LocalOnly { routes: whereabouts(), reasons: w.reasons() })
        }),
        NodeDef::new(&IP4_LOOKUP, |w| {
            Box::new(Ip4Lookup {
                tables: tables.fibs.clone(),
                load_balances: tables.load_balances.clone(),
                routes: tables.routes.row(w.thread()),
                arcs: [w.arc(&IP4_DROP_ARC), w.arc(&IP4_PUNT_ARC)],
                next: w.nexts(),
                reasons: w.reasons(),
            })
        }),
        NodeDef::new(&IP4_REWRITE, |w| {
            Box::new(Ip4Rewrite {
                adjacencies: tables.adjacencies.clone(),
                interfaces: interfaces(),
                arc: w.arc(&IP4_OUTPUT_ARC),
                next: w.nexts(),
                reasons: w.reasons(),
            })
        }),
        NodeDef::new(&IP4_ARP, |w| {
            let sender = hold_senders.next().expect(ONE_EACH);
            let rewrite = Ip4Arp::rewrite(w.nexts());
            let read = (interfaces(), tables.adjacencies.clone());
            let reasons = (w.reasons(), w.events());
            Box::new(Ip4Arp::new(tables.settings.hold, &clock, read, sender, rewrite, reasons))
        }),
        NodeDef::new(&IP4_FRAG, |w| {
            Box::new(Ip4Frag {
                adjacencies: tables.adjacencies.clone(),
                interfaces: interfaces(),
                fragments: Vec::new(),
                next: w.nexts(),
                reasons: w.reasons(),
                events: w.events(),
            })
        }),
        NodeDef::new(&IP4_ICMP_ERROR, |w| {
            Box::new(Ip4IcmpError {
                interfaces: interfaces(),
                limits: IcmpLimits::new(&clock, tables.settings.icmp),
                identification: 0,
                drops: w.arc(&IP4_DROP_ARC),
                next: w.nexts(),
                reasons: w.reasons(),
                events: w.events(),
            })
        }),
        NodeDef::new(&IP4_LOCAL, |w| Box::new(Ip4Local { arc: w.arc(&IP4_LOCAL_ARC), next: w.nexts() })),
        NodeDef::new(&IP4_LOCAL_END, |w| {
            Box::new(Ip4LocalEnd {
                interfaces: interfaces(),
                registries: [&IP4_PROTOCOLS, &UDP4_PORTS, &PUNT_REASONS].map(|it| w.registry(it)),
                arcs: [w.arc(&IP4_DROP_ARC), w.arc(&IP4_PUNT_ARC)],
                next: w.nexts(),
                reasons: w.reasons(),
                events: w.events(),
            })
        }),
        NodeDef::new(&PUNT, |w| {
            Box::new(Punt {
                wanted: w.registry(&PUNT_REASONS),
                interfaces: interfaces(),
                reasons: w.reasons(),
            })
        }),
        NodeDef::new(&LOOPBACK_TX, |w| {
            Box::new(LoopbackTx { interfaces: interfaces(), next: w.nexts(), reasons: w.reasons() })
        }),
    ];
    engine.register(
        BUILT_IN,
        Registration { arcs: arcs::all(), registries: registries::all(), nodes, ..Registration::default() },
    )?;
    let id = |spec: &NodeSpec| engine.graph().id(spec.name).expect("the node was added just now");
    Ok(Nodes {
        admission: AdmissionNodes::new(engine),
        ethernet_input: id(&ETHERNET_INPUT),
        ip4_lookup: id(&IP4_LOOKUP),
        loopback_tx: id(&LOOPBACK_TX),
        ip4_icmp_error: id(&IP4_ICMP_ERROR),
        held: HeldPackets::new(id(&IP4_ARP), id(&IP4_REWRITE), id(&IP4_ICMP_ERROR)),
        notices,
    })
}

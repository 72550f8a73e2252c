// SPDX-License-Identifier: Apache-2.0
//! ip4-rx-urpf-strict, ip4-rx-urpf-loose and ip4-local-only: what an interface lets in.
//!
//! The first two ask whether the source is where it says that it is (RFC 3704, RFC 8704), as the kernel's `rp_filter` 1 and 2 do; the
//! third is an interface of a host that does not route, the kernel's `forwarding` 0. They are features of the `ip4-unicast` arc, so
//! interfaces without them pay nothing; each looks one more address up for a packet.

use std::sync::Arc;

use weft_engine::feature::{FeatureError, FeatureSpec};
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::{SlabReader, SlabView};
use weft_engine::{ArcId, Context, Engine, InterfaceIndex};
use weft_fib::Adjacency;

use super::{Fib, Forward, ForwardKind, LoadBalance, MAX_TABLES, format_header};
use crate::arcs::IP4_UNICAST_ARC;
use crate::context::IpContext;
use crate::headers::Ipv4Header;
use crate::interface::SourceCheck;
use crate::setup::{Added, Setup, built_in};
use crate::tables::Tables;

weft_engine::drops! {
    /// Why a source is not believed.
    pub enum UrpfReason {
        /// no route leads to the source address
        NoRoute = "no_source_route", Info;
        /// route to the source address leads to another interface
        WrongInterface = "wrong_source_interface", Info;
        /// source address is this host's own
        OwnSource = "own_source", Info;
    }
}

weft_engine::drops! {
    /// Why a packet goes no further.
    pub enum LocalOnlyReason {
        /// not for this host, and forwarding is off on the interface that it arrived on
        NotForwarded = "forwarding_off", Info;
    }
}

const URPF: [&str; 2] = ["ip4-rx-urpf-strict", "ip4-rx-urpf-loose"];

/// A source that is not believed begins no flow and hits no rule.
const FIRST: FeatureSpec<'static> =
    FeatureSpec::on("ip4-unicast").before(&[URPF[1], "ip4-local-only", "flow-track", "ip4-classify"]);
const SECOND: FeatureSpec<'static> = FIRST.before(&["ip4-local-only", "flow-track", "ip4-classify"]);
const THIRD: FeatureSpec<'static> = FIRST.before(&["flow-track", "ip4-classify"]);

/// Descriptor of ip4-rx-urpf-strict.
pub static IP4_URPF_STRICT: NodeSpec =
    NodeSpec::internal(URPF[0]).features(&[FIRST]).drops(UrpfReason::ALL).trace(format_header);
/// Descriptor of ip4-rx-urpf-loose.
pub static IP4_URPF_LOOSE: NodeSpec =
    NodeSpec::internal(URPF[1]).features(&[SECOND]).drops(UrpfReason::ALL).trace(format_header);
/// Descriptor of ip4-local-only.
pub static IP4_LOCAL_ONLY: NodeSpec =
    NodeSpec::internal("ip4-local-only").features(&[THIRD]).drops(LocalOnlyReason::ALL).trace(format_header);

/// The features, for the main thread.
#[derive(Clone, Copy, Debug)]
pub struct CheckNodes {
    arc: ArcId,
}

impl CheckNodes {
    /// To be asked for when the nodes are in the graph.
    pub(crate) fn new(engine: &Engine) -> Self {
        let arc = engine.features().arc(IP4_UNICAST_ARC.name).expect("the arc was added with the nodes");
        CheckNodes { arc }
    }

    /// Checks the sources of packets that arrive on an interface.
    pub fn check_sources(
        self,
        engine: &mut Engine,
        interface: InterfaceIndex,
        check: SourceCheck,
    ) -> Result<(), FeatureError> {
        for (node, of) in
            [(IP4_URPF_STRICT.name, SourceCheck::Strict), (IP4_URPF_LOOSE.name, SourceCheck::Loose)]
        {
            engine.set_feature(self.arc, interface, node, check == of)?;
        }
        Ok(())
    }

    /// Forwards what arrives on an interface, or takes only what is for this host.
    pub fn forward(
        self,
        engine: &mut Engine,
        interface: InterfaceIndex,
        on: bool,
    ) -> Result<(), FeatureError> {
        engine.set_feature(self.arc, interface, IP4_LOCAL_ONLY.name, !on)?;
        Ok(())
    }
}

/// The tables that answer where an address is.
#[derive(Clone)]
pub struct RouteTables {
    /// Forwarding tables by index.
    pub tables: SlabReader<Arc<Fib>>,
    /// Load-balances by id.
    pub load_balances: SlabReader<LoadBalance>,
    /// Neighbours.
    pub adjacencies: SlabReader<Adjacency>,
}

struct Routes<'a> {
    tables: SlabView<'a, Arc<Fib>>,
    load_balances: SlabView<'a, LoadBalance>,
    adjacencies: SlabView<'a, Adjacency>,
}

impl RouteTables {
    fn of(tables: &Tables) -> RouteTables {
        RouteTables {
            tables: tables.fibs.clone(),
            load_balances: tables.load_balances.clone(),
            adjacencies: tables.adjacencies.clone(),
        }
    }

    fn read<'a>(&'a self, cx: &Context<'a>) -> Routes<'a> {
        let guard = cx.guard();
        Routes {
            tables: self.tables.read(guard),
            load_balances: self.load_balances.read(guard),
            adjacencies: self.adjacencies.read(guard),
        }
    }
}

impl Routes<'_> {
    #[inline(always)]
    fn prefetch(&self, table: u32, address: u32) {
        if let Some(fib) = self.tables.get(table) {
            fib.prefetch(address);
        }
    }

    /// Everywhere that the route to an address leads; nowhere if there is no table, or too many in a row.
    #[inline(always)]
    fn to(&self, mut table: u32, address: u32) -> &[Forward] {
        for _ in 0..MAX_TABLES {
            let Some(fib) = self.tables.get(table) else { break };
            let Some(load_balance) = self.load_balances.get(fib.lookup(address).0) else { break };
            match load_balance.buckets() {
                [forward] if let Some(other) = forward.as_lookup() => table = other.0,
                buckets => return buckets,
            }
        }
        &[]
    }

    fn is_by(&self, forward: &Forward, interface: InterfaceIndex) -> bool {
        match forward.as_adjacency() {
            Some(id) => self.adjacencies.get(id.0).is_some_and(|hop| hop.interface == interface),
            None => forward.as_glean() == Some(interface),
        }
    }

    /// Why this source is not to be believed; `None`: it is.
    #[inline(always)]
    fn doubt(&self, strict: bool, table: u32, source: u32, rx: InterfaceIndex) -> Option<UrpfReason> {
        let forwards = self.to(table, source);
        let leads = |forward: &Forward| {
            matches!(forward.kind(), ForwardKind::ADJACENCY | ForwardKind::GLEAN | ForwardKind::PUNT)
        };
        let believed = match strict {
            true => forwards.iter().any(|forward| self.is_by(forward, rx)),
            false => forwards.iter().any(leads),
        };
        // A host that asks for its address has none yet; ip4-input lets no other such packet pass.
        if believed || source == 0 {
            return None;
        }
        Some(match forwards {
            [Forward::LOCAL, ..] => UrpfReason::OwnSource,
            forwards if forwards.iter().any(leads) => UrpfReason::WrongInterface,
            _ => UrpfReason::NoRoute,
        })
    }
}

fn urpf(setup: &mut Setup<'_>, spec: &'static NodeSpec, strict: bool) -> Added {
    let routes = RouteTables::of(setup.tables);
    Ok(NodeDef::new(spec, move |w| {
        Box::new(Ip4Urpf { strict, routes: routes.clone(), reasons: w.reasons() })
    }))
}

built_in!(add_strict);

fn add_strict(setup: &mut Setup<'_>) -> Added {
    urpf(setup, &IP4_URPF_STRICT, true)
}

built_in!(add_loose);

fn add_loose(setup: &mut Setup<'_>) -> Added {
    urpf(setup, &IP4_URPF_LOOSE, false)
}

built_in!(add_local_only);

fn add_local_only(setup: &mut Setup<'_>) -> Added {
    let routes = RouteTables::of(setup.tables);
    Ok(NodeDef::new(&IP4_LOCAL_ONLY, move |w| {
        Box::new(Ip4LocalOnly { routes: routes.clone(), reasons: w.reasons() })
    }))
}

/// One worker's instance of ip4-rx-urpf-strict or ip4-rx-urpf-loose.
pub struct Ip4Urpf {
    /// Which of the two.
    pub strict: bool,
    /// Where addresses are.
    pub routes: RouteTables,
    /// Reasons.
    pub reasons: ReasonBase<UrpfReason>,
}

impl Node for Ip4Urpf {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (routes, arcs) = (self.routes.read(cx), cx.arcs());
        let (strict, reasons) = (self.strict, self.reasons);
        cx.pipeline(
            frame,
            |packet| {
                let source = packet.header::<Ipv4Header>().map_or(0, |ip| ip.source.get());
                routes.prefetch(packet.meta.table(), source);
                source
            },
            |packet, source| match routes.doubt(strict, packet.meta.table(), source, packet.meta.rx_interface)
            {
                None => arcs.next(packet),
                Some(reason) => reasons.drop(packet, reason),
            },
        );
    }
}

/// One worker's instance of ip4-local-only.
pub struct Ip4LocalOnly {
    /// Where addresses are.
    pub routes: RouteTables,
    /// Reasons.
    pub reasons: ReasonBase<LocalOnlyReason>,
}

impl Node for Ip4LocalOnly {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (routes, arcs, reasons) = (self.routes.read(cx), cx.arcs(), self.reasons);
        cx.pipeline(
            frame,
            |packet| {
                let destination = packet.header::<Ipv4Header>().map_or(0, |ip| ip.destination.get());
                routes.prefetch(packet.meta.table(), destination);
                destination
            },
            |packet, destination| match routes.to(packet.meta.table(), destination) {
                [Forward::LOCAL, ..] => arcs.next(packet),
                _ => reasons.drop(packet, LocalOnlyReason::NotForwarded),
            },
        );
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What an interface lets in: ip4-rx-urpf-strict, ip4-rx-urpf-loose, ip4-local-only, and their like of any other family.
//!
//! The first two ask whether the source is where it says that it is (RFC 3704, RFC 8704), as the kernel's `rp_filter` 1 and 2 do; the
//! third is an interface of a host that does not route, the kernel's `forwarding` 0. They are features of the family's unicast arc,
//! so interfaces without them pay nothing; each looks one more address up for a packet. What is set on an interface holds
//! for all families.

use weft_engine::feature::{FeatureError, FeatureSpec};
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::{ArcId, Context, Engine, InterfaceIndex};
use weft_fib::{Forward, ForwardKind, Ip4, Ip6};

use super::routes::{RouteTables, Routes};
use super::{Forwarded, NodeNames};
use crate::context::IpContext;
use crate::interface::SourceCheck;
use crate::setup::{Added, Setup, built_in};

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

/// The features, for the main thread.
#[derive(Clone, Copy, Debug)]
pub struct CheckNodes {
    /// Where they are, for each family.
    families: [(ArcId, NodeNames); 2],
}

impl CheckNodes {
    /// To be asked for when the nodes are in the graph.
    pub(crate) fn new(engine: &Engine) -> Self {
        fn of<F: Forwarded>(engine: &Engine) -> (ArcId, NodeNames) {
            let arc = engine.features().arc(F::UNICAST_ARC.name).expect("the arc was added with the nodes");
            (arc, F::NODES)
        }
        CheckNodes { families: [of::<Ip4>(engine), of::<Ip6>(engine)] }
    }

    /// Checks the sources of packets that arrive on an interface.
    pub fn check_sources(
        self,
        engine: &mut Engine,
        interface: InterfaceIndex,
        check: SourceCheck,
    ) -> Result<(), FeatureError> {
        for (arc, nodes) in self.families {
            for (node, of) in
                [(nodes.urpf_strict, SourceCheck::Strict), (nodes.urpf_loose, SourceCheck::Loose)]
            {
                engine.set_feature(arc, interface, node, check == of)?;
            }
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
        self.forward_each(engine, interface, [on, on])
    }

    /// The same for each family: IPv4, IPv6.
    pub fn forward_each(
        self,
        engine: &mut Engine,
        interface: InterfaceIndex,
        on: [bool; 2],
    ) -> Result<(), FeatureError> {
        for ((arc, nodes), on) in self.families.into_iter().zip(on) {
            engine.set_feature(arc, interface, nodes.local_only, !on)?;
        }
        Ok(())
    }
}

/// Why this source is not to be believed; `None`: it is.
#[inline(always)]
fn doubt<F: Forwarded>(
    routes: &Routes<'_, F>,
    strict: bool,
    table: u32,
    source: F::Key,
    rx: InterfaceIndex,
) -> Option<UrpfReason> {
    let forwards = routes.to(table, source);
    let leads = |forward: &Forward| {
        matches!(forward.kind(), ForwardKind::ADJACENCY | ForwardKind::GLEAN | ForwardKind::PUNT)
    };
    let believed = match strict {
        true => forwards.iter().any(|forward| routes.is_by(forward, rx)),
        false => forwards.iter().any(leads),
    };
    if believed || F::is_of_link(source) {
        return None;
    }
    Some(match forwards {
        [Forward::LOCAL, ..] => UrpfReason::OwnSource,
        forwards if forwards.iter().any(leads) => UrpfReason::WrongInterface,
        _ => UrpfReason::NoRoute,
    })
}

built_in!(define_strict::<Ip4>, define_strict::<Ip6>);
built_in!(define_loose::<Ip4>, define_loose::<Ip6>);
built_in!(define_local_only::<Ip4>, define_local_only::<Ip6>);

fn define_strict<F: Forwarded>(setup: &mut Setup<'_>) -> Added {
    define_urpf::<F>(setup, Urpf::<F>::STRICT, true)
}

fn define_loose<F: Forwarded>(setup: &mut Setup<'_>) -> Added {
    define_urpf::<F>(setup, Urpf::<F>::LOOSE, false)
}

fn define_urpf<F: Forwarded>(setup: &mut Setup<'_>, spec: &'static NodeSpec, strict: bool) -> Added {
    let routes = RouteTables::<F>::of(setup.tables);
    Ok(NodeDef::new(spec, move |w| Box::new(Urpf { strict, routes: routes.clone(), reasons: w.reasons() })))
}

fn define_local_only<F: Forwarded>(setup: &mut Setup<'_>) -> Added {
    let routes = RouteTables::<F>::of(setup.tables);
    Ok(NodeDef::new(LocalOnly::<F>::SPEC, move |w| {
        Box::new(LocalOnly { routes: routes.clone(), reasons: w.reasons() })
    }))
}

/// One worker's instance of a node that checks sources.
pub struct Urpf<F: Forwarded> {
    /// Which of the two.
    pub strict: bool,
    /// Where addresses are.
    pub routes: RouteTables<F>,
    /// Reasons.
    pub reasons: ReasonBase<UrpfReason>,
}

impl<F: Forwarded> Urpf<F> {
    /// A source that is not believed begins no flow and hits no rule.
    const BEFORE: &'static [&'static str] =
        &[F::NODES.urpf_loose, F::NODES.local_only, "flow-track", F::NODES.classify];
    const ON: FeatureSpec<'static> = FeatureSpec::on(F::UNICAST_ARC.name).set_by("set urpf");
    const FIRST: &'static [FeatureSpec<'static>] = &[Self::ON.before(Self::BEFORE)];
    const SECOND: &'static [FeatureSpec<'static>] = &[Self::ON.before(Self::BEFORE.split_at(1).1)];
    const STRICT: &'static NodeSpec = &NodeSpec::internal(F::NODES.urpf_strict)
        .features(Self::FIRST)
        .drops(UrpfReason::ALL)
        .trace(F::format);
    const LOOSE: &'static NodeSpec = &NodeSpec::internal(F::NODES.urpf_loose)
        .features(Self::SECOND)
        .drops(UrpfReason::ALL)
        .trace(F::format);
}

impl<F: Forwarded> Node for Urpf<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (routes, arcs) = (self.routes.read(cx), cx.arcs());
        let (strict, reasons) = (self.strict, self.reasons);
        cx.pipeline(
            frame,
            |packet| {
                let source = F::source(packet).unwrap_or_default();
                routes.prefetch(packet.meta.table(), source);
                source
            },
            |packet, source| match doubt(
                &routes,
                strict,
                packet.meta.table(),
                source,
                packet.meta.rx_interface,
            ) {
                None => arcs.next(packet),
                Some(reason) => reasons.drop(packet, reason),
            },
        );
    }
}

/// One worker's instance of a node that takes only what is for this host.
pub struct LocalOnly<F: Forwarded> {
    /// Where addresses are.
    pub routes: RouteTables<F>,
    /// Reasons.
    pub reasons: ReasonBase<LocalOnlyReason>,
}

impl<F: Forwarded> LocalOnly<F> {
    const THIRD: &'static [FeatureSpec<'static>] = &[FeatureSpec::on(F::UNICAST_ARC.name)
        .before(Urpf::<F>::BEFORE.split_at(2).1)
        .set_by("set interface ip forwarding")];
    const SPEC: &'static NodeSpec = &NodeSpec::internal(F::NODES.local_only)
        .features(Self::THIRD)
        .drops(LocalOnlyReason::ALL)
        .trace(F::format);
}

impl<F: Forwarded> Node for LocalOnly<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (routes, arcs, reasons) = (self.routes.read(cx), cx.arcs(), self.reasons);
        cx.pipeline(
            frame,
            |packet| {
                let destination = F::destination(packet).unwrap_or_default();
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

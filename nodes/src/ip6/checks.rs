// SPDX-License-Identifier: Apache-2.0
//! ip6-rx-urpf-strict, ip6-rx-urpf-loose and ip6-local-only: see [`crate::forward::checks`].

use weft_engine::feature::FeatureSpec;
use weft_engine::node::{NodeSpec, Reasons};
use weft_fib::Ip6;

use super::input::format_header;
use crate::forward::checks::{Checks, LocalOnlyReason, UrpfReason, define_local_only, define_urpf};
use crate::setup::{Added, Setup, built_in};

/// Their names.
pub(super) const CHECKS: Checks =
    Checks { strict: "ip6-rx-urpf-strict", loose: "ip6-rx-urpf-loose", local_only: "ip6-local-only" };

/// A source that is not believed hits no rule.
const FIRST: FeatureSpec<'static> = FeatureSpec::on("ip6-unicast")
    .before(&[CHECKS.loose, CHECKS.local_only, "flow-track", "ip6-classify"])
    .set_by("set urpf");
const SECOND: FeatureSpec<'static> = FIRST.before(&[CHECKS.local_only, "flow-track", "ip6-classify"]);
const THIRD: FeatureSpec<'static> =
    FIRST.before(&["flow-track", "ip6-classify"]).set_by("set interface ip forwarding");

/// Descriptor of ip6-rx-urpf-strict.
pub static IP6_URPF_STRICT: NodeSpec =
    NodeSpec::internal(CHECKS.strict).features(&[FIRST]).drops(UrpfReason::ALL).trace(format_header);
/// Descriptor of ip6-rx-urpf-loose.
pub static IP6_URPF_LOOSE: NodeSpec =
    NodeSpec::internal(CHECKS.loose).features(&[SECOND]).drops(UrpfReason::ALL).trace(format_header);
/// Descriptor of ip6-local-only.
pub static IP6_LOCAL_ONLY: NodeSpec =
    NodeSpec::internal(CHECKS.local_only).features(&[THIRD]).drops(LocalOnlyReason::ALL).trace(format_header);

built_in!(add_strict);

fn add_strict(setup: &mut Setup<'_>) -> Added {
    Ok(define_urpf::<Ip6>(&IP6_URPF_STRICT, setup.tables, true))
}

built_in!(add_loose);

fn add_loose(setup: &mut Setup<'_>) -> Added {
    Ok(define_urpf::<Ip6>(&IP6_URPF_LOOSE, setup.tables, false))
}

built_in!(add_local_only);

fn add_local_only(setup: &mut Setup<'_>) -> Added {
    Ok(define_local_only::<Ip6>(&IP6_LOCAL_ONLY, setup.tables))
}

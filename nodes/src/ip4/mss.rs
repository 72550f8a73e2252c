// SPDX-License-Identifier: Apache-2.0
//! ip4-tcp-mss and ip4-tcp-mss-output: see [`crate::tcp_mss`].

use weft_engine::feature::FeatureSpec;
use weft_engine::node::NodeSpec;
use zerocopy::FromBytes;

use super::input::format_header;
use crate::headers::{IpProtocol, Ipv4Header, ip4_offset};
use crate::setup::{Added, Setup, built_in};
use crate::tcp_mss::{TCP_MSS, define};

/// Descriptor of ip4-tcp-mss, a feature of `ip4-unicast`.
pub static IP4_TCP_MSS: NodeSpec = NodeSpec::internal("ip4-tcp-mss")
    .features(&[FeatureSpec::on("ip4-unicast").after(&["ip4-classify"]).set_by("set interface tcp-mss")])
    .trace(format_header);
/// Descriptor of ip4-tcp-mss-output, a feature of `interface-output`.
pub static IP4_TCP_MSS_OUTPUT: NodeSpec =
    NodeSpec::internal("ip4-tcp-mss-output").features(&[FeatureSpec::on("interface-output")
        .after(&["ip4-classify-output"])
        .set_by("set interface tcp-mss")]);

built_in!(add_input);

fn add_input(setup: &mut Setup<'_>) -> Added {
    Ok(define(&IP4_TCP_MSS, setup.value(&TCP_MSS), false, |packet| segment(packet, 0)))
}

built_in!(add_output);

fn add_output(setup: &mut Setup<'_>) -> Added {
    let limits = setup.value(&TCP_MSS);
    Ok(define(&IP4_TCP_MSS_OUTPUT, limits, true, |frame| segment(frame, ip4_offset(frame)?)))
}

#[inline(always)]
fn segment(bytes: &[u8], start: usize) -> Option<usize> {
    let (ip, _) = Ipv4Header::ref_from_prefix(bytes.get(start..)?).ok()?;
    let is_first = ip.protocol == IpProtocol::TCP && ip.fragment_offset() == 0;
    is_first.then(|| start + ip.header_length())
}

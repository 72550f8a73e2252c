// SPDX-License-Identifier: Apache-2.0
//! ip6-tcp-mss and ip6-tcp-mss-output: see [`crate::tcp_mss`]. A TCP header is found right after that of IPv6 and behind
//! extension headers.

use weft_engine::feature::FeatureSpec;
use weft_engine::node::NodeSpec;
use zerocopy::FromBytes;

use super::input::format_header;
use crate::headers::{IpProtocol, Ipv6Header, ip6_offset, walk_ip6};
use crate::setup::{Added, Setup, built_in};
use crate::tcp_mss::{TCP_MSS, define};

/// Descriptor of ip6-tcp-mss, a feature of `ip6-unicast`.
pub static IP6_TCP_MSS: NodeSpec = NodeSpec::internal("ip6-tcp-mss")
    .features(&[FeatureSpec::on("ip6-unicast").after(&["ip6-classify"]).set_by("set interface tcp-mss")])
    .trace(format_header);
/// Descriptor of ip6-tcp-mss-output, a feature of `ip6-output`.
pub static IP6_TCP_MSS_OUTPUT: NodeSpec =
    NodeSpec::internal("ip6-tcp-mss-output").features(&[FeatureSpec::on("ip6-output")
        .after(&["ip6-classify-output"])
        .set_by("set interface tcp-mss")]);

built_in!(add_input);

fn add_input(setup: &mut Setup<'_>) -> Added {
    let headers = setup.tables.settings.extension_headers;
    let limits = setup.value(&TCP_MSS);
    Ok(define(&IP6_TCP_MSS, limits, false, move |packet| segment(packet, 0, headers)))
}

built_in!(add_output);

fn add_output(setup: &mut Setup<'_>) -> Added {
    let headers = setup.tables.settings.extension_headers;
    let limits = setup.value(&TCP_MSS);
    Ok(define(&IP6_TCP_MSS_OUTPUT, limits, true, move |frame| segment(frame, ip6_offset(frame)?, headers)))
}

#[inline(always)]
fn segment(bytes: &[u8], start: usize, headers: usize) -> Option<usize> {
    let (ip, rest) = Ipv6Header::ref_from_prefix(bytes.get(start..)?).ok()?;
    if ip.next_header == IpProtocol::TCP {
        return Some(start + Ipv6Header::LENGTH);
    }
    let chain = walk_ip6(ip.next_header, rest, headers).ok()?;
    let is_first = chain.protocol == IpProtocol::TCP && !chain.is_later_fragment();
    is_first.then(|| start + chain.upper())
}

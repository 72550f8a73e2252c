// SPDX-License-Identifier: Apache-2.0
//! ip6-tcp-mss and ip6-tcp-mss-output: where IPv6 has TCP, right after its header and behind extension headers. The nodes:
//! [`crate::tcp_mss`].

use weft_engine::feature::FeatureSpec;
use weft_engine::node::NodeSpec;
use weft_fib::Ip6;
use zerocopy::FromBytes;

use super::input::format_header;
use crate::headers::{IpProtocol, Ipv6Header, walk_ip6};
use crate::tcp_mss::CarriesTcp;

impl CarriesTcp for Ip6 {
    const INPUT: &'static NodeSpec = &NodeSpec::internal("ip6-tcp-mss")
        .features(&[FeatureSpec::on("ip6-unicast").after(&["ip6-classify"]).set_by("set interface tcp-mss")])
        .trace(format_header);
    const OUTPUT: &'static NodeSpec =
        &NodeSpec::internal("ip6-tcp-mss-output").features(&[FeatureSpec::on("ip6-output")
            .after(&["ip6-classify-output"])
            .set_by("set interface tcp-mss")]);

    #[inline(always)]
    fn segment(packet: &[u8], extension_headers: usize) -> Option<usize> {
        let (ip, rest) = Ipv6Header::ref_from_prefix(packet).ok()?;
        if ip.next_header == IpProtocol::TCP {
            return Some(Ipv6Header::LENGTH);
        }
        let chain = walk_ip6(ip.next_header, rest, extension_headers).ok()?;
        let is_first = chain.protocol == IpProtocol::TCP && !chain.is_later_fragment();
        is_first.then(|| chain.upper())
    }
}

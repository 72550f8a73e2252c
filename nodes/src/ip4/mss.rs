// SPDX-License-Identifier: Apache-2.0
//! ip4-tcp-mss and ip4-tcp-mss-output: where IPv4 has TCP. The nodes: [`crate::tcp_mss`].

use weft_engine::feature::FeatureSpec;
use weft_engine::node::NodeSpec;
use weft_fib::Ip4;
use zerocopy::FromBytes;

use super::input::format_header;
use crate::headers::{IpProtocol, Ipv4Header};
use crate::tcp_mss::CarriesTcp;

impl CarriesTcp for Ip4 {
    const INPUT: &'static NodeSpec = &NodeSpec::internal("ip4-tcp-mss")
        .features(&[FeatureSpec::on("ip4-unicast").after(&["ip4-classify"]).set_by("set interface tcp-mss")])
        .trace(format_header);
    const OUTPUT: &'static NodeSpec =
        &NodeSpec::internal("ip4-tcp-mss-output").features(&[FeatureSpec::on("interface-output")
            .after(&["ip4-classify-output"])
            .set_by("set interface tcp-mss")]);

    #[inline(always)]
    fn segment(packet: &[u8], _: usize) -> Option<usize> {
        let (ip, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
        let is_first = ip.protocol == IpProtocol::TCP && ip.fragment_offset() == 0;
        is_first.then(|| ip.header_length())
    }
}

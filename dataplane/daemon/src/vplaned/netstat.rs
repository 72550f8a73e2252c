// SPDX-License-Identifier: Apache-2.0
//! `netstat`: what Weft counts, under the names of the SNMP MIBs and of the C dataplane. What it does not count is left out.

use std::collections::BTreeMap;

use weft_vplaned::commands::Words;
use weft_vplaned::console::Failure;

use crate::state::Dataplane;

/// Object, key, and what is counted: a counter of every interface, or what nodes count, as `<node>/<counter>,<counter>`; `*` are all
/// drops of the node.
const COUNTS: &[(&str, &str, &str)] = &[
    ("ip", "InReceives", "/if/ip4"),
    (
        "ip",
        "InHdrErrors",
        "ip4-input/too_short,bad_version,bad_header_length,bad_total_length,bad_checksum ip4-icmp-error/ttl_expired",
    ),
    ("ip", "InAddrErrors", "ip4-input/martian_source,martian_destination"),
    ("ip", "InUnknownProtos", "ip4-local-end-of-arc/protocol_no_host ip4-icmp-error/protocol_unreachable"),
    ("ip", "OutNoRoutes", "ip4-icmp-error/no_route"),
    ("ip", "OutDiscards", "ip4-arp/* ip4-rewrite/*"),
    ("ip", "ReasmOKs", "ip4-reassembly/reassembled"),
    ("ip", "ReasmFails", "ip4-reassembly/*"),
    ("ip", "FragOKs", "ip4-frag/fragmented"),
    ("ip", "FragCreates", "ip4-frag/fragments"),
    ("ip", "FragFails", "ip4-frag/* ip4-icmp-error/fragmentation_needed"),
    ("icmp", "InErrors", "ip4-local-end-of-arc/icmp_too_short,bad_icmp_checksum"),
    (
        "icmp",
        "OutMsgs",
        "ip4-local-end-of-arc/echo_replies ip4-icmp-error/sent_time_exceeded,sent_unreachable,sent_fragmentation_needed",
    ),
    ("icmp", "OutDestUnreachs", "ip4-icmp-error/sent_unreachable,sent_fragmentation_needed"),
    ("icmp", "OutTimeExcds", "ip4-icmp-error/sent_time_exceeded"),
    ("icmp", "OutEchoReps", "ip4-local-end-of-arc/echo_replies"),
    ("arp", "tx_request", "/net/arp/tx/requests"),
    ("arp", "tx_reply", "/net/arp/tx/replies"),
    ("arp", "rx_request", "/net/arp/rx/requests"),
    ("arp", "rx_reply", "/net/arp/rx/replies"),
    ("arp", "rx_ignored", "arp-reply/not_for_us,sender_not_local"),
    ("arp", "duplicate_ip", "arp-reply/address_conflict"),
    ("arp", "dropped", "ip4-arp/*"),
    ("arp", "timeout", "ip4-arp/waited_too_long"),
    ("arp", "proxy", "arp-reply/proxy_replies_sent"),
    ("ip6", "InReceives", "/if/ip6"),
    ("ip6", "InHdrErrors", "ip6-input/bad_version,bad_length ip6-icmp-error/hop_limit_exceeded"),
    ("ip6", "InTruncatedPkts", "ip6-input/too_short"),
    (
        "ip6",
        "InAddrErrors",
        "ip6-input/multicast_source,unspecified_source,unspecified_destination,loopback_address,ip4_mapped_address,bad_multicast_scope",
    ),
    ("ip6", "InTooBigErrors", "ip6-icmp-error/packet_too_big"),
    ("ip6", "InNoRoutes", "ip6-icmp-error/no_route"),
    (
        "ip6",
        "InUnknownProtos",
        "ip6-local-end-of-arc/protocol_no_host ip6-icmp-error/unrecognized_next_header",
    ),
    ("ip6", "OutDiscards", "ip6-discover-neighbor/* ip6-rewrite/*"),
    ("icmp6", "InErrors", "ip6-local-end-of-arc/icmp_too_short,bad_icmp_checksum"),
    ("icmp6", "OutDestUnreachs", "ip6-icmp-error/sent_unreachable"),
    ("icmp6", "OutTimeExcds", "ip6-icmp-error/sent_time_exceeded"),
    ("icmp6", "OutPktTooBigs", "ip6-icmp-error/sent_packet_too_big"),
    ("icmp6", "OutEchoReplies", "ip6-local-end-of-arc/echo_replies"),
    ("nd6", "ns_tx", "ip6-discover-neighbor/requests"),
    ("nd6", "na_tx", "ip6-nd-input/advertisements_sent,proxy_advertisements_sent"),
    ("nd6", "rx_ignored", "ip6-nd-input/not_for_us,sender_not_local"),
    ("nd6", "duplicate_ip", "ip6-nd-input/address_conflict"),
    ("nd6", "dropped", "ip6-discover-neighbor/*"),
    ("nd6", "timeouts", "ip6-discover-neighbor/waited_too_long"),
    (
        "nd6",
        "bad_packet",
        "ip6-nd-input/too_short,bad_hop_limit,bad_checksum,bad_code,bad_message,bad_option",
    ),
];

/// By protocol (`ip`, `icmp`, `arp`), under the names of the SNMP MIBs.
type Protocols = BTreeMap<&'static str, BTreeMap<&'static str, u64>>;

/// Node and counter of all that is named.
fn of_nodes(count: &str) -> impl Iterator<Item = (&str, &str)> {
    count.split(' ').flat_map(|of_node| {
        let (node, counters) = of_node.split_once('/').unwrap_or((of_node, ""));
        counters.split(',').map(move |counter| (node, counter))
    })
}

pub fn netstat(dataplane: &mut Dataplane, mut words: Words<'_>) -> Result<Protocols, Failure> {
    if !words.is_empty() {
        // Weft counts for all tables together.
        words.one_of(&[("vrf_id", ())])?;
        words.value::<u32>("the number of a VRF")?;
        words.end()?;
    }
    let counters = &dataplane.engine().counters;
    let of_interfaces = |name: &str| {
        let indices = dataplane.interfaces().iter().map(|(index, _)| index.index());
        counters.interfaces.named(name).map_or(0, |vector| indices.map(|index| vector.sum(index)).sum())
    };
    let of_node = |node: &str, counter: &str| {
        let meant = dataplane.engine().graph().reasons().filter(|(_, info, its)| {
            *its == Some(node)
                && match counter {
                    "*" => info.spec.kind == weft_engine::node::ReasonKind::Drop,
                    _ => info.spec.name == counter,
                }
        });
        meant.map(|(id, ..)| counters.reasons.sum(id.index())).sum::<u64>()
    };
    let mut protocols = Protocols::new();
    for (object, key, count) in COUNTS {
        let value = match count.starts_with('/') {
            true => of_interfaces(count),
            false => of_nodes(count).map(|(node, counter)| of_node(node, counter)).sum(),
        };
        protocols.entry(*object).or_default().insert(*key, value);
    }
    Ok(protocols)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bed;

    #[test]
    fn every_counter_that_is_named_is_there() {
        let bed = Bed::new("", 1);
        let engine = bed.dataplane.engine();
        let reasons: Vec<_> =
            engine.graph().reasons().map(|(_, info, node)| (node, info.spec.name)).collect();
        for (object, key, count) in COUNTS {
            if count.starts_with('/') {
                assert!(engine.counters.interfaces.named(count).is_some(), "{object} {key}: {count}");
                continue;
            }
            for (node, counter) in of_nodes(count) {
                let is = |(its, name): &(Option<&str>, &str)| {
                    *its == Some(node) && (counter == "*" || *name == counter)
                };
                assert!(reasons.iter().any(is), "{object} {key}: {node} {counter}");
            }
        }
    }
}

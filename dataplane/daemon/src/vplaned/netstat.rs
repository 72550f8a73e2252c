// SPDX-License-Identifier: Apache-2.0
//! `netstat`: what Weft counts, under the names of the SNMP MIBs and of the C dataplane. What it does not count is left out.

use std::collections::BTreeMap;

use weft_vplaned::commands::Words;
use weft_vplaned::console::{Failure, json};

use crate::state::Dataplane;

/// Where the count of an object's key is to be had.
enum Count {
    /// A counter of every interface, summed up.
    Interfaces(&'static str),
    /// What nodes count: node and counter, as in `/err/<node>/<counter>`; no counter: all drops of the node.
    Nodes(&'static [(&'static str, &'static str)]),
}
use Count::{Interfaces, Nodes};

/// Object, key, and what is counted.
const COUNTS: &[(&str, &str, Count)] = &[
    ("ip", "InReceives", Interfaces("/if/ip4")),
    (
        "ip",
        "InHdrErrors",
        Nodes(&[
            ("ip4-input", "too_short"),
            ("ip4-input", "bad_version"),
            ("ip4-input", "bad_header_length"),
            ("ip4-input", "bad_total_length"),
            ("ip4-input", "bad_checksum"),
            ("ip4-icmp-error", "ttl_expired"),
        ]),
    ),
    ("ip", "InAddrErrors", Nodes(&[("ip4-input", "martian_source"), ("ip4-input", "martian_destination")])),
    (
        "ip",
        "InUnknownProtos",
        Nodes(&[("ip4-local-end-of-arc", "protocol_no_host"), ("ip4-icmp-error", "protocol_unreachable")]),
    ),
    ("ip", "OutNoRoutes", Nodes(&[("ip4-icmp-error", "no_route")])),
    ("ip", "OutDiscards", Nodes(&[("ip4-arp", ""), ("ip4-rewrite", "")])),
    ("ip", "ReasmOKs", Nodes(&[("ip4-reassembly", "reassembled")])),
    ("ip", "ReasmFails", Nodes(&[("ip4-reassembly", "")])),
    ("ip", "FragOKs", Nodes(&[("ip4-frag", "fragmented")])),
    ("ip", "FragCreates", Nodes(&[("ip4-frag", "fragments")])),
    ("ip", "FragFails", Nodes(&[("ip4-frag", ""), ("ip4-icmp-error", "fragmentation_needed")])),
    (
        "icmp",
        "InErrors",
        Nodes(&[("ip4-local-end-of-arc", "icmp_too_short"), ("ip4-local-end-of-arc", "bad_icmp_checksum")]),
    ),
    (
        "icmp",
        "OutMsgs",
        Nodes(&[
            ("ip4-local-end-of-arc", "echo_replies"),
            ("ip4-icmp-error", "sent_time_exceeded"),
            ("ip4-icmp-error", "sent_unreachable"),
            ("ip4-icmp-error", "sent_fragmentation_needed"),
        ]),
    ),
    (
        "icmp",
        "OutDestUnreachs",
        Nodes(&[("ip4-icmp-error", "sent_unreachable"), ("ip4-icmp-error", "sent_fragmentation_needed")]),
    ),
    ("icmp", "OutTimeExcds", Nodes(&[("ip4-icmp-error", "sent_time_exceeded")])),
    ("icmp", "OutEchoReps", Nodes(&[("ip4-local-end-of-arc", "echo_replies")])),
    ("arp", "tx_request", Interfaces("/net/arp/tx/requests")),
    ("arp", "tx_reply", Interfaces("/net/arp/tx/replies")),
    ("arp", "rx_request", Interfaces("/net/arp/rx/requests")),
    ("arp", "rx_reply", Interfaces("/net/arp/rx/replies")),
    ("arp", "rx_ignored", Nodes(&[("arp-reply", "not_for_us"), ("arp-reply", "sender_not_local")])),
    ("arp", "duplicate_ip", Nodes(&[("arp-reply", "address_conflict")])),
    ("arp", "dropped", Nodes(&[("ip4-arp", "")])),
    ("arp", "timeout", Nodes(&[("ip4-arp", "waited_too_long")])),
    ("arp", "proxy", Nodes(&[("arp-reply", "proxy_replies_sent")])),
    ("ip6", "InReceives", Interfaces("/if/ip6")),
    (
        "ip6",
        "InHdrErrors",
        Nodes(&[
            ("ip6-input", "bad_version"),
            ("ip6-input", "bad_length"),
            ("ip6-icmp-error", "hop_limit_exceeded"),
        ]),
    ),
    ("ip6", "InTruncatedPkts", Nodes(&[("ip6-input", "too_short")])),
    (
        "ip6",
        "InAddrErrors",
        Nodes(&[
            ("ip6-input", "multicast_source"),
            ("ip6-input", "unspecified_source"),
            ("ip6-input", "unspecified_destination"),
            ("ip6-input", "loopback_address"),
            ("ip6-input", "ip4_mapped_address"),
            ("ip6-input", "bad_multicast_scope"),
        ]),
    ),
    ("ip6", "InTooBigErrors", Nodes(&[("ip6-icmp-error", "packet_too_big")])),
    ("ip6", "InNoRoutes", Nodes(&[("ip6-icmp-error", "no_route")])),
    (
        "ip6",
        "InUnknownProtos",
        Nodes(&[
            ("ip6-local-end-of-arc", "protocol_no_host"),
            ("ip6-icmp-error", "unrecognized_next_header"),
        ]),
    ),
    ("ip6", "OutDiscards", Nodes(&[("ip6-discover-neighbor", ""), ("ip6-rewrite", "")])),
    (
        "icmp6",
        "InErrors",
        Nodes(&[("ip6-local-end-of-arc", "icmp_too_short"), ("ip6-local-end-of-arc", "bad_icmp_checksum")]),
    ),
    ("icmp6", "OutDestUnreachs", Nodes(&[("ip6-icmp-error", "sent_unreachable")])),
    ("icmp6", "OutTimeExcds", Nodes(&[("ip6-icmp-error", "sent_time_exceeded")])),
    ("icmp6", "OutPktTooBigs", Nodes(&[("ip6-icmp-error", "sent_packet_too_big")])),
    ("icmp6", "OutEchoReplies", Nodes(&[("ip6-local-end-of-arc", "echo_replies")])),
    ("nd6", "ns_tx", Nodes(&[("ip6-discover-neighbor", "requests")])),
    (
        "nd6",
        "na_tx",
        Nodes(&[("ip6-nd-input", "advertisements_sent"), ("ip6-nd-input", "proxy_advertisements_sent")]),
    ),
    ("nd6", "rx_ignored", Nodes(&[("ip6-nd-input", "not_for_us"), ("ip6-nd-input", "sender_not_local")])),
    ("nd6", "duplicate_ip", Nodes(&[("ip6-nd-input", "address_conflict")])),
    ("nd6", "dropped", Nodes(&[("ip6-discover-neighbor", "")])),
    ("nd6", "timeouts", Nodes(&[("ip6-discover-neighbor", "waited_too_long")])),
    (
        "nd6",
        "bad_packet",
        Nodes(&[
            ("ip6-nd-input", "too_short"),
            ("ip6-nd-input", "bad_hop_limit"),
            ("ip6-nd-input", "bad_checksum"),
            ("ip6-nd-input", "bad_code"),
            ("ip6-nd-input", "bad_message"),
            ("ip6-nd-input", "bad_option"),
        ]),
    ),
];

pub fn netstat(dataplane: &mut Dataplane, mut words: Words<'_>) -> Result<json::Netstat, Failure> {
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
                    "" => info.spec.kind == weft_engine::node::ReasonKind::Drop,
                    _ => info.spec.name == counter,
                }
        });
        meant.map(|(id, ..)| counters.reasons.sum(id.index())).sum::<u64>()
    };
    let mut protocols: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (object, key, count) in COUNTS {
        let value = match count {
            Interfaces(name) => of_interfaces(name),
            Nodes(counted) => counted.iter().map(|(node, counter)| of_node(node, counter)).sum(),
        };
        protocols.entry(*object).or_default().insert(*key, value);
    }
    Ok(json::Netstat { protocols })
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
            match count {
                Interfaces(name) => {
                    assert!(engine.counters.interfaces.named(name).is_some(), "{object} {key}: {name}")
                }
                Nodes(counted) => counted.iter().for_each(|(node, counter)| {
                    let is = |(its, name): &(Option<&str>, &str)| {
                        *its == Some(*node) && (counter.is_empty() || name == counter)
                    };
                    assert!(reasons.iter().any(is), "{object} {key}: {node} {counter}");
                }),
            }
        }
    }
}

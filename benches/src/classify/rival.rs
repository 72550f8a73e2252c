// SPDX-License-Identifier: Apache-2.0
//! DPDK's classifier in a process of its own (`benches/rivals/dpdk`), which takes turns with ours round by round.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use weft_classify::{Match, Rule};

use super::rules::Tuple;
use crate::rival::Rival;

/// What of DPDK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// rte_acl.
    Acl,
    /// rte_hash.
    Hash,
}

/// Hands over rules and packets, and waits until they are built in.
pub fn start(program: &Path, method: Method, rules: &[Rule], packets: &[Tuple]) -> Result<Rival> {
    let mut text = format!("rules {}\n", rules.len());
    for Rule { matches, .. } in rules {
        let Match { source, destination, source_ports, destination_ports, protocol, .. } = matches;
        writeln!(
            text,
            "{} {} {} {} {} {} {} {} {} {}",
            source.network().to_bits(),
            source.prefix_len(),
            destination.network().to_bits(),
            destination.prefix_len(),
            source_ports.first(),
            source_ports.last(),
            destination_ports.first(),
            destination_ports.last(),
            protocol.map_or(0, |protocol| protocol.0),
            protocol.map_or(0, |_| 255),
        )?;
    }
    writeln!(text, "packets {}", packets.len())?;
    for Tuple { source, destination, source_port, destination_port, protocol } in packets {
        writeln!(text, "{source} {destination} {source_port} {destination_port} {}", protocol.0)?;
    }
    let method = match method {
        Method::Acl => "acl",
        Method::Hash => "hash",
    };
    Rival::start(program, method, &text)
}

/// How many of the packets find each rule.
pub fn hits(rival: &mut Rival, rules: usize, packets: usize) -> Result<Vec<u64>> {
    let mut hits = vec![0; rules];
    for rule in rival.results(packets)? {
        if let Some(hits) = usize::try_from(rule).ok().and_then(|rule| hits.get_mut(rule)) {
            *hits += 1;
        }
    }
    Ok(hits)
}

// SPDX-License-Identifier: Apache-2.0
//! Tables of masks and sessions as VPP has them, and the rules that say the same.
//!
//! VPP compares bytes of the packet; Weft's classifier compares fields of the IPv4 header. So a table is taken if its mask
//! covers whole fields that the classifier knows, and refused otherwise. What remains of a difference: ports are
//! those of protocols that have ports, found behind the options, and later fragments have none.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use weft_binapi::Retval;
use weft_classify::{Action, Dscp, Family, Match, PortRange, Priority, Rule, RuleId, Verdict};
use weft_nodes::headers::IpProtocol;

/// "None" of VPP: no table, and for verdicts "goes on".
pub const NONE: u32 = u32::MAX;
/// The drop node's place behind the nodes that ask tables.
const DENY: u32 = 0;
/// Bytes that masks are made of.
pub const VECTOR: usize = 16;
/// Bytes of an Ethernet header, where masks begin unless they say otherwise.
const ETHERNET: i64 = 14;
/// Bytes from the IPv4 header on that the classifier knows: the header and the ports.
const KNOWN: usize = 24;

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Of the vectors that are compared.
    pub mask: Vec<u8>,
    pub skip: u32,
    /// Where it begins in the IPv4 header; `None`: it begins with the Ethernet header.
    pub offset: Option<i16>,
    pub buckets: u32,
    pub next: Option<u32>,
    /// What becomes of packets that neither this table nor a next one knows.
    pub miss: u32,
    pub sessions: Vec<Session>,
    fields: Fields,
    /// Where the mask begins, in bytes from the IPv4 header.
    origin: i64,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its rule's, for life.
    pub id: RuleId,
    /// As the client said them, with the skipped vectors.
    pub bytes: Vec<u8>,
    pub hit: u32,
    pub opaque: u32,
}

/// Which fields a mask covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fields {
    dscp: bool,
    protocol: bool,
    source: u8,
    destination: u8,
    source_port: bool,
    destination_port: bool,
}

/// What becomes of a packet, by the number of the next node.
pub fn verdict(next: u32) -> Result<Verdict, Retval> {
    match next {
        DENY => Ok(Verdict::Drop),
        NONE => Ok(Verdict::Pass),
        // Other nodes have other numbers here.
        _ => Err(Retval::UNSUPPORTED),
    }
}

impl Table {
    /// Refuses a mask that the classifier cannot compare.
    pub fn new(mask: Vec<u8>, skip: u32, offset: Option<i16>) -> Result<Table, Retval> {
        let origin = offset.map_or(-ETHERNET, i64::from) + i64::from(skip) * VECTOR as i64;
        let fields = Fields::of(&header(&mask, origin).ok_or(Retval::UNSUPPORTED)?)?;
        Ok(Table {
            mask,
            skip,
            offset,
            buckets: 0,
            next: None,
            miss: NONE,
            sessions: Vec::new(),
            fields,
            origin,
        })
    }

    /// Bytes in front of the mask.
    pub fn skipped(&self) -> usize {
        self.skip as usize * VECTOR
    }

    /// Whether both sessions are about the same packets.
    pub fn same(&self, one: &[u8], other: &[u8]) -> bool {
        let bytes = one.iter().zip(other).skip(self.skipped()).zip(&self.mask);
        bytes.into_iter().all(|((a, b), mask)| a & mask == b & mask)
    }

    fn rule(&self, session: &Session, priority: Priority) -> Result<Rule, Retval> {
        let compared = session.bytes.get(self.skipped()..).unwrap_or_default();
        let masked: Vec<u8> = compared.iter().zip(&self.mask).map(|(byte, mask)| byte & mask).collect();
        let header = header(&masked, self.origin).ok_or(Retval::UNSUPPORTED)?;
        let matches = self.fields.matches(&header);
        matches.check().map_err(|_| Retval::INVALID_VALUE)?;
        Ok(Rule { id: session.id, priority, matches, action: Action::only(verdict(session.hit)?) })
    }
}

/// What of a mask or session lies on the bytes that the classifier knows; `None` if any other byte counts.
fn header(bytes: &[u8], origin: i64) -> Option<[u8; KNOWN]> {
    let mut header = [0; KNOWN];
    for (place, byte) in (origin..).zip(bytes).filter(|(_, byte)| **byte != 0) {
        *header.get_mut(usize::try_from(place).ok()?)? = *byte;
    }
    Some(header)
}

impl Fields {
    /// RFC 791, section 3.1: code point at 1, protocol at 9, addresses at 12 and 16; without options, ports at 20 and 22.
    fn of(mask: &[u8; KNOWN]) -> Result<Fields, Retval> {
        let whole = |bytes: &[u8], all: &[u8]| match bytes {
            bytes if bytes.iter().all(|byte| *byte == 0) => Ok(false),
            bytes if bytes == all => Ok(true),
            _ => Err(Retval::UNSUPPORTED),
        };
        let prefix = |bytes: [u8; 4]| {
            let length = u32::from_be_bytes(bytes).leading_ones() as u8;
            let net = Ipv4Net::new(Ipv4Addr::UNSPECIFIED, length).map_err(|_| Retval::UNSUPPORTED)?;
            if net.netmask().octets() == bytes { Ok(length) } else { Err(Retval::UNSUPPORTED) }
        };
        let [version, tos, rest @ ..] = *mask;
        let [_, _, _, _, _, _, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3, sp0, sp1, dp0, dp1] = rest;
        let unknown =
            [version].into_iter().chain(rest[..7].iter().copied()).chain(rest[8..10].iter().copied());
        if unknown.into_iter().any(|byte| byte != 0) {
            return Err(Retval::UNSUPPORTED);
        }
        Ok(Fields {
            dscp: whole(&[tos], &[0xfc])?,
            protocol: whole(&[protocol], &[0xff])?,
            source: prefix([s0, s1, s2, s3])?,
            destination: prefix([d0, d1, d2, d3])?,
            source_port: whole(&[sp0, sp1], &[0xff; 2])?,
            destination_port: whole(&[dp0, dp1], &[0xff; 2])?,
        })
    }

    fn matches(self, header: &[u8; KNOWN]) -> Match {
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        let port = |wanted: bool, at: usize| match wanted {
            true => PortRange::only(u16::from_be_bytes([header[at], header[at + 1]])),
            false => PortRange::ANY,
        };
        let net = |at: usize, length: u8| {
            Ipv4Net::new(address(at), length).expect("a mask has 32 bits at most").trunc()
        };
        Match {
            family: Family::Ip4,
            source: net(12, self.source),
            destination: net(16, self.destination),
            protocol: self.protocol.then_some(IpProtocol(header[9])),
            source_ports: port(self.source_port, 20),
            destination_ports: port(self.destination_port, 22),
            dscp: if self.dscp { Dscp::new(header[1] >> 2) } else { None },
            ..Match::default()
        }
    }
}

/// The tables from `head` on, in the order in which they are asked. A chain that comes back to itself ends there.
pub fn chain(tables: &BTreeMap<u32, Table>, head: u32) -> Vec<u32> {
    let mut chain = Vec::new();
    let mut next = Some(head);
    while let Some(index) = next.filter(|index| tables.contains_key(index) && !chain.contains(index)) {
        chain.push(index);
        next = tables[&index].next;
    }
    chain
}

/// The rules that say what a chain of tables does.
pub fn rules(tables: &BTreeMap<u32, Table>, head: u32) -> Result<Vec<Rule>, Retval> {
    let chain = chain(tables, head);
    let mut rules = Vec::new();
    for (place, index) in (0..).zip(&chain) {
        let table = &tables[index];
        for session in &table.sessions {
            rules.push(table.rule(session, Priority(place))?);
        }
    }
    let miss = chain.last().map_or(NONE, |last| tables[last].miss);
    rules.push(Rule {
        id: RuleId(u32::MAX),
        priority: Priority(u32::MAX),
        matches: Match { family: Family::Ip4, ..Match::default() },
        action: Action::only(verdict(miss)?),
    });
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(covered: &[(usize, &[u8])]) -> Vec<u8> {
        let mut mask = vec![0; 2 * VECTOR];
        covered.iter().for_each(|(at, bytes)| mask[*at..at + bytes.len()].copy_from_slice(bytes));
        mask
    }

    fn session(id: u32, bytes: Vec<u8>, hit: u32) -> Session {
        Session { id: RuleId(id), bytes, hit, opaque: NONE }
    }

    #[test]
    fn a_chain_of_tables_becomes_rules() {
        let by_source = mask(&[(9, &[0xff]), (12, &[0xff, 0xff, 0xff, 0]), (22, &[0xff, 0xff])]);
        let mut first = Table::new(by_source, 0, Some(0)).unwrap();
        let bytes = mask(&[(9, &[17]), (12, &[10, 1, 2, 99]), (22, &[0x10, 0xe1])]);
        first.sessions.push(session(5, bytes.clone(), DENY));
        first.next = Some(7);
        // From the Ethernet header on, the first vector left out: the destination is at 30.
        let mut second = Table::new(mask(&[(14, &[0xff; 4])]), 1, None).unwrap();
        let mut whole = vec![0; VECTOR];
        whole.extend(mask(&[(14, &[10, 0, 0, 1])]));
        second.sessions.push(session(6, whole, NONE));
        second.miss = DENY;
        let tables = BTreeMap::from([(3, first), (7, second)]);
        assert_eq!(chain(&tables, 3), [3, 7]);
        let rules = rules(&tables, 3).unwrap();
        let [udp, destination, miss] = rules.as_slice() else { panic!("{rules:?}") };
        assert_eq!(udp.matches.source, "10.1.2.0/24".parse().unwrap());
        assert_eq!(udp.matches.protocol, Some(IpProtocol(17)));
        assert_eq!(udp.matches.destination_ports, PortRange::only(4321));
        assert_eq!((udp.id, udp.priority, udp.action.verdict), (RuleId(5), Priority(0), Verdict::Drop));
        assert_eq!(destination.matches.destination, "10.0.0.1/32".parse().unwrap());
        assert_eq!((destination.priority, destination.action.verdict), (Priority(1), Verdict::Pass));
        let of_ip4 = Match { family: Family::Ip4, ..Match::default() };
        assert_eq!((&miss.matches, miss.action.verdict), (&of_ip4, Verdict::Drop));
        let other = mask(&[(9, &[17]), (12, &[10, 1, 2, 1]), (22, &[0x10, 0xe1])]);
        assert!(tables[&3].same(&bytes, &other), "the last byte is not compared");
    }

    #[test]
    fn what_the_classifier_cannot_compare_is_refused() {
        for covered in [
            (0, &[0xff][..]),
            (1, &[0xff]),
            (8, &[0xff]),
            (9, &[0x0f]),
            (12, &[0xff, 0, 0xff, 0]),
            (20, &[0xff]),
            (24, &[0xff]),
        ] {
            let refused = Table::new(mask(&[covered]), 0, Some(0)).unwrap_err();
            assert_eq!(refused, Retval::UNSUPPORTED, "{covered:?}");
        }
        assert!(Table::new(mask(&[(0, &[0xff])]), 0, None).is_err(), "a MAC address");
        assert!(Table::new(mask(&[]), 0, None).is_ok(), "all packets");
        assert_eq!(verdict(3), Err(Retval::UNSUPPORTED));
    }

    #[test]
    fn a_chain_that_bites_its_tail_ends() {
        let mut table = Table::new(mask(&[]), 0, None).unwrap();
        table.next = Some(0);
        assert_eq!(chain(&BTreeMap::from([(0, table)]), 0), [0]);
    }
}

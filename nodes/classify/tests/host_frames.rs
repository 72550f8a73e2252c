// SPDX-License-Identifier: Apache-2.0
//! What an interface receives for its host meets the rules of the interface: IPv6, VLANs of the host, IPv4 where there is
//! none here. The bed of weft-nodes checks the conservation law after every test.

use std::net::Ipv6Addr;

use weft_classify::{
    Action, Direction, Dscp, Family, Fragment, IcmpMatch, Match, PortRange, Priority, Redirect, Rule,
    RuleError, RuleId, RuleSet, RuleSets, Verdict,
};
use weft_nodes::fib::AdjacencyId;
use weft_nodes::headers::build::{Packet, ethernet};
use weft_nodes::headers::{EtherType, Icmp4Type, IpProtocol, MacAddr, TcpFlags};

use weft_testing::Bed;

const SET: &str = "edge";

struct Lab {
    bed: Bed,
    sets: RuleSets,
}

fn rule(id: u32, matches: Match, verdict: Verdict) -> Rule {
    Rule { id: RuleId(id), priority: Priority(id), matches, action: Action::only(verdict) }
}

fn drop_all() -> Rule {
    rule(1000, Match::default(), Verdict::Drop)
}

impl Lab {
    /// Rules for what comes in by port 0, which has a host.
    fn with(rules: impl IntoIterator<Item = Rule>) -> Lab {
        let mut bed = Bed::new();
        bed.with_host(0);
        let published = bed.interfaces.published();
        let mut sets = RuleSets::new(&mut bed.engine, &published, 64).unwrap();
        let interface = bed.ports[0].index;
        let Bed { engine, interfaces, .. } = &mut bed;
        sets.change(engine, interfaces, SET, |set| {
            *set = RuleSet::of(rules)?;
            Ok(())
        })
        .unwrap();
        sets.attach(engine, interfaces, SET, interface, Direction::Input).unwrap();
        Lab { bed, sets }
    }

    /// Whether the host gets a frame, byte by byte.
    fn passes(&mut self, frame: &[u8]) -> bool {
        self.bed.receive_bytes(0, frame.to_vec());
        self.bed.run();
        let punted = self.bed.punted(0);
        match punted.is_empty() {
            true => self.bed.drops(&[("ethernet-classify/denied", 1)]),
            false => assert_eq!(punted, [frame], "as it came"),
        }
        !punted.is_empty()
    }

    fn hits(&self, id: u32) -> u64 {
        self.sets.get(SET).unwrap().hits(RuleId(id)).packets
    }
}

/// A frame of any type.
fn typed(lab: &Lab, ether_type: u16) -> Vec<u8> {
    let mut frame = lab.bed.ports[0].incoming().build()[..12].to_vec();
    frame.extend(ether_type.to_be_bytes());
    frame.extend([0x45; 46]);
    frame
}

fn host(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

fn ip6(lab: &Lab) -> Packet {
    lab.bed.ports[0].incoming().ipv6(host(1), host(2))
}

/// An IPv6 packet of these bytes after its fixed header.
fn raw6(lab: &Lab, next: u8, hop_limit: u8, rest: &[u8]) -> Vec<u8> {
    let mut frame = ip6(lab).payload(rest).build();
    (frame[14 + 6], frame[14 + 7]) = (next, hop_limit);
    frame
}

#[test]
fn a_filter_that_drops_all_drops_what_the_host_could_forward() {
    let mut lab = Lab::with([drop_all()]);
    let [p0, p1] = lab.bed.ports;
    let routable = [
        ip6(&lab).udp(1, 2).build(),
        p0.incoming().vlan(7).ipv4(p0.peer, p1.peer).udp(1, 2).build(),
        p0.incoming().qinq(7).vlan(8).ipv6(host(1), host(2)).udp(1, 2).build(),
        p0.incoming().vlan(0).ipv6(host(1), host(2)).build(),
        // MPLS, PPPoE, IPv6 and IPv4 cut short.
        typed(&lab, 0x8847),
        typed(&lab, 0x8864),
        ip6(&lab).build()[..30].to_vec(),
        p0.incoming().vlan(7).ipv4(p0.peer, p1.peer).build()[..30].to_vec(),
    ];
    for frame in &routable {
        assert!(!lab.passes(frame), "{frame:02x?}");
    }
    assert_eq!(lab.hits(1000), routable.len() as u64);
    // An interface without an address takes no IPv4 of its own.
    lab.bed.change(p0.index, |interface| interface.ip4.addresses = vec![]);
    assert!(!lab.passes(&p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2).build()));
}

#[test]
fn what_belongs_to_the_link_itself_meets_no_rules() {
    let mut lab = Lab::with([drop_all()]);
    let to = |last, ether_type: u16| {
        let group = MacAddr([0x01, 0x80, 0xc2, 0, 0, last]);
        let mut frame = ethernet().macs(MacAddr([2, 0, 0, 0, 0, 9]), group).build()[..12].to_vec();
        frame.extend(ether_type.to_be_bytes());
        frame.extend([0; 46]);
        frame
    };
    // LLDP, LACP, 802.1X, and IS-IS, whose type is a length.
    for frame in [to(0x0e, 0x88cc), to(2, 0x8809), to(3, 0x888e), to(0x15, 46)] {
        assert!(lab.passes(&frame), "{frame:02x?}");
    }
    let p0 = lab.bed.ports[0];
    lab.bed.change(p0.index, |interface| interface.ip4.addresses = vec![]);
    let arp = typed(&lab, EtherType::ARP.0);
    assert!(lab.passes(&arp), "without an address here, the host may answer");
    assert!(!lab.passes(&to(0x20, 0x88cc)), "bridges forward what goes to this group");
}

#[test]
fn rules_see_the_headers_of_ipv6() {
    let net = |text: &str| text.parse::<ipnet::Ipv6Net>().unwrap();
    let of = |matches: Match| Match { family: Family::IP6, ..matches };
    let only = |id, matches| rule(id, of(matches), Verdict::Pass);
    let syn = TcpFlags::SYN;
    let port = PortRange::only(80);
    let mut lab = Lab::with([
        rule(
            1,
            Match {
                family: Family::Ip6 { source: net("2001:db8::1/128"), destination: net("2001:db8::9/128") },
                ..Match::default()
            },
            Verdict::Pass,
        ),
        only(2, Match { protocol: Some(IpProtocol::TCP), destination_ports: port, ..Match::default() }),
        only(3, Match { icmp: Some(IcmpMatch::only(Icmp4Type(128), None)), ..Match::default() }),
        only(4, Match { dscp: Dscp::new(46), ..Match::default() }),
        only(5, Match { fragment: Some(Fragment::Later), ..Match::default() }),
        // Rules of IPv4, which no IPv6 packet meets.
        rule(6, Match { family: Family::Ip4, ..Match::default() }, Verdict::Pass),
        rule(7, Match { source: "10.0.0.0/8".parse().unwrap(), ..Match::default() }, Verdict::Pass),
        // A rule without a family.
        rule(
            8,
            Match { protocol: Some(IpProtocol::UDP), source_ports: PortRange::only(53), ..Match::default() },
            Verdict::Pass,
        ),
        drop_all(),
    ]);
    let p0 = lab.bed.ports[0];
    let tcp = ip6(&lab).tcp(7, 80, syn).build()[54..].to_vec();
    let mut marked = ip6(&lab).udp(1, 2).build();
    (marked[14], marked[15]) = (0x6b, 0x80);
    let behind = |headers: &[u8]| [headers, &tcp].concat();
    let fragment = |offset: u8| [&[6, 0, 0, offset, 0, 0, 0, 1], &tcp[..]].concat();
    let cases = [
        (1, p0.incoming().ipv6(host(1), host(9)).udp(1, 2).build()),
        (2, ip6(&lab).tcp(7, 80, syn).build()),
        (1000, ip6(&lab).tcp(7, 81, syn).build()),
        // Hop-by-hop options, then a routing header and destination options.
        (2, raw6(&lab, 0, 64, &behind(&[6, 0, 1, 4, 0, 0, 0, 0]))),
        (
            2,
            raw6(
                &lab,
                43,
                64,
                &behind(&[60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]),
            ),
        ),
        (2, raw6(&lab, 51, 64, &behind(&[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]))),
        (2, raw6(&lab, 44, 64, &fragment(1))),
        (5, raw6(&lab, 44, 64, &fragment(8))),
        // Options that say they are longer than the packet.
        (1000, raw6(&lab, 0, 64, &[6, 255, 1, 4, 0, 0, 0, 0])),
        (3, raw6(&lab, 58, 64, &[128, 0, 0, 0, 0, 1, 0, 1])),
        (1000, raw6(&lab, 58, 64, &[129, 0, 0, 0, 0, 1, 0, 1])),
        (4, marked),
        (8, ip6(&lab).udp(53, 9).build()),
        (8, p0.incoming().vlan(9).ipv6(host(1), host(2)).udp(53, 9).build()),
        (6, p0.incoming().vlan(9).ipv4(p0.peer, p0.address).udp(1, 2).build()),
    ];
    for (id, frame) in cases {
        let before = lab.hits(id);
        assert_eq!(lab.passes(&frame), id != 1000, "rule {id}: {frame:02x?}");
        assert_eq!(lab.hits(id), before + 1, "rule {id}: {frame:02x?}");
    }
    assert_eq!(lab.hits(7), 0);
}

#[test]
fn neighbour_discovery_is_what_comes_from_the_link() {
    let spared = Match { not_discovery: true, ..Match::default() };
    let mut lab = Lab::with([rule(1, spared.clone(), Verdict::Drop)]);
    let solicitation = [135, 0, 0, 0, 0, 0, 0, 0];
    assert!(lab.passes(&raw6(&lab, 58, 255, &solicitation)));
    assert!(!lab.passes(&raw6(&lab, 58, 254, &solicitation)), "forged from afar");
    assert!(!lab.passes(&raw6(&lab, 58, 255, &[128, 0, 0, 0, 0, 0, 0, 0])));
    // A rule about its type is about real ones.
    let types =
        Match { family: Family::IP6, icmp: IcmpMatch::ranges(133..=137, 0..=255), ..Match::default() };
    let mut lab = Lab::with([rule(1, types, Verdict::Pass), drop_all()]);
    assert!(lab.passes(&raw6(&lab, 58, 255, &solicitation)));
    assert!(!lab.passes(&raw6(&lab, 58, 64, &solicitation)));
    let mut lab = Lab::with([drop_all()]);
    assert!(!lab.passes(&raw6(&lab, 58, 255, &solicitation)), "a rule that says all means all");
}

#[test]
fn rules_that_count_and_change_ipv6_let_the_next_one_decide() {
    let dscp = Action { dscp: Dscp::new(10), ..Action::COUNT };
    let mut lab = Lab::with([
        rule(1, Match::default(), Verdict::Continue),
        Rule {
            action: dscp,
            ..rule(2, Match { family: Family::IP6, ..Match::default() }, Verdict::Continue)
        },
        rule(3, Match { protocol: Some(IpProtocol::UDP), ..Match::default() }, Verdict::Pass),
        drop_all(),
    ]);
    let mut frame = ip6(&lab).udp(1, 2).build();
    // ECN and the flow label stay.
    frame[14..18].copy_from_slice(&[0x60, 0x31, 0x23, 0x45]);
    lab.bed.receive_bytes(0, frame.clone());
    lab.bed.run();
    frame[14..18].copy_from_slice(&[0x62, 0xb1, 0x23, 0x45]);
    assert_eq!(lab.bed.punted(0), [frame]);
    assert_eq!([lab.hits(1), lab.hits(2), lab.hits(3), lab.hits(1000)], [1, 1, 1, 0]);
}

#[test]
fn a_next_hop_to_redirect_to_is_one_of_ipv4() {
    let to = Verdict::Redirect(Redirect::NextHop(AdjacencyId(1)));
    let of_ip6 = rule(1, Match { family: Family::IP6, ..Match::default() }, to);
    assert_eq!(RuleSet::of([of_ip6]).unwrap_err(), RuleError::NextHop(RuleId(1)));
    // One without a family is about IPv4 alone.
    let mut lab = Lab::with([rule(1, Match::default(), to), drop_all()]);
    assert!(!lab.passes(&ip6(&lab).udp(1, 2).build()));
    assert_eq!((lab.hits(1), lab.hits(1000)), (0, 1));
}

#[test]
fn a_frame_for_the_host_is_redirected_as_it_is() {
    let p1 = Bed::new().ports[1].index;
    let mut lab = Lab::with([rule(1, Match::default(), Verdict::Redirect(Redirect::Interface(p1)))]);
    let frame = ip6(&lab).udp(1, 2).build();
    lab.bed.receive_bytes(0, frame.clone());
    lab.bed.run();
    assert_eq!(lab.bed.only(1), frame);
}

#[test]
fn without_rules_all_of_it_passes() {
    let mut lab = Lab::with([drop_all()]);
    let interface = lab.bed.ports[0].index;
    let Bed { engine, interfaces, .. } = &mut lab.bed;
    lab.sets.detach(engine, interfaces, interface, Direction::Input).unwrap();
    let frame = ip6(&lab).udp(1, 2).build();
    assert!(lab.passes(&frame));
}

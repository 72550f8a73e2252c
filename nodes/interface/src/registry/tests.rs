// SPDX-License-Identifier: Apache-2.0
//! Interfaces come, change and go; what is seen, and by whom.

use super::*;
use weft_engine::{EngineConfig, ThreadIndex};
use weft_headers::{EtherType, VlanId};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn vlan(id: u16) -> Tags {
    Tags { outer: VlanId::new(id).map(|id| (EtherType::VLAN, id)), inner: None }
}

#[test]
fn an_index_is_used_again_only_after_the_workers() {
    let (mut engine, mut workers) = Engine::new(&EngineConfig::default()).unwrap();
    let mut interfaces = Interfaces::new(&engine, 4);
    let create = |interfaces: &mut Interfaces, engine: &mut Engine, name: &str| {
        interfaces.create(engine, name, Kind::Port, MAC, 1500, NodeId::DROP)
    };
    let a = create(&mut interfaces, &mut engine, "a").unwrap();
    assert_eq!(create(&mut interfaces, &mut engine, "a"), Err(InterfaceError::Duplicate("a".into())));
    let rows = &engine.counters.interfaces.rx;
    assert_eq!(rows.get(ThreadIndex(1), a.index()).packets, 0);
    let kept = interfaces.lease(a);
    assert!(kept.is_some() && interfaces.lease(InterfaceIndex(1)).is_none());
    interfaces.delete(&mut engine, a).unwrap();
    engine.reclaim();
    assert_eq!(create(&mut interfaces, &mut engine, "b"), Ok(InterfaceIndex(1)));
    // One turn for what was on its way, and one for what the worker may have read in it.
    for _ in 0..2 {
        workers[0].turn();
        engine.reclaim();
    }
    assert_eq!(create(&mut interfaces, &mut engine, "c"), Ok(InterfaceIndex(2)), "somebody keeps it");
    drop(kept);
    assert_eq!(create(&mut interfaces, &mut engine, "d"), Ok(a));
}

#[test]
fn a_transaction_that_is_rolled_back_leaves_nothing() {
    let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
    let mut interfaces = Interfaces::new(&engine, 4);
    let new = |name: &str| Interface::new(name.into(), Kind::Port, MAC, 1500, NodeId::DROP);
    let a = interfaces.create(&mut engine, "a", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
    interfaces.take_events();
    let rows = |engine: &Engine| engine.counters.interfaces.rx.published_len();
    let at = interfaces.reserve("b").unwrap();
    interfaces.begin();
    interfaces.remove(a).unwrap();
    interfaces.add(&at, new("a")).unwrap();
    assert_eq!(interfaces.find("a"), Some(at.index()), "the name is free");
    assert_eq!(interfaces.add(&at, new("a")), Err(InterfaceError::Duplicate("a".into())));
    interfaces.ready(&mut engine).unwrap();
    assert_eq!(rows(&engine), 2);
    interfaces.roll_back(&mut engine);
    assert_eq!((interfaces.find("a"), interfaces.iter().count(), rows(&engine)), (Some(a), 1, 1));
    assert_eq!(interfaces.take_events(), []);
    let index = at.index();
    drop(at);
    engine.reclaim();
    assert_eq!(
        interfaces.reserve("c").map(|at| at.index()),
        Ok(InterfaceIndex(index.0 + 1)),
        "a worker may name it"
    );
}

#[test]
fn what_comes_and_goes_in_one_transaction_is_told_when_it_is_committed() {
    let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
    let mut interfaces = Interfaces::new(&engine, 4);
    let a = interfaces.create(&mut engine, "a", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
    interfaces.take_events();
    let at = interfaces.reserve("a").unwrap();
    interfaces.begin();
    interfaces.remove(a).unwrap();
    let new = Interface::new("a".into(), Kind::Port, MAC, 1500, NodeId::DROP);
    interfaces.add(&at, new).unwrap();
    interfaces.change(&mut engine, at.index(), |it| it.mtu = 9000).unwrap();
    let brief = interfaces.reserve("x").unwrap();
    interfaces.add(&brief, Interface::new("x".into(), Kind::Port, MAC, 1500, NodeId::DROP)).unwrap();
    interfaces.remove(brief.index()).unwrap();
    interfaces.ready(&mut engine).unwrap();
    assert_eq!(interfaces.take_events(), []);
    interfaces.commit(&mut engine);
    assert_eq!(
        interfaces.take_events(),
        [Event::Added(at.index()), Event::Changed(at.index(), Changes::MTU)]
    );
    assert_eq!(interfaces.find("a"), Some(at.index()));
    assert!(interfaces.get(a).is_some(), "those who keep something of it can look at it");
    assert_eq!(interfaces.forget(&mut engine, a).map(|it| it.name), Some("a".into()));
    assert!(interfaces.get(a).is_none() && interfaces.get(brief.index()).is_none());
}

#[test]
fn a_sub_interface_follows_its_port() {
    let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
    let mut interfaces = Interfaces::new(&engine, 4);
    let port = interfaces.create(&mut engine, "p", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
    let sub = interfaces.create_sub(&mut engine, port, 10, vlan(10)).unwrap();
    assert_eq!(interfaces.find("p.10"), Some(sub));
    assert_eq!(
        interfaces.create_sub(&mut engine, port, 11, vlan(10)),
        Err(InterfaceError::TagsTaken("p.10".into()))
    );
    assert_eq!(
        interfaces.create_sub(&mut engine, sub, 1, vlan(1)),
        Err(InterfaceError::NotAPort("p.10".into(), interfaces.get(sub).unwrap().kind))
    );
    let up = |interface: &mut Interface| (interface.admin_up, interface.link_up) = (true, true);
    interfaces.change(&mut engine, sub, up).unwrap();
    assert_eq!(interfaces.state(sub), LinkState::Down);
    interfaces.change(&mut engine, port, up).unwrap();
    assert!(interfaces.is_up(sub));
    interfaces.change(&mut engine, port, |port| port.link_up = false).unwrap();
    assert_eq!(interfaces.state(sub), LinkState::NoCarrier);
    assert!(matches!(interfaces.delete(&mut engine, port), Err(InterfaceError::HasSubs(..))));
}

#[test]
fn a_link_local_address_is_there_while_ipv6_is() {
    let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
    let mut interfaces = Interfaces::new(&engine, 4);
    let port = interfaces.create(&mut engine, "p", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
    let other = MacAddr([2, 0, 0, 0, 0, 9]);
    let borrower = interfaces.create(&mut engine, "b", Kind::Port, other, 1500, NodeId::DROP).unwrap();
    let own = |interfaces: &Interfaces| interfaces.get(port).unwrap().ip6.link_local;
    assert_eq!(own(&interfaces), None);
    interfaces.change(&mut engine, port, |it| it.ip6.always = true).unwrap();
    assert_eq!(own(&interfaces), Some("fe80::ff:fe00:1".parse().unwrap()));
    interfaces.change(&mut engine, port, |it| it.mac = other).unwrap();
    let follows = "fe80::ff:fe00:9".parse().unwrap();
    assert_eq!(own(&interfaces), Some(follows));
    let chosen = "fe80::7".parse().unwrap();
    interfaces.change(&mut engine, port, |it| it.ip6.chosen_link_local = Some(chosen)).unwrap();
    assert_eq!(own(&interfaces), Some(chosen));
    let net = |text: &str| text.parse().unwrap();
    interfaces
        .change(&mut engine, port, |it| {
            it.ip6.always = false;
            it.ip6.addresses = vec![net("fe80::8/64"), net("2001:db8::1/64")];
        })
        .unwrap();
    let has = interfaces.get(port).unwrap().ip6.clone();
    assert_eq!(has.primary(), Some("2001:db8::1".parse().unwrap()), "not one of its link only");
    assert_eq!(has.own().count(), 3);
    // Who borrows addresses borrows none that say something on the other link only.
    interfaces.change(&mut engine, borrower, |it| it.unnumbered = Some(port)).unwrap();
    let borrowed = interfaces.entry(borrower).unwrap().ip6;
    assert_eq!((borrowed.addresses, borrowed.link_local), (vec![net("2001:db8::1/64")], Some(follows)));
    interfaces.change(&mut engine, port, |it| it.ip6.addresses.clear()).unwrap();
    assert_eq!(own(&interfaces), None);
}

#[test]
fn what_happens_is_noted_once_and_for_all_that_it_concerns() {
    let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
    let mut interfaces = Interfaces::new(&engine, 4);
    let port = interfaces.create(&mut engine, "p", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
    let sub = interfaces.create_sub(&mut engine, port, 10, vlan(10)).unwrap();
    let borrower = interfaces.create(&mut engine, "b", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
    assert_eq!(interfaces.take_events(), [port, sub, borrower].map(Event::Added));
    interfaces.change(&mut engine, borrower, |it| it.unnumbered = Some(port)).unwrap();
    assert_eq!(interfaces.take_events(), [Event::Changed(borrower, Changes::ADDRESSES)]);
    interfaces.change(&mut engine, port, |it| it.admin_up = true).unwrap();
    let state = [port, sub].map(|index| Event::Changed(index, Changes::STATE));
    assert_eq!(interfaces.take_events(), state);
    interfaces.change(&mut engine, port, |it| it.admin_up = true).unwrap();
    assert_eq!(interfaces.take_events(), [], "it was up before");
    interfaces.begin();
    interfaces.change(&mut engine, port, |it| it.mtu = 9000).unwrap();
    interfaces
        .change(&mut engine, port, |it| it.ip4.addresses = vec!["10.0.0.1/24".parse().unwrap()])
        .unwrap();
    assert_eq!(interfaces.take_events(), [], "nobody sees it yet");
    interfaces.commit(&mut engine);
    let both = Changes::MTU.and(Changes::ADDRESSES);
    let follows = Event::Changed(borrower, Changes::ADDRESSES);
    assert_eq!(interfaces.take_events(), [Event::Changed(port, both), follows]);
    interfaces.begin();
    interfaces.change(&mut engine, port, |it| it.mtu = 1500).unwrap();
    interfaces.roll_back(&mut engine);
    assert_eq!(interfaces.take_events(), [], "it did not happen");
    interfaces.delete(&mut engine, sub).unwrap();
    interfaces.change(&mut engine, port, |it| it.tag = "gone".into()).unwrap();
    interfaces.delete(&mut engine, port).unwrap();
    assert_eq!(interfaces.take_events(), [follows], "nobody hears of what has gone");
}

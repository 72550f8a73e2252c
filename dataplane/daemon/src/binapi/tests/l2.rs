// SPDX-License-Identifier: Apache-2.0
//! Bridge domains by messages: what VPP's clients ask for, and the numbers that they are answered.

use weft_binapi::api::ethernet_types::MacAddress;
use weft_binapi::api::l2::*;
use weft_binapi::api::weft_resync::{WeftResyncBegin, WeftResyncEnd};

use super::*;

const PORTS: &[&str] = &[
    "create packet-generator interface pg0",
    "create packet-generator interface pg1",
    "create loopback interface",
];

fn domain(bd_id: u32, is_add: bool) -> BridgeDomainAddDelV2 {
    let bd_tag = "lan".into();
    let on = BridgeDomainAddDelV2 {
        flood: true,
        uu_flood: true,
        forward: true,
        learn: true,
        ..Default::default()
    };
    BridgeDomainAddDelV2 { bd_id, mac_age: 3, bd_tag, is_add, ..on }
}

fn bridge(interface: u32, bd_id: u32, port_type: L2PortType, enable: bool) -> SwInterfaceSetL2Bridge {
    SwInterfaceSetL2Bridge { rx_sw_if_index: InterfaceIndex(interface), bd_id, port_type, shg: 5, enable }
}

fn entry(last: u8, bd_id: u32, interface: u32) -> L2fibAddDel {
    let mac = MacAddress([2, 0, 0, 0, 0, last]);
    let sw_if_index = InterfaceIndex(interface);
    L2fibAddDel { mac, bd_id, sw_if_index, is_add: true, static_mac: true, filter_mac: false, bvi_mac: false }
}

fn any() -> BridgeDomainDump {
    BridgeDomainDump { bd_id: u32::MAX, sw_if_index: InterfaceIndex(u32::MAX) }
}

#[test]
fn domains_come_are_listed_and_go() {
    serve(PORTS, |served| async move {
        assert_eq!(served.ask(domain(7, true)).await.bd_id, 7);
        assert_eq!(served.ask(domain(u32::MAX, true)).await.bd_id, 1, "the lowest that is free");
        assert_eq!(served.refusal(domain(7, true)).await, Retval::BD_ALREADY_EXISTS);
        assert_eq!(served.refusal(domain(0, true)).await, Retval::BD_NOT_MODIFIABLE);
        assert_eq!(served.refusal(domain(1 << 24, true)).await, Retval::BD_ID_EXCEED_MAX);
        assert_eq!(served.refusal(domain(9, false)).await, Retval::NO_SUCH_ENTRY);
        let terminating = BridgeDomainAddDelV2 { arp_term: true, ..domain(9, true) };
        assert_eq!(served.refusal(terminating).await, Retval::UNSUPPORTED);
        served.ask(bridge(1, 7, L2PortType::NORMAL, true)).await;
        served.ask(bridge(2, 7, L2PortType::UU_FWD, true)).await;
        served.ask(bridge(3, 7, L2PortType::BVI, true)).await;
        assert_eq!(served.refusal(bridge(1, 7, L2PortType::BVI, true)).await, Retval::INVALID_INTERFACE);
        assert_eq!(served.refusal(bridge(9, 7, L2PortType::NORMAL, true)).await, Retval::INVALID_SW_IF_INDEX);
        assert_eq!(served.refusal(domain(7, false)).await, Retval::BD_IN_USE);
        let all = served.client.dump(&any()).await.expect("a list");
        assert_eq!(all.iter().map(|it| it.bd_id).collect::<Vec<_>>(), [1, 7]);
        let it = &all[1];
        assert_eq!(
            (it.flood, it.uu_flood, it.forward, it.learn, it.arp_term, it.mac_age),
            (true, true, true, true, false, 3)
        );
        assert_eq!(
            (it.bd_tag.get(), it.bvi_sw_if_index, it.uu_fwd_sw_if_index),
            (Some("lan"), InterfaceIndex(3), InterfaceIndex(2))
        );
        let ports: Vec<_> = it.sw_if_details.iter().map(|port| (port.sw_if_index.0, port.shg)).collect();
        assert_eq!(ports, [(1, 5), (3, 5)]);
        let only = BridgeDomainDump { bd_id: 1, ..any() };
        assert_eq!(served.client.dump(&only).await.expect("a list").len(), 1);
        for interface in [1, 2, 3] {
            served.ask(bridge(interface, 7, L2PortType::NORMAL, false)).await;
        }
        served.ask(domain(7, false)).await;
        assert_eq!(served.client.dump(&any()).await.expect("a list").len(), 1);
    });
}

#[test]
fn flags_age_and_limit_of_a_domain_change() {
    serve(PORTS, |served| async move {
        served.ask(domain(7, true)).await;
        let flags = BridgeFlags { bd_id: 7, is_set: false, flags: BdFlags::LEARN | BdFlags::FLOOD };
        assert_eq!(served.ask(flags).await.resulting_feature_bitmap, (BdFlags::FWD | BdFlags::UU_FLOOD).0);
        served.ask(BridgeDomainSetMacAge { bd_id: 7, mac_age: 0 }).await;
        served.ask(BridgeDomainSetLearnLimit { bd_id: 7, learn_limit: 9 }).await;
        let shown = served.cli("show bridge-domain 7 detail").await;
        assert!(
            shown.contains("       off       off        on       off        on")
                && shown.contains("learn limit: 9"),
            "{shown}"
        );
        assert_eq!(
            served.refusal(BridgeDomainSetMacAge { bd_id: 8, mac_age: 0 }).await,
            Retval::NO_SUCH_ENTRY
        );
        let unknown = BridgeFlags { bd_id: 7, is_set: true, flags: BdFlags::ARP_TERM };
        assert_eq!(served.refusal(unknown).await, Retval::UNSUPPORTED);
    });
}

#[test]
fn stations_are_configured_listed_and_flushed() {
    serve(PORTS, |served| async move {
        served.ask(bridge(1, 7, L2PortType::NORMAL, true)).await;
        served.ask(bridge(3, 7, L2PortType::BVI, true)).await;
        served.ask(entry(1, 7, 1)).await;
        served.ask(L2fibAddDel { filter_mac: true, ..entry(2, 7, u32::MAX) }).await;
        assert_eq!(served.refusal(entry(3, 8, 1)).await, Retval::NO_SUCH_ENTRY);
        assert_eq!(served.refusal(entry(3, 7, 2)).await, Retval::INVALID_SW_IF_INDEX);
        let list = |bd_id| L2FibTableDump { bd_id };
        let all = served.client.dump(&list(7)).await.expect("a list");
        let mut seen: Vec<_> =
            all.iter().map(|it| (it.sw_if_index.0, it.static_mac, it.filter_mac, it.bvi_mac)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(1, true, false, false), (3, true, false, true), (u32::MAX, true, true, false)]);
        assert_eq!(served.client.dump(&list(8)).await.expect("a list").len(), 0);
        served.ask(L2fibFlushAll {}).await;
        served.ask(L2fibFlushBd { bd_id: 7 }).await;
        served.ask(L2fibFlushInt { sw_if_index: InterfaceIndex(1) }).await;
        assert_eq!(served.refusal(L2fibFlushBd { bd_id: 8 }).await, Retval::NO_SUCH_ENTRY);
        assert_eq!(served.client.dump(&list(u32::MAX)).await.expect("a list").len(), 3);
        served.ask(L2fibAddDel { is_add: false, ..entry(1, 7, 1) }).await;
        assert_eq!(
            served.refusal(L2fibAddDel { is_add: false, ..entry(1, 7, 1) }).await,
            Retval::NO_SUCH_ENTRY
        );
    });
}

#[test]
fn interfaces_are_connected_and_their_tags_rewritten() {
    serve(PORTS, |served| async move {
        let cross = |rx, tx, enable| SwInterfaceSetL2Xconnect {
            rx_sw_if_index: InterfaceIndex(rx),
            tx_sw_if_index: InterfaceIndex(tx),
            enable,
        };
        served.ask(cross(1, 2, true)).await;
        served.ask(cross(2, 1, true)).await;
        let pairs = served.client.dump(&L2XconnectDump {}).await.expect("a list");
        let pairs: Vec<_> = pairs.iter().map(|it| (it.rx_sw_if_index.0, it.tx_sw_if_index.0)).collect();
        assert_eq!(pairs, [(1, 2), (2, 1)]);
        let rewrite = |vtr_op| L2InterfaceVlanTagRewrite {
            sw_if_index: InterfaceIndex(1),
            vtr_op,
            push_dot1q: 1,
            tag1: 100,
            tag2: 200,
        };
        served.ask(rewrite(2)).await;
        let dump = SwInterfaceDump { sw_if_index: InterfaceIndex(1), ..Default::default() };
        let shown = served.client.dump(&dump).await.expect("a list")[0].clone();
        assert_eq!((shown.vtr_op, shown.vtr_push_dot1q, shown.vtr_tag1, shown.vtr_tag2), (2, 1, 100, 200));
        assert_eq!(served.refusal(rewrite(3)).await, Retval::INVALID_VALUE, "its frames have no tags");
        assert_eq!(served.refusal(rewrite(9)).await, Retval::INVALID_VALUE);
        served.ask(rewrite(0)).await;
        served.ask(cross(1, 2, false)).await;
        assert_eq!(served.refusal(rewrite(2)).await, Retval::INVALID_SW_IF_INDEX, "it is routed");
        assert_eq!(served.client.dump(&L2XconnectDump {}).await.expect("a list").len(), 1);
    });
}

#[test]
fn what_an_agent_does_not_say_again_goes_with_its_resync() {
    serve(PORTS, |served| async move {
        let agent = served.another("agent").await;
        agent.request(&domain(7, true)).await.expect("a domain");
        agent.request(&bridge(1, 7, L2PortType::NORMAL, true)).await.expect("a port");
        agent.request(&bridge(2, 7, L2PortType::NORMAL, true)).await.expect("a port");
        agent.request(&entry(1, 7, 1)).await.expect("an entry");
        agent.request(&WeftResyncBegin {}).await.expect("it begins");
        agent.request(&domain(7, true)).await.expect("said again");
        agent.request(&bridge(1, 7, L2PortType::NORMAL, true)).await.expect("said again");
        let removed = agent.request(&WeftResyncEnd {}).await.expect("it ends").removed;
        assert_eq!(removed, 2, "a port and an entry");
        let it = served.client.dump(&any()).await.expect("a list");
        assert_eq!(it[0].sw_if_details.iter().map(|port| port.sw_if_index.0).collect::<Vec<_>>(), [1]);
        // And all of it, in one sweep.
        agent.request(&WeftResyncBegin {}).await.expect("it begins");
        agent.request(&WeftResyncEnd {}).await.expect("it ends");
        assert_eq!(served.client.dump(&any()).await.expect("a list").len(), 0);
        assert!(served.cli("show mode pg0").await.contains("l3 pg0"));
    });
}

// SPDX-License-Identifier: Apache-2.0
//! Batches and replays of everything that can be part of one.

use weft_binapi::api::ethernet_types::MacAddress;

use super::*;

const PORTS: &[&str] = &[
    "create packet-generator interface pg0",
    "create packet-generator interface pg1",
    "set interface state pg1 up",
    "set interface ip address pg1 198.51.100.1/24",
];

fn address(interface: u32, is_add: bool, text: &str) -> SwInterfaceAddDelAddress {
    let sw_if_index = InterfaceIndex(interface);
    SwInterfaceAddDelAddress { sw_if_index, is_add, del_all: false, prefix: prefix(text) }
}

fn table(is_add: bool, table_id: u32) -> IpTableAddDel {
    IpTableAddDel { is_add, table: IpTable { table_id, ..IpTable::default() } }
}

fn neighbor(interface: u32, is_add: bool, text: &str) -> IpNeighborAddDel {
    let neighbor = IpNeighbor {
        sw_if_index: InterfaceIndex(interface),
        flags: IpNeighborFlags::STATIC,
        mac_address: MacAddress([2, 0, 0, 0, 0, 9]),
        ip_address: text.parse::<IpAddr>().unwrap().into(),
    };
    IpNeighborAddDel { is_add, neighbor }
}

fn state(interface: u32, flags: IfStatusFlags) -> SwInterfaceSetFlags {
    SwInterfaceSetFlags { sw_if_index: InterfaceIndex(interface), flags }
}

fn in_table(table_id: u32, mut message: IpRouteAddDel) -> IpRouteAddDel {
    message.route.table_id = table_id;
    message
}

/// What a batch can change, as the command line shows it.
async fn shown(served: &Served) -> String {
    let mut text = String::new();
    for command in [
        "show interface",
        "show interface address",
        "show interface features pg0",
        "show ip table",
        "show ip neighbors",
        "show ip fib",
        "show ip fib table 7",
    ] {
        let reply = served.client.request(&CliInband { cmd: command.into() }).await;
        text += &reply.map_or_else(|error| error.to_string(), |reply| reply.reply);
    }
    // Ages grow.
    text.lines()
        .map(|line| line.trim_start_matches(|c: char| c == ' ' || c == '.' || c.is_ascii_digit()))
        .collect()
}

/// A site comes up: its table, its port with address and neighbour, and routes by them.
fn site() -> Batch {
    let mut batch = Batch::new();
    batch.add(&table(true, 7)).unwrap();
    batch.add(&SwInterfaceSetTable { sw_if_index: FIRST, is_ipv6: false, vrf_id: 7 }).unwrap();
    batch.add(&address(1, true, "192.0.2.1/24")).unwrap();
    batch.add(&SwInterfaceSetMtu { sw_if_index: FIRST, mtu: [1400, 0, 0, 0] }).unwrap();
    batch.add(&state(1, IfStatusFlags::ADMIN_UP)).unwrap();
    batch.add(&neighbor(1, true, "192.0.2.9")).unwrap();
    batch.add(&in_table(7, route(true, "10.0.0.0/8", vec![via("192.0.2.9", FIRST.0)]))).unwrap();
    let lookup = FibPath { table_id: 7, ..via("0.0.0.0", u32::MAX) };
    batch.add(&route(true, "10.0.0.0/8", vec![lookup])).unwrap();
    batch
}

#[test]
fn a_site_comes_up_and_goes_in_one_step() {
    serve(PORTS, |served| async move {
        let before = shown(&served).await;
        assert_eq!(served.client.try_out(site()).await.unwrap().items, 0);
        assert_eq!(shown(&served).await, before, "a dry run changes nothing");
        assert_eq!(served.client.commit(site()).await.unwrap().items, 8);
        let up = shown(&served).await;
        let lookup = IpRouteLookup { table_id: 7, exact: 0, prefix: prefix("10.1.2.3/32") };
        let found = served.ask(lookup).await.route;
        assert_eq!((found.prefix, found.paths[0].sw_if_index), (prefix("10.0.0.0/8"), 1));
        let question = SwInterfaceDump { sw_if_index: FIRST, ..Default::default() };
        let details = served.client.dump(&question).await.unwrap();
        let details = details.iter().find(|one| one.sw_if_index == FIRST).unwrap();
        assert_eq!((details.flags.contains(IfStatusFlags::ADMIN_UP), details.mtu[0]), (true, 1400));
        assert!(served.cli("show ip neighbors").await.contains("192.0.2.9"));

        // The same again is wrong in one place only; a table that interfaces use cannot go.
        let Err(Error::Refused(refused)) = served.client.commit(site()).await else { panic!("twice") };
        assert_eq!(refused.failed, [(2, Retval::DUPLICATE_IF_ADDRESS)]);
        let other = SwInterfaceSetTable { sw_if_index: FIRST, is_ipv6: false, vrf_id: 0 };
        assert_eq!(served.refusal(other).await, Retval::ADDRESS_FOUND_FOR_INTERFACE);
        assert_eq!(served.refusal(table(false, 7)).await, Retval::RSRC_IN_USE);
        assert_eq!(shown(&served).await, up);

        let mut down = Batch::new();
        down.add(&route(false, "10.0.0.0/8", vec![])).unwrap();
        down.add(&SwInterfaceAddDelAddress { del_all: true, ..address(1, false, "0.0.0.0/0") }).unwrap();
        down.add(&SwInterfaceSetTable { sw_if_index: FIRST, is_ipv6: false, vrf_id: 0 }).unwrap();
        down.add(&table(false, 7)).unwrap();
        down.add(&SwInterfaceSetMtu { sw_if_index: FIRST, mtu: [9000, 0, 0, 0] }).unwrap();
        down.add(&state(1, IfStatusFlags(0))).unwrap();
        served.client.commit(down).await.unwrap();
        let mtu = SwInterfaceSetMtu { sw_if_index: FIRST, mtu: [9000, 0, 0, 0] };
        served.ask(mtu).await;
        assert!(!served.cli("show ip neighbors").await.contains("192.0.2.9"));
        assert_eq!(
            served.refusal(SwInterfaceSetTable { sw_if_index: FIRST, is_ipv6: false, vrf_id: 7 }).await,
            Retval::NO_SUCH_FIB
        );
    });
}

/// One wrong item of each kind, and what becomes of the rest: nothing.
#[test]
fn one_wrong_item_undoes_all_others() {
    serve(PORTS, |served| async move {
        let before = shown(&served).await;
        let wrong_mtu = SwInterfaceSetMtu { sw_if_index: InterfaceIndex(2), mtu: [20, 0, 0, 0] };
        let group = {
            let mut message = neighbor(2, true, "198.51.100.7");
            message.neighbor.mac_address.0[0] |= 1;
            message
        };
        let number = 8;
        let mut batches = Vec::new();
        let mut with = |add: &dyn Fn(&mut Batch), retval| {
            let mut batch = site();
            add(&mut batch);
            batches.push((batch, retval));
        };
        with(&|batch| drop(batch.add(&address(1, true, "192.0.2.1/24"))), Retval::DUPLICATE_IF_ADDRESS);
        with(
            &|batch| drop(batch.add(&address(2, false, "198.51.100.9/24"))),
            Retval::ADDRESS_NOT_FOUND_FOR_INTERFACE,
        );
        with(&|batch| drop(batch.add(&wrong_mtu)), Retval::INVALID_VALUE);
        with(&|batch| drop(batch.add(&group)), Retval::INVALID_VALUE);
        with(&|batch| drop(batch.add(&neighbor(2, false, "198.51.100.7"))), Retval::NO_SUCH_ENTRY);
        with(&|batch| drop(batch.add(&table(false, 7))), Retval::RSRC_IN_USE);
        with(&|batch| drop(batch.add(&table(false, 8))), Retval::NO_SUCH_FIB);
        with(&|batch| drop(batch.add(&state(9, IfStatusFlags::ADMIN_UP))), Retval::INVALID_SW_IF_INDEX);
        with(&|batch| drop(batch.add(&route(false, "10.7.0.0/16", vec![]))), Retval::NO_SUCH_ENTRY);
        with(&|batch| drop(batch.add(&WeftResyncBegin {})), Retval::UNSUPPORTED);

        for (batch, retval) in batches {
            let Err(Error::Refused(refused)) = served.client.commit(batch).await else { panic!("{retval}") };
            assert_eq!(refused.failed, [(number, retval)]);
            assert_eq!(shown(&served).await, before, "{retval}");
        }
    });
}

#[test]
fn an_agent_says_addresses_and_neighbours_again() {
    serve(PORTS, |served| async move {
        let addresses = async || {
            let found = served.client.dump(&IpAddressDump { sw_if_index: InterfaceIndex(2), is_ipv6: false });
            found.await.unwrap().iter().map(|one| one.prefix).collect::<Vec<_>>()
        };
        let agent = served.another("agent").await;
        for number in 1..4 {
            agent.request(&address(2, true, &format!("10.0.{number}.1/24"))).await.unwrap();
            agent.request(&neighbor(2, true, &format!("10.0.{number}.9"))).await.unwrap();
        }
        drop(agent);
        let agent = served.another("agent").await;
        agent.request(&WeftResyncBegin {}).await.unwrap();
        let mut again = Batch::new();
        again.add(&address(2, true, "10.0.1.1/24")).unwrap();
        again.add(&neighbor(2, true, "10.0.1.9")).unwrap();
        agent.commit(again).await.unwrap();
        // What another says is the other's.
        served.ask(address(2, true, "10.0.3.1/24")).await;
        // Two neighbours and an address; the address of the command line stays.
        assert_eq!(agent.request(&WeftResyncEnd {}).await.unwrap().removed, 3);
        let kept = ["198.51.100.1/24", "10.0.1.1/24", "10.0.3.1/24"];
        assert_eq!(addresses().await, kept.map(prefix));
        let neighbors = served.cli("show ip neighbors").await;
        assert!(neighbors.contains("10.0.1.9") && !neighbors.contains("10.0.2.9"), "{neighbors}");
        match agent.request(&address(2, true, "10.0.1.1/24")).await {
            Err(Error::Retval { retval, .. }) => assert_eq!(retval, Retval::ADDRESS_IN_USE),
            other => panic!("said twice outside of a resync: {other:?}"),
        }

        // As VPP replaces them: everybody's.
        served.ask(SwInterfaceAddressReplaceBegin {}).await;
        agent.request(&address(2, true, "10.0.3.1/24")).await.unwrap();
        served.ask(SwInterfaceAddressReplaceEnd {}).await;
        assert_eq!(addresses().await, [prefix("10.0.3.1/24")]);
        served.ask(neighbor(2, true, "10.0.3.8")).await;
        served.ask(IpNeighborReplaceBegin {}).await;
        served.ask(neighbor(2, true, "10.0.3.8")).await;
        served.ask(IpNeighborReplaceEnd {}).await;
        let neighbors = served.cli("show ip neighbors").await;
        assert!(neighbors.contains("10.0.3.8") && !neighbors.contains("10.0.1.9"), "{neighbors}");
    });
}

#[test]
fn an_interface_borrows_addresses() {
    serve(PORTS, |served| async move {
        let borrow = |lender, borrower, is_add| SwInterfaceSetUnnumbered {
            sw_if_index: InterfaceIndex(lender),
            unnumbered_sw_if_index: InterfaceIndex(borrower),
            is_add,
        };
        for (message, retval) in [
            (borrow(1, 2, true), Retval::ADDRESS_FOUND_FOR_INTERFACE),
            (borrow(1, 1, true), Retval::INVALID_VALUE),
            (borrow(9, 1, true), Retval::INVALID_SW_IF_INDEX),
            (borrow(2, 1, false), Retval::UNEXPECTED_INTF_STATE),
        ] {
            assert_eq!(served.refusal(message).await, retval, "{message:?}");
        }
        served.ask(borrow(2, 1, true)).await;
        let all = IpUnnumberedDump { sw_if_index: InterfaceIndex(u32::MAX) };
        let found = served.client.dump(&all).await.unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.sw_if_index.0, one.ip_sw_if_index.0)).collect();
        assert_eq!(found, [(1, 2)]);
        assert_eq!(served.refusal(address(1, true, "192.0.2.1/24")).await, Retval::UNSUPPORTED);
        served.ask(borrow(2, 1, false)).await;
        served.ask(address(1, true, "192.0.2.1/24")).await;
    });
}

#[test]
fn the_neighbour_table_is_configured() {
    serve(PORTS, |served| async move {
        let config = IpNeighborConfig { af: AddressFamily::IP4, max_number: 1, max_age: 60, recycle: false };
        served.ask(IpNeighborConfig { recycle: true, ..config }).await;
        assert_eq!(served.refusal(IpNeighborConfig { max_age: 0, ..config }).await, Retval::INVALID_VALUE);
        served.ask(config).await;
        let now = served.ask(IpNeighborConfigGet { af: AddressFamily::IP4 }).await;
        assert_eq!((now.max_number, now.max_age), (1, 60));
        let mut batch = Batch::new();
        for number in 2..4 {
            batch.add(&neighbor(2, true, &format!("198.51.100.{number}"))).unwrap();
        }
        let Err(Error::Refused(refused)) = served.client.commit(batch).await else { panic!("too many") };
        assert_eq!(refused.failed, [(1, Retval::LIMIT_EXCEEDED)]);
        served.ask(neighbor(2, true, "198.51.100.2")).await;
    });
}

fn loopback(user_instance: u32) -> CreateLoopbackInstance {
    CreateLoopbackInstance { is_specified: true, user_instance, ..Default::default() }
}

#[test]
fn a_batch_creates_an_interface_and_names_it() {
    use weft_binapi::api::weft_batch::*;
    serve(PORTS, |served| async move {
        let (before, first) = (shown(&served).await, InterfaceIndex(3));
        // Whoever waits for the replies of a batch learns the index from them.
        served.ask(WeftBatchBegin { flags: WeftBatchFlags(0) }).await;
        assert_eq!(served.ask(loopback(3)).await.sw_if_index, first);
        assert_eq!(served.refusal(loopback(3)).await, Retval::INVALID_REGISTRATION);
        served.ask(address(first.0, true, "192.0.2.1/24")).await;
        served.ask(WeftBatchAbort {}).await;
        assert_eq!(shown(&served).await, before);
        let site = || {
            let mut batch = Batch::new();
            batch.add(&loopback(3)).unwrap();
            batch.add(&CreateVlanSubif { sw_if_index: FIRST, vlan_id: 100 }).unwrap();
            batch.add(&address(3, true, "192.0.2.1/24")).unwrap();
            batch.add(&address(4, true, "192.0.3.1/24")).unwrap();
            batch.add(&state(3, IfStatusFlags::ADMIN_UP)).unwrap();
            batch.add(&route(true, "10.0.0.0/8", vec![via("192.0.3.9", 4)])).unwrap();
            batch
        };
        assert!(served.client.try_out(site()).await.is_ok());
        assert_eq!(shown(&served).await, before, "a dry run creates nothing");
        let mut wrong = site();
        wrong.add(&address(3, true, "192.0.3.9/24")).unwrap();
        wrong.add(&address(9, true, "192.0.4.1/24")).unwrap();
        let Err(Error::Refused(refused)) = served.client.commit(wrong).await else { panic!("there is no 9") };
        assert_eq!(refused.failed, [(7, Retval::INVALID_SW_IF_INDEX)]);
        assert_eq!(shown(&served).await, before, "what was not made has no name and no index");
        served.client.commit(site()).await.expect("all is well");
        let up = shown(&served).await;
        assert!(up.contains("192.0.2.1/24") && up.contains("pg0.100"), "{up}");
        assert!(
            served.cli("show ip fib").await.contains("192.0.3.9"),
            "the route is over what came before it"
        );
        let twice = CreateVlanSubif { sw_if_index: FIRST, vlan_id: 100 };
        assert_eq!(served.refusal(twice).await, Retval::VLAN_ALREADY_EXISTS);
        let tags = CreateSubif {
            sw_if_index: FIRST,
            sub_id: 7,
            sub_if_flags: SubIfFlags::ONE_TAG | SubIfFlags::EXACT_MATCH,
            outer_vlan_id: 100,
            ..Default::default()
        };
        assert_eq!(served.refusal(tags).await, Retval::VLAN_ALREADY_EXISTS);
        let mut batch = Batch::new();
        batch.add(&DeleteLoopback { sw_if_index: first }).unwrap();
        batch.add(&loopback(3)).unwrap();
        batch.add(&address(1, true, "192.0.2.1/24")).unwrap();
        served.client.commit(batch).await.expect("the name and the address are free by then");
        let text = served.cli("show interface address").await;
        assert!(text.contains("loop3") && text.matches("192.0.2.1/24").count() == 1, "{text}");
    });
}

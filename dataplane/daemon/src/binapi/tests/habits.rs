// SPDX-License-Identifier: Apache-2.0
//! What VPP's own test framework asks of every dataplane, whatever is tested.

use weft_binapi::api::graph::GraphNodeGet;
use weft_binapi::api::pg::{PgCreateInterfaceV3, PgDeleteInterface};

use super::*;

#[test]
fn what_is_asked_after_each_test_is_answered() {
    serve(LOOP0, |served| async move {
        for command in [
            "clear trace\n",
            "show trace max 100\n",
            "show interface\n",
            "show hardware\n",
            "show error\n",
            "show errors verbose\n",
            "show run\n",
            "show log\n",
            "show bihash\n",
            "comment { between two tests }\n",
        ] {
            served.cli(command).await;
        }
        assert_eq!(served.cli("echo  one  two ").await, "one  two\n");
    });
}

#[test]
fn the_last_messages_are_kept_and_saved() {
    serve(LOOP0, |served| async move {
        let name = format!("weft-api-trace-{}.log", std::process::id());
        served.cli(&format!("api trace save {name}")).await;
        let path = std::path::Path::new("/tmp").join(&name);
        let saved = std::fs::read_to_string(&path).expect("the file is there though nothing was traced");
        assert_eq!(saved, "");
        let again = CliInband { cmd: format!("api trace save {name}") };
        assert_eq!(served.refusal(again).await, Retval::UNSPECIFIED);
        std::fs::remove_file(&path).expect("it is ours");
        let elsewhere = CliInband { cmd: "api trace save ../etc/weft".into() };
        assert_eq!(served.refusal(elsewhere).await, Retval::UNSPECIFIED);

        served.cli("api trace on").await;
        served.ask(ShowVersion {}).await;
        served.cli("api trace off").await;
        served.ask(ShowThreads {}).await;
        let kept = served.cli("api trace dump").await;
        let fields: Vec<Vec<&str>> = kept.lines().map(|line| line.split(' ').collect()).collect();
        let names: Vec<_> = fields.iter().map(|line| (line[2], line[3], line[4])).collect();
        assert_eq!(names[0], ("\"test\"", "show_version", "10"), "{kept}");
        assert_eq!((names.len(), names[1].1), (2, "cli_inband"));
        served.cli("api trace free").await;
        assert_eq!(served.cli("api trace dump").await, "");
    });
}

#[test]
fn index_0_is_local0_which_is_down_and_stays() {
    serve(&[], |served| async move {
        let all = served.client.dump(&SwInterfaceDump::default()).await.unwrap();
        let [local] = &all[..] else { panic!("{all:?}") };
        assert_eq!((local.sw_if_index, local.interface_name.get()), (InterfaceIndex(0), Some("local0")));
        assert_eq!((local.flags, local.link_mtu), (IfStatusFlags(0), 0));
        assert_eq!(local.interface_dev_type.get(), Some("local"));
        let index = local.sw_if_index;
        served.ask(SwInterfaceSetFlags { sw_if_index: index, flags: IfStatusFlags::ADMIN_UP }).await;
        let again = served.client.dump(&SwInterfaceDump::default()).await.unwrap();
        assert_eq!(again[0].flags, IfStatusFlags::ADMIN_UP, "there is no link that could be up");
        assert_eq!(served.refusal(DeleteLoopback { sw_if_index: index }).await, Retval::INVALID_SW_IF_INDEX);
        assert_eq!(
            served.refusal(PgDeleteInterface { sw_if_index: index }).await,
            Retval::INVALID_SW_IF_INDEX
        );
        assert_ne!(
            served.refusal(CreateVlanSubif { sw_if_index: index, vlan_id: 5 }).await,
            Retval::VLAN_ALREADY_EXISTS
        );
        assert!(served.cli("show interface").await.contains("local0"));
        served.cli("create loopback interface").await;
        assert_eq!(served.client.dump(&SwInterfaceDump::default()).await.unwrap().len(), 2);
    });
}

#[test]
fn an_interface_of_the_packet_generator_is_up_when_it_is_made() {
    serve(&[], |served| async move {
        let made = served.ask(PgCreateInterfaceV3::default()).await.sw_if_index;
        let question = SwInterfaceDump { sw_if_index: made, ..SwInterfaceDump::default() };
        let found = served.client.dump(&question).await.unwrap();
        assert_eq!(found[0].flags, IfStatusFlags::ADMIN_UP | IfStatusFlags::LINK_UP);
    });
}

#[test]
fn a_neighbour_ages_unless_it_is_said_to_be_static() {
    serve(LOOP0, |served| async move {
        let neighbor = |flags, mac| IpNeighborAddDel {
            is_add: true,
            neighbor: IpNeighbor {
                sw_if_index: FIRST,
                flags,
                mac_address: weft_binapi::api::ethernet_types::MacAddress([2, 0, 0, 0, 0, mac]),
                ip_address: "192.0.2.9".parse::<IpAddr>().unwrap().into(),
            },
        };
        let question = IpNeighborDump { sw_if_index: FIRST, af: AddressFamily::IP4 };
        let (none, fixed) = (IpNeighborFlags::NONE, IpNeighborFlags::STATIC);
        for (flags, mac) in [(none, 1), (none, 2), (fixed, 3)] {
            served.ask(neighbor(flags, mac)).await;
            let found = served.client.dump(&question).await.unwrap();
            assert_eq!(
                found.iter().map(|one| one.neighbor).collect::<Vec<_>>(),
                [neighbor(flags, mac).neighbor]
            );
        }
        assert_eq!(served.refusal(neighbor(none, 4)).await, Retval::ENTRY_ALREADY_EXISTS);
        let change = IpNeighborAddDel { is_add: false, ..neighbor(none, 3) };
        served.ask(change).await;
        // What nobody owns goes with a flush, also one that an agent told of.
        served.ask(neighbor(none, 5)).await;
        served.ask(IpNeighborFlush { af: AddressFamily::IP4, sw_if_index: FIRST }).await;
        assert!(served.client.dump(&question).await.unwrap().is_empty());
    });
}

#[test]
fn the_stats_index_of_a_route_is_valid_also_while_it_is_not_resolved() {
    serve(LOOP0, |served| async move {
        let resolved = served.ask(route(true, "10.0.0.0/8", vec![via("192.0.2.2", FIRST.0)])).await;
        let waits = served.ask(route(true, "10.1.0.0/16", vec![via("203.0.113.1", u32::MAX)])).await;
        let vectors = {
            let bed = served.bed.0.borrow();
            let load_balances = &bed.dataplane.router().objects().load_balances;
            load_balances.counters().expect("routes are counted").published_len() as u32
        };
        assert!(resolved.stats_index < vectors && waits.stats_index < vectors, "{waits:?}");
        let lookup = IpRouteLookup { table_id: 0, exact: 1, prefix: prefix("10.1.0.0/16") };
        assert_eq!(served.ask(lookup).await.route.stats_index, waits.stats_index);
    });
}

#[test]
fn a_node_is_found_by_its_name_whatever_the_index_says() {
    serve(&[], |served| async move {
        for index in [u32::MAX, 0] {
            let question =
                GraphNodeGet { cursor: u32::MAX, index, name: "ip4-lookup".into(), ..Default::default() };
            let found = served.client.stream(&question).await.unwrap();
            assert_eq!(found.iter().map(|node| node.name.get()).collect::<Vec<_>>(), [Some("ip4-lookup")]);
        }
    });
}

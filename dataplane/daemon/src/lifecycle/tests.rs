// SPDX-License-Identifier: Apache-2.0
//! An interface or a table goes and another one with its index, and its name, comes: nothing of the first must be left.

use std::time::Duration;
use weft_devices::pg::Pg;
use weft_engine::ThreadIndex;
use weft_nodes::fib::{Ip4, Ip6};
use weft_nodes::router::Routed;

use weft_flow_map::{Flow, Verdict};

use crate::baseline::Baselines;
use crate::capture::Capture;
use crate::testing::Bed;

/// Deletes loop0 and makes it again, with the same index.
fn again(bed: &mut Bed) {
    let index = bed.dataplane.interfaces().find("loop0");
    bed.text("delete loopback interface intfc loop0");
    bed.rest();
    bed.text("create loopback interface");
    assert_eq!(bed.dataplane.interfaces().find("loop0"), index, "the index is given out again");
}

fn with_loopback() -> Bed {
    let mut bed = Bed::new("", 1);
    bed.text("create loopback interface");
    bed
}

#[test]
fn streams_of_packets_go_with_the_interface_that_they_name() {
    let mut bed = with_loopback();
    bed.text("create packet-generator interface pg0");
    let packet = "data { IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.2 UDP: 1 -> 2 incrementing 18 }";
    for (name, place) in [
        ("in", "interface loop0"),
        ("out", "source pg0 node drop tx-interface loop0"),
        ("other", "source pg0"),
    ] {
        bed.text(&format!("packet-generator new {{ name {name} limit 1 {place} {packet} }}"));
    }
    again(&mut bed);
    let left: Vec<String> = bed.dataplane.part::<Pg>().streams().map(|stream| stream.name).collect();
    assert_eq!(left, ["other"]);
}

#[test]
fn a_capture_of_an_interface_ends_with_it() {
    let mut bed = with_loopback();
    let file = format!("weft-lifecycle-{}.pcap", std::process::id());
    bed.text(&format!("pcap trace rx tx intfc loop0 file {file}"));
    again(&mut bed);
    assert_eq!(bed.dataplane.find_part::<Capture>().map(|capture| capture.running), Some(false));
    bed.text("pcap trace off");
    // It is a file of this test alone.
    let _ = std::fs::remove_file(format!("/tmp/{file}"));
}

#[test]
fn what_clear_has_hidden_is_not_hidden_from_the_next_interface() {
    let mut bed = with_loopback();
    let index = bed.dataplane.interfaces().find("loop0").expect("it was created");
    let counters = bed.dataplane.engine().counters.rows(ThreadIndex(0));
    counters.interfaces.rx_miss.add(index.index(), 5);
    bed.text("clear interfaces");
    again(&mut bed);
    counters.interfaces.rx_miss.add(index.index(), 3);
    let counts = bed.dataplane.part::<Baselines>().interface(&bed.dataplane.engine().counters, index);
    assert_eq!(counts.simple[5], 3);
}

/// Sends one UDP packet through pg0, whose flows are tracked.
fn one_flow(bed: &mut Bed) -> Flow {
    bed.text("packet-generator enable-stream s");
    bed.rest();
    let tracker = bed.dataplane.flows().tracker().expect("flows are tracked");
    let flows: Vec<Flow> = tracker.flows().collect();
    assert_eq!(flows.len(), 1, "{flows:?}");
    flows[0]
}

#[test]
fn flows_of_an_interface_that_is_gone_do_not_count_for_the_next_one_with_its_index() {
    let mut bed = Bed::new("flow { interface-flows 1 }", 1);
    let make = |bed: &mut Bed, port: u16| {
        for command in [
            "create packet-generator interface pg0 hw-addr 02:00:00:00:00:07",
            "set interface ip address pg0 10.0.0.254/24",
            "set interface state pg0 up",
            "flow enable pg0",
            &format!(
                "packet-generator new {{ name s limit 1 source pg0 \
                 data {{ IP4: 1.2.3 -> 200.0.7 UDP: 10.0.0.1 -> 10.9.0.2 UDP: {port} -> 2 incrementing 18 }} }}"
            ),
        ] {
            bed.text(command);
        }
        bed.dataplane.interfaces().find("pg0").expect("it was created")
    };
    let first = make(&mut bed, 1);
    assert_eq!(one_flow(&mut bed).interface, Some(first.0));
    bed.text("delete packet-generator interface pg0");
    let given_out_again = bed.dataplane.settle(Duration::from_secs(10), |dataplane| {
        dataplane.interfaces().reserve("").is_ok_and(|next| next.index() == first)
    });
    assert!(given_out_again, "when its worker has looked through the flows");
    assert_eq!(make(&mut bed, 2), first);
    bed.text("packet-generator enable-stream s");
    bed.rest();
    let of = |bed: &Bed, interface: Option<u32>| {
        let tracker = bed.dataplane.flows().tracker().expect("flows are tracked");
        tracker.flows().filter(|flow| flow.interface == interface).count()
    };
    assert_eq!((of(&bed, None), of(&bed, Some(first.0))), (1, 1), "each has its one flow");
    let shown = bed.json("show flow");
    let names: Vec<&str> =
        shown["flows"].as_array().unwrap().iter().filter_map(|it| it["interface"].as_str()).collect();
    assert!(names.contains(&"none") && names.contains(&"pg0"), "{names:?}");
}

#[test]
fn flows_neither_lead_into_nor_belong_to_the_next_table_with_an_index() {
    tables_of_flows::<Ip4>("ip", "10.0.0.254/24", "IP4: 1.2.3 -> 200.0.7 UDP: 10.0.0.1 -> 10.9.0.2");
    tables_of_flows::<Ip6>("ip6", "fd00::fe/64", "IP6: 1.2.3 -> 200.0.7 UDP: fd00::1 -> fd00:9::2");
}

fn tables_of_flows<F: Routed>(ip: &str, address: &str, packet: &str) {
    let mut bed = Bed::new("", 1);
    let stream = "packet-generator new { name s limit 1 source pg0 data";
    for command in [
        "create packet-generator interface pg0 hw-addr 02:00:00:00:00:07",
        &format!("{ip} table add 7"),
        &format!("set interface {ip} table pg0 7"),
        &format!("set interface ip address pg0 {address}"),
        "set interface state pg0 up",
        &format!("{ip} table add 9"),
        &format!("{stream} {{ {packet} UDP: 1 -> 2 incrementing 18 }} }}"),
    ] {
        bed.text(command);
    }
    bed.text("flow enable pg0");
    let flow = one_flow(&mut bed);
    let of_nine = bed.dataplane.router().table_index::<F>(9).expect("it was added");
    let of_seven = bed.dataplane.router().table_index::<F>(7).expect("it was added");
    assert_eq!(u32::from(flow.key.table()), of_seven.0);
    bed.text(&format!("flow verdict {} redirect table 9", flow.id));
    let comes = |bed: &mut Bed, what: &str, holds: fn(&[Flow]) -> bool| {
        let done = bed.dataplane.settle(Duration::from_secs(10), |dataplane| {
            let tracker = dataplane.flows().tracker().expect("flows are tracked");
            holds(&tracker.flows().collect::<Vec<_>>())
        });
        assert!(done, "{what}");
    };
    comes(&mut bed, "its worker has the verdict", |flows| matches!(flows[0].verdict, Verdict::Table(_)));
    bed.text(&format!("{ip} table del 9"));
    comes(&mut bed, "it leads nowhere", |flows| flows[0].verdict == Verdict::Drop);
    let given_out_again = (100..1000).any(|id| {
        bed.rest();
        bed.text(&format!("{ip} table add {id}"));
        bed.dataplane.router().table_index::<F>(id).ok() == Some(of_nine)
    });
    assert!(given_out_again, "the index is given out again when nobody holds it any more");
    for command in [
        format!("set interface ip address del pg0 {address}"),
        format!("set interface {ip} table pg0 0"),
        format!("{ip} table del 7"),
    ] {
        bed.text(&command);
    }
    comes(&mut bed, "it was seen in table 7", <[Flow]>::is_empty);
}

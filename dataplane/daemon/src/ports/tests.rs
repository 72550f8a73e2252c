// SPDX-License-Identifier: Apache-2.0
//! The device kind of docs/extending.md works. (That the page shows it, tests/test_extending.py asserts.)

use crate::testing::Bed;

#[test]
fn a_device_of_the_page_comes_by_both_ways_takes_packets_and_goes() {
    let mut bed = Bed::new("interfaces { null hole0 }", 1);
    let source = crate::config::Source::from_text("test", "interfaces { null hole0 }".to_owned());
    crate::startup::make_interfaces(&mut bed.dataplane, &source).expect("nothing is in its way");
    assert_eq!(bed.text("create null interface hole1"), "hole1\n");
    for command in [
        "set interface state hole1 up",
        "set interface ip address hole1 10.0.0.1/24",
        "set ip neighbor hole1 10.0.0.2 02:00:00:00:00:02",
        "create packet-generator interface pg0",
        "packet-generator new { name s limit 3 source pg0 node ip4-lookup \
         data { UDP: 10.1.0.1 -> 10.0.0.2 UDP: 1 -> 2 incrementing 18 } }",
        "packet-generator enable-stream s",
    ] {
        bed.text(command);
    }
    bed.rest();
    let hole = bed.dataplane.interfaces.find("hole1").expect("it was created");
    assert_eq!(bed.dataplane.engine.counters.interfaces.tx.sum(hole.index()).packets, 3);
    let shown = bed.text("show hardware-interfaces hole1");
    assert!(shown.contains("null") && shown.contains("packets end here"), "{shown}");
    bed.text("create sub-interfaces hole1 7");
    bed.text("delete sub-interface hole1.7");
    for hole in ["hole0", "hole1"] {
        bed.text(&format!("delete null interface {hole}"));
        assert_eq!(bed.dataplane.interfaces.find(hole), None);
        assert!(bed.dataplane.engine.graph().id(&format!("{hole}-tx")).is_none());
    }
}

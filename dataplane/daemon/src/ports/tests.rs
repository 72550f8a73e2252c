// SPDX-License-Identifier: Apache-2.0
//! The device kind of docs/extending.md works. (That the page shows it, tests/test_extending.py asserts.)

use weft_control::{ChangeSet, Described, Opened, Owner, Purpose};
use weft_devices::pg::{Mode, PgId};
use weft_engine::InterfaceIndex;
use weft_nodes::interface::Kind;

use super::{DeviceError, Devices, Opening, made_up_mac};
use crate::cli::create::common;
use crate::config::interfaces::{Common, Interface, Settings};
use crate::testing::Bed;

/// A device that cannot be opened.
#[derive(Debug, PartialEq)]
struct Broken(Common);

impl Settings for Broken {
    fn common(&self) -> &Common {
        &self.0
    }

    fn describe(&self, _: &Devices, index: InterfaceIndex) -> Result<Described, DeviceError> {
        Ok(Described::new(Kind::Port, made_up_mac(3, index.0), 1500))
    }

    fn open(&self, _: &mut Opening<'_>) -> Result<Opened, DeviceError> {
        Err(DeviceError::Settings("it is broken"))
    }
}

#[test]
fn a_device_that_cannot_be_opened_closes_those_of_its_change_set() {
    let mut bed = Bed::new("", 1);
    let seen = |bed: &Bed| {
        let engine = bed.dataplane.engine();
        let nodes: Vec<String> = engine.graph().nodes().map(|(_, node)| node.name.clone()).collect();
        let rows = engine.counters.interfaces.rx.published_len();
        (nodes, rows, bed.dataplane.devices().iter().count(), bed.dataplane.interfaces().iter().count())
    };
    let before = seen(&bed);
    for purpose in [Purpose::Try, Purpose::Make] {
        let dataplane = &mut bed.dataplane;
        let mut changes = ChangeSet::new(Owner::CLI);
        dataplane.note_pg_interface(&mut changes, PgId(7), Mode::Ethernet, None).expect("there is room");
        let broken = Interface::new(Broken(common("broken0".parse().expect("a name"))));
        broken.create(dataplane, &mut changes).expect("there is room");
        let done = dataplane
            .change(&changes, purpose)
            .map_err(|refused| (refused.steps.first().map(|(step, _)| *step), refused.to_string()));
        match purpose {
            Purpose::Try => assert_eq!(done, Ok(()), "nothing was opened"),
            Purpose::Make => assert_eq!(done, Err((Some(1), "it is broken".into()))),
        }
        drop(changes);
        bed.rest();
        assert_eq!(seen(&bed), before);
    }
    assert_eq!(bed.text("create packet-generator interface pg7"), "pg7\n");
}

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
    let hole = bed.dataplane.interfaces().find("hole1").expect("it was created");
    assert_eq!(bed.dataplane.engine().counters.interfaces.tx.sum(hole.index()).packets, 3);
    let shown = bed.text("show hardware-interfaces hole1");
    assert!(shown.contains("null") && shown.contains("packets end here"), "{shown}");
    bed.text("create sub-interfaces hole1 7");
    bed.text("delete sub-interface hole1.7");
    for hole in ["hole0", "hole1"] {
        bed.text(&format!("delete null interface {hole}"));
        assert_eq!(bed.dataplane.interfaces().find(hole), None);
        assert!(bed.dataplane.engine().graph().id(&format!("{hole}-tx")).is_none());
    }
}

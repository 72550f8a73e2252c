// SPDX-License-Identifier: Apache-2.0
//! Bridging by words: what comes, what is refused, what is shown.

use crate::testing::Bed;

/// Two ports without hardware, and a loopback.
fn bed() -> Bed {
    let mut bed = Bed::new("", 1);
    for command in [
        "create packet-generator interface pg0",
        "create packet-generator interface pg1",
        "create loopback interface",
    ] {
        bed.text(command);
    }
    bed
}

#[test]
fn a_domain_comes_with_words_and_is_shown() {
    let mut bed = bed();
    assert_eq!(bed.text("show bridge-domain"), "no bridge domains\n");
    bed.text(
        "create bridge-domain 7 learn 0 uu-flood 0 mac-age 9 learn-limit 100 link-groups drop bd-tag lan",
    );
    let refused = |bed: &mut Bed, command: &str| bed.refusal(command).message;
    assert_eq!(refused(&mut bed, "create bridge-domain 7"), "bridge domain 7 exists already");
    assert_eq!(refused(&mut bed, "create bridge-domain 0"), "bridge domain 0: expected 1 to 16777215");
    bed.text("set interface l2 bridge pg0 7 shg 3");
    // A domain comes with its first port.
    bed.text("set interface l2 bridge pg1 8");
    bed.text("set interface l2 bridge loop0 7 bvi");
    let domains = bed.json("show bridge-domain 7 detail");
    let domain = &domains["domains"][0];
    let expected = serde_json::json!({
        "id": 7, "learn": false, "forward": true, "flood": true, "unknown_flood": false, "age_minutes": 9, "learn_limit": 100,
        "link_groups": "drop", "tag": "lan",
    });
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&domain[field], value, "{field}");
    }
    let ports = domain["ports"].as_array().expect("ports");
    let of = |port: &serde_json::Value| {
        format!("{} {} {}", port["interface"], port["role"], port["split_horizon_group"])
    };
    assert_eq!(ports.iter().map(of).collect::<Vec<_>>(), ["\"pg0\" \"normal\" 3", "\"loop0\" \"bvi\" 0"]);
    let text = bed.text("show bridge-domain 7 detail");
    assert!(text.contains("     BD-ID     Index  Age(min)  Learning"), "{text}");
    assert!(text.contains("\n         7         0         9       off        on        on       off         0         0         2\n"), "{text}");
    assert!(
        text.contains("  pg0                                 1   3 normal    on       0    none  none\n"),
        "{text}"
    );
    assert_eq!(refused(&mut bed, "show bridge-domain 9"), "there is no bridge domain 9");
    assert_eq!(
        refused(&mut bed, "create bridge-domain 7 del"),
        "bridge domain 7 has 2 ports: take them out first"
    );
    assert_eq!(refused(&mut bed, "create bridge-domain 9 del"), "there is no bridge domain 9");
    assert_eq!(
        refused(&mut bed, "set interface l2 bridge loop0 8"),
        "'loop0' is a loopback interface: it can be the BVI of a bridge domain, and nothing else of it"
    );
    assert_eq!(
        refused(&mut bed, "set interface l2 bridge pg0 8 bvi"),
        "'pg0' cannot be a BVI: expected a loopback interface"
    );
    let modes = bed.text("show mode");
    assert_eq!(
        modes,
        "l3 local0\nl2 bridge bd_id 7 shg 3 pg0\nl2 bridge bd_id 8 shg 0 pg1\nl2 bridge bd_id 7 bvi shg 0 loop0\n"
    );
    for interface in ["pg0", "loop0"] {
        bed.text(&format!("set interface l3 {interface}"));
    }
    bed.text("create bridge-domain 7 del");
    assert_eq!(bed.text("show mode pg0"), "l3 pg0\n");
}

#[test]
fn switches_and_limits_change_a_domain_that_is_there() {
    let mut bed = bed();
    bed.text("create bridge-domain 7");
    for command in [
        "set bridge-domain learn 7 disable",
        "set bridge-domain forward 7 disable",
        "set bridge-domain flood 7 disable",
        "set bridge-domain uu-flood 7 disable",
        "set bridge-domain mac-age 7 0",
        "set bridge-domain learn-limit 7 5",
        "set bridge-domain link-groups 7 forward",
    ] {
        bed.text(command);
    }
    let domain = bed.json("show bridge-domain 7")["domains"][0].clone();
    let off = ["learn", "forward", "flood", "unknown_flood"].map(|field| domain[field].as_bool());
    assert_eq!(off, [Some(false); 4]);
    assert_eq!((domain["age_minutes"].as_u64(), domain["learn_limit"].as_u64()), (Some(0), Some(5)));
    bed.text("set bridge-domain learn 7");
    bed.text("set bridge-domain learn-limit 7 none");
    let domain = bed.json("show bridge-domain 7")["domains"][0].clone();
    assert_eq!((domain["learn"].as_bool(), domain["learn_limit"].as_u64()), (Some(true), None));
    assert_eq!(bed.refusal("set bridge-domain learn 8").message, "there is no bridge domain 8");
    assert!(bed.refusal("set interface l2 learn pg0").message.contains("'pg0' is routed"));
}

#[test]
fn entries_are_configured_shown_and_deleted() {
    let mut bed = bed();
    bed.text("set interface l2 bridge pg0 7");
    bed.text("l2fib add 02:00:00:00:00:01 7 pg0 static");
    bed.text("l2fib add 02:00:00:00:00:02 7 filter");
    assert_eq!(
        bed.refusal("l2fib add 02:00:00:00:00:03 7 pg1").message,
        "'pg1' is no port of bridge domain 7"
    );
    assert_eq!(bed.refusal("l2fib add 02:00:00:00:00:03 8 filter").message, "there is no bridge domain 8");
    assert_eq!(
        bed.refusal("l2fib add 03:00:00:00:00:03 7 filter").message,
        "03:00:00:00:00:03 is not the MAC address of a station"
    );
    assert_eq!(
        bed.text("show l2fib verbose"),
        "Mac-Address           BD-ID  If-Idx Age(sec) static filter bvi  Interface-Name\n\
         02:00:00:00:00:01         7       1       no      *      -   -  pg0\n\
         02:00:00:00:00:02         7       -       no      *      *   -  -\n\
         L2FIB total entries: 2 of 131072\n"
    );
    bed.text("l2fib flush-mac all");
    assert_eq!(bed.text("show l2fib"), "L2FIB total entries: 2 of 131072\n");
    assert_eq!(bed.json("show l2fib learn")["stations"], serde_json::json!([]));
    bed.text("l2fib del 02:00:00:00:00:02 7");
    assert!(bed.refusal("l2fib del 02:00:00:00:00:02 7").message.contains("no entry for 02:00:00:00:00:02"));
    // It goes with its port's place in the domain, and so does a claim to it.
    bed.text("set interface l3 pg0");
    assert_eq!(bed.text("show l2fib"), "L2FIB total entries: 0 of 131072\n");
    assert!(bed.refusal("l2fib del 02:00:00:00:00:01 7").message.contains("no entry"));
}

#[test]
fn what_is_switched_goes_with_its_interface() {
    let mut bed = bed();
    bed.text("set interface l2 xconnect pg0 pg1");
    bed.text("set interface l2 bridge pg1 7");
    bed.text("l2fib add 02:00:00:00:00:01 7 pg1");
    bed.text("delete packet-generator interface pg1");
    bed.rest();
    assert_eq!(bed.text("show mode"), "l3 local0\nl3 pg0\nl3 loop0\n");
    assert_eq!(bed.text("show l2fib"), "L2FIB total entries: 0 of 131072\n");
    bed.text("create bridge-domain 7 del");
    // The next one with its index is another.
    bed.text("create packet-generator interface pg1");
    assert_eq!(bed.text("show mode pg1"), "l3 pg1\n");
}

#[test]
fn tags_are_rewritten_as_far_as_there_are_some() {
    let mut bed = bed();
    bed.text("create sub-interfaces pg0 5 dot1ad 5 inner-dot1q 6 exact-match");
    assert!(bed.refusal("set interface l2 tag-rewrite pg0.5 pop 1").message.contains("'pg0.5' is routed"));
    bed.text("set interface l2 bridge pg0.5 7");
    bed.text("set interface l2 bridge pg0 7");
    let shown = |bed: &mut Bed| {
        let domain = bed.json("show bridge-domain 7")["domains"][0].clone();
        let ports = domain["ports"].as_array().expect("ports").clone();
        let sub = ports.into_iter().find(|port| port["interface"] == "pg0.5").expect("it is a port");
        sub["tag_rewrite"].as_str().expect("a text").to_owned()
    };
    for (words, expected) in [
        ("pop 1", "pop 1"),
        ("pop 2", "pop 2"),
        ("push dot1q 9", "push dot1q 9"),
        ("push dot1ad 9 8", "push dot1ad 9 8"),
        ("translate 1-1 dot1q 300", "translate 1-1 dot1q 300"),
        ("translate 2-2 dot1ad 300 4", "translate 2-2 dot1ad 300 4"),
        ("disable", "none"),
    ] {
        bed.text(&format!("set interface l2 tag-rewrite pg0.5 {words}"));
        assert_eq!(shown(&mut bed), expected);
    }
    assert_eq!(
        bed.refusal("set interface l2 tag-rewrite pg0 pop 1").message,
        "'pg0' has frames with 0 VLAN tags: 1 cannot be taken off"
    );
    assert!(
        bed.refusal("set interface l2 tag-rewrite pg0.5 translate 1-2 dot1q 5").message.contains("expected")
    );
    assert!(bed.refusal("set interface l2 tag-rewrite pg0.5 push dot1q 4095").message.contains("1 to 4094"));
}

#[test]
fn several_are_one_change_or_none() {
    let mut bed = bed();
    let file = std::env::temp_dir().join(format!("weft-l2-{}", std::process::id()));
    std::fs::write(
        &file,
        "create bridge-domain 7\nset interface l2 bridge pg0 7\nset interface l2 bridge pg1 7 bvi\n",
    )
    .expect("a file");
    let command = format!("exec --atomic {}", file.display());
    let run = |bed: &mut Bed| {
        let mut reply = bed.execute(&command)?;
        while reply.is_work() {
            match reply.turn(&mut bed.dataplane) {
                weft_cli::Turn::Done(done) => return done.map(|_| ()),
                weft_cli::Turn::More => {}
                weft_cli::Turn::Waits => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
        Ok(())
    };
    run(&mut bed).expect_err("a port is no BVI");
    assert_eq!(bed.text("show bridge-domain"), "no bridge domains\n");
    std::fs::write(&file, "create bridge-domain 7\nset interface l2 bridge pg0 7\nset interface l2 bridge pg1 7\nl2fib add 02:00:00:00:00:01 7 pg1\n").expect("a file");
    run(&mut bed).expect("all of it can be");
    assert_eq!(bed.json("show bridge-domain 7")["domains"][0]["ports"].as_array().map(Vec::len), Some(2));
    assert_eq!(bed.text("show l2fib"), "L2FIB total entries: 1 of 131072\n");
    let _ = std::fs::remove_file(&file);
}

// SPDX-License-Identifier: Apache-2.0
//! Objects that several want: an agent of the API, the operator, vplaned, startup.conf.

use std::net::IpAddr;

use ipnet::IpNet;
use weft_control::{ChangeSet, Object, Owner, Purpose, Value};

use super::*;

const PORT: &[&str] = &["create packet-generator interface pg0", "set interface state pg0 up"];
const ADDRESS: &str = "10.60.0.1/24";
/// One of each family, and a station there.
const ADDRESSES: [(&str, &str); 2] = [(ADDRESS, "10.60.0.9"), ("2001:db8:60::1/64", "2001:db8:60::9")];

fn add(text: &str) -> SwInterfaceAddDelAddress {
    SwInterfaceAddDelAddress { sw_if_index: FIRST, is_add: true, del_all: false, prefix: prefix(text) }
}

async fn resync_with_nothing(agent: &Client) -> u32 {
    agent.request(&WeftResyncBegin {}).await.unwrap();
    agent.request(&WeftResyncEnd {}).await.unwrap().removed
}

#[test]
fn an_agents_resync_leaves_what_the_operator_has_made_anew() {
    serve(PORT, |served| async move {
        let agent = served.another("agent").await;
        for (address, _) in ADDRESSES {
            agent.request(&add(address)).await.unwrap();
            served.cli(&format!("set interface ip address del pg0 {address}")).await;
            assert!(!served.cli("show interface address").await.contains(address), "deleted for all");
            served.cli(&format!("set interface ip address pg0 {address}")).await;
            assert_eq!(resync_with_nothing(&agent).await, 0);
            assert!(served.cli("show interface address").await.contains(address));
        }
    });
}

#[test]
fn what_two_want_goes_with_the_last_of_them() {
    for other in [Owner::CLI, Owner::STARTUP, Owner::VPLANED, Owner::PLUGIN] {
        for (address, host) in ADDRESSES {
            what_two_want(other, address.parse().unwrap(), host.parse().unwrap());
        }
    }
}

fn what_two_want(other: Owner, address: IpNet, host: IpAddr) {
    let mut bed = Bed::new("", 1);
    PORT.iter().for_each(|command| drop(bed.text(command)));
    let dataplane = &mut bed.dataplane;
    let index = dataplane.interfaces().find("pg0").unwrap();
    let agent = Owner::agent(0);
    let mac = |last| weft_nodes::headers::MacAddr([2, 0, 0, 0, 0, last]);
    let objects = [Object::Neighbor(index, host), Object::Address(index, address)];
    for (owner, last) in [(agent, 1), (other, 2)] {
        let mut changes = ChangeSet::new(owner);
        changes.want(objects[1].clone(), Value::None);
        changes.want(objects[0].clone(), Value::Mac(mac(last)));
        dataplane.change(&changes, Purpose::Make).unwrap();
    }
    let known = |dataplane: &Dataplane| {
        let neighbor = dataplane.router().neighbors().get(index, host);
        let addresses = dataplane.interfaces().get(index).map(|it| it.addresses().count());
        (addresses.unwrap(), neighbor.and_then(|neighbor| neighbor.state.mac()))
    };
    assert_eq!(known(dataplane), (1, Some(mac(2))), "the last one has its way");
    dataplane.begin_resync(agent);
    let removed = dataplane.end_resync(agent).unwrap();
    assert_eq!((removed, known(dataplane)), (0, (1, Some(mac(2)))), "{other} still wants both");
    let mut changes = ChangeSet::new(other);
    objects.into_iter().for_each(|object| changes.release(object));
    dataplane.change(&changes, Purpose::Make).unwrap();
    assert_eq!(known(dataplane), (0, None));
    assert_eq!(
        dataplane.owned().count(),
        2,
        "pg0 is there and up by the command line: {:?}",
        dataplane.owned().last()
    );
}

#[test]
fn a_setting_falls_back_to_what_the_other_owner_said() {
    serve(PORT, |served| async move {
        let agent = served.another("agent").await;
        served.cli("set interface mtu 1500 pg0").await;
        agent.request(&SwInterfaceSetMtu { sw_if_index: FIRST, mtu: [1400, 0, 0, 0] }).await.unwrap();
        agent
            .request(&SwInterfaceTagAddDel { is_add: true, sw_if_index: FIRST, tag: "x".into() })
            .await
            .unwrap();
        let shown = served.cli("show settings pg0").await;
        assert!(
            shown.lines().any(|line| line.contains(" mtu ")
                && line.ends_with("1400                    api                     cli")),
            "{shown}"
        );
        assert_eq!(resync_with_nothing(&agent).await, 1, "the tag; the MTU is the operator's again");
        let shown = served.cli("show settings pg0").await;
        assert!(
            shown.lines().any(|line| line.contains(" mtu ") && line.ends_with("1500                    cli")),
            "{shown}"
        );
        assert!(!shown.contains(" x "), "nobody wants the tag: {shown}");
    });
}

#[test]
fn an_interface_that_uses_the_addresses_of_another_has_none_of_its_own() {
    serve(&[PORT, LOOP0].concat(), |served| async move {
        served.cli("set interface unnumbered pg0 use loop0").await;
        for (address, _) in ADDRESSES {
            assert_eq!(served.refusal(add(address)).await, Retval::UNSUPPORTED);
        }
    });
    for (address, _) in ADDRESSES {
        let mut bed = Bed::new("", 1);
        [PORT, LOOP0].concat().iter().for_each(|command| drop(bed.text(command)));
        bed.text("set interface unnumbered pg0 use loop0");
        let refusal = bed.refusal(&format!("set interface ip address pg0 {address}"));
        assert_eq!(
            refusal.message,
            "'pg0' uses the addresses of 'loop0' (unnumbered): it can have none of its own"
        );
        let index = bed.dataplane.interfaces().find("pg0").unwrap();
        for owner in [Owner::STARTUP, Owner::VPLANED, Owner::PLUGIN] {
            let mut changes = ChangeSet::new(owner);
            changes.want(Object::Address(index, address.parse().unwrap()), Value::None);
            bed.dataplane.change(&changes, Purpose::Make).expect_err("it is unnumbered");
        }
        bed.refusal("set interface unnumbered loop0 use pg0");
        bed.text("set interface unnumbered del pg0");
        bed.text(&format!("set interface ip address pg0 {address}"));
        let refusal = bed.refusal("set interface unnumbered pg0 use loop0");
        assert_eq!(refusal.message, "'pg0' cannot be unnumbered: it has addresses of its own");
    }
}

#[test]
fn a_static_neighbour_is_a_host() {
    let mut bed = Bed::new("", 1);
    LOOP0.iter().for_each(|command| drop(bed.text(command)));
    let none = ["224.0.0.5", "255.255.255.255", "0.0.0.0", "127.0.0.1", "ff02::5", "::", "::1"];
    for address in none {
        let refusal = bed.refusal(&format!("set ip neighbor loop0 {address} 02:00:00:00:00:01"));
        assert_eq!(
            refusal.message,
            format!(
                "{address} cannot be a neighbour: expected a unicast address that is neither this host's own nor that of a subnet or its broadcast"
            )
        );
    }
    for (_, host) in ADDRESSES {
        bed.refusal(&format!("set ip neighbor loop0 {host} 01:00:5e:00:00:01"));
        bed.refusal(&format!("set ip neighbor loop0 {host} 33:33:00:00:00:01"));
    }
}

#[test]
fn every_setting_has_a_message() {
    use weft_binapi::api::weft_setting::*;
    serve(&[PORT, LOOP0].concat(), |served| async move {
        let pg0 = FIRST;
        let all = InterfaceIndex(u32::MAX);
        let set = |sw_if_index, name: &str, value: &str| WeftSettingSet {
            sw_if_index,
            name: name.into(),
            value: value.into(),
        };
        let get = |sw_if_index, name: &str| WeftSettingGet { sw_if_index, name: name.into() };
        for (place, name, value) in [
            (pg0, "tcp-mss", "1300"),
            (pg0, "gratuitous-arp", "ignore"),
            (pg0, "urpf", "strict"),
            (pg0, "unnumbered", "loop0"),
            (all, "icmp-rate-too-big", "100"),
            (all, "multipath", "hrw"),
        ] {
            served.ask(set(place, name, value)).await;
            assert_eq!(served.ask(get(place, name)).await.value, value);
        }
        for (message, retval) in [
            (set(pg0, "nothing", "1"), Retval::NO_SUCH_ENTRY),
            (set(pg0, "multipath", "hrw"), Retval::INVALID_SW_IF_INDEX),
            (set(all, "tcp-mss", "1300"), Retval::INVALID_SW_IF_INDEX),
            (set(pg0, "tcp-mss", "little"), Retval::INVALID_VALUE),
            (set(pg0, "tcp-mss", "70000"), Retval::INVALID_VALUE),
            (set(pg0, "mtu", "20"), Retval::INVALID_VALUE),
        ] {
            assert_eq!(served.refusal(message.clone()).await, retval, "{message:?}");
        }
        served.ask(WeftSettingUnset { sw_if_index: pg0, name: "urpf".into() }).await;
        let shown = served.client.dump(&WeftSettingDump { sw_if_index: pg0 }).await.unwrap();
        let of = |name: &str| {
            let found = shown.iter().find(|one| one.name.get() == Some(name)).unwrap();
            (found.value.clone(), found.owners.get().unwrap_or_default().to_owned())
        };
        assert_eq!(of("urpf"), ("off".into(), String::new()));
        assert_eq!(of("tcp-mss"), ("1300".into(), "api".into()));
        assert_eq!(of("admin-state"), ("up".into(), "cli".into()));
    });
}

#[test]
fn an_agents_resync_sweeps_the_interfaces_that_it_does_not_create_again() {
    serve(&["create loopback interface instance 4"], |served| async move {
        let agent = served.another("agent").await;
        let instance = |user_instance| CreateLoopbackInstance {
            is_specified: true,
            user_instance,
            ..CreateLoopbackInstance::default()
        };
        let kept = agent.request(&instance(5)).await.unwrap().sw_if_index;
        let address = SwInterfaceAddDelAddress { sw_if_index: kept, ..add(ADDRESS) };
        agent.request(&address).await.unwrap();
        agent.request(&instance(6)).await.unwrap();
        agent.request(&WeftResyncBegin {}).await.unwrap();
        assert_eq!(agent.request(&instance(5)).await.unwrap().sw_if_index, kept, "it is said again");
        assert!(agent.request(&instance(5)).await.is_err(), "once");
        assert!(agent.request(&instance(4)).await.is_err(), "it is another's");
        agent.request(&address).await.unwrap();
        assert_eq!(agent.request(&WeftResyncEnd {}).await.unwrap().removed, 1);
        let text = served.cli("show interface address").await;
        assert!(text.contains("loop4") && text.contains("loop5") && text.contains(ADDRESS), "{text}");
        assert!(!text.contains("loop6"), "{text}");
    });
}

// SPDX-License-Identifier: Apache-2.0
//! The definitions against the facts that clients rely on: names, CRCs, header classes, sizes, fixed ids.

use std::collections::BTreeMap;

use weft_binapi::api::MODULES;
use weft_binapi::message::{Class, MessageInfo};

const CATALOGUE: &str = include_str!("catalogue.txt");

fn module(name: &str) -> &'static weft_binapi::ModuleInfo {
    MODULES.iter().find(|module| module.name == name).unwrap_or_else(|| panic!("no module {name}"))
}

fn header(class: Class) -> (&'static str, usize) {
    match class {
        Class::Request => ("Q", 2 + 8),
        Class::Reply => ("R", 2 + 4),
        Class::Event => ("E", 2 + 4),
        Class::Other => ("O", 2),
    }
}

fn line(module: &str, message: &MessageInfo) -> String {
    let (class, header) = header(message.class);
    format!("{module} {class} {} {}", message.key(), header + message.least)
}

#[test]
fn every_message_of_the_catalogue_is_the_same_here() {
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in CATALOGUE.lines().filter(|line| !line.starts_with('#')) {
        let line = line.trim_end_matches('+');
        expected.entry(line.split(' ').next().unwrap()).or_default().push(line);
    }
    let total: usize = expected.values().map(Vec::len).sum();
    assert_eq!(total, 400 + 142 + 24);
    for (name, expected) in expected {
        let found: Vec<String> = module(name).messages.iter().map(|message| line(name, message)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn memclnt_has_its_fixed_ids_and_its_crc() {
    let memclnt = MODULES[0];
    assert_eq!(memclnt.key(), "memclnt_b197c551");
    // The first id is 1.
    assert_eq!(memclnt.messages.len(), 28);
    assert_eq!(memclnt.messages[15 - 1].key(), "sockclnt_create_455fb9c4");
    assert_eq!(memclnt.messages[16 - 1].key(), "sockclnt_create_reply_35166268");
    assert_eq!(memclnt.messages[23 - 1].key(), "control_ping_51077d14");
    assert_eq!(memclnt.messages[28 - 1].key(), "get_api_json_reply_ea715b59");
}

#[test]
fn every_module_has_its_json() {
    for module in MODULES {
        let json: serde_json::Value = serde_json::from_str(module.json).unwrap();
        assert_eq!(json["module"], module.name);
        assert_eq!(json["vl_api_version"], format!("{:#010x}", module.crc));
        let messages = json["messages"].as_array().unwrap();
        assert_eq!(messages.len(), module.messages.len());
        for (message, info) in messages.iter().zip(module.messages) {
            let fields = message.as_array().unwrap();
            assert_eq!(fields[0], info.name);
            assert_eq!(fields.last().unwrap()["crc"], format!("{:#010x}", info.crc));
        }
        for value in json["enums"].as_array().unwrap().iter().chain(json["enumflags"].as_array().unwrap()) {
            assert!(value.as_array().unwrap().last().unwrap()["enumtype"].is_string(), "{value}");
        }
    }
}

#[test]
fn json_of_a_module() {
    let json: serde_json::Value = serde_json::from_str(module("interface").json).unwrap();
    let message = |name: &str| {
        let messages = json["messages"].as_array().unwrap();
        messages.iter().find(|message| message[0] == name).unwrap().to_string()
    };
    assert_eq!(
        message("sw_interface_dump"),
        r#"["sw_interface_dump",["u16","_vl_msg_id"],["u32","client_index"],["u32","context"],["vl_api_interface_index_t","sw_if_index",{"default":4294967295}],["bool","name_filter_valid"],["string","name_filter",0],{"comment":"","crc":"0xaa610c27","options":{}}]"#
    );
    assert_eq!(
        message("sw_interface_tx_placement_details"),
        r#"["sw_interface_tx_placement_details",["u16","_vl_msg_id"],["u32","client_index"],["u32","context"],["vl_api_interface_index_t","sw_if_index"],["u32","queue_id"],["u8","shared"],["u32","array_size"],["u32","threads",0,"array_size"],{"comment":"","crc":"0x00381a2e","options":{}}]"#
    );
    let service = |name: &str| json["services"][name].to_string();
    assert_eq!(service("sw_interface_dump"), r#"{"reply":"sw_interface_details","stream":true}"#);
    assert_eq!(service("sw_interface_set_flags"), r#"{"reply":"sw_interface_set_flags_reply"}"#);
    assert_eq!(
        service("want_interface_events"),
        r#"{"events":["sw_interface_event"],"reply":"want_interface_events_reply"}"#
    );
    assert_eq!(
        service("sw_interface_tx_placement_get"),
        r#"{"reply":"sw_interface_tx_placement_get_reply","stream":true,"stream_msg":"sw_interface_tx_placement_details"}"#
    );
    assert_eq!(json["aliases"]["ip4_address"].to_string(), r#"{"length":4,"type":"u8"}"#);
    assert_eq!(json["imports"].as_array().unwrap().len(), 3);
}

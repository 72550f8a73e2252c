// SPDX-License-Identifier: Apache-2.0
//! Sections of VPP that Weft accepts without doing what they say, so that an existing file starts.
//!
//! Their braces are checked like all others; their words are not. Each gets one warning. Any other
//! section is an error: it is most likely a misspelt one.

use super::{
    diagnostic::{Diagnostic, Sink},
    source::Span,
    token::Token,
};

/// A section, and what to say about it.
pub(super) struct Foreign {
    name: &'static str,
    why: &'static str,
}

const fn foreign(name: &'static str, why: &'static str) -> Foreign {
    Foreign { name, why }
}

const NO_HOST_STACK: &str = "Weft has no transport protocols of its own";
const NO_FEATURE: &str = "Weft has no such feature";
const MEMORY: &str = "Weft takes memory as it needs it";
const TABLES: &str = "tables grow as needed; see limits { }";
const API: &str = "the binary API is not served yet";
const NETLINK: &str = "mirroring into Linux is not served yet";
const DPDK: &str = "Weft drives NICs through AF_XDP and leaves them to Linux";

const FOREIGN: &[Foreign] = &[
    foreign("acl-plugin", NO_FEATURE),
    foreign("api-fuzz", API),
    foreign("api-queue", API),
    foreign("api-segment", "there is no shared-memory API; unix { gid } opens the sockets to a group"),
    foreign("api-trace", API),
    foreign("cnat", NO_FEATURE),
    foreign("crypto-engines", NO_FEATURE),
    foreign("crypto_sw_scheduler", NO_FEATURE),
    foreign("ct6", NO_FEATURE),
    foreign("devices", "native drivers of VPP are not there; use interfaces { af_xdp ... }"),
    foreign("dns", NO_HOST_STACK),
    foreign("dpdk", DPDK),
    foreign("dsa", NO_FEATURE),
    foreign("dslite", NO_FEATURE),
    foreign("ethernet", "an interface has the MTU of its NIC, or interfaces { af_xdp NAME { mtu N } }"),
    foreign("fateshare", NO_FEATURE),
    foreign("http", NO_HOST_STACK),
    foreign("interface", "workers sleep when idle; see cpu { idle }"),
    foreign("ip", TABLES),
    foreign("ip6", TABLES),
    foreign("ipsec", NO_FEATURE),
    foreign("l2fib", TABLES),
    foreign("l2learn", TABLES),
    foreign("l2tp", NO_FEATURE),
    foreign("l3fib", TABLES),
    foreign("linux-cp", NETLINK),
    foreign("linux-nl", NETLINK),
    foreign("mactime", NO_FEATURE),
    foreign("map", NO_FEATURE),
    foreign("memory", MEMORY),
    foreign("mpls", NO_FEATURE),
    foreign("node", "a node has one variant, for the CPU that it runs on"),
    foreign("npol-plugin", NO_FEATURE),
    foreign("nsim", NO_FEATURE),
    foreign("physmem", MEMORY),
    foreign("plugin_path", "write plugins { path ... }"),
    foreign("punt", "the punt socket is not served; use host-tap"),
    foreign("pvti", NO_FEATURE),
    foreign("quic", NO_HOST_STACK),
    foreign("selog", NO_FEATURE),
    foreign("session", NO_HOST_STACK),
    foreign("sfdp", NO_FEATURE),
    foreign("tcp", NO_HOST_STACK),
    foreign("test-proxy", NO_HOST_STACK),
    foreign("test_plugin_path", "Weft has no API test plugins"),
    foreign("tls", NO_HOST_STACK),
    foreign("trace", "traces have one format of time"),
    foreign("tuntap", "use interfaces { tap NAME }"),
    foreign("udp", NO_HOST_STACK),
    foreign("unix-cli", "weftctl has the terminal"),
    foreign("vhost-user", NO_FEATURE),
    foreign("vlib", MEMORY),
];

pub(super) fn find(name: &str) -> Option<&'static Foreign> {
    FOREIGN.iter().find(|section| section.name == name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    FOREIGN.iter().map(|section| section.name)
}

/// The foreign sections of a file.
#[derive(Default)]
pub(super) struct Seen {
    /// Where each stands for the first time.
    sections: Vec<(&'static Foreign, Span)>,
    /// NICs that `dpdk { dev PCI { name NAME } }` would have taken: address and name.
    devices: Vec<(String, Option<String>)>,
}

impl Seen {
    pub fn note(&mut self, section: &'static Foreign, span: Span, content: &[Token]) {
        if !self.sections.iter().any(|(known, _)| known.name == section.name) {
            self.sections.push((section, span));
        }
        if section.name == "dpdk" {
            self.devices.extend(dpdk_devices(content));
        }
    }

    /// One warning per section.
    pub fn report(self, sink: &Sink) {
        for (section, span) in self.sections {
            let message = format!("section {:?} has no effect: {}", section.name, section.why);
            let warning = Diagnostic::warning(span, message);
            sink.push(match section.name {
                "dpdk" if !self.devices.is_empty() => warning.help(attach_help(&self.devices)),
                _ => warning,
            });
        }
    }
}

/// `dev PCI` and `dev PCI { ... name NAME ... }`, but not `dev default { ... }`.
fn dpdk_devices(content: &[Token]) -> Vec<(String, Option<String>)> {
    let mut devices = Vec::new();
    for (index, token) in content.iter().enumerate() {
        let (Token::Word(key), Some(Token::Word(address))) = (token, content.get(index + 1)) else {
            continue;
        };
        if key.text != "dev" || address.text == "default" {
            continue;
        }
        let name = match content.get(index + 2) {
            Some(Token::Group(group)) => value_of(&group.tokens, "name"),
            _ => None,
        };
        devices.push((address.text.clone(), name));
    }
    devices
}

fn value_of(tokens: &[Token], key: &str) -> Option<String> {
    tokens.windows(2).find_map(|pair| match pair {
        [Token::Word(word), Token::Word(value)] if word.text == key => Some(value.text.clone()),
        _ => None,
    })
}

fn attach_help(devices: &[(String, Option<String>)]) -> String {
    let attach = |(address, name): &(String, Option<String>)| {
        let group = name.as_ref().map_or_else(String::new, |name| format!(" {{ name {name} }}"));
        format!("af_xdp IFNAME-OF-{address}{group}")
    };
    let ports: Vec<String> = devices.iter().map(attach).collect();
    format!("write interfaces {{ {} }} with the names that Linux gives them", ports.join(" "))
}

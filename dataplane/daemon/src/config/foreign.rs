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
#[derive(Clone, Copy)]
pub(super) struct Foreign {
    name: &'static str,
    why: &'static str,
}

/// Sections for which there is the same to say.
const FOREIGN: &[(&str, &str)] = &[
    (
        "acl-plugin cnat crypto-engines crypto_sw_scheduler ct6 dsa dslite fateshare ipsec l2tp mactime map mpls npol-plugin nsim pvti selog sfdp vhost-user",
        "Weft has no such feature",
    ),
    ("api-fuzz api-queue api-trace", "the binary API is not served yet"),
    ("api-segment", "there is no shared-memory API; unix { gid } opens the sockets to a group"),
    ("devices", "native drivers of VPP are not there; use interfaces { af_xdp ... }"),
    ("dns http quic session tcp test-proxy tls udp", "Weft has no transport protocols of its own"),
    ("dpdk", "Weft drives NICs through AF_XDP and leaves them to Linux"),
    ("ethernet", "an interface has the MTU of its NIC, or interfaces { af_xdp NAME { mtu N } }"),
    ("interface", "workers sleep when idle; see cpu { idle }"),
    ("ip ip6 l2fib l2learn l3fib", "tables grow as needed; see limits { }"),
    ("linux-cp linux-nl", "mirroring into Linux is not served yet"),
    ("memory physmem vlib", "Weft takes memory as it needs it"),
    ("node", "a node has one variant, for the CPU that it runs on"),
    ("plugin_path", "write plugins { path ... }"),
    ("punt", "the punt socket is not served; use host-tap"),
    ("test_plugin_path", "Weft has no API test plugins"),
    ("trace", "traces have one format of time"),
    ("tuntap", "use interfaces { tap NAME }"),
    ("unix-cli", "weftctl has the terminal"),
];

fn all() -> impl Iterator<Item = Foreign> {
    let of_group = |(names, why): &(&'static str, &'static str)| {
        let why = *why;
        names.split(' ').map(move |name| Foreign { name, why })
    };
    FOREIGN.iter().flat_map(of_group)
}

pub(super) fn find(name: &str) -> Option<Foreign> {
    all().find(|section| section.name == name)
}

/// By name.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    let mut names: Vec<&str> = all().map(|section| section.name).collect();
    names.sort_unstable();
    names.into_iter()
}

/// The foreign sections of a file.
#[derive(Default)]
pub(super) struct Seen {
    /// Where each stands for the first time.
    sections: Vec<(Foreign, Span)>,
    /// NICs that `dpdk { dev PCI { name NAME } }` would have taken: address and name.
    devices: Vec<(String, Option<String>)>,
}

impl Seen {
    pub fn note(&mut self, section: Foreign, span: Span, content: &[Token]) {
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

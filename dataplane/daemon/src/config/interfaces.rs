// SPDX-License-Identifier: Apache-2.0
//! `interfaces { ... }`: what there is from the start, without a command file.
//!
//! VPP has no such section (its interfaces come by CLI and API); the words are those of its
//! commands: `create interface af_xdp`, `create tap`, `create loopback interface`.

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use weft_control::{ChangeSet, Control, Described, Opened, Scope, StepError};
use weft_engine::InterfaceIndex;
use weft_nodes::fib::{AddressFamily, Family, Ip4, Ip6};
use weft_nodes::interface::by_family;

use super::{
    af_xdp::{self, AfXdp},
    bridging::{self, Switched},
    check::Findings,
    diagnostic::{Diagnostic, Sink},
    source::{Span, Spanned},
    values::{HostInterface, InterfaceName, MacAddress, prefix, prefix_of},
    words::{Key, Wanted, Words, key, set, set_some, with_settings},
};
use crate::ports::{DeviceError, Devices, Opening, kinds};

/// What the file says of an interface whose device is of some kind. Cheap to copy.
#[derive(Debug, Clone)]
pub struct Interface(Arc<dyn Settings>);

/// What a kind of device wants to know of an interface, beside what all have.
pub trait Settings: Any + Debug + Same + Send + Sync {
    /// What every interface has.
    fn common(&self) -> &Common;

    /// What the interface on it will be like. Nobody sees that it was asked.
    fn describe(&self, devices: &Devices, index: InterfaceIndex) -> Result<Described, DeviceError>;

    /// Opens the device, and adds it to those of the daemon; if it fails, nothing is left behind.
    fn open(&self, cx: &mut Opening<'_>) -> Result<Opened, DeviceError>;

    /// What would be in its way on this machine, which has as many workers.
    fn check(&self, _workers: usize, _found: &mut Findings) {}

    /// The Linux interfaces that it takes or makes, with the namespaces that are named.
    fn links(&self) -> Vec<Link<'_>> {
        Vec::new()
    }
}

/// A Linux interface: its namespace, if one is named, and its name.
pub type Link<'a> = (Option<&'a str>, &'a str);

/// Whether two of whatever kind are the same.
pub trait Same {
    fn is(&self, other: &dyn Any) -> bool;
}

impl<S: PartialEq + 'static> Same for S {
    fn is(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}

impl PartialEq for Interface {
    fn eq(&self, other: &Interface) -> bool {
        (*self.0).is(&*other.0)
    }
}

impl Eq for Interface {}

impl Deref for Interface {
    type Target = dyn Settings;

    fn deref(&self) -> &(dyn Settings + 'static) {
        &*self.0
    }
}

impl Interface {
    /// An interface of that kind.
    pub fn new(settings: impl Settings) -> Interface {
        Interface(Arc::new(settings))
    }

    /// Notes that it is to be there.
    pub fn create(&self, control: &Control, changes: &mut ChangeSet) -> Result<InterfaceIndex, StepError> {
        changes.create_interface(control, self.common().name.as_str(), self.clone())
    }

    /// Its settings, if it is of that kind.
    pub fn settings<S: Settings>(&self) -> Option<&S> {
        (&*self.0 as &dyn Any).downcast_ref()
    }
}

/// What every interface has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// As Weft calls it.
    pub name: InterfaceName,
    /// Where the interface stands in the file.
    pub span: Span,
    pub addresses: Vec<Spanned<IpNet>>,
    /// Of IPv4.
    pub table: TableId,
    /// Of IPv6.
    pub ip6_table: TableId,
    pub mtu: Option<Mtu>,
    pub up: bool,
    /// Whether its frames are switched.
    pub switched: Option<Spanned<Switched>>,
    /// All other settings.
    pub settings: Vec<Wanted>,
}

/// Identifier of a VRF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TableId(pub u32);

/// Bytes of an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtu(pub u16);

/// An interface whose other side belongs to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    pub common: Common,
    /// What the host calls its side.
    pub host_name: HostInterface,
    /// Network namespace of the host's side: a name below /run/netns, or a path.
    pub host_namespace: Option<String>,
    pub host_address: Option<Ipv4Net>,
    /// Of Weft's side.
    pub mac: Option<MacAddress>,
    /// Of the host's side; the kernel makes one up if there is none.
    pub host_mac: Option<MacAddress>,
}

/// An interface without a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loopback {
    pub common: Common,
    pub instance: u32,
    pub mac: Option<MacAddress>,
}

/// Loopbacks are numbered as VPP numbers them, up to 16384 (vnet/ethernet/interface.c).
pub(crate) const LAST_LOOPBACK: u32 = 16383;

/// The words of all kinds.
pub(super) fn keys() -> Vec<Key<Vec<Interface>>> {
    kinds().into_iter().flat_map(|kind| kind.keys).copied().collect()
}

/// `af_xdp <interface> [{ ... }]`
pub(crate) const AF_XDP: Key<Vec<Interface>> = key("af_xdp", |interfaces, words| {
    words.keyword("host-if");
    let host: HostInterface = words.value("network interface", str::parse)?;
    let common = Common::new(InterfaceName::from(&host), words.last_span());
    let mut port = AfXdp::new(host, common);
    read_group(words, "af_xdp", af_xdp::KEYS, &mut port, |port| &mut port.common.settings);
    interfaces.push(Interface::new(port));
    Ok(())
});

/// `tap <interface> [{ ... }]`
pub(crate) const TAP: Key<Vec<Interface>> = key("tap", |interfaces, words| {
    let host_name: HostInterface = words.value("interface name", str::parse)?;
    let common = Common::new(InterfaceName::from(&host_name), words.last_span());
    let mut tap =
        Tap { common, host_name, host_namespace: None, host_address: None, mac: None, host_mac: None };
    read_group(words, "tap", TAP_KEYS, &mut tap, |tap| &mut tap.common.settings);
    interfaces.push(Interface::new(tap));
    Ok(())
});

/// `loopback <number> [{ ... }]`
pub(crate) const LOOPBACK: Key<Vec<Interface>> = key("loopback", |interfaces, words| {
    let instance = words.number("loopback", 0..=LAST_LOOPBACK)?;
    let name = format!("loop{instance}").parse().expect("letters and digits are a name");
    let common = Common::new(name, words.last_span());
    let mut loopback = Loopback { common, instance, mac: None };
    read_group(words, "loopback", LOOPBACK_KEYS, &mut loopback, |it| &mut it.common.settings);
    interfaces.push(Interface::new(loopback));
    Ok(())
});

/// Reads the group of words of one interface, if there is one.
pub(crate) fn read_group<T>(
    words: &mut Words<'_>,
    name: &str,
    keys: &[Key<T>],
    target: &mut T,
    settings: fn(&mut T) -> &mut Vec<Wanted>,
) {
    if let Some(mut inside) = words.optional_group(name) {
        inside.read(&with_settings(keys, Scope::Interface, settings), target);
    }
}

pub(super) const TAP_KEYS: &[Key<Tap>] = &[
    key("name", |tap, words| tap.common.read_name(words)),
    key("ip address", |tap, words| tap.common.read_address(words)),
    key("ip table", |tap, words| tap.common.read_table(words)),
    key("ip6 table", |tap, words| tap.common.read_ip6_table(words)),
    key("mtu", |tap, words| tap.common.read_mtu(words)),
    key("state", |tap, words| tap.common.read_state(words)),
    key("l2 bridge", |tap, words| tap.common.read_bridge(words)),
    key("l2 xconnect", |tap, words| tap.common.read_xconnect(words)),
    key("host-if-name", |tap, words| set(&mut tap.host_name, words.value("interface name", str::parse))),
    key("host-ns", |tap, words| {
        set_some(&mut tap.host_namespace, words.word("network namespace").map(|word| word.text.clone()))
    }),
    key("host-ip4-addr", |tap, words| {
        set_some(&mut tap.host_address, words.value("IPv4 address with prefix length", host_address))
    }),
    key("hw-addr", |tap, words| set_some(&mut tap.mac, words.value("MAC address", str::parse))),
    key("host-mac-addr", |tap, words| set_some(&mut tap.host_mac, words.value("MAC address", str::parse))),
    // Both sides have one MTU.
    key("host-mtu-size", |tap, words| tap.common.read_mtu(words)),
];

pub(super) const LOOPBACK_KEYS: &[Key<Loopback>] = &[
    key("name", |loopback, words| loopback.common.read_name(words)),
    key("ip address", |loopback, words| loopback.common.read_address(words)),
    key("ip table", |loopback, words| loopback.common.read_table(words)),
    key("ip6 table", |loopback, words| loopback.common.read_ip6_table(words)),
    key("mtu", |loopback, words| loopback.common.read_mtu(words)),
    key("state", |loopback, words| loopback.common.read_state(words)),
    key("l2 bridge", |loopback, words| loopback.common.read_bridge(words)),
    key("hw-addr", |loopback, words| set_some(&mut loopback.mac, words.value("MAC address", str::parse))),
];

/// An address that an interface may have, such as 192.0.2.1/24 or 2001:db8::1/64.
fn interface_address(text: &str) -> Result<IpNet, String> {
    let address = prefix(text)?;
    by_family!(address, IpNet(address), F => of_a_host::<F>(address))?;
    Ok(address)
}

/// One of IPv4.
fn host_address(text: &str) -> Result<Ipv4Net, String> {
    let address = prefix_of::<Ip4>(text)?;
    of_a_host::<Ip4>(address)?;
    Ok(address)
}

fn of_a_host<F: Family>(address: F::Net) -> Result<(), String> {
    match F::can_be_own(address) {
        true => Ok(()),
        false => Err("this is no address of a host".into()),
    }
}

impl Common {
    pub(crate) fn new(name: InterfaceName, span: Span) -> Self {
        Self {
            name,
            span,
            addresses: Vec::new(),
            table: TableId::default(),
            ip6_table: TableId::default(),
            mtu: None,
            up: true,
            switched: None,
            settings: Vec::new(),
        }
    }

    pub(crate) fn read_name(&mut self, words: &mut Words<'_>) -> Result<(), Diagnostic> {
        set(&mut self.name, words.value("interface name", str::parse))?;
        self.span = words.last_span();
        Ok(())
    }

    pub(crate) fn read_address(&mut self, words: &mut Words<'_>) -> Result<(), Diagnostic> {
        self.addresses.push(words.spanned("address with prefix length", interface_address)?);
        Ok(())
    }

    pub(crate) fn read_table(&mut self, words: &mut Words<'_>) -> Result<(), Diagnostic> {
        set(&mut self.table, words.number("table", 0..=u32::MAX).map(TableId))
    }

    pub(crate) fn read_ip6_table(&mut self, words: &mut Words<'_>) -> Result<(), Diagnostic> {
        set(&mut self.ip6_table, words.number("table", 0..=u32::MAX).map(TableId))
    }

    /// RFC 791: every link carries 68 bytes; a packet has 65535 at most.
    pub(crate) fn read_mtu(&mut self, words: &mut Words<'_>) -> Result<(), Diagnostic> {
        set_some(&mut self.mtu, words.number("MTU", 68..=u16::MAX).map(Mtu))
    }

    pub(crate) fn read_bridge(&mut self, words: &mut Words<'_>) -> Result<(), Diagnostic> {
        let value = bridging::bridged(words)?;
        self.switched = Some(Spanned { value, span: words.last_span() });
        Ok(())
    }

    pub(crate) fn read_xconnect(&mut self, words: &mut Words<'_>) -> Result<(), Diagnostic> {
        let other =
            words.spanned("interface", |text| Ok::<_, Infallible>(Switched::Crossed(text.to_owned())))?;
        self.switched = Some(other);
        Ok(())
    }

    pub(crate) fn read_state(&mut self, words: &mut Words<'_>) -> Result<(), Diagnostic> {
        set(&mut self.up, words.one_of(&[("up", true), ("down", false)]))
    }
}

/// Names, Linux interfaces and addresses must be unique, the last within their table or, if they say something on their link only,
/// there. A link of IPv6 must carry its packets.
pub(super) fn check(interfaces: &[Interface], sink: &Sink) {
    let mut links: BTreeMap<Link<'_>, &str> = BTreeMap::new();
    for interface in interfaces {
        let common = interface.common();
        for link in interface.links() {
            // Of two interfaces of one name that is said.
            let other = links.insert(link, common.name.as_str());
            if let Some(other) = other.filter(|other| *other != common.name.as_str()) {
                let message = format!("the Linux interface {:?} belongs to {other:?} already", link.1);
                sink.push(Diagnostic::error(common.span, message));
            }
        }
    }
    let mut names = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for common in interfaces.iter().map(|interface| interface.common()) {
        if names.insert(&common.name, ()).is_some() {
            let message = format!("there is an interface {:?} already", common.name.as_str());
            sink.push(Diagnostic::error(common.span, message).help("give one of them another name"));
        }
        for address in &common.addresses {
            let (table, scoped) = match address.value {
                IpNet::V4(_) => (common.table, None),
                IpNet::V6(own) => (common.ip6_table, Ip6::is_link_scoped(own.addr()).then_some(&common.name)),
            };
            let owner = addresses.insert((table, scoped, address.value.addr()), &common.name);
            let small = common.mtu.filter(|mtu| by_family!(address.value, IpNet(_), F => mtu.0 < F::MIN_MTU));
            if let Some(Mtu(mtu)) = small {
                let least = by_family!(address.value, IpNet(_), F => F::MIN_MTU);
                let message = format!("{:?} has an MTU of {mtu} bytes", common.name.as_str());
                let help = format!("a link with {} must carry {least}", address.value);
                sink.push(Diagnostic::error(address.span, message).help(help));
            }
            if let Some(owner) = owner {
                let message =
                    format!("{} is an address of {:?} already", address.value.addr(), owner.as_str());
                sink.push(Diagnostic::error(address.span, message));
            }
        }
    }
}

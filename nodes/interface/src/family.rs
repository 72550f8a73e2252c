// SPDX-License-Identifier: Apache-2.0
//! Address families, as far as an interface has to do with them: addresses, prefixes, and what is configured of each.
//!
//! Code that is the same for IPv4 and IPv6 is written once for an [`AddressFamily`] and finds what an interface has of it
//! by [`AddressFamily::of`]. Plain data, usable from any thread.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weft_headers::{EtherType, MacAddr, link_local};

use crate::table::Entry;
use crate::{Interface, TableIndex};

/// Does what is written once for all families with the one that a value is of: an [`IpVersion`], or an enum of addresses or
/// prefixes with a variant for each.
///
/// ```
/// use std::net::IpAddr;
/// use weft_interface::{AddressFamily, IpVersion, by_family};
///
/// fn may_be_neighbor(address: IpAddr) -> bool {
///     by_family!(address, IpAddr(address), F => F::is_unicast(address))
/// }
///
/// assert!(!may_be_neighbor("ff02::1".parse().unwrap()));
/// assert_eq!(by_family!(IpVersion::V6, F => F::NAME), "IPv6");
/// ```
#[macro_export]
macro_rules! by_family {
    ($value:expr, $family:ident => $work:expr) => {
        $crate::by_family!($value, IpVersion, $family => $work, $crate::IpVersion::V4, $crate::IpVersion::V6)
    };
    ($value:expr, $of:ident($inner:pat), $family:ident => $work:expr) => {
        $crate::by_family!($value, $of, $family => $work, $of::V4($inner), $of::V6($inner))
    };
    ($value:expr, $of:ident, $family:ident => $work:expr, $ip4:pat, $ip6:pat) => {
        match $value {
            $ip4 => {
                #[allow(dead_code)]
                type $family = $crate::Ip4;
                $work
            }
            $ip6 => {
                #[allow(dead_code)]
                type $family = $crate::Ip6;
                $work
            }
        }
    };
}

/// Which family, where only run time tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IpVersion {
    /// [`Ip4`].
    V4,
    /// [`Ip6`].
    V6,
}

impl IpVersion {
    /// Both.
    pub const ALL: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(by_family!(self, F => F::NAME))
    }
}

impl From<IpAddr> for IpVersion {
    fn from(address: IpAddr) -> IpVersion {
        by_family!(address, IpAddr(_), F => F::VERSION)
    }
}

impl From<IpNet> for IpVersion {
    fn from(prefix: IpNet) -> IpVersion {
        by_family!(prefix, IpNet(_), F => F::VERSION)
    }
}

/// An address family. Its value says nothing; the type does.
pub trait AddressFamily: Copy + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// An address.
    type Addr: Copy + Ord + Hash + fmt::Debug + fmt::Display + FromStr + Into<IpAddr> + Send + Sync + 'static;
    /// A prefix.
    type Net: IpPrefix<Addr = Self::Addr>;
    /// Which one it is.
    const VERSION: IpVersion;
    /// As sentences name it.
    const NAME: &'static str;
    /// What frames say that carry its packets.
    const ETHER_TYPE: EtherType;
    /// The least MTU of a link that carries its packets.
    const MIN_MTU: u16;
    /// Whether it is off on a link that carries less. Where not, packets are cut into what the link carries, as long as that can be.
    const NEEDS_MIN_MTU: bool;

    /// An address that is of this family.
    fn address(address: IpAddr) -> Option<Self::Addr>;
    /// A prefix that is of this family.
    fn prefix(prefix: IpNet) -> Option<Self::Net>;
    /// Whether one host can have this address: what a next hop and a neighbour must have.
    fn is_unicast(address: Self::Addr) -> bool;
    /// Whether the address says something on its own link only (RFC 4007): another link may have the same, no route
    /// leads there, and the interface must always be said with it.
    fn is_link_scoped(address: Self::Addr) -> bool;
    /// The address that an interface with this MAC address has on its link without being given one, if the family has such.
    fn link_local(mac: MacAddr) -> Option<Self::Addr>;
    /// What is configured on an interface.
    fn of(interface: &Interface) -> &Addressing<Self>;
    /// The same, to be changed.
    fn of_mut(interface: &mut Interface) -> &mut Addressing<Self>;
    /// What workers know of it.
    fn of_entry(entry: &Entry) -> &Addressing<Self>;
}

/// What an interface has of a family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addressing<F: AddressFamily> {
    /// Forwarding table of packets that arrive there.
    pub table: TableIndex,
    /// Addresses with their subnets, the primary one first.
    pub addresses: Vec<F::Net>,
    /// Whether packets of the family are routed there also without an address.
    pub always: bool,
    /// The link-local address that an operator has chosen, in place of the one that follows from the MAC address.
    pub chosen_link_local: Option<F::Addr>,
    /// Whether that one was not chosen by itself, but made so that it stays the same (RFC 7217).
    pub is_stable: bool,
    /// Whether the link carries the packets that every link of the family carries ([`AddressFamily::MIN_MTU`]). If not, the family is off
    /// there, whatever is configured.
    pub carried: bool,
    /// The link-local address, while the family is enabled and has such. It follows from the rest: `Addressing::settle` says how.
    pub link_local: Option<F::Addr>,
}

impl<F: AddressFamily> Default for Addressing<F> {
    /// No address, in the default table.
    fn default() -> Self {
        Addressing {
            table: TableIndex(0),
            addresses: Vec::new(),
            always: false,
            chosen_link_local: None,
            is_stable: false,
            carried: true,
            link_local: None,
        }
    }
}

impl<F: AddressFamily> Addressing<F> {
    /// Whether packets of the family are to be routed there: it has an address, or the operator says so.
    pub fn is_wanted(&self) -> bool {
        self.always || !self.addresses.is_empty()
    }

    /// Whether they are: the link must carry them, too.
    #[inline]
    pub fn is_enabled(&self) -> bool {
        self.carried && self.is_wanted()
    }

    /// Makes what follows from the rest what it is to be on an interface with this MAC address and MTU.
    pub(crate) fn settle(&mut self, mac: MacAddr, mtu: u16) {
        self.carried = !F::NEEDS_MIN_MTU || mtu >= F::MIN_MTU;
        let enabled = self.is_enabled();
        self.link_local = self.chosen_link_local.or_else(|| F::link_local(mac)).filter(|_| enabled);
    }

    /// What stations on the link see of it: whoever has told them of it tells them again when this changes.
    pub(crate) fn seen(&self) -> (&[F::Net], bool, Option<F::Addr>) {
        (&self.addresses, self.always, self.link_local)
    }

    /// The address that packets of our own carry when they leave there for anywhere: the first that is not of its link only.
    pub fn primary(&self) -> Option<F::Addr> {
        self.addresses.iter().map(IpPrefix::addr).find(|address| !F::is_link_scoped(*address))
    }

    /// All its own addresses.
    pub fn own(&self) -> impl Iterator<Item = F::Addr> + '_ {
        let link_local =
            self.link_local.filter(|address| !self.addresses.iter().any(|own| own.addr() == *address));
        self.addresses.iter().map(IpPrefix::addr).chain(link_local)
    }

    /// Whether an address is one of its own.
    pub fn has(&self, address: F::Addr) -> bool {
        self.link_local == Some(address) || self.addresses.iter().any(|own| own.addr() == address)
    }

    /// The first address whose subnet contains another.
    pub fn on_link(&self, address: F::Addr) -> Option<F::Net> {
        self.addresses.iter().find(|subnet| subnet.covers(address)).copied()
    }
}

/// A prefix, or an address with its subnet. Its order is by address, then by length.
pub trait IpPrefix:
    Copy + Ord + Hash + fmt::Debug + fmt::Display + Into<IpNet> + Send + Sync + 'static
{
    /// An address of its family.
    type Addr;
    /// Length of the prefix that contains one address.
    const HOST: u8;

    /// The prefix that contains this address alone.
    fn host(address: Self::Addr) -> Self;
    /// The address that it was written with.
    fn addr(&self) -> Self::Addr;
    /// How many bits all its addresses share.
    fn length(&self) -> u8;
    /// Its first address.
    fn first(&self) -> Self::Addr;
    /// Its last address.
    fn last(&self) -> Self::Addr;
    /// The same without bits beyond its length.
    fn truncated(&self) -> Self;
    /// Whether an address is in it.
    fn covers(&self, address: Self::Addr) -> bool;
}

/// IPv4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ip4;

impl AddressFamily for Ip4 {
    type Addr = Ipv4Addr;
    type Net = Ipv4Net;
    const VERSION: IpVersion = IpVersion::V4;
    const NAME: &'static str = "IPv4";
    const ETHER_TYPE: EtherType = EtherType::IPV4;
    /// RFC 791 section 3.1.
    const MIN_MTU: u16 = 68;
    const NEEDS_MIN_MTU: bool = false;

    fn address(address: IpAddr) -> Option<Ipv4Addr> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    fn prefix(prefix: IpNet) -> Option<Ipv4Net> {
        match prefix {
            IpNet::V4(prefix) => Some(prefix),
            IpNet::V6(_) => None,
        }
    }

    fn is_unicast(address: Ipv4Addr) -> bool {
        !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
    }

    /// RFC 3927 addresses are routed as all others, as Linux and VPP do.
    fn is_link_scoped(_: Ipv4Addr) -> bool {
        false
    }

    /// An operator gives one (RFC 3927), or there is none.
    fn link_local(_: MacAddr) -> Option<Ipv4Addr> {
        None
    }

    fn of(interface: &Interface) -> &Addressing<Ip4> {
        &interface.ip4
    }

    fn of_mut(interface: &mut Interface) -> &mut Addressing<Ip4> {
        &mut interface.ip4
    }

    fn of_entry(entry: &Entry) -> &Addressing<Ip4> {
        &entry.ip4
    }
}

/// IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ip6;

impl AddressFamily for Ip6 {
    type Addr = Ipv6Addr;
    type Net = Ipv6Net;
    const VERSION: IpVersion = IpVersion::V6;
    const NAME: &'static str = "IPv6";
    const ETHER_TYPE: EtherType = EtherType::IPV6;
    /// RFC 8200 section 5.
    const MIN_MTU: u16 = 1280;
    const NEEDS_MIN_MTU: bool = true;

    fn address(address: IpAddr) -> Option<Ipv6Addr> {
        match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }

    fn prefix(prefix: IpNet) -> Option<Ipv6Net> {
        match prefix {
            IpNet::V6(prefix) => Some(prefix),
            IpNet::V4(_) => None,
        }
    }

    fn is_unicast(address: Ipv6Addr) -> bool {
        !(address.is_unspecified() || address.is_multicast())
    }

    fn is_link_scoped(address: Ipv6Addr) -> bool {
        address.is_unicast_link_local()
    }

    fn link_local(mac: MacAddr) -> Option<Ipv6Addr> {
        Some(link_local(mac))
    }

    fn of(interface: &Interface) -> &Addressing<Ip6> {
        &interface.ip6
    }

    fn of_mut(interface: &mut Interface) -> &mut Addressing<Ip6> {
        &mut interface.ip6
    }

    fn of_entry(entry: &Entry) -> &Addressing<Ip6> {
        &entry.ip6
    }
}

macro_rules! ip_prefix {
    ($net:ty, $addr:ty) => {
        impl IpPrefix for $net {
            type Addr = $addr;
            const HOST: u8 = <$addr>::BITS as u8;

            fn host(address: $addr) -> Self {
                address.into()
            }

            fn addr(&self) -> $addr {
                <$net>::addr(self)
            }

            fn length(&self) -> u8 {
                self.prefix_len()
            }

            fn first(&self) -> $addr {
                self.network()
            }

            fn last(&self) -> $addr {
                self.broadcast()
            }

            fn truncated(&self) -> Self {
                self.trunc()
            }

            fn covers(&self, address: $addr) -> bool {
                self.contains(&address)
            }
        }
    };
}

ip_prefix!(Ipv4Net, Ipv4Addr);
ip_prefix!(Ipv6Net, Ipv6Addr);

// SPDX-License-Identifier: Apache-2.0
//! Addresses of messages and addresses of Rust.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::api::ethernet_types::MacAddress;
use crate::api::fib_types::{FibPathNh, FibPathNhProto};
use crate::api::ip_types::{Address, AddressFamily, AddressUnion, Ip4Address, Ip6Address, Prefix};

impl From<Ipv4Addr> for Ip4Address {
    fn from(address: Ipv4Addr) -> Self {
        Self(address.octets())
    }
}

impl From<Ip4Address> for Ipv4Addr {
    fn from(address: Ip4Address) -> Self {
        address.0.into()
    }
}

impl From<Ipv6Addr> for Ip6Address {
    fn from(address: Ipv6Addr) -> Self {
        Self(address.octets())
    }
}

impl From<Ip6Address> for Ipv6Addr {
    fn from(address: Ip6Address) -> Self {
        address.0.into()
    }
}

impl AddressUnion {
    /// The address, if the family is one that exists.
    pub fn get(&self, family: AddressFamily) -> Option<IpAddr> {
        match family {
            AddressFamily::IP4 => Some(Ipv4Addr::from(self.ip4()).into()),
            AddressFamily::IP6 => Some(Ipv6Addr::from(self.ip6()).into()),
            _ => None,
        }
    }
}

impl From<IpAddr> for AddressUnion {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::from_ip4(&address.into()),
            IpAddr::V6(address) => Self::from_ip6(&address.into()),
        }
    }
}

impl From<IpAddr> for AddressFamily {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::IP4 } else { Self::IP6 }
    }
}

impl Address {
    /// The address, if its family is one that exists.
    pub fn get(&self) -> Option<IpAddr> {
        self.un.get(self.af)
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self { af: address.into(), un: address.into() }
    }
}

impl Prefix {
    /// Address and length, if the family exists and the length is one of its lengths. Bits after the length are
    /// as they came.
    pub fn get(&self) -> Option<(IpAddr, u8)> {
        let address = self.address.get()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (self.len <= longest).then_some((address, self.len))
    }
}

impl From<(IpAddr, u8)> for Prefix {
    fn from((address, len): (IpAddr, u8)) -> Self {
        Self { address: address.into(), len }
    }
}

impl FibPathNh {
    /// The next hop of a path.
    pub fn get(&self, proto: FibPathNhProto) -> Option<IpAddr> {
        match proto {
            FibPathNhProto::IP4 => self.address.get(AddressFamily::IP4),
            FibPathNhProto::IP6 => self.address.get(AddressFamily::IP6),
            _ => None,
        }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families() {
        for address in ["10.1.2.3", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Address::from(address).get(), Some(address));
            assert_eq!(Prefix::from((address, 24)).get(), Some((address, 24)));
        }
        let v4: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(AddressUnion::from(v4).0[..5], [127, 0, 0, 1, 0]);
        assert_eq!(Prefix::from((v4, 33)).get(), None);
        assert_eq!(Address { af: AddressFamily(2), ..Address::from(v4) }.get(), None);
    }
}

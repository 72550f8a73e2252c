// SPDX-License-Identifier: Apache-2.0
//! Values that several sections share. Each reader says why it refuses a word.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{AddressFamily, IpPrefix, IpVersion, by_family};

/// Highest number of a core: `cpu_set_t` of the C library ends there (CPU_SETSIZE, sched.h).
pub const LAST_CORE: u32 = 1023;

/// A number of bytes: `4096`, `32k`, `16M`, `1g`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, shift) = match text.char_indices().next_back() {
            Some((at, 'k' | 'K')) => (&text[..at], 10),
            Some((at, 'm' | 'M')) => (&text[..at], 20),
            Some((at, 'g' | 'G')) => (&text[..at], 30),
            _ => (text, 0),
        };
        let number: u64 = digits.parse().map_err(|_| "a size is a number with k, m or g behind it")?;
        number.checked_mul(1 << shift).map(Self).ok_or("this is more than any memory")
    }
}

/// A core of the machine, as the kernel numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Core(pub u32);

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Core {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(core @ 0..=LAST_CORE) => Ok(Self(core)),
            _ => Err(format!("cores are numbered from 0 to {LAST_CORE}")),
        }
    }
}

/// A set of small numbers, written as VPP writes bitmaps: `1,3-5,8`. Never empty.
pub fn number_list(text: &str, last: u32) -> Result<BTreeSet<u32>, String> {
    let number = |word: &str| match word.parse::<u32>() {
        Ok(number) if number <= last => Ok(number),
        _ => Err(format!("{word:?} is no number from 0 to {last}")),
    };
    let mut numbers = BTreeSet::new();
    for item in text.split(',') {
        let (from, to) = item.split_once('-').unwrap_or((item, item));
        let (from, to) = (number(from)?, number(to)?);
        if from > to {
            return Err(format!("{item:?} runs backwards"));
        }
        numbers.extend(from..=to);
    }
    Ok(numbers)
}

/// A list of cores: `2-5,8`.
pub fn core_list(text: &str) -> Result<BTreeSet<Core>, String> {
    Ok(number_list(text, LAST_CORE)?.into_iter().map(Core).collect())
}

/// A hexadecimal mask of cores: `3c` or `0x3c`.
pub fn core_mask(text: &str) -> Result<BTreeSet<Core>, &'static str> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let mut cores = BTreeSet::new();
    for (place, digit) in (0u32..).zip(digits.chars().rev()) {
        let bits = digit.to_digit(16).ok_or("a mask consists of hexadecimal digits")?;
        let set = (0..4).filter(|bit| bits & (1 << bit) != 0).map(|bit| place * 4 + bit);
        cores.extend(set.map(Core));
    }
    match cores.last() {
        None => Err("this mask names no core"),
        Some(Core(last)) if *last > LAST_CORE => Err("this mask names cores above 1023"),
        Some(_) => Ok(cores),
    }
}

/// A prefix of either family, as `192.0.2.0/24`; says which half of it is wrong.
pub fn prefix(text: &str) -> Result<IpNet, String> {
    let (address, length) =
        text.split_once('/').ok_or("a prefix has the form 192.0.2.0/24 or 2001:db8::/32")?;
    let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no IP address"))?;
    let family = IpVersion::from(address);
    let most = by_family!(family, F => <F as AddressFamily>::Net::HOST);
    let length = length.parse().ok().filter(|length| *length <= most);
    let length = length.ok_or_else(|| format!("the length of an {family} prefix is 0 to {most}"))?;
    IpNet::new(address, length).map_err(|error| error.to_string())
}

/// A prefix of one family.
pub fn prefix_of<F: AddressFamily>(text: &str) -> Result<F::Net, String> {
    F::prefix(prefix(text)?).ok_or_else(|| format!("this is no {} prefix", F::NAME))
}

/// Readers of the stats segment decode names as ASCII.
const ASCII_ONLY: &str = "a name consists of ASCII characters";

/// Name of a network interface of Linux.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostInterface(String);

impl HostInterface {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostInterface {
    type Err = &'static str;

    /// The rules of `dev_valid_name` (net/core/dev.c) and `IFNAMSIZ` (linux/if.h).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 15 {
            return Err("Linux allows 15 bytes");
        }
        if !text.is_ascii() {
            return Err(ASCII_ONLY);
        }
        if matches!(text, "" | "." | "..") || text.contains(['/', ':']) || text.contains(char::is_whitespace)
        {
            return Err("Linux allows neither '/', ':' and blanks, nor \".\" and \"..\"");
        }
        Ok(Self(text.to_owned()))
    }
}

/// Name of an interface of Weft.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&HostInterface> for InterfaceName {
    fn from(name: &HostInterface) -> Self {
        Self(name.0.clone())
    }
}

impl FromStr for InterfaceName {
    type Err = &'static str;

    /// 63 bytes: what the binary API's `string interface_name[64]` holds beside its NUL.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 63 {
            return Err("a name has 1 to 63 bytes");
        }
        if !text.is_ascii() {
            return Err(ASCII_ONLY);
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || "{}\"'\\#".contains(c)) {
            return Err("a name has no blanks, braces, quotes, backslashes or '#'");
        }
        Ok(Self(text.to_owned()))
    }
}

/// An Ethernet address: `02:fe:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

impl FromStr for MacAddress {
    type Err = &'static str;

    /// A station's address: not the group bit, not all zeros.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let MacAddr(bytes) =
            text.parse().map_err(|_| "a MAC address has the form 02:fe:00:00:00:01 or 02fe.0000.0001")?;
        if bytes[0] & 1 != 0 || bytes == [0; 6] {
            return Err("an interface needs a unicast address");
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_says_which_half_of_it_is_wrong() {
        assert_eq!(prefix("192.0.2.0/24"), Ok("192.0.2.0/24".parse().unwrap()));
        assert_eq!(prefix("10.0.0.0/33").unwrap_err(), "the length of an IPv4 prefix is 0 to 32");
        assert_eq!(prefix("10.0.0/8").unwrap_err(), "\"10.0.0\" is no IP address");
        assert_eq!(prefix("10.0.0.0").unwrap_err(), "a prefix has the form 192.0.2.0/24 or 2001:db8::/32");
        assert_eq!(prefix("2001:db8::/32"), Ok("2001:db8::/32".parse().unwrap()));
        assert_eq!(prefix("2001:db8::/129").unwrap_err(), "the length of an IPv6 prefix is 0 to 128");
        assert_eq!(
            prefix_of::<weft_nodes::interface::Ip4>("2001:db8::/32").unwrap_err(),
            "this is no IPv4 prefix"
        );
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("32k", 32 << 10), ("16M", 16 << 20), ("1g", 1 << 30)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
        for bad in ["", "k", "1t", "1.5g", "-1", "18446744073709551615k", "1kk", "ü"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_and_masks_agree() {
        let numbers = |cores: BTreeSet<Core>| cores.into_iter().map(|core| core.0).collect::<Vec<_>>();
        assert_eq!(numbers(core_list("2-5,8").unwrap()), [2, 3, 4, 5, 8]);
        assert_eq!(numbers(core_mask("0x13c").unwrap()), [2, 3, 4, 5, 8]);
        assert_eq!(core_mask("13C").unwrap(), core_list("8,2-5,3").unwrap());
        for bad in ["", "a", "1-", "-1", "5-2", "1,,2", "0-4000000000", "1024"] {
            assert!(core_list(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "0x", "g", &format!("1{}", "0".repeat(256))] {
            assert!(core_mask(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_addresses() {
        assert!("eth0".parse::<HostInterface>().is_ok());
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "interface-name-1"] {
            assert!(bad.parse::<HostInterface>().is_err(), "{bad}");
        }
        assert!("TenGigabitEthernet0/3/0.100".parse::<InterfaceName>().is_ok());
        for bad in ["", "a b", "a{", "a\"", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad}");
        }
        for form in ["02:fe:00:00:0a:FF", "2:fe:0:0:a:ff", "02fe.0000.0aff"] {
            assert_eq!(form.parse(), Ok(MacAddress([2, 0xfe, 0, 0, 10, 255])), "{form}");
        }
        for bad in [
            "",
            "02:fe:00:00:0a",
            "02:fe:00:00:0a:ff:00",
            "2:fe:0:0:a",
            "2fe.0000.0001",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "+2:fe:00:00:00:01",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }
}

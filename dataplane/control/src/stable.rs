// SPDX-License-Identifier: Apache-2.0
//! Link-local addresses that stay the same and tell nothing of a MAC address (RFC 7217).
//!
//! An address follows from the name of its interface and a secret of the machine, by a function that nobody can compute without the secret:
//! SipHash-2-4. So it is the same after a restart, with another NIC and on another worker, and differs from machine to machine.
//! The secret is made from a file that the machine has anyway (`unix { stable-secret }`: /etc/machine-id), is read once when the daemon
//! starts, and shown nowhere.

use std::net::Ipv6Addr;

/// Where the interface identifiers are that nobody may have (RFC 5453): all zeros, and the highest 128 (RFC 2526 section 2, and
/// those of other uses there).
const RESERVED: [std::ops::RangeInclusive<u64>; 3] =
    [0..=0, 0x0200_5eff_fe00_0000..=0x0200_5eff_feff_ffff, 0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff];

/// What addresses are made from. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct StableSecret([u64; 2]);

impl std::fmt::Debug for StableSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StableSecret")
    }
}

impl StableSecret {
    /// From what a file holds, without the blanks around it; nothing if that is less than 128 bits.
    pub fn new(content: &[u8]) -> Option<StableSecret> {
        let content = content.trim_ascii();
        // Others make something from the same file: this is for these addresses alone.
        let word = |number| siphash([u64::from_le_bytes(*b"weft ip6"), number], content);
        (content.len() >= 16).then(|| StableSecret([word(0), word(1)]))
    }

    /// The link-local address of an interface; another one for each `attempt`, as another station may have it.
    pub fn link_local(&self, interface: &str, attempt: u8) -> Ipv6Addr {
        const PREFIX: [u8; 8] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0];
        let mut round = 0_u8;
        let identifier = loop {
            let bytes = [&PREFIX[..], interface.as_bytes(), &[0, attempt, round]].concat();
            let identifier = siphash(self.0, &bytes);
            if !RESERVED.iter().any(|range| range.contains(&identifier)) {
                break identifier;
            }
            round = round.wrapping_add(1);
        };
        Ipv6Addr::from_bits(u128::from(u64::from_be_bytes(PREFIX)) << 64 | u128::from(identifier))
    }
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012).
fn siphash([k0, k1]: [u64; 2], bytes: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len() as u8;
    for word in words.iter().chain([&last]) {
        let word = u64::from_le_bytes(*word);
        v[3] ^= word;
        rounds(&mut v, 2);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    rounds(&mut v, 4);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn rounds(v: &mut [u64; 4], count: usize) {
    let [mut a, mut b, mut c, mut d] = *v;
    for _ in 0..count {
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32);
        c = c.wrapping_add(b);
        a = a.wrapping_add(d);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        c = c.rotate_left(32);
    }
    *v = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_is_that_of_its_paper() {
        // Appendix A.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let bytes: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(key, &bytes), 0xa129_ca61_49be_45e5);
        // The first of the authors' vectors: no input.
        assert_eq!(siphash(key, &[]), 0x726f_db47_dd0e_0e31);
    }

    #[test]
    fn an_address_stays_and_differs_by_machine_interface_and_attempt() {
        let machine = |content: &[u8]| StableSecret::new(content).expect("it is long enough");
        let one = machine(b"0123456789abcdef0123456789abcdef\n");
        let address = one.link_local("eth0", 0);
        assert!(address.is_unicast_link_local() && address.segments()[1..4] == [0; 3], "{address}");
        assert_eq!(machine(b" 0123456789abcdef0123456789abcdef ").link_local("eth0", 0), address);
        for other in [
            machine(b"0123456789abcdef0123456789abcdee").link_local("eth0", 0),
            one.link_local("eth1", 0),
            one.link_local("eth0", 1),
        ] {
            assert_ne!(other, address);
        }
        assert_eq!(format!("{one:?}"), "StableSecret");
    }

    #[test]
    fn a_secret_has_128_bits() {
        assert_eq!(StableSecret::new(b"   0123456789abcde    "), None);
        assert!(StableSecret::new(b"0123456789abcdef").is_some());
    }
}

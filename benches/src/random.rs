// SPDX-License-Identifier: Apache-2.0
//! The same random numbers in every run.

/// xorshift64.
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed but 0.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// An address from 1.0.0.0 to 223.255.255.255, neither loopback nor in 10.0.0.0/8.
    pub fn unicast(&mut self) -> u32 {
        loop {
            let address = self.next() as u32;
            let octet = address >> 24;
            if (1..224).contains(&octet) && octet != 127 && octet != 10 {
                return address;
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! UDP (RFC 768) and TCP (RFC 9293): what a router reads of them, which is ports, flags and checksums.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The 8 bytes before a UDP payload. Its first 4 bytes are those of [`TcpHeader`] too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UdpHeader {
    /// Port of who sends.
    pub source_port: U16,
    /// Port of whom it is for.
    pub destination_port: U16,
    /// Header and payload, bytes.
    pub length: U16,
    /// Over IPv4, 0 says that there is none.
    pub checksum: U16,
}

impl UdpHeader {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();
}

/// TCP's control bits.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgment field counts.
    pub const ACK: TcpFlags = TcpFlags(0x10);

    /// Whether all bits of `other` are set.
    #[inline(always)]
    pub const fn contains(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for TcpFlags {
    type Output = TcpFlags;

    fn bitor(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

/// A TCP header without its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TcpHeader {
    /// Port of who sends.
    pub source_port: U16,
    /// Port of whom it is for.
    pub destination_port: U16,
    /// Of the first byte of the payload.
    pub sequence: U32,
    /// Next sequence number that the sender expects.
    pub acknowledgment: U32,
    /// Header length in 32-bit words, in the upper four bits.
    pub data_offset: u8,
    /// Control bits.
    pub flags: TcpFlags,
    /// What the sender can take, before scaling.
    pub window: U16,
    /// Of pseudo-header, header and payload.
    pub checksum: U16,
    /// Offset of urgent data.
    pub urgent: U16,
}

impl TcpHeader {
    /// Bytes without options.
    pub const LENGTH: usize = size_of::<Self>();

    /// Bytes of the header with its options, as the header claims.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }
}

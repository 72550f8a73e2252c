// SPDX-License-Identifier: Apache-2.0
//! ARP and neighbour discovery on an interface that is shared with the host: the kernel has the frames, and a packet socket
//! gives Weft copies (packet(7)).
//!
//! Both sides have neighbours on the link, and an answer does not say which of them has asked; XDP gives a frame to one.
//! If Weft took these frames and handed copies on, the host would lose its neighbours, and an SSH session with them, as soon as
//! Weft stands still. So the kernel has them first, and needs nothing of Weft, whatever becomes of it. The kernel's table of
//! neighbours is no source: it learns nothing from an answer that it did not ask for.
//!
//! Opened by the main thread; read by one worker, as a source of tap-input.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use crate::netdev::{LinkIndex, new_socket};
use crate::tap::input::{FrameSource, Taken};

/// Where a VLAN tag stands in a frame.
const TAG_AT: usize = 12;
/// Its length.
const TAG: usize = 4;

/// ARP, and router solicitations to neighbour advertisements (RFC 4861), with a VLAN tag or without. The kernel takes the first tag
/// out before this runs; a second one stands in the frame.
const FILTER: [libc::sock_filter; 14] = [
    step(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, 0),
    step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 12),
    when(libc::BPF_JEQ, libc::ETH_P_8021Q as u32, 0, 2),
    step(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, TAG as u32),
    step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 16),
    when(libc::BPF_JEQ, libc::ETH_P_ARP as u32, 6, 0),
    when(libc::BPF_JEQ, libc::ETH_P_IPV6 as u32, 0, 6),
    step(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 20),
    when(libc::BPF_JEQ, libc::IPPROTO_ICMPV6 as u32, 0, 4),
    step(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 54),
    when(libc::BPF_JGE, 133, 0, 2),
    when(libc::BPF_JGT, 136, 1, 0),
    step(libc::BPF_RET | libc::BPF_K, u32::MAX),
    step(libc::BPF_RET | libc::BPF_K, 0),
];

const fn step(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Skips `yes` steps if the comparison with `k` holds, and `no` steps if not.
const fn when(comparison: u32, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | comparison | libc::BPF_K) as u16, jt: yes, jf: no, k }
}

/// Copies of what neighbours on a link say.
#[derive(Debug)]
pub struct Neighbors {
    socket: OwnedFd,
}

impl Neighbors {
    /// Hears them on a link of the calling thread's network namespace.
    pub(crate) fn hear(link: LinkIndex) -> io::Result<Self> {
        // Of no protocol, so that nothing comes before the filter is there.
        let socket = new_socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0)?;
        let filter = libc::sock_fprog { len: FILTER.len() as u16, filter: FILTER.as_ptr().cast_mut() };
        set_option(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)?;
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
        // What the host says itself is not for us: it has the address that we have.
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: link.0.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = mem::size_of_val(&address) as libc::socklen_t;
        // SAFETY: the kernel reads `length` bytes of an address of that length.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) };
        if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { socket }) }
    }
}

fn set_option<T>(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = mem::size_of_val(value) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes from a live reference, and what a filter points to is a constant.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Room for one `tpacket_auxdata`, aligned as control messages are.
#[repr(C, align(8))]
struct Control([u8; 64]);

impl FrameSource for Neighbors {
    fn take(&self, buffer: &mut [u8], _: &mut [u8]) -> io::Result<Option<Taken>> {
        let mut control = Control([0; 64]);
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: zero is a value of every field.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        // SAFETY: the kernel writes at most the lengths that are given to live memory.
        let received = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let Ok(length) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // ENETDOWN: the link was set down, which is told once, and all goes on when it is up.
                Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN) => Ok(None),
                _ => Err(error),
            };
        };
        let Some(tag) = tag_of(&message) else { return Ok(Some(Taken::whole(length))) };
        if length < TAG_AT || length + TAG > buffer.len() {
            // As a frame that does not fit.
            return Ok(Some(Taken::whole(buffer.len() + 1)));
        }
        buffer.copy_within(TAG_AT..length, TAG_AT + TAG);
        buffer[TAG_AT..TAG_AT + TAG].copy_from_slice(&tag);
        Ok(Some(Taken::whole(length + TAG)))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The VLAN tag that the kernel has taken out of a frame.
fn tag_of(message: &libc::msghdr) -> Option<[u8; TAG]> {
    // SAFETY: the kernel has filled in the message, and its control memory is alive.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref()? };
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: a control message of this kind is a `tpacket_auxdata`, at any alignment.
    let packet: libc::tpacket_auxdata =
        unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
    let has = |flag: u32| packet.tp_status & flag != 0;
    let kind =
        if has(libc::TP_STATUS_VLAN_TPID_VALID) { packet.tp_vlan_tpid } else { libc::ETH_P_8021Q as u16 };
    let ([a, b], [c, d]) = (kind.to_be_bytes(), packet.tp_vlan_tci.to_be_bytes());
    has(libc::TP_STATUS_VLAN_VALID).then_some([a, b, c, d])
}

// SPDX-License-Identifier: Apache-2.0
//! Interface ioctls (netdevice(7)) and the packet socket that holds promiscuous mode.
//!
//! A leaf: one function per request, `io::Result` out, nothing decided here.

use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use ipnet::Ipv4Net;

use super::{LinkIndex, LinkName, MacAddr};

pub(crate) fn new_socket(
    domain: libc::c_int,
    kind: libc::c_int,
    protocol: libc::c_int,
) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn control_socket() -> io::Result<OwnedFd> {
    new_socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
}

/// A zeroed request for `name`.
fn request(name: &LinkName) -> libc::ifreq {
    // SAFETY: zero is a value of every field.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // `LinkName` is shorter than IFNAMSIZ, so the rest stays the terminator.
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from as libc::c_char;
    }
    request
}

/// Issues a request whose data lies within `request` itself.
fn issue(control: impl AsFd, code: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the kernel reads and writes one `ifreq`. Requests that follow `ifru_data` go through
    // `issue_with`.
    let result =
        unsafe { libc::ioctl(control.as_fd().as_raw_fd(), code as libc::Ioctl, ptr::from_mut(request)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Issues an ethtool request, whose data lies in `data`.
///
/// # Safety
/// `data` must have the size and layout that its command (its first field) calls for.
pub(super) unsafe fn ethtool<T>(control: &OwnedFd, name: &LinkName, data: &mut T) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_data = ptr::from_mut(data).cast();
    issue(control, libc::SIOCETHTOOL as libc::c_ulong, &mut request)
}

pub(super) fn set_up(control: &OwnedFd, name: &LinkName, up: bool) -> io::Result<()> {
    let mut request = request(name);
    issue(control, libc::SIOCGIFFLAGS as libc::c_ulong, &mut request)?;
    // SAFETY: SIOCGIFFLAGS has filled in this member.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let wanted = if up { flags | libc::IFF_UP as i16 } else { flags & !(libc::IFF_UP as i16) };
    if wanted == flags {
        return Ok(());
    }
    request.ifr_ifru.ifru_flags = wanted;
    issue(control, libc::SIOCSIFFLAGS as libc::c_ulong, &mut request)
}

pub(super) fn set_mtu(control: &OwnedFd, name: &LinkName, mtu: u32) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_mtu =
        libc::c_int::try_from(mtu).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    issue(control, libc::SIOCSIFMTU as libc::c_ulong, &mut request)
}

pub(super) fn set_mac(control: &OwnedFd, name: &LinkName, mac: MacAddr) -> io::Result<()> {
    let mut request = request(name);
    let mut address = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: [0; 14] };
    for (to, from) in address.sa_data.iter_mut().zip(mac.0) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_hwaddr = address;
    issue(control, libc::SIOCSIFHWADDR as libc::c_ulong, &mut request)
}

pub(super) fn set_ipv4(control: &OwnedFd, name: &LinkName, address: Ipv4Net) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_addr = ipv4(address.addr());
    issue(control, libc::SIOCSIFADDR as libc::c_ulong, &mut request)?;
    request.ifr_ifru.ifru_netmask = ipv4(address.netmask());
    issue(control, libc::SIOCSIFNETMASK as libc::c_ulong, &mut request)
}

/// `struct sockaddr_in` as the generic form: port in bytes 0-1, address in bytes 2-5.
fn ipv4(address: Ipv4Addr) -> libc::sockaddr {
    let mut generic = libc::sockaddr { sa_family: libc::AF_INET as u16, sa_data: [0; 14] };
    for (to, from) in generic.sa_data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    generic
}

/// Makes `device`, an open /dev/net/tun, the wire of a new TAP.
pub(crate) fn create_tap(device: BorrowedFd<'_>, name: &LinkName) -> io::Result<()> {
    // Without IFF_TUN_EXCL an existing TAP of this name would be joined.
    set_tap(device, name, libc::IFF_TUN_EXCL | libc::IFF_VNET_HDR)
}

/// Has the host's stack leave checksums, and the cutting of TCP, to the wire of a TAP.
pub(crate) fn announce_offloads(device: BorrowedFd<'_>) -> io::Result<()> {
    let offloads = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    // SAFETY: the request takes a number in place of a pointer.
    let result = unsafe {
        libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD as libc::Ioctl, libc::c_ulong::from(offloads))
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes `device`, an open /dev/net/tun, the wire of a TAP that is there. One that is not would be created.
pub(crate) fn join_tap(device: BorrowedFd<'_>, name: &LinkName) -> io::Result<()> {
    set_tap(device, name, 0)
}

fn set_tap(device: BorrowedFd<'_>, name: &LinkName, more: libc::c_int) -> io::Result<()> {
    let mut request = request(name);
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | more;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    issue(device, libc::TUNSETIFF as libc::c_ulong, &mut request)
}

/// Frames that the NIC lets through beside those for its own address, as a membership, which the kernel ends with the socket
/// (packet(7)); IFF_PROMISC and IFF_ALLMULTI would stay after a crash.
#[derive(Debug)]
pub(super) struct Membership {
    socket: OwnedFd,
    link: LinkIndex,
    /// PACKET_MR_PROMISC or PACKET_MR_ALLMULTI.
    kind: libc::c_int,
}

impl Membership {
    pub(super) fn enter(link: LinkIndex, kind: libc::c_int) -> io::Result<Self> {
        let membership = Self { socket: new_socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?, link, kind };
        membership.change(libc::PACKET_ADD_MEMBERSHIP)?;
        Ok(membership)
    }

    fn change(&self, option: libc::c_int) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: self.link.0 as libc::c_int,
            mr_type: self.kind as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the kernel reads one `packet_mreq`.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                ptr::from_ref(&request).cast(),
                mem::size_of_val(&request) as libc::socklen_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // Closing would do, but for a child process between fork and exec, which holds a copy for a while.
        // An error means that the interface is gone.
        let _ = self.change(libc::PACKET_DROP_MEMBERSHIP);
    }
}

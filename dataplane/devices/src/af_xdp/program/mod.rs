// SPDX-License-Identifier: Apache-2.0
//! The XDP program of a port: loading, attaching, and the map that leads frames to sockets.
//!
//! Attached by a bpf_link, whose life is that of a file descriptor: when the process ends, however
//! it ends, the kernel takes the program off the interface. For the main thread.

mod filter;
#[cfg(all(test, not(loom)))]
mod tests;

mod skeleton {
    #![allow(clippy::all, clippy::undocumented_unsafe_blocks, missing_docs, unreachable_pub, dead_code)]
    include!(concat!(env!("OUT_DIR"), "/xdp.skel.rs"));
}

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use ipnet::IpNet;
use libbpf_rs::libbpf_sys;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{AsRawLibbpf, MapCore, MapFlags, MapHandle};

pub use filter::{Arp, EtherType, Filter, Match, Transport};

use super::socket::QueueId;
use crate::netdev::{LinkIndex, XdpMode};

/// Why a program can't be loaded or changed.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
pub struct ProgramError {
    action: &'static str,
    #[source]
    source: libbpf_rs::Error,
}

fn failed(action: &'static str) -> impl FnOnce(libbpf_rs::Error) -> ProgramError {
    move |source| ProgramError { action, source }
}

/// A loaded program with its maps.
pub(crate) struct Program {
    program: OwnedFd,
    sockets: MapHandle,
}

impl Program {
    /// Loads a program for `queues` queues that takes what `filter` says.
    /// Frames may span several buffers if it says `pieces`.
    pub(crate) fn load(queues: u32, filter: &Filter, pieces: bool) -> Result<Self, ProgramError> {
        let mut storage = MaybeUninit::uninit();
        let mut open =
            skeleton::XdpSkelBuilder::default().open(&mut storage).map_err(failed("open the XDP program"))?;
        let take_all = matches!(filter, Filter::All);
        open.maps.rodata_data.as_mut().expect("the program has a constant").take_all = u8::from(take_all);
        open.maps.sockets.set_max_entries(queues).map_err(failed("size the socket map"))?;
        if pieces {
            let program = open.progs.weft_port.as_libbpf_object().as_ptr();
            // SAFETY: the program is open and not loaded yet.
            let result =
                unsafe { libbpf_sys::bpf_program__set_flags(program, libbpf_sys::BPF_F_XDP_HAS_FRAGS) };
            debug_assert_eq!(result, 0, "flags can be set until the program is loaded");
        }
        let loaded = open.load().map_err(failed("load the XDP program"))?;
        if let Filter::Pinhole { matches, arp } = filter {
            let maps = &loaded.maps;
            let put = |map: &dyn MapCore, key: &[u8]| {
                map.update(key, &[1], MapFlags::ANY).map_err(failed("enter a match of the filter"))
            };
            for entry in matches {
                match *entry {
                    Match::Destination(IpNet::V4(prefix)) => {
                        put(&maps.destinations, &filter::prefix_key(prefix))?
                    }
                    Match::Destination(IpNet::V6(prefix)) => {
                        put(&maps.destinations6, &filter::prefix6_key(prefix))?
                    }
                    Match::Service { transport, port } => {
                        put(&maps.services, &filter::service_key(transport, port))?
                    }
                    Match::Type(ethertype) => put(&maps.ethertypes, &filter::type_key(ethertype))?,
                }
            }
            if *arp == Arp::Take {
                put(&maps.ethertypes, &filter::type_key(EtherType::ARP))?;
            }
        }
        // The descriptors hold program and maps; the skeleton, which borrows its storage, isn't
        // needed any more.
        let duplicate = |fd: BorrowedFd<'_>| {
            fd.try_clone_to_owned().map_err(libbpf_rs::Error::from).map_err(failed("keep the XDP program"))
        };
        Ok(Self {
            program: duplicate(loaded.progs.weft_port.as_fd())?,
            sockets: MapHandle::try_from(&loaded.maps.sockets).map_err(failed("keep the socket map"))?,
        })
    }

    /// Attaches to an interface of the calling thread's network namespace, in this mode and no
    /// other.
    pub(crate) fn attach(&self, link: LinkIndex, mode: XdpMode) -> io::Result<Attachment> {
        let flags = match mode {
            XdpMode::Generic => libbpf_sys::XDP_FLAGS_SKB_MODE,
            _ => libbpf_sys::XDP_FLAGS_DRV_MODE,
        };
        let mut options = libbpf_sys::bpf_link_create_opts { flags, ..Default::default() };
        options.sz = size_of_val(&options) as libbpf_sys::size_t;
        // SAFETY: the descriptor is open, and `options` is alive and carries its own size.
        let link = unsafe {
            libbpf_sys::bpf_link_create(
                self.program.as_raw_fd(),
                link.0 as i32,
                libbpf_sys::BPF_XDP,
                &options,
            )
        };
        if link < 0 {
            return Err(io::Error::from_raw_os_error(-link));
        }
        // SAFETY: the kernel has just given us this descriptor.
        Ok(Attachment { link: unsafe { OwnedFd::from_raw_fd(link) } })
    }

    /// Leads frames of `queue` to `socket`.
    pub(crate) fn connect(&self, queue: QueueId, socket: BorrowedFd<'_>) -> Result<(), ProgramError> {
        let value = socket.as_raw_fd().to_ne_bytes();
        self.sockets
            .update(&queue.0.to_ne_bytes(), &value, MapFlags::ANY)
            .map_err(failed("enter a socket into the map"))
    }
}

/// A program on an interface, until this is dropped.
pub(crate) struct Attachment {
    link: OwnedFd,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // Closing would do, but for a child process between fork and exec, which holds a copy for a while.
        // An error means that the interface is gone, and the program with it.
        // SAFETY: the descriptor is open.
        unsafe { libbpf_sys::bpf_link_detach(self.link.as_raw_fd()) };
    }
}

// SPDX-License-Identifier: Apache-2.0
//! `af_xdp`: ports on queues of Linux interfaces.

use std::num::NonZeroU32;

use weft_binapi::Retval;
use weft_binapi::api::af_xdp::{AfXdpCreateV3, AfXdpCreateV3Reply, AfXdpDelete, AfXdpMode};
use weft_binapi::server::Registry;
use weft_control::ChangeSet;
use weft_devices::af_xdp::device::AF_XDP;

use super::{common, create, delete};
use crate::config::af_xdp::{AfXdp, Queues, RingSize, ZeroCopy, ring_size};
use crate::config::values::HostInterface;
use crate::state::Dataplane;

/// All queues that there are, as VPP's client writes it.
const ALL_QUEUES: u16 = u16::MAX;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, message: AfXdpCreateV3| {
        let port = port(dataplane, changes, &message)?;
        Ok(AfXdpCreateV3Reply { retval: 0, sw_if_index: create(dataplane, changes, port)? })
    });
    registry.change(|dataplane, changes, _, AfXdpDelete { sw_if_index }| {
        delete(dataplane, changes, sw_if_index, &AF_XDP)
    });
}

/// What the message asks for. Its flags ask for ways around what does not exist here: a lock that costs something, and
/// buffers that are too small.
fn port(dataplane: &Dataplane, changes: &ChangeSet, message: &AfXdpCreateV3) -> Result<AfXdp, Retval> {
    let host: HostInterface =
        message.host_if.get().and_then(|name| name.parse().ok()).ok_or(Retval::INVALID_INTERFACE)?;
    let name = match message.name.get().ok_or(Retval::INVALID_VALUE)? {
        "" => {
            let names = (0..).map(|instance: u32| format!("{}/{instance}", host.as_str()));
            let free = |name: &String| changes.find_interface(dataplane, name).is_none();
            names.into_iter().find(free).ok_or(Retval::LIMIT_EXCEEDED)?
        }
        name => name.to_owned(),
    };
    // The daemon brings its own program.
    if message.prog.get() != Some("") {
        return Err(Retval::UNSUPPORTED);
    }
    let mut port = AfXdp::new(host, common(&name)?);
    port.queues = match NonZeroU32::new(message.rxq_num.into()) {
        Some(_) if message.rxq_num == ALL_QUEUES => Queues::All,
        Some(count) => Queues::Count(count),
        None => return Err(Retval::INVALID_VALUE),
    };
    port.rx_queue_size = ring(message.rxq_size)?;
    port.tx_queue_size = ring(message.txq_size)?;
    port.zero_copy = match message.mode {
        AfXdpMode::AUTO => ZeroCopy::Auto,
        AfXdpMode::COPY => ZeroCopy::Off,
        AfXdpMode::ZERO_COPY => ZeroCopy::On,
        _ => return Err(Retval::INVALID_VALUE),
    };
    let netns = message.netns.get().ok_or(Retval::INVALID_VALUE)?;
    port.netns = (!netns.is_empty()).then(|| netns.to_owned());
    Ok(port)
}

/// 0 leaves it to the daemon.
fn ring(slots: u16) -> Result<Option<RingSize>, Retval> {
    match slots {
        0 => Ok(None),
        _ => ring_size(&slots.to_string()).map(Some).map_err(|_| Retval::INVALID_VALUE),
    }
}

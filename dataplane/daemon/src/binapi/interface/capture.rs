// SPDX-License-Identifier: Apache-2.0
//! `pcap_trace_on` and `off`: packets into a file under /tmp.

use std::path::Path;

use weft_background::Rights;
use weft_binapi::Retval;
use weft_binapi::api::interface::{PcapTraceOff, PcapTraceOn};
use weft_binapi::api::interface_types;
use weft_binapi::server::Registry;
use weft_engine::InterfaceIndex;
use weft_engine::trace::{CAPTURE_BYTES, CaptureFilter};

use crate::capture::Capture;
use crate::cli::pcap::DIRECTORY;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.command(|dataplane, session, message: PcapTraceOn| begin(dataplane, session.rights(), &message));
    registry.command(|dataplane, _, PcapTraceOff {}| match dataplane.stop_capture() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => {
            tracing::info!("API: {error}");
            Err(Retval::SYSCALL_ERROR_1)
        }
        None => Err(Retval::NO_SUCH_ENTRY),
    });
}

fn begin(dataplane: &mut Dataplane, rights: &Rights, message: &PcapTraceOn) -> Result<(), Retval> {
    // Neither of the two chooses packets here.
    if message.filter || message.error.get() != Some("") {
        return Err(Retval::UNSUPPORTED);
    }
    let interface = match message.sw_if_index.0 {
        // As in VPP, where nobody captures index 0.
        0 | u32::MAX => InterfaceIndex::NONE,
        index => dataplane.api_interface(interface_types::InterfaceIndex(index))?,
    };
    let filter = CaptureFilter {
        rx: message.capture_rx,
        tx: message.capture_tx,
        drop: message.capture_drop,
        interface,
        max_bytes: (message.max_bytes_per_packet as usize).min(CAPTURE_BYTES),
    };
    let name = message.filename.get().ok_or(Retval::INVALID_VALUE)?;
    let name = if name.is_empty() { "trace.pcap" } else { name };
    let elsewhere = name.contains('/') || name.starts_with('.');
    if elsewhere || message.max_packets == 0 || !(filter.rx || filter.tx || filter.drop) {
        return Err(Retval::INVALID_VALUE);
    }
    if dataplane.find_part::<Capture>().is_some() {
        return Err(Retval::VALUE_EXIST);
    }
    let path = Path::new(DIRECTORY).join(name);
    dataplane.start_capture(&path, rights, filter, message.max_packets.into()).map_err(|error| {
        tracing::info!("API: {error}");
        Retval::CANNOT_CREATE_PCAP_FILE
    })
}

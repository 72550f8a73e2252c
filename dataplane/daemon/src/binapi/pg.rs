// SPDX-License-Identifier: Apache-2.0
//! `pg`: interfaces of the packet generator, captures, and the start of streams. Streams themselves are described by the
//! command line (`packet-generator new`), as in VPP.

use std::path::Path;

use weft_binapi::Retval;
use weft_binapi::api::interface_types;
use weft_binapi::api::pg::{
    PgCapture, PgCreateInterface, PgCreateInterfaceReply, PgCreateInterfaceV2, PgCreateInterfaceV2Reply,
    PgCreateInterfaceV3, PgCreateInterfaceV3Reply, PgDeleteInterface, PgEnableDisable, PgInterfaceFlags,
    PgInterfaceMode,
};
use weft_binapi::server::Registry;
use weft_control::ChangeSet;
use weft_devices::pg::Pg;
use weft_devices::pg::device::PG;
use weft_devices::pg::{Mode, PgError, PgId};

use super::{delete, index, retval};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, message: PgCreateInterface| {
        let gso = if message.gso_enabled { PgInterfaceFlags::GSO } else { PgInterfaceFlags::NONE };
        let sw_if_index = create(dataplane, changes, message.interface_id, gso, PgInterfaceMode::ETHERNET)?;
        Ok(PgCreateInterfaceReply { retval: 0, sw_if_index })
    });
    registry.change(|dataplane, changes, _, message: PgCreateInterfaceV2| {
        let gso = if message.gso_enabled { PgInterfaceFlags::GSO } else { PgInterfaceFlags::NONE };
        let sw_if_index = create(dataplane, changes, message.interface_id, gso, message.mode)?;
        Ok(PgCreateInterfaceV2Reply { retval: 0, sw_if_index })
    });
    registry.change(|dataplane, changes, _, message: PgCreateInterfaceV3| {
        let sw_if_index = create(dataplane, changes, message.interface_id, message.pg_flags, message.mode)?;
        Ok(PgCreateInterfaceV3Reply { retval: 0, sw_if_index })
    });
    registry.change(|dataplane, changes, _, PgDeleteInterface { sw_if_index }| {
        delete(dataplane, changes, sw_if_index, &PG)
    });
    registry.command(|dataplane, session, message: PgCapture| {
        let id = PgId(message.interface_id.0);
        // Clients that want all say so with all ones.
        let count = Some(u64::from(message.count)).filter(|_| message.count != u32::MAX);
        let path = message.pcap_file_name.trim_end_matches('\0');
        let (pg, control) = dataplane.part_and_control::<Pg>();
        match message.is_enabled {
            true if path.is_empty() => return Err(Retval::INVALID_VALUE),
            true => {
                pg.capture_as(control.engine_mut(), id, (Path::new(path), session.rights()), count)
                    .map_err(refusal)?;
            }
            false => pg.end_capture(control.engine_mut(), id).map_err(refusal)?,
        }
        Ok(())
    });
    registry.command(|dataplane, _, message: PgEnableDisable| {
        let name = message.stream_name.trim_end_matches('\0');
        let name = Some(name).filter(|name| !name.is_empty());
        let (pg, control) = dataplane.part_and_control::<Pg>();
        match message.is_enabled {
            true => pg.enable(control.engine_mut(), name).map_err(refusal)?,
            false => pg.disable(control.engine_mut(), name).map_err(refusal)?,
        }
        Ok(())
    });
}

fn create(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    id: interface_types::InterfaceIndex,
    flags: PgInterfaceFlags,
    mode: PgInterfaceMode,
) -> Result<interface_types::InterfaceIndex, Retval> {
    if flags != PgInterfaceFlags::NONE {
        return Err(Retval::UNSUPPORTED);
    }
    let mode = match mode {
        PgInterfaceMode::ETHERNET => Mode::Ethernet,
        PgInterfaceMode::IP4 => Mode::Ip4,
        PgInterfaceMode::IP6 => Mode::Ip6,
        _ => return Err(Retval::INVALID_VALUE),
    };
    let created = dataplane.note_pg_interface(changes, PgId(id.0), mode, None);
    created.map(index).map_err(|error| retval::step(&error))
}

fn refusal(error: PgError) -> Retval {
    tracing::info!("API: {error}");
    match error {
        PgError::NoSuchPgInterface(_) | PgError::NoSuchInterface(_) => Retval::INVALID_INTERFACE,
        PgError::Pcap(_) => Retval::CANNOT_CREATE_PCAP_FILE,
        PgError::NoSuchStream { .. } => Retval::NO_SUCH_ENTRY,
        _ => Retval::INVALID_VALUE,
    }
}

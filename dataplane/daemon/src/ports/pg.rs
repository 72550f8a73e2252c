// SPDX-License-Identifier: Apache-2.0
//! Interfaces of the packet generator.

use weft_control::Control;
use weft_devices::pg::device::{PG, PgDevice};
use weft_devices::pg::{Mode, Pg, PgId};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Kind;

use super::{DeviceError, DeviceWords, kind, made_up_mac};
use crate::cli::pg::commands;
use crate::state::Dataplane;
use crate::subsystem::{Foundation, Subsystem};

const PG_MTU: u16 = 9000;

kind!(DeviceWords { kind: &PG, keys: &[], commands });

impl Subsystem for Pg {
    fn interface_removing(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        for stream in self.interface_leaves(cx.engine, index) {
            let interface = cx.interfaces.get(index).map_or("?", |interface| interface.name.as_str());
            tracing::warn!("packet generator: stream '{stream}' is deleted with interface {interface}");
        }
    }
}

impl Dataplane {
    /// Creates an interface of the packet generator. It is up at once, as VPP's are.
    pub fn create_pg_interface(
        &mut self,
        id: PgId,
        mode: Mode,
        mac: Option<MacAddr>,
    ) -> Result<InterfaceIndex, DeviceError> {
        if let Some((index, _)) = self.parts.get::<Pg>().interface(id) {
            return Ok(index);
        }
        let index = self.interfaces.next_index();
        let Dataplane { control: Control { interfaces, engine, .. }, parts, devices, .. } = self;
        let pg = parts.get_mut::<Pg>();
        let tx = pg.create_interface(engine, id, index, mode)?;
        let mac = mac.unwrap_or_else(|| made_up_mac(1, id.0));
        if let Err(error) = interfaces.create(engine, &id.to_string(), Kind::Port, mac, PG_MTU, tx) {
            pg.interface_leaves(engine, index);
            return Err(error.into());
        }
        interfaces.change(engine, index, |interface| {
            interface.link_up = true;
            interface.admin_up = true;
        })?;
        devices.add(index, PgDevice(id));
        Ok(index)
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Interfaces of the packet generator.

use weft_control::{ChangeSet, Described, Object, Opened, Owner, Purpose, StepError, Value};
use weft_devices::pg::device::{PG, PgDevice};
use weft_devices::pg::{Mode, Pg, PgId};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Kind;

use super::{DeviceError, DeviceWords, Devices, Opening, kind, made_up_mac};
use crate::cli::create::common;
use crate::cli::pg::commands;
use crate::config::interfaces::{Common, Interface, Settings};
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

/// An interface of the packet generator.
#[derive(PartialEq, Debug)]
struct PgInterface {
    common: Common,
    id: PgId,
    mode: Mode,
    mac: Option<MacAddr>,
}

impl Settings for PgInterface {
    fn common(&self) -> &Common {
        &self.common
    }

    fn describe(&self, _: &Devices, _: InterfaceIndex) -> Result<Described, DeviceError> {
        let mac = self.mac.unwrap_or_else(|| made_up_mac(1, self.id.0));
        // It is up at once, as VPP's are.
        Ok(Described { link_up: true, admin_up: true, ..Described::new(Kind::Port, mac, PG_MTU) })
    }

    fn open(&self, cx: &mut Opening<'_>) -> Result<Opened, DeviceError> {
        let pg = cx.parts.get_mut::<Pg>();
        let tx = pg.create_interface(cx.engine, self.id, cx.index, self.mode)?;
        cx.add_device(PgDevice(self.id));
        Ok(tx.into())
    }
}

impl Dataplane {
    /// Notes that an interface of the packet generator is to be there.
    pub fn note_pg_interface(
        &self,
        changes: &mut ChangeSet,
        id: PgId,
        mode: Mode,
        mac: Option<MacAddr>,
    ) -> Result<InterfaceIndex, StepError> {
        let name = id.to_string();
        match changes.find_interface(self, &name) {
            Some(index) if self.devices().is(index, &PG) || self.interfaces().get(index).is_none() => {
                changes.want(Object::Interface(index), Value::None);
                Ok(index)
            }
            _ => {
                let common = common(name.parse().expect("letters and digits are a name"));
                let device = Interface::new(PgInterface { common, id, mode, mac });
                changes.create_interface(self, &name, device)
            }
        }
    }

    /// Creates an interface of the packet generator, unless it is there.
    pub fn create_pg_interface(
        &mut self,
        id: PgId,
        mode: Mode,
        mac: Option<MacAddr>,
    ) -> Result<InterfaceIndex, DeviceError> {
        let mut changes = ChangeSet::new(Owner::CLI);
        let index = self.note_pg_interface(&mut changes, id, mode, mac)?;
        self.change(&changes, Purpose::Make)?;
        Ok(index)
    }
}

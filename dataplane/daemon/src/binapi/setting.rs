// SPDX-License-Identifier: Apache-2.0
//! `weft_setting`: everything that can be set, by name.

use weft_binapi::Retval;
use weft_binapi::api::interface_types;
use weft_binapi::api::weft_setting::{
    WeftSettingDetails, WeftSettingDump, WeftSettingGet, WeftSettingGetReply, WeftSettingSet,
    WeftSettingUnset,
};
use weft_binapi::server::{Records, Registry};
use weft_control::{Object, Scope, Setting};
use weft_engine::InterfaceIndex;

use super::changing;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, message: WeftSettingSet| {
        let setting = named(dataplane, message.name.get())?;
        let index = place(setting, message.sw_if_index, |index| changing(dataplane, changes, index))?;
        let value = setting.grammar.parse(&message.value, |name| changes.find_interface(dataplane, name));
        changes.set(setting, index, value.map_err(|_| Retval::INVALID_VALUE)?);
        Ok(())
    });
    registry.change(|dataplane, changes, _, message: WeftSettingUnset| {
        let setting = named(dataplane, message.name.get())?;
        let index = place(setting, message.sw_if_index, |index| changing(dataplane, changes, index))?;
        changes.release(Object::Setting(setting, index));
        Ok(())
    });
    registry.query(|dataplane, _, message: WeftSettingGet| {
        let setting = named(dataplane, message.name.get())?;
        let index = place(setting, message.sw_if_index, |index| dataplane.api_interface(index))?;
        Ok(WeftSettingGetReply { retval: 0, value: shown(dataplane, setting, index).unwrap_or_default() })
    });
    registry.dump(|dataplane, _, WeftSettingDump { sw_if_index }| {
        let all = dataplane
            .settings()
            .filter(|(_, index)| sw_if_index.0 == u32::MAX || index.map(|it| it.0) == Some(sw_if_index.0));
        Records::ready(all.filter_map(|(setting, index)| {
            let owners = dataplane.owners(&Object::Setting(setting, index));
            let owners: Vec<String> = owners.iter().map(|owner| dataplane.owner_name(*owner)).collect();
            Some(WeftSettingDetails {
                sw_if_index: interface_types::InterfaceIndex(index.map_or(u32::MAX, |index| index.0)),
                name: setting.name.into(),
                owners: owners.join(",").as_str().into(),
                value: shown(dataplane, setting, index)?,
            })
        }))
    });
}

fn named(dataplane: &Dataplane, name: Option<&str>) -> Result<&'static Setting, Retval> {
    dataplane.setting(name.unwrap_or_default()).map_err(|_| Retval::NO_SUCH_ENTRY)
}

/// Where it is to be set: on an interface exactly if it is a setting of interfaces.
fn place(
    setting: &Setting,
    index: interface_types::InterfaceIndex,
    interface: impl FnOnce(interface_types::InterfaceIndex) -> Result<InterfaceIndex, Retval>,
) -> Result<Option<InterfaceIndex>, Retval> {
    match (setting.scope(), index.0) {
        (Scope::Global, u32::MAX) => Ok(None),
        (Scope::Global, _) => Err(Retval::INVALID_SW_IF_INDEX),
        (Scope::Interface, _) => interface(index).map(Some),
    }
}

fn shown(dataplane: &Dataplane, setting: &'static Setting, index: Option<InterfaceIndex>) -> Option<String> {
    let value = setting.get(dataplane, index).ok()?;
    Some(setting.grammar.text(&value, dataplane.interfaces()))
}

impl Dataplane {
    /// Everything that can be set, and where.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&'static Setting, Option<InterfaceIndex>)> {
        self.known_settings().flat_map(|setting| {
            let places: Vec<Option<InterfaceIndex>> = match setting.scope() {
                Scope::Global => vec![None],
                Scope::Interface => self.interfaces().iter().map(|(index, _)| Some(index)).collect(),
            };
            places.into_iter().map(move |index| (setting, index))
        })
    }
}

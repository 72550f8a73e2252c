// SPDX-License-Identifier: Apache-2.0
//! Settings that plugins declare: known while the plugin is loaded, told to it when they change, and wanted by startup.conf.

use weft_control::settings::{Declaration, DeclaredChange, DeclaredValues};
use weft_control::{ChangeSet, Object, Owner, Purpose, Scope, Setting, StepError, Value};
use weft_engine::InterfaceIndex;
use weft_plugin_host::settings::{SettingKind, SettingParts};
use weft_plugin_host::{InterfaceIndex as PluginInterface, Plugin, Value as PluginValue};

use super::PluginsError;
use crate::config::{Named, Wanted};
use crate::state::Dataplane;

impl Dataplane {
    /// What a plugin declares, as settings; they are not known yet.
    pub(super) fn settings_of(&mut self, plugin: &Plugin) -> Result<Vec<&'static Setting>, PluginsError> {
        let declarations: Vec<Declaration> = plugin.settings().iter().map(declaration).collect();
        let name = &plugin.library.name;
        let made = self.make_settings(name, &declarations);
        made.map_err(|error| PluginsError::Setting(name.clone(), error))
    }

    /// Tells a plugin, which is not in the graph yet or stands in no list, what its settings are.
    pub(super) fn tell_values(&mut self, plugin: &Plugin, settings: &[&'static Setting]) {
        for change in self.values_of_plugin(settings) {
            tell(plugin, self, &change);
        }
    }

    /// Tells a plugin, which may have missed some, all values of its settings.
    pub(super) fn tell_all_values(&mut self, name: &str) {
        let own = self.settings().filter(|(setting, _)| setting.plugin() == Some(name));
        let all: Vec<DeclaredChange> = own
            .filter_map(|(setting, interface)| {
                let value = setting.get(self, interface).ok()?;
                Some(DeclaredChange { setting, interface, value })
            })
            .collect();
        self.with_plugin(name, |plugin, dataplane| {
            all.iter().for_each(|change| tell(plugin, dataplane, change))
        });
    }

    /// Tells plugins of values that are others than before.
    pub(crate) fn tell_of_settings(&mut self) {
        for change in self.take_declared_changes() {
            if let Some(plugin) = change.setting.plugin() {
                self.with_plugin(plugin, |plugin, dataplane| tell(plugin, dataplane, &change));
            }
        }
    }

    /// Wants what startup.conf says of these settings. What cannot be is in the log.
    pub(super) fn want_configured(&mut self, settings: &[&'static Setting]) {
        let config = self.config();
        let of_interfaces = config.interfaces.iter().map(|interface| interface.common());
        let of_interfaces = of_interfaces
            .flat_map(|common| common.settings.iter().map(|wanted| (Some(common.name.as_str()), wanted)));
        let wanted: Vec<(Option<String>, &'static Setting, String)> = config
            .settings
            .iter()
            .map(|wanted| (None, wanted))
            .chain(of_interfaces)
            .filter_map(|(interface, Wanted { setting, value })| {
                let named =
                    |known: &&&Setting| matches!(setting, Named::OfPlugin(name) if name == known.name);
                let setting = settings.iter().find(named)?;
                Some((interface.map(str::to_owned), *setting, value.value.clone()))
            })
            .collect();
        for (interface, setting, value) in wanted {
            let place = interface.as_deref().unwrap_or("settings");
            match (setting.scope(), &interface) {
                (Scope::Global, Some(_)) | (Scope::Interface, None) => {
                    let expected = match setting.scope() {
                        Scope::Global => "the section settings",
                        Scope::Interface => "the group of an interface",
                    };
                    tracing::error!("startup.conf: {place}: {} has its place in {expected}", setting.name);
                }
                (_, interface) => {
                    if let Err(error) = self.want_value(setting, interface.as_deref(), &value) {
                        tracing::error!("startup.conf: {place}: {error}");
                    }
                }
            }
        }
    }

    fn want_value(
        &mut self,
        setting: &'static Setting,
        interface: Option<&str>,
        value: &str,
    ) -> Result<(), String> {
        let index: Option<InterfaceIndex> = match interface.map(|name| self.interfaces().find(name)) {
            // It was deleted since.
            Some(None) => return Ok(()),
            Some(index) => index,
            None => None,
        };
        let value = setting.grammar.parse(value, |_| None);
        let value = value.map_err(|error| StepError::Value(setting.name, error).to_string())?;
        let mut changes = ChangeSet::new(Owner::STARTUP);
        changes.want(Object::Setting(setting, index), value);
        self.change(&changes, Purpose::Make).map_err(|refused| refused.to_string())
    }

    /// Says in the log which settings of plugins that startup.conf names nobody has declared.
    pub(super) fn warn_of_unknown_settings(&self) {
        let config = self.config();
        let of_interfaces = config.interfaces.iter().flat_map(|interface| &interface.common().settings);
        for Wanted { setting, .. } in config.settings.iter().chain(of_interfaces) {
            if let Named::OfPlugin(name) = setting
                && self.setting(name).is_err()
            {
                tracing::warn!(
                    "startup.conf: {name} has no effect: no plugin that is loaded has that setting"
                );
            }
        }
    }
}

fn tell(plugin: &Plugin, dataplane: &mut Dataplane, change: &DeclaredChange) {
    let interface = change.interface.map(|index| PluginInterface(index.0));
    plugin.set(dataplane, change.setting.own_name(), interface, &value(&change.value));
}

fn value(value: &Value) -> PluginValue {
    match value {
        Value::Switch(on) => PluginValue::Switch(*on),
        Value::Number(number) => PluginValue::Number(*number),
        Value::Choice(place) => PluginValue::Choice(*place),
        Value::Text(text) => PluginValue::Text(text.clone()),
        Value::Mac(mac) => PluginValue::Mac(mac.0),
        // No declared setting has an interface, an address or what is about rules as its value.
        Value::None
        | Value::Interface(_)
        | Value::Ip6(_)
        | Value::Stable
        | Value::Addresses(_)
        | Value::Domains(_)
        | Value::Prefix(_)
        | Value::Exempt(_)
        | Value::Rule(_)
        | Value::Domain(_)
        | Value::Port(_) => PluginValue::None,
    }
}

fn declaration(parts: &SettingParts) -> Declaration {
    Declaration {
        name: parts.name.clone(),
        help: parts.help.clone(),
        scope: if parts.of_interface { Scope::Interface } else { Scope::Global },
        values: match parts.kind.clone() {
            SettingKind::Switch { on, off } => DeclaredValues::Switch { on, off },
            SettingKind::Number { what, low, high, none } => DeclaredValues::Number { what, low, high, none },
            SettingKind::Choice(words) => DeclaredValues::Choice(words),
            SettingKind::Text { what, longest } => DeclaredValues::Text { what, longest },
            SettingKind::Mac => DeclaredValues::Mac,
        },
        initial: parts.initial.clone(),
    }
}

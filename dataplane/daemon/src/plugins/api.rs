// SPDX-License-Identifier: Apache-2.0
//! Messages of the binary API that plugins answer: which they may be, and how a client's question gets there.

use weft_binapi::Retval;
use weft_binapi::message::{ModuleInfo, Role};
use weft_binapi::server::{Guests, Session, catalogued};
use weft_plugin_host::Plugin;
use weft_plugin_host::plugin::{ApiAnswer, ApiQuestion};

use super::{Loaded, Plugins, PluginsError};
use crate::binapi::Api;
use crate::state::Dataplane;

impl Plugins {
    /// The plugin that answers a message.
    fn answerer(&self, message: &str) -> Option<&str> {
        let answers = |loaded: &&Loaded| loaded.plugin.api_messages().any(|name| name == message);
        self.loaded.iter().find(answers).map(|loaded| loaded.plugin.library.name.as_str())
    }

    /// The plugin that has brought the definition of a message.
    fn definer(&self, message: &str) -> Option<&str> {
        let defines = |loaded: &&Loaded| {
            loaded.modules.iter().flat_map(|module| module.messages).any(|info| info.name == message)
        };
        self.loaded.iter().find(defines).map(|loaded| loaded.plugin.library.name.as_str())
    }
}

impl Dataplane {
    /// What a plugin defines. It may answer what is defined and nobody else answers; a plugin that it is to replace does not
    /// count.
    pub(super) fn check_api(&mut self, plugin: &Plugin) -> Result<Vec<&'static ModuleInfo>, PluginsError> {
        let checked = self.checked(plugin);
        checked.map_err(|problem| PluginsError::Api { plugin: plugin.library.name.clone(), problem })
    }

    fn checked(&mut self, plugin: &Plugin) -> Result<Vec<&'static ModuleInfo>, String> {
        let Plugins { definitions, .. } = self.part_mut::<Plugins>();
        let mut modules = Vec::new();
        for (name, text) in plugin.api_definitions() {
            let module = definitions.compile(name, text);
            modules.push(module.map_err(|error| format!("has definitions with an error: {error}"))?);
        }
        let own = || modules.iter().flat_map(|module| module.messages);
        let other = |by: &&str| *by != plugin.library.name;
        for info in own() {
            if let Some(by) = self.part::<Plugins>().definer(info.name).filter(other) {
                return Err(format!("defines message '{}', and so does plugin '{by}'", info.name));
            }
        }
        for message in plugin.api_messages() {
            let info = own().find(|info| info.name == message).or_else(|| catalogued(message));
            match info.map(|info| info.role) {
                Some(Role::Request { .. } | Role::Dump { .. }) => {}
                Some(_) => return Err(format!("answers message '{message}': expected a request or a dump")),
                None => return Err(format!("answers message '{message}', which is defined nowhere")),
            }
            if self.find_part::<Api>().is_some_and(|api| api.clients.is_own(message)) {
                return Err(format!("answers message '{message}', and so does Weft"));
            }
            if let Some(by) = self.part::<Plugins>().answerer(message).filter(other) {
                return Err(format!("answers message '{message}', and so does plugin '{by}'"));
            }
        }
        Ok(modules)
    }

    /// Clients that connect from now on are told of what the loaded plugins answer.
    pub(super) fn publish_api(&self) -> Result<(), PluginsError> {
        let Some(api) = self.find_part::<Api>() else { return Ok(()) };
        let loaded = &self.part::<Plugins>().loaded;
        let modules = loaded.iter().flat_map(|loaded| loaded.modules.iter().copied());
        let messages = loaded.iter().flat_map(|loaded| loaded.plugin.api_messages());
        Ok(api.clients.set_guests(modules, messages)?)
    }

    fn ask_plugin(
        &mut self,
        session: &Session,
        message: &str,
        body: &[u8],
        place: u64,
    ) -> Result<ApiAnswer, Retval> {
        let plugin = self.part::<Plugins>().answerer(message).ok_or(Retval::UNSPECIFIED)?.to_owned();
        let (client, uid) = (session.name(), session.peer().uid);
        let (session, client_index) = (session.id().0, session.index().0);
        let question = ApiQuestion { session, client_index, uid, client: &client, body, place };
        let answer =
            self.with_plugin(&plugin, |plugin, dataplane| plugin.answer(dataplane, message, &question));
        answer.ok_or(Retval::UNSPECIFIED)?.map_err(|_| Retval::UNSPECIFIED)
    }
}

impl Guests for Dataplane {
    fn answer(&mut self, session: &Session, message: &str, body: &[u8]) -> Result<Option<Vec<u8>>, Retval> {
        let ApiAnswer { retval, body, .. } = self.ask_plugin(session, message, body, 0)?;
        match Retval::new(retval) {
            Some(retval) => Err(retval),
            None => Ok(Some(body).filter(|body| !body.is_empty())),
        }
    }

    fn details(
        &mut self,
        session: &Session,
        message: &str,
        body: &[u8],
        place: u64,
    ) -> Option<(Vec<u8>, u64)> {
        let ApiAnswer { body, next, .. } = self.ask_plugin(session, message, body, place).ok()?;
        (!body.is_empty()).then_some((body, next))
    }
}

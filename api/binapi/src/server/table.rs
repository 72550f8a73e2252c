// SPDX-License-Identifier: Apache-2.0
//! Which message has which id, and which of them clients are told of.
//!
//! Every known message has an id, whether it is handled or not, so ids do not depend on what is configured. Clients are
//! told of the families of which any message is handled, whole: they refuse to work with a part. A request of these that
//! nobody handles is answered with [`crate::Retval::UNIMPLEMENTED`], a dump with nothing.
//!
//! Guests are those who handle messages for a while: plugins. Theirs are offered as long as they are there. What they
//! define themselves gets ids after all others, and an id never means anything else later: a client that has learned it
//! may send it when the guest is gone, or back.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::api::MODULES;
use crate::api::memclnt::{MessageTableEntry, ModuleVersion};
use crate::frame::MessageId;
use crate::message::{MessageInfo, ModuleInfo, Role};

#[derive(Debug)]
pub struct Table(RefCell<Messages>);

#[derive(Debug)]
struct Messages {
    /// By id; 0 stands for no message.
    entries: Vec<Option<Entry>>,
    /// Of each name, the definition that is in force.
    ids: HashMap<&'static str, MessageId>,
    modules: Vec<(MessageId, &'static ModuleInfo)>,
}

#[derive(Debug)]
struct Entry {
    info: &'static MessageInfo,
    /// Clients are told of it for as long as the server runs.
    own: bool,
    /// Clients are told of it for now.
    guest: bool,
}

/// There are more messages than ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no message can be defined any more: 16 bits of id are used up")]
pub struct Full;

impl Messages {
    fn define(&mut self, module: &'static ModuleInfo) -> Result<(), Full> {
        let first = self.entries.len();
        if first + module.messages.len() > usize::from(u16::MAX) {
            return Err(Full);
        }
        self.modules.push((MessageId(first as u16), module));
        self.entries
            .extend(module.messages.iter().map(|info| Some(Entry { info, own: false, guest: false })));
        self.name(MessageId(first as u16), module);
        Ok(())
    }

    fn name(&mut self, first: MessageId, module: &'static ModuleInfo) {
        self.ids.extend((first.0..).zip(module.messages).map(|(id, info)| (info.name, MessageId(id))));
    }

    fn id(&self, name: &str) -> MessageId {
        *self.ids.get(name).expect("names come from definitions, all of which are in the table")
    }

    fn entry(&self, id: MessageId) -> Option<&Entry> {
        self.entries.get(usize::from(id.0))?.as_ref()
    }

    fn mark(&mut self, name: &str, mark: impl FnOnce(&mut Entry)) {
        let id = self.id(name);
        if let Some(entry) = &mut self.entries[usize::from(id.0)] {
            mark(entry);
        }
    }

    /// Modules of which a message is handled, with their first ids.
    fn served(&self) -> impl Iterator<Item = (MessageId, &'static ModuleInfo)> {
        let handled = |id| self.entry(MessageId(id)).is_some_and(|entry| entry.own || entry.guest);
        let served = move |(first, module): &(MessageId, &'static ModuleInfo)| {
            (first.0..).zip(module.messages).any(|(id, _)| handled(id))
        };
        // Of two definitions of a name, one is in force.
        self.modules.iter().copied().filter(served)
    }
}

/// Messages that come with a message: what it is answered with, and the events that it asks for.
fn answers(info: &MessageInfo) -> Vec<&'static str> {
    match info.role {
        Role::Request { reply, events } => [reply].into_iter().chain(events.iter().copied()).collect(),
        Role::Dump { details } => vec![details],
        Role::Stream { details, reply } => vec![details, reply],
        Role::Alone => Vec::new(),
    }
}

impl Table {
    pub fn new() -> Self {
        let mut messages = Messages { entries: vec![None], ids: HashMap::new(), modules: Vec::new() };
        for module in MODULES {
            messages.define(module).expect("fewer messages are defined than 16 bits can count");
        }
        Table(RefCell::new(messages))
    }

    /// The id of a message that is defined.
    pub fn id(&self, name: &str) -> MessageId {
        self.0.borrow().id(name)
    }

    pub fn info(&self, id: MessageId) -> Option<&'static MessageInfo> {
        self.0.borrow().entry(id).map(|entry| entry.info)
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.0.borrow().entries.len()
    }

    /// Tells clients of a message.
    pub fn advertise(&self, name: &str) {
        self.0.borrow_mut().mark(name, |entry| entry.own = true);
    }

    /// Whether the server itself handles a message, or answers with it.
    pub fn is_own(&self, name: &str) -> bool {
        let messages = self.0.borrow();
        messages.ids.get(name).and_then(|id| messages.entry(*id)).is_some_and(|entry| entry.own)
    }

    /// The id of a message that is a guest's now.
    pub fn guest(&self, name: &str) -> Option<MessageId> {
        self.0.borrow().ids.get(name).copied().filter(|id| self.is_guest(*id))
    }

    /// Whether it is a guest's now.
    pub fn is_guest(&self, id: MessageId) -> bool {
        self.0.borrow().entry(id).is_some_and(|entry| entry.guest)
    }

    /// From now on guests have these definitions and handle these messages, and no others. On an error they handle none.
    pub fn set_guests<'a>(
        &self,
        modules: impl IntoIterator<Item = &'static ModuleInfo>,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Full> {
        let messages = &mut *self.0.borrow_mut();
        messages.entries.iter_mut().flatten().for_each(|entry| entry.guest = false);
        for module in modules {
            let known = messages.modules.iter().find(|(_, known)| std::ptr::eq(*known, module));
            match known.map(|(first, _)| *first) {
                // Another definition of the same names may have been in force meanwhile.
                Some(first) => messages.name(first, module),
                None => messages.define(module)?,
            }
        }
        for name in names {
            let Some(info) = messages.entry(messages.id(name)).map(|entry| entry.info) else { continue };
            for name in [info.name].into_iter().chain(answers(info)) {
                messages.mark(name, |entry| entry.guest = true);
            }
        }
        Ok(())
    }

    /// What clients are told.
    pub fn advertised(&self) -> Vec<MessageTableEntry> {
        let messages = self.0.borrow();
        let served = messages.served().flat_map(|(first, module)| (first.0..).zip(module.messages));
        let entries =
            served.map(|(index, info)| MessageTableEntry { index, name: info.key().as_str().into() });
        entries.collect()
    }

    /// Whether clients are told of a message.
    pub fn is_told(&self, id: MessageId) -> bool {
        let messages = self.0.borrow();
        messages.served().any(|(first, module)| {
            (usize::from(first.0)..usize::from(first.0) + module.messages.len()).contains(&usize::from(id.0))
        })
    }

    /// The first id of a module that is served, by its name and CRC.
    pub fn first_id(&self, key: &str) -> Option<MessageId> {
        let messages = self.0.borrow();
        messages.served().filter(|(_, module)| module.key() == key).map(|(first, _)| first).last()
    }

    pub fn versions(&self) -> Vec<ModuleVersion> {
        let messages = self.0.borrow();
        let versions = messages.served().map(|(_, module)| {
            let [major, minor, patch] = module.version;
            ModuleVersion { major, minor, patch, name: format!("{}.api", module.name).as_str().into() }
        });
        versions.collect()
    }

    /// The `.api.json` files of all modules that are served, as one JSON array.
    pub fn json(&self) -> String {
        let files: Vec<&str> = self.modules().iter().map(|module| module.json).collect();
        format!("[{}]", files.join(","))
    }

    /// The modules that are served.
    pub fn modules(&self) -> Vec<&'static ModuleInfo> {
        self.0.borrow().served().map(|(_, module)| module).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::definitions::Definitions;
    use super::*;

    #[test]
    fn clients_are_told_of_whole_families_and_of_those_that_are_served() {
        let table = Table::new();
        assert_eq!(table.id("sockclnt_create"), MessageId(15));
        assert_eq!(table.id("get_api_json_reply"), MessageId(28));
        assert!(table.advertised().is_empty() && table.versions().is_empty());
        table.advertise("show_version");
        let told = table.advertised();
        let names: Vec<_> =
            told.iter().filter_map(|entry| entry.name.get()?.rsplit_once('_')).map(|it| it.0).collect();
        let vpe = [
            "show_version",
            "show_version_reply",
            "show_vpe_system_time",
            "show_vpe_system_time_reply",
            "log_dump",
            "log_details",
        ];
        assert_eq!(names, vpe, "the family, whole");
        assert_eq!(table.info(MessageId(told[0].index)).map(|info| info.name), Some("show_version"));
        assert!(table.is_told(table.id("log_details")) && !table.is_told(table.id("control_ping")));
        assert_eq!(table.versions()[0].name.get(), Some("vpe.api"));
        assert!(table.json().starts_with("[{") && table.json().contains("\"module\":\"vpe\""));
        assert_eq!(table.first_id("memclnt_b197c551"), None, "it is not served");
        table.advertise("control_ping");
        assert_eq!(table.first_id("memclnt_b197c551"), Some(MessageId(1)));
        assert_eq!(table.first_id("memclnt"), None);
        assert_eq!(table.info(MessageId(0)), None);
        assert_eq!(table.info(MessageId(u16::MAX)), None);
    }

    #[test]
    fn ids_of_guests_never_mean_anything_else() {
        let table = Table::new();
        let told = || table.advertised().into_iter().map(|entry| entry.index).collect::<Vec<_>>();
        let mut definitions = Definitions::default();
        let mut module = |crc_of: &str| {
            let text = format!(
                "option version = \"1.0.0\";\nautoreply define probe_set {{ u32 client_index; u32 context; u32 {crc_of}; }};\n"
            );
            definitions.compile("probe", &text).expect("it is good")
        };
        let (first, second) = (module("a"), module("b"));
        table.set_guests([first], ["probe_set", "want_ping_finished_events"]).unwrap();
        let set = table.id("probe_set");
        let ping = MODULES.iter().find(|module| module.name == "ping").expect("it is defined");
        let mut expected: Vec<u16> = ping.messages.iter().map(|info| table.id(info.name).0).collect();
        expected.extend([set.0, set.0 + 1]);
        assert_eq!(told(), expected);
        assert!(table.is_guest(set) && !table.is_own("probe_set"));

        table.set_guests([second], ["probe_set"]).unwrap();
        assert_eq!(told(), [set.0 + 2, set.0 + 3]);
        assert!(!table.is_guest(set) && table.info(set) == Some(&first.messages[0]));
        table.set_guests([], []).unwrap();
        assert!(told().is_empty());
        table.set_guests([first], ["probe_set"]).unwrap();
        assert_eq!(told(), [set.0, set.0 + 1]);
    }
}

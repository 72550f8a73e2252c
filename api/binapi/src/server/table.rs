// SPDX-License-Identifier: Apache-2.0
//! Which message has which id, and which of them clients are told of.
//!
//! Every known message has an id, whether it is handled or not, so ids do not depend on what is configured. Clients are
//! told of those that are handled, and of what they are answered with, and never receive another.

use std::collections::HashMap;

use crate::api::MODULES;
use crate::api::memclnt::{MessageTableEntry, ModuleVersion};
use crate::frame::MessageId;
use crate::message::{MessageInfo, ModuleInfo};

#[derive(Debug)]
pub struct Table {
    /// By id; 0 stands for no message.
    messages: Vec<Option<Entry>>,
    ids: HashMap<&'static str, MessageId>,
    modules: Vec<(MessageId, &'static ModuleInfo)>,
}

#[derive(Debug)]
struct Entry {
    info: &'static MessageInfo,
    advertised: bool,
}

impl Table {
    pub fn new() -> Self {
        let mut table = Self { messages: vec![None], ids: HashMap::new(), modules: Vec::new() };
        for module in MODULES {
            table.modules.push((table.next(), module));
            for info in module.messages {
                table.ids.insert(info.name, table.next());
                table.messages.push(Some(Entry { info, advertised: false }));
            }
        }
        table
    }

    fn next(&self) -> MessageId {
        MessageId(
            u16::try_from(self.messages.len()).expect("fewer messages are defined than 16 bits can count"),
        )
    }

    /// The id of a message that is defined.
    pub fn id(&self, name: &str) -> MessageId {
        *self.ids.get(name).expect("names come from generated types, all of which are in the table")
    }

    pub fn info(&self, id: MessageId) -> Option<&'static MessageInfo> {
        self.messages.get(usize::from(id.0))?.as_ref().map(|entry| entry.info)
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Tells clients of a message.
    pub fn advertise(&mut self, name: &str) {
        let id = self.id(name);
        if let Some(entry) = &mut self.messages[usize::from(id.0)] {
            entry.advertised = true;
        }
    }

    pub fn is_advertised(&self, id: MessageId) -> bool {
        self.messages[usize::from(id.0)].as_ref().is_some_and(|entry| entry.advertised)
    }

    /// What clients are told.
    pub fn advertised(&self) -> Vec<MessageTableEntry> {
        let entries = self.messages.iter().zip(0..).filter_map(|(entry, id)| {
            let entry = entry.as_ref().filter(|entry| entry.advertised)?;
            Some(MessageTableEntry { index: id, name: entry.info.key().as_str().into() })
        });
        entries.collect()
    }

    /// Modules with messages that clients are told of.
    fn served(&self) -> impl Iterator<Item = &'static ModuleInfo> {
        self.modules
            .iter()
            .filter(|(first, module)| {
                (first.0..).zip(module.messages).any(|(id, _)| self.is_advertised(MessageId(id)))
            })
            .map(|(_, module)| *module)
    }

    /// The first id of a module, by its name and CRC.
    pub fn first_id(&self, key: &str) -> Option<MessageId> {
        self.modules.iter().find(|(_, module)| module.key() == key).map(|(first, _)| *first)
    }

    pub fn versions(&self) -> Vec<ModuleVersion> {
        let versions = self.served().map(|module| {
            let [major, minor, patch] = module.version;
            ModuleVersion { major, minor, patch, name: format!("{}.api", module.name).as_str().into() }
        });
        versions.collect()
    }

    /// The `.api.json` files of all modules that are served, as one JSON array.
    pub fn json(&self) -> String {
        let files: Vec<&str> = self.served().map(|module| module.json).collect();
        format!("[{}]", files.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_of_what_is_handled_only() {
        let mut table = Table::new();
        assert_eq!(table.id("sockclnt_create"), MessageId(15));
        assert_eq!(table.id("get_api_json_reply"), MessageId(28));
        assert!(table.advertised().is_empty() && table.versions().is_empty());
        table.advertise("show_version");
        let [entry] = &table.advertised()[..] else { panic!("one message is told of") };
        assert_eq!(entry.name.get(), Some("show_version_51077d14"));
        assert_eq!(table.info(MessageId(entry.index)).map(|info| info.name), Some("show_version"));
        assert_eq!(table.versions()[0].name.get(), Some("vpe.api"));
        assert!(table.json().starts_with("[{") && table.json().contains("\"module\":\"vpe\""));
        assert_eq!(table.first_id("memclnt_b197c551"), Some(MessageId(1)));
        assert_eq!(table.first_id("memclnt"), None);
        assert_eq!(table.info(MessageId(0)), None);
        assert_eq!(table.info(MessageId(u16::MAX)), None);
    }
}

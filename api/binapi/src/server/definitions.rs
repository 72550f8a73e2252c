// SPDX-License-Identifier: Apache-2.0
//! Messages that are in no catalogue: a plugin brings the text of an `.api` file, which may import ours.
//!
//! What is made of a text is kept for ever, since ids and clients refer to it; a plugin that is loaded a thousand times
//! has the same one a thousand times.

use std::collections::HashMap;

use weft_api_idl::compile::{Class as IdlClass, Resolved, Role as IdlRole};
use weft_api_idl::{Api, Fault, Source, compile, crc, json};

use crate::api::MODULES;
use crate::message::{Class, MessageInfo, ModuleInfo, Role};

/// Path and text of each of our own files.
static OURS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// All texts so far.
#[derive(Default)]
pub struct Definitions(HashMap<(String, String), &'static ModuleInfo>);

impl Definitions {
    /// Compiles a text; `name` is that of the file, without its ending.
    pub fn compile(&mut self, name: &str, text: &str) -> Result<&'static ModuleInfo, Fault> {
        let key = (name.to_owned(), text.to_owned());
        if let Some(known) = self.0.get(&key) {
            return Ok(known);
        }
        let path = format!("plugins/{name}/{name}.api");
        let ours = OURS.iter().map(|(name, text)| Source { name: (*name).into(), text: (*text).into() });
        let api = compile(ours.chain([Source { name: path, text: key.1.clone() }]).collect())?;
        let module = api.modules.last().expect("the last file is compiled last: none of ours imports it");
        let info = &*Box::leak(Box::new(ModuleInfo {
            name: leak(&module.name),
            crc: crc::module(&api, module),
            version: module.version,
            folder: module.folder(),
            json: json::module(&api, module).to_string().leak(),
            messages: module.messages.iter().map(|message| info(&api, message)).collect::<Vec<_>>().leak(),
        }));
        self.0.insert(key, info);
        Ok(info)
    }
}

/// A message of our own files.
pub fn catalogued(name: &str) -> Option<&'static MessageInfo> {
    MODULES.iter().flat_map(|module| module.messages).find(|info| info.name == name)
}

fn info(api: &Api, resolved: &Resolved) -> MessageInfo {
    MessageInfo {
        name: leak(&resolved.message.name.text),
        crc: crc::message(api, &resolved.message.fields),
        class: match resolved.class {
            IdlClass::Request => Class::Request,
            IdlClass::Reply => Class::Reply,
            IdlClass::Event => Class::Event,
            IdlClass::Other => Class::Other,
        },
        role: match &resolved.role {
            IdlRole::Request { reply, events } => Role::Request {
                reply: leak(reply),
                events: events.iter().map(|event| leak(event)).collect::<Vec<_>>().leak(),
            },
            IdlRole::Dump { details } => Role::Dump { details: leak(details) },
            IdlRole::Stream { details, reply } => Role::Stream { details: leak(details), reply: leak(reply) },
            IdlRole::OneWay | IdlRole::Answer => Role::Alone,
        },
        least: api.fields_size(resolved.body()).least,
        retval_at: api.retval_at(resolved),
    }
}

fn leak(text: &str) -> &'static str {
    text.to_owned().leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_at_run_time_is_what_the_build_makes() {
        for (path, text) in OURS.iter().filter(|(_, text)| text.contains("define ")) {
            let module = MODULES.iter().find(|module| path.ends_with(&format!("/{}.api", module.name)));
            let module = module.expect("each file is a module");
            let sources =
                OURS.iter().map(|(name, text)| Source { name: (*name).into(), text: (*text).into() });
            let api = compile(sources.collect()).expect("ours are good");
            let made = api.modules.iter().find(|made| made.name == module.name).expect("it is one of them");
            let infos: Vec<_> = made.messages.iter().map(|message| info(&api, message)).collect();
            assert_eq!(infos, module.messages, "{path}: {} bytes", text.len());
        }
    }

    #[test]
    fn a_text_may_import_ours_and_may_not_redefine_them() {
        let mut definitions = Definitions::default();
        let text = "option version = \"1.2.3\";\nimport \"vnet/interface_types.api\";\n\
                    autoreply define probe_set { u32 client_index; u32 context; vl_api_interface_index_t at; };\n";
        let module = definitions.compile("probe", text).expect("it is good");
        assert_eq!((module.name, module.version, module.folder), ("probe", [1, 2, 3], "plugins"));
        let [set, reply] = module.messages else { panic!("a request and its reply") };
        assert_eq!((set.name, set.least, set.class), ("probe_set", 4, Class::Request));
        assert_eq!((reply.name, reply.crc, reply.retval_at), ("probe_set_reply", 0xe8d4_e804, Some(0)));
        assert!(module.json.contains("\"probe_set\"") && module.json.contains("interface_index"));
        assert!(std::ptr::eq(module, definitions.compile("probe", text).expect("it is known")));

        let refused = |definitions: &mut Definitions, name: &str, text: &str| {
            definitions.compile(name, text).expect_err("it is not good").to_string()
        };
        let ours = text.replace("probe_set", "control_ping");
        assert!(
            refused(&mut definitions, "probe", &ours).contains("message `control_ping` is defined already")
        );
        assert!(refused(&mut definitions, "classify", text).contains("is called `classify` already"));
        assert!(refused(&mut definitions, "probe", "define x {").contains("plugins/probe/probe.api:1"));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The `.api.json` file of a module: all that a client written in another language has to know.
//!
//! Types of imported files are written into each file again, since clients read a file by itself.

use serde_json::{Map, Value as Json, json};

use crate::ast::{Array, Field, Setting, Statement, Value};
use crate::compile::{Api, Definition, Module, Role};
use crate::crc;

/// The file as a value.
pub fn module(api: &Api, module: &Module) -> Json {
    let mut types = Types::default();
    types.add(api, module);
    let messages: Vec<Json> = module
        .messages
        .iter()
        .map(|resolved| {
            let message = &resolved.message;
            let mut entry = vec![json!(message.name.text), json!(["u16", "_vl_msg_id"])];
            entry.extend(message.fields.iter().map(field));
            let crc = format!("{:#010x}", crc::message(api, &message.fields));
            entry.push(json!({ "crc": crc, "options": options(&message.settings), "comment": "" }));
            Json::Array(entry)
        })
        .collect();
    let imports: Vec<&str> = module
        .statements
        .iter()
        .filter_map(|statement| match statement {
            Statement::Import(import) => Some(import.path.as_str()),
            _ => None,
        })
        .collect();
    let settings: Vec<Setting> = module
        .statements
        .iter()
        .filter_map(|statement| match statement {
            Statement::Option(setting) => Some(setting.clone()),
            _ => None,
        })
        .collect();
    json!({
        "module": module.name,
        "types": types.structs,
        "messages": messages,
        "unions": types.unions,
        "enums": types.enums,
        "enumflags": types.enumflags,
        "services": services(module),
        "options": options(&settings),
        "aliases": types.aliases,
        "vl_api_version": format!("{:#010x}", crc::module(api, module)),
        "imports": imports,
        "counters": [],
        "paths": [],
    })
}

/// Types, sorted by what they are.
#[derive(Default)]
struct Types {
    done: Vec<String>,
    structs: Vec<Json>,
    unions: Vec<Json>,
    enums: Vec<Json>,
    enumflags: Vec<Json>,
    aliases: Map<String, Json>,
}

impl Types {
    fn add(&mut self, api: &Api, module: &Module) {
        if self.done.contains(&module.name) {
            return;
        }
        self.done.push(module.name.clone());
        for import in &module.imports {
            self.add(api, &api.modules[*import]);
        }
        for definition in module.types() {
            match definition {
                Definition::Enum(value) => {
                    let mut entry = vec![json!(value.name.text)];
                    entry.extend(value.entries.iter().map(|entry| json!([entry.name.text, entry.value])));
                    // GoVPP takes the last element for the type, whatever it is.
                    entry.push(json!({ "enumtype": value.base.word() }));
                    if value.flags { &mut self.enumflags } else { &mut self.enums }.push(Json::Array(entry));
                }
                Definition::Alias(alias) => {
                    let mut entry = json!({ "type": alias.target.word() });
                    if let Some(length) = alias.length {
                        entry["length"] = json!(length);
                    }
                    self.aliases.insert(alias.name.text.clone(), entry);
                }
                Definition::Struct(body) => {
                    let mut entry = vec![json!(body.name.text)];
                    entry.extend(body.fields.iter().map(field));
                    if body.union { &mut self.unions } else { &mut self.structs }.push(Json::Array(entry));
                }
            }
        }
    }
}

fn field(field: &Field) -> Json {
    let mut entry = vec![json!(field.kind.word()), json!(field.name.text)];
    match &field.array {
        Array::No => {}
        Array::Fixed(length) => entry.push(json!(length)),
        Array::Counted(count) => entry.extend([json!(0), json!(count.text)]),
        Array::Open => entry.push(json!(0)),
    }
    if !field.settings.is_empty() {
        entry.push(options(&field.settings));
    }
    Json::Array(entry)
}

fn options(settings: &[Setting]) -> Json {
    let options = settings.iter().map(|setting| {
        let value = match &setting.value {
            None => Json::Null,
            Some(Value::Integer(number)) => {
                i64::try_from(*number).map_or_else(|_| json!(*number as u64), |number| json!(number))
            }
            Some(Value::Float(number)) => json!(number),
            // Clients have learnt to read `true` as a text and `false` as what it is.
            Some(Value::Word(word)) if word == "false" => json!(false),
            Some(Value::Word(text) | Value::Text(text)) => json!(text),
        };
        (setting.name.text.clone(), value)
    });
    Json::Object(options.collect())
}

fn services(module: &Module) -> Json {
    let services = module.messages.iter().filter_map(|resolved| {
        let service = match &resolved.role {
            Role::Request { reply, events } if events.is_empty() => json!({ "reply": reply }),
            Role::Request { reply, events } => json!({ "reply": reply, "events": events }),
            Role::Dump { details } => json!({ "reply": details, "stream": true }),
            Role::Stream { details, reply } => {
                json!({ "reply": reply, "stream": true, "stream_msg": details })
            }
            Role::OneWay => json!({ "reply": "null" }),
            Role::Answer => return None,
        };
        Some((resolved.message.name.text.clone(), service))
    });
    Json::Object(services.collect())
}

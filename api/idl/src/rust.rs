// SPDX-License-Identifier: Apache-2.0
//! The Rust types of an API, as source text.
//!
//! The text is included by a crate that has the traits and helpers which it names, under `crate::codec` and
//! `crate::message`. A type comes out as what it means: aliases of numbers and enumerations are types of their own,
//! which hold any number that may arrive; arrays with a count are vectors, and the count is gone; the header of a
//! message is no part of it.

use std::fmt::Write;

use crate::ast::{Alias, Array, Base, Enum, Field, Struct, Type, Value};
use crate::compile::{Api, Class, Definition, Module, Resolved, Role};
use crate::crc;

/// Words that cannot be names in Rust without an ornament.
const KEYWORDS: [&str; 12] =
    ["type", "match", "move", "ref", "mod", "loop", "in", "use", "where", "impl", "box", "final"];

/// The largest structure that is copied like a number.
const COPIED: usize = 64;

/// The source text. `json` gives the path of the `.api.json` file of a module, as an expression.
pub fn source(api: &Api, json: impl Fn(&Module) -> String) -> String {
    let mut out = String::new();
    for module in &api.modules {
        Generator { api, out: &mut out }.module(module, &json(module));
    }
    out.push_str("/// All modules, what is imported before what imports it.\n");
    out.push_str("pub static MODULES: &[&crate::message::ModuleInfo] = &[");
    for module in &api.modules {
        let _ = write!(out, "&{}::MODULE, ", module.name);
    }
    out.push_str("];\n");
    out
}

/// A macro that hands all message types to another: `messages!(check)` calls `check!{ module::Type, ... }`.
pub fn messages(api: &Api) -> String {
    let names = api.modules.iter().flat_map(|module| {
        let types = module.messages.iter().map(|resolved| type_name(&resolved.message.name.text));
        types.map(|name| format!("{}::{name}, ", module.name))
    });
    format!("macro_rules! messages {{ ($to:ident) => {{ $to! {{ {} }} }}; }}", names.collect::<String>())
}

/// `sw_interface_dump` becomes `SwInterfaceDump`.
pub fn type_name(name: &str) -> String {
    let mut text = String::new();
    for word in name.split('_').filter(|word| !word.is_empty()) {
        let mut letters = word.chars();
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.push_str(letters.as_str());
    }
    text
}

fn field_name(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}

/// Writes lines. Writing to a String does not fail.
macro_rules! line {
    ($to:expr, $($text:tt)*) => {{ let _ = writeln!($to.out, $($text)*); }};
}

struct Generator<'a> {
    api: &'a Api,
    out: &'a mut String,
}

impl Generator<'_> {
    fn module(&mut self, module: &Module, json: &str) {
        line!(self, "/// `{}`", module.path());
        line!(self, "pub mod {} {{", module.name);
        line!(self, "#[allow(unused_imports)] use crate::codec::*;");
        line!(self, "#[allow(unused_imports)] use crate::message::*;");
        for definition in module.types() {
            match definition {
                Definition::Enum(value) => self.enumeration(value),
                Definition::Alias(alias) => self.alias(alias),
                Definition::Struct(body) if body.union => self.union(body),
                Definition::Struct(body) => {
                    let doc = format!("`{}`", body.name.text);
                    self.structure(&type_name(&body.name.text), &doc, &body.fields);
                }
            }
        }
        for resolved in &module.messages {
            self.message(resolved);
        }
        line!(self, "/// This module.");
        line!(self, "pub static MODULE: ModuleInfo = ModuleInfo {{");
        line!(
            self,
            "name: {:?}, crc: {:#x}, version: {:?},",
            module.name,
            crc::module(self.api, module),
            module.version
        );
        line!(self, "folder: {:?}, json: include_str!({json}),", module.folder());
        let names = module.messages.iter().map(|resolved| type_name(&resolved.message.name.text));
        let infos: Vec<String> = names.map(|name| format!("{name}::INFO")).collect();
        line!(self, "messages: &[{}],", infos.join(", "));
        line!(self, "}};");
        line!(self, "}}");
    }

    fn enumeration(&mut self, value: &Enum) {
        let name = type_name(&value.name.text);
        let base = value.base.word();
        line!(self, "/// `{}`", value.name.text);
        line!(self, "#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]");
        line!(self, "pub struct {name}(pub {base});");
        line!(self, "impl {name} {{");
        let prefix = common_prefix(value);
        for entry in &value.entries {
            let short = &entry.name.text[prefix..];
            line!(self, "/// `{}`", entry.name.text);
            line!(self, "pub const {short}: Self = Self({});", entry.value);
        }
        line!(self, "/// Has all bits of `other`.");
        line!(self, "pub fn contains(self, other: Self) -> bool {{ self.0 & other.0 == other.0 }}");
        line!(self, "}}");
        line!(self, "impl std::ops::BitOr for {name} {{ type Output = Self;");
        line!(self, "fn bitor(self, other: Self) -> Self {{ Self(self.0 | other.0) }} }}");
        line!(self, "impl std::fmt::Debug for {name} {{");
        line!(self, "fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{ match self.0 {{");
        let mut seen = Vec::new();
        for entry in &value.entries {
            if !seen.contains(&entry.value) {
                seen.push(entry.value);
                line!(self, "{} => f.write_str({:?}),", entry.value, entry.name.text);
            }
        }
        line!(self, "#[allow(unreachable_patterns)] other => write!(f, \"{name}({{other:#x}})\"), }} }} }}");
        self.newtype_codec(&name, base);
    }

    fn newtype_codec(&mut self, name: &str, inner: &str) {
        line!(self, "impl Wire for {name} {{ const LEAST: usize = <{inner} as Wire>::LEAST;");
        line!(self, "fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {{ self.0.put(out) }}");
        line!(
            self,
            "fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {{ Wire::take(from).map(Self) }} }}"
        );
    }

    fn alias(&mut self, alias: &Alias) {
        let name = type_name(&alias.name.text);
        let target = self.type_text(&alias.target);
        line!(self, "/// `{}`", alias.name.text);
        match (&alias.target, alias.length) {
            (Type::Base(base), length) => {
                let total = if *base == Base::F64 { "" } else { ", Eq, Ord, Hash" };
                let inner = length.map_or(target.clone(), |length| format!("[{target}; {length}]"));
                line!(self, "#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd{total})]");
                line!(self, "pub struct {name}(pub {inner});");
                self.newtype_codec(&name, &inner);
            }
            (_, Some(length)) => line!(self, "pub type {name} = [{target}; {length}];"),
            (_, None) => line!(self, "pub type {name} = {target};"),
        }
    }

    fn union(&mut self, body: &Struct) {
        let name = type_name(&body.name.text);
        let size = self.api.type_size(&Type::Named(body.name.clone())).least;
        line!(self, "/// `{}`: the bytes, and what they mean in each case.", body.name.text);
        line!(self, "#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]");
        line!(self, "pub struct {name}(pub [u8; {size}]);");
        self.newtype_codec(&name, &format!("[u8; {size}]"));
        line!(self, "impl {name} {{");
        for arm in &body.fields {
            let (text, label) = (self.field_text(arm), &arm.name.text);
            let method = field_name(label);
            line!(self, "/// The bytes read as `{label}`.");
            line!(self, "pub fn {method}(&self) -> {text} {{ read_arm(&self.0) }}");
            line!(self, "/// Holds a `{label}`.");
            line!(self, "pub fn from_{label}(value: &{text}) -> Self {{ Self(write_arm(value)) }}");
        }
        line!(self, "}}");
    }

    /// A structure, with its codec and what it is before it is filled in.
    fn structure(&mut self, name: &str, doc: &str, fields: &[Field]) {
        let size = self.api.fields_size(fields);
        let copied = if !size.variable && size.least <= COPIED { "Copy, " } else { "" };
        line!(self, "/// {doc}");
        line!(self, "#[derive(Clone, {copied}Debug, PartialEq)]");
        line!(self, "pub struct {name} {{");
        let counts: Vec<&str> = fields.iter().filter_map(counted_by).collect();
        let kept: Vec<&Field> =
            fields.iter().filter(|field| !counts.contains(&field.name.text.as_str())).collect();
        for field in &kept {
            line!(self, "/// `{}`", field.name.text);
            line!(self, "pub {}: {},", field_name(&field.name.text), self.field_text(field));
        }
        line!(self, "}}");

        line!(self, "impl Default for {name} {{ fn default() -> Self {{ Self {{");
        for field in &kept {
            line!(self, "{}: {},", field_name(&field.name.text), self.default_text(field));
        }
        line!(self, "}} }} }}");

        line!(self, "impl Wire for {name} {{ const LEAST: usize = {};", size.least);
        let unused = if kept.is_empty() { "_" } else { "" };
        line!(self, "fn put(&self, {unused}out: &mut Vec<u8>) -> Result<(), EncodeError> {{");
        for field in fields {
            let label = &field.name.text;
            let counts = fields.iter().find(|array| counted_by(array) == Some(label));
            match counts {
                Some(array) => {
                    let what = format!("{name}.{}", array.name.text);
                    let array = field_name(&array.name.text);
                    line!(self, "put_count::<{}>(self.{array}.len(), {what:?}, out)?;", field.kind.word());
                }
                None if counted_by(field).is_some() => {
                    line!(self, "put_all(&self.{}, out)?;", field_name(label));
                }
                None => line!(self, "self.{}.put(out)?;", field_name(label)),
            }
        }
        line!(self, "Ok(()) }}");
        line!(self, "fn take({unused}from: &mut Reader<'_>) -> Result<Self, DecodeError> {{");
        for field in fields {
            let label = field_name(&field.name.text);
            match &field.array {
                Array::Counted(count) => {
                    line!(self, "let {label} = take_all(u64::from({}), from)?;", field_name(&count.text));
                }
                _ => line!(self, "let {label}: {} = Wire::take(from)?;", self.field_text(field)),
            }
        }
        let names: Vec<String> = kept.iter().map(|field| field_name(&field.name.text)).collect();
        line!(self, "Ok(Self {{ {} }}) }} }}", names.join(", "));
    }

    fn message(&mut self, resolved: &Resolved) {
        let message = &resolved.message;
        let (name, text) = (type_name(&message.name.text), &message.name.text);
        let crc = crc::message(self.api, &message.fields);
        let body = resolved.body();
        self.structure(&name, &format!("`{text}_{crc:08x}`"), body);
        let class = match resolved.class {
            Class::Request => "Request",
            Class::Reply => "Reply",
            Class::Event => "Event",
            Class::Other => "Other",
        };
        let role = match &resolved.role {
            Role::Request { reply, events } => format!("Request {{ reply: {reply:?}, events: &{events:?} }}"),
            Role::Dump { details } => format!("Dump {{ details: {details:?} }}"),
            Role::Stream { details, reply } => {
                format!("Stream {{ details: {details:?}, reply: {reply:?} }}")
            }
            Role::OneWay | Role::Answer => "Alone".to_owned(),
        };
        let retval_at = self.api.retval_at(resolved);
        line!(self, "impl Message for {name} {{ const INFO: MessageInfo = MessageInfo {{");
        line!(self, "name: {text:?}, crc: {crc:#010x}, class: Class::{class}, role: Role::{role},");
        line!(self, "least: {}, retval_at: {retval_at:?} }}; }}", self.api.fields_size(body).least);
        match &resolved.role {
            Role::Request { reply, .. } => {
                line!(self, "impl Request for {name} {{ type Reply = {}; }}", type_name(reply));
                self.reply(reply);
            }
            Role::Dump { details } => {
                line!(self, "impl Dump for {name} {{ type Details = {}; }}", type_name(details));
            }
            Role::Stream { details, reply } => {
                let types =
                    format!("type Details = {}; type Reply = {};", type_name(details), type_name(reply));
                line!(self, "impl Stream for {name} {{ {types} }}");
                self.reply(reply);
                let cursor = |name: &str| {
                    let message = self.api.message(name).map(|(_, resolved)| &resolved.message);
                    message
                        .is_some_and(|message| message.fields.iter().any(|field| field.name.text == "cursor"))
                };
                if cursor(text) && cursor(reply) {
                    line!(self, "impl Cursor for {name} {{");
                    line!(self, "fn cursor(&self) -> u32 {{ self.cursor }}");
                    line!(self, "fn set_cursor(&mut self, cursor: u32) {{ self.cursor = cursor; }}");
                    line!(
                        self,
                        "fn reply(retval: i32, cursor: u32) -> {0} {{ {0} {{ retval, cursor }} }}",
                        type_name(reply)
                    );
                    line!(self, "fn next(reply: &{}) -> u32 {{ reply.cursor }} }}", type_name(reply));
                }
            }
            Role::OneWay | Role::Answer => {}
        }
        if resolved.class == Class::Event {
            line!(self, "impl Event for {name} {{}}");
        }
    }

    /// What a reply says when the request has failed. Several requests may have the same reply, so this stands
    /// beside the first of them only.
    fn reply(&mut self, reply: &str) {
        let name = type_name(reply);
        let header = format!("impl Reply for {name} {{");
        if self.out.contains(&header) {
            return;
        }
        let Some((_, resolved)) = self.api.message(reply) else { return };
        let body = resolved.body();
        line!(self, "{header}");
        match body.iter().find(|field| field.is_retval()) {
            Some(retval) => {
                let label = &retval.name.text;
                line!(self, "fn retval(&self) -> i32 {{ self.{label} as i32 }}");
                line!(
                    self,
                    "fn failure(retval: i32) -> Self {{ Self {{ {label}: retval as {},",
                    retval.kind.word()
                );
                for field in body.iter().filter(|field| is_index(field)) {
                    let value = match field.kind {
                        Type::Named(_) => format!("{}(u32::MAX)", self.type_text(&field.kind)),
                        _ => "u32::MAX".to_owned(),
                    };
                    line!(self, "{}: {value},", field.name.text);
                }
                line!(self, "..Self::default() }} }} }}");
                if let [_] = body {
                    line!(
                        self,
                        "impl From<()> for {name} {{ fn from(_: ()) -> Self {{ Self::default() }} }}"
                    );
                }
            }
            None => {
                line!(self, "fn retval(&self) -> i32 {{ 0 }}");
                line!(self, "fn failure(_: i32) -> Self {{ Self::default() }} }}");
            }
        }
    }

    fn type_text(&self, kind: &Type) -> String {
        match kind {
            Type::Base(base) => base.word().to_owned(),
            Type::String => "String".to_owned(),
            Type::Named(name) => {
                let module = self.api.definition(&name.text).map_or("", |(module, _)| module.name.as_str());
                format!("super::{module}::{}", type_name(&name.text))
            }
        }
    }

    fn field_text(&self, field: &Field) -> String {
        let one = self.type_text(&field.kind);
        match (&field.array, &field.kind) {
            (Array::No, _) => one,
            (Array::Fixed(length), Type::String) => format!("Text<{length}>"),
            (Array::Fixed(length), _) => format!("[{one}; {length}]"),
            (Array::Counted(_), _) => format!("Vec<{one}>"),
            (Array::Open, _) => "String".to_owned(),
        }
    }

    fn default_text(&self, field: &Field) -> String {
        match (&field.array, &field.kind, field.default()) {
            (Array::No, kind, Some(value)) => self.value_text(kind, value),
            (Array::Fixed(_), Type::String, _) => "Text::default()".to_owned(),
            (Array::Fixed(_), _, _) => "std::array::from_fn(|_| Default::default())".to_owned(),
            _ => "Default::default()".to_owned(),
        }
    }

    fn value_text(&self, kind: &Type, value: &Value) -> String {
        match (kind, value) {
            (Type::Base(Base::Bool), Value::Integer(number)) => (*number != 0).to_string(),
            (Type::Base(Base::F64), Value::Integer(number)) => format!("{number}.0"),
            (Type::Base(Base::F64), Value::Float(number)) => format!("{number:?}"),
            (Type::Named(name), value) => match self.api.definition(&name.text) {
                Some((_, Definition::Enum(body))) => {
                    format!("{}({})", self.type_text(kind), self.value_text(&Type::Base(body.base), value))
                }
                Some((_, Definition::Alias(Alias { target, length: None, .. }))) => {
                    let value = self.value_text(target, value);
                    format!("{}({value})", self.type_text(kind))
                }
                _ => "Default::default()".to_owned(),
            },
            (_, Value::Integer(number)) => number.to_string(),
            (_, Value::Word(word)) => word.clone(),
            _ => "Default::default()".to_owned(),
        }
    }
}

/// The field that counts the elements of this one.
fn counted_by(field: &Field) -> Option<&str> {
    match &field.array {
        Array::Counted(count) => Some(&count.text),
        _ => None,
    }
}

/// Says "none" by all ones.
fn is_index(field: &Field) -> bool {
    if field.array != Array::No {
        return false;
    }
    match &field.kind {
        Type::Named(name) => name.text == "interface_index",
        Type::Base(Base::U32) => field.name.text.ends_with("_index"),
        _ => false,
    }
}

/// Bytes that all entries begin with, up to an underscore; what is left of each is a name.
fn common_prefix(value: &Enum) -> usize {
    let Some(first) = value.entries.first() else { return 0 };
    let first = first.name.text.as_str();
    let mut ends = first.match_indices('_').map(|(at, _)| at + 1);
    let is_common = |end: &usize| {
        value.entries.iter().all(|entry| {
            let rest = entry.name.text.strip_prefix(&first[..*end]);
            rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()))
        })
    };
    ends.rfind(is_common).filter(|_| value.entries.len() > 1).unwrap_or(0)
}

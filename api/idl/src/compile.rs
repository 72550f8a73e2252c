// SPDX-License-Identifier: Apache-2.0
//! All files of an API together: every name has a meaning, every shape can be encoded, every message has a role.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use weft_words::Span;

use crate::ast::{
    Alias, Array, Base, Enum, Field, Message, Name, Rpc, Setting, Statement, Struct, Type, Value,
};
use crate::error::{Error, Fault, Source};
use crate::parse::parse;

/// Compiled definitions.
#[derive(Debug)]
pub struct Api {
    /// One per file; what a file imports stands before it.
    pub modules: Vec<Module>,
    types: HashMap<String, (usize, usize)>,
}

/// One file.
#[derive(Debug)]
pub struct Module {
    source: Arc<Source>,
    /// The file without folder and ending.
    pub name: String,
    /// `option version`.
    pub version: [u32; 3],
    /// Modules, in the order of the text.
    pub imports: Vec<usize>,
    /// All modules whose types can be named here, this one included.
    visible: BTreeSet<usize>,
    pub statements: Vec<Statement>,
    /// Replies that `autoreply` asks for stand after their request.
    pub messages: Vec<Resolved>,
}

/// A message and its part in the conversation.
#[derive(Debug)]
pub struct Resolved {
    pub message: Message,
    pub class: Class,
    pub role: Role,
}

impl Resolved {
    /// What is after the header.
    pub fn body(&self) -> &[Field] {
        &self.message.fields[self.class.fields()..]
    }
}

/// What follows the id of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `client_index` and `context`.
    Request,
    /// `context`.
    Reply,
    /// `client_index`.
    Event,
    /// Neither.
    Other,
}

impl Class {
    /// How many fields the header has.
    pub fn fields(self) -> usize {
        match self {
            Self::Request => 2,
            Self::Reply | Self::Event => 1,
            Self::Other => 0,
        }
    }
}

/// What a message is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// By one message, perhaps followed by events.
    Request { reply: String, events: Vec<String> },
    /// By any number of messages, without an end.
    Dump { details: String },
    /// By any number of messages and a reply.
    Stream { details: String, reply: String },
    /// A service says that nothing comes back.
    OneWay,
    /// Not a question.
    Answer,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub enum Definition<'a> {
    Enum(&'a Enum),
    Alias(&'a Alias),
    Struct(&'a Struct),
}

/// Bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Fewest bytes.
    pub least: usize,
    /// More may follow.
    pub variable: bool,
}

impl Api {
    /// The module and the definition of a type.
    pub fn definition(&self, name: &str) -> Option<(&Module, Definition<'_>)> {
        let (module, statement) = *self.types.get(name)?;
        let module = &self.modules[module];
        let definition = match &module.statements[statement] {
            Statement::Enum(value) => Definition::Enum(value),
            Statement::Alias(value) => Definition::Alias(value),
            Statement::Struct(value) => Definition::Struct(value),
            _ => return None,
        };
        Some((module, definition))
    }

    /// A message, wherever it is defined.
    pub fn message(&self, name: &str) -> Option<(&Module, &Resolved)> {
        self.modules.iter().find_map(|module| {
            let message = module.messages.iter().find(|resolved| resolved.message.name.text == name)?;
            Some((module, message))
        })
    }

    /// Size of one value of a type. Strings have none of their own: see [`field_size`](Self::field_size).
    pub fn type_size(&self, kind: &Type) -> Size {
        let fixed = |least| Size { least, variable: false };
        match kind {
            Type::Base(base) => fixed(base.size()),
            Type::String => fixed(1),
            Type::Named(name) => match self.definition(&name.text) {
                Some((_, Definition::Enum(value))) => fixed(value.base.size()),
                Some((_, Definition::Alias(alias))) => {
                    let one = self.type_size(&alias.target);
                    Size { least: one.least * alias.length.unwrap_or(1) as usize, ..one }
                }
                Some((_, Definition::Struct(body))) if body.union => {
                    fixed(body.fields.iter().map(|arm| self.field_size(arm).least).max().unwrap_or(0))
                }
                Some((_, Definition::Struct(body))) => self.fields_size(&body.fields),
                None => fixed(0),
            },
        }
    }

    /// Size of a field.
    pub fn field_size(&self, field: &Field) -> Size {
        let one = self.type_size(&field.kind);
        match &field.array {
            Array::No => one,
            Array::Fixed(length) => Size { least: one.least * *length as usize, ..one },
            Array::Counted(_) => Size { least: 0, variable: true },
            // The length goes before the bytes.
            Array::Open => Size { least: Base::U32.size(), variable: true },
        }
    }

    /// Size of fields back to back.
    pub fn fields_size(&self, fields: &[Field]) -> Size {
        fields.iter().map(|field| self.field_size(field)).fold(
            Size { least: 0, variable: false },
            |sum, field| Size { least: sum.least + field.least, variable: sum.variable || field.variable },
        )
    }

    /// Where the return value of a message is, from the end of the header, if all arrays before it are empty.
    pub fn retval_at(&self, message: &Resolved) -> Option<usize> {
        let at = message.body().iter().position(Field::is_retval)?;
        Some(self.fields_size(&message.body()[..at]).least)
    }
}

impl Module {
    /// The path that others import this by.
    pub fn path(&self) -> &str {
        &self.source.name
    }

    /// The folder of its `.api.json` file: what comes with plugins has its own.
    pub fn folder(&self) -> &'static str {
        if self.path().starts_with("plugins/") { "plugins" } else { "core" }
    }

    /// Definitions of types, in the order of the text.
    pub fn types(&self) -> impl Iterator<Item = Definition<'_>> {
        self.statements.iter().filter_map(|statement| match statement {
            Statement::Enum(value) => Some(Definition::Enum(value)),
            Statement::Alias(value) => Some(Definition::Alias(value)),
            Statement::Struct(value) => Some(Definition::Struct(value)),
            _ => None,
        })
    }

    fn fault(&self, span: &Span, message: impl Into<String>) -> Fault {
        Fault::new(&self.source, *span, message)
    }
}

/// All `.api` files below a folder, in the order of their paths.
pub fn read(folder: &Path) -> Result<Vec<Source>, Error> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<Source>) -> Result<(), Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Read { path, source }
        };
        let mut entries: Vec<_> = fs::read_dir(folder)
            .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
            .map_err(failed(folder))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if path.is_dir() {
                walk(&path, &format!("{name}/"), found)?;
            } else if name.ends_with(".api") {
                let text = fs::read_to_string(&path).map_err(failed(&path))?;
                found.push(Source { name, text });
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, "", &mut found)?;
    Ok(found)
}

/// Compiles files that import nothing but each other.
pub fn compile(sources: Vec<Source>) -> Result<Api, Fault> {
    let mut compiler = Compiler {
        files: sources.into_iter().map(|source| (Arc::new(source), State::New)).collect(),
        api: Api { modules: Vec::new(), types: HashMap::new() },
        messages: HashSet::new(),
    };
    for file in 0..compiler.files.len() {
        compiler.add(file)?;
    }
    Ok(compiler.api)
}

#[derive(Clone, Copy)]
enum State {
    New,
    /// Being compiled: who imports it now imports itself.
    Open,
    Module(usize),
}

struct Compiler {
    files: Vec<(Arc<Source>, State)>,
    api: Api,
    messages: HashSet<String>,
}

impl Compiler {
    fn add(&mut self, file: usize) -> Result<usize, Fault> {
        if let State::Module(module) = self.files[file].1 {
            return Ok(module);
        }
        self.files[file].1 = State::Open;
        let source = Arc::clone(&self.files[file].0);
        let statements = parse(&source)?;
        let mut imports = Vec::new();
        for statement in &statements {
            let Statement::Import(import) = statement else { continue };
            let fault = |message: String| Fault::new(&source, import.span, message);
            let path = &import.path;
            let target = self.files.iter().position(|(source, _)| source.name == *path);
            let target = target.ok_or_else(|| fault(format!("there is no file `{path}`")))?;
            if let State::Open = self.files[target].1 {
                return Err(fault(format!("`{path}` imports itself, by this file")));
            }
            imports.push(self.add(target)?);
        }
        let module = self.module(source, statements, imports)?;
        self.files[file].1 = State::Module(module);
        Ok(module)
    }

    fn module(
        &mut self,
        source: Arc<Source>,
        statements: Vec<Statement>,
        imports: Vec<usize>,
    ) -> Result<usize, Fault> {
        let index = self.api.modules.len();
        let mut visible: BTreeSet<usize> =
            imports.iter().flat_map(|import| self.api.modules[*import].visible.iter().copied()).collect();
        visible.insert(index);
        let file = source.name.rsplit('/').next().unwrap_or(&source.name);
        let name = file.strip_suffix(".api").unwrap_or(file).to_owned();
        let version = version(&source, &statements)?;
        if let Some(other) = self.api.modules.iter().find(|module| module.name == name) {
            let message =
                format!("`{}` is called `{name}` already: expected another file name", other.path());
            return Err(Fault::new(&source, Span::default(), message));
        }
        self.api.modules.push(Module {
            source,
            name,
            version,
            imports,
            visible,
            statements,
            messages: Vec::new(),
        });
        for statement in 0..self.api.modules[index].statements.len() {
            self.check(index, statement)?;
        }
        self.messages(index)?;
        Ok(index)
    }

    /// Checks a statement and makes its name known to what follows.
    fn check(&mut self, index: usize, number: usize) -> Result<(), Fault> {
        let module = &self.api.modules[index];
        let name = match &module.statements[number] {
            Statement::Enum(value) => {
                check_enum(module, value)?;
                value.name.clone()
            }
            Statement::Alias(alias) => {
                self.known(module, &alias.target)?;
                if alias.target == Type::String || self.api.type_size(&alias.target).variable {
                    let message = format!("`{}` has no fixed size", alias.target.word());
                    return Err(module.fault(&alias.name.span, message));
                }
                alias.name.clone()
            }
            Statement::Struct(body) => {
                self.check_fields(module, &body.name, &body.fields, body.union)?;
                if body.fields.is_empty() {
                    return Err(module.fault(&body.name.span, "found no field: expected one or more"));
                }
                body.name.clone()
            }
            Statement::Message(message) => {
                return self.check_fields(module, &message.name, &message.fields, false);
            }
            Statement::Option(_) | Statement::Import(_) | Statement::Service(_) => return Ok(()),
        };
        if let Some((other, _)) = self.api.definition(&name.text) {
            let message = format!("type `{}` is defined in {} already", name.text, other.path());
            return Err(module.fault(&name.span, message));
        }
        self.api.types.insert(name.text, (index, number));
        Ok(())
    }

    /// A type is defined above or imported.
    fn known(&self, module: &Module, kind: &Type) -> Result<(), Fault> {
        let Type::Named(name) = kind else { return Ok(()) };
        match self.api.types.get(&name.text) {
            Some((definer, _)) if module.visible.contains(definer) => Ok(()),
            Some((definer, _)) => {
                let path = self.api.modules[*definer].path();
                let message = format!("type `{}` is not imported: expected import \"{path}\";", name.text);
                Err(module.fault(&name.span, message))
            }
            None => {
                let message = format!("type `{}` is not defined above nor imported", name.text);
                Err(module.fault(&name.span, message))
            }
        }
    }

    fn check_fields(&self, module: &Module, name: &Name, fields: &[Field], union: bool) -> Result<(), Fault> {
        for (number, field) in fields.iter().enumerate() {
            let fault = |message: String| Err(module.fault(&field.name.span, message));
            let label = &field.name.text;
            self.known(module, &field.kind)?;
            if fields[..number].iter().any(|other| other.name.text == *label) {
                return fault(format!("`{}` has a field `{label}` already", name.text));
            }
            match (&field.array, &field.kind) {
                (Array::No, Type::String) => {
                    return fault(format!("string `{label}` without a size: expected `[64]` or `[]`"));
                }
                (Array::Open, Type::String) | (Array::No, _) => {}
                (Array::Open, _) => {
                    return fault(format!("`{label}[]` is no string: expected the field that counts"));
                }
                (Array::Counted(count), kind) => {
                    let counts = |other: &&Field| {
                        other.name.text == count.text
                            && other.array == Array::No
                            && matches!(other.kind, Type::Base(base) if base.is_unsigned())
                    };
                    if *kind == Type::String || fields[..number].iter().find(counts).is_none() {
                        let message =
                            format!("`{}` counts nothing: expected an unsigned field above", count.text);
                        return Err(module.fault(&count.span, message));
                    }
                }
                (Array::Fixed(_), kind) if self.api.type_size(kind).variable => {
                    return fault(format!(
                        "`{label}`: an array of `{}`, which has no fixed size",
                        kind.word()
                    ));
                }
                (Array::Fixed(_), _) => {}
            }
            let variable = self.api.field_size(field).variable;
            if variable && union {
                return fault(format!("`{label}` has no fixed size: expected one in a union"));
            }
            if variable && number + 1 < fields.len() {
                return fault(format!("`{label}` has no fixed size: expected it to be the last field"));
            }
        }
        Ok(())
    }

    /// Adds automatic replies and gives each message its role.
    fn messages(&mut self, index: usize) -> Result<(), Fault> {
        let module = &self.api.modules[index];
        let mut messages: Vec<Message> = Vec::new();
        for statement in &module.statements {
            let Statement::Message(message) = statement else { continue };
            messages.push(message.clone());
            if message.autoreply {
                messages.push(autoreply(message));
            }
        }
        for message in &messages {
            if !self.messages.insert(message.name.text.clone()) {
                let text = format!("message `{}` is defined already", message.name.text);
                return Err(module.fault(&message.name.span, text));
            }
        }
        let names: HashSet<&str> = messages.iter().map(|message| message.name.text.as_str()).collect();
        let mut roles = explicit_roles(module, &names)?;
        let roles: Vec<Role> = messages
            .iter()
            .map(|message| {
                let name = message.name.text.as_str();
                roles.remove(name).unwrap_or_else(|| implicit_role(name, &names))
            })
            .collect();
        let resolved = messages.into_iter().zip(roles).map(|(message, role)| Resolved {
            class: class(&message.fields),
            message,
            role,
        });
        self.api.modules[index].messages = resolved.collect();
        Ok(())
    }
}

fn version(source: &Arc<Source>, statements: &[Statement]) -> Result<[u32; 3], Fault> {
    let setting = statements.iter().find_map(|statement| match statement {
        Statement::Option(setting) if setting.name.text == "version" => Some(setting),
        _ => None,
    });
    let expected = "expected option version = \"1.2.3\";";
    let Some(Setting { name, value }) = setting else {
        return Err(Fault::new(source, Span::default(), format!("found no version: {expected}")));
    };
    let parsed = match value {
        Some(Value::Text(text)) => {
            let numbers: Option<Vec<u32>> = text.split('.').map(|number| number.parse().ok()).collect();
            numbers.and_then(|numbers| numbers.try_into().ok())
        }
        _ => None,
    };
    parsed.ok_or_else(|| Fault::new(source, name.span, format!("this is no version: {expected}")))
}

fn check_enum(module: &Module, value: &Enum) -> Result<(), Fault> {
    let largest = u64::MAX >> (64 - 8 * value.base.size());
    for (number, entry) in value.entries.iter().enumerate() {
        let name = &entry.name.text;
        if entry.value > largest {
            let message = format!("`{name}` is {}: expected {largest} at most", entry.value);
            return Err(module.fault(&entry.name.span, message));
        }
        if value.flags && entry.value.count_ones() > 1 {
            let message = format!("`{name}` is {:#x}: expected a single bit in an enumflag", entry.value);
            return Err(module.fault(&entry.name.span, message));
        }
        if value.entries[..number].iter().any(|other| other.name.text == *name) {
            return Err(module.fault(&entry.name.span, format!("`{name}` is there already")));
        }
    }
    Ok(())
}

fn is_u32(field: &Field, name: &str) -> bool {
    field.name.text == name && field.kind == Type::Base(Base::U32) && field.array == Array::No
}

fn class(fields: &[Field]) -> Class {
    match fields {
        [index, context, ..] if is_u32(index, "client_index") && is_u32(context, "context") => Class::Request,
        [context, ..] if is_u32(context, "context") => Class::Reply,
        [index, ..] if is_u32(index, "client_index") => Class::Event,
        _ => Class::Other,
    }
}

fn autoreply(request: &Message) -> Message {
    let name = |text: &str| Name { text: text.to_owned(), span: request.name.span };
    let field = |text: &str, base| Field {
        name: name(text),
        kind: Type::Base(base),
        array: Array::No,
        settings: Vec::new(),
    };
    Message {
        name: name(&format!("{}_reply", request.name.text)),
        autoreply: false,
        settings: Vec::new(),
        fields: vec![field("context", Base::U32), field("retval", Base::I32)],
    }
}

/// What `service` says.
fn explicit_roles(module: &Module, names: &HashSet<&str>) -> Result<HashMap<String, Role>, Fault> {
    let known = |name: &Name| match names.contains(name.text.as_str()) {
        true => Ok(name.text.clone()),
        false => Err(module.fault(&name.span, format!("there is no message `{}` in this file", name.text))),
    };
    let mut roles = HashMap::new();
    for statement in &module.statements {
        let Statement::Service(rpcs) = statement else { continue };
        for Rpc { request, reply, stream, details, events } in rpcs {
            let role = match (reply, stream, details) {
                (_, _, Some(details)) => Role::Dump { details: known(details)? },
                (Some(reply), Some(details), None) => {
                    Role::Stream { details: known(details)?, reply: known(reply)? }
                }
                (Some(reply), None, None) => Role::Request {
                    reply: known(reply)?,
                    events: events.iter().map(known).collect::<Result<_, _>>()?,
                },
                (None, _, None) => Role::OneWay,
            };
            if roles.insert(known(request)?, role).is_some() {
                let message = format!("`{}` has a service already", request.text);
                return Err(module.fault(&request.span, message));
            }
        }
    }
    Ok(roles)
}

/// What names say where no service does.
fn implicit_role(name: &str, names: &HashSet<&str>) -> Role {
    if let Some(stem) = name.strip_suffix("_dump") {
        let details = format!("{stem}_details");
        if names.contains(details.as_str()) {
            return Role::Dump { details };
        }
    }
    let reply = format!("{name}_reply");
    if names.contains(reply.as_str()) {
        return Role::Request { reply, events: Vec::new() };
    }
    Role::Answer
}

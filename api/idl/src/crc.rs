// SPDX-License-Identifier: Apache-2.0
//! The CRC by which clients recognise a message.
//!
//! It covers the definition and every type that it uses, written as the lists of the original generator print
//! themselves: the text is the contract, down to quotes and blanks.

use std::fmt::Write;

use crate::ast::{Array, Enum, Field, Statement, Struct, Type};
use crate::compile::{Api, Definition, Module};

/// CRC-32 as of zlib (reflected, polynomial 0xedb88320), going on from an earlier value.
fn crc32(bytes: &[u8], seed: u32) -> u32 {
    !bytes.iter().fold(!seed, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn list<T>(items: &[T], mut write: impl FnMut(&mut String, &T)) -> String {
    let mut text = String::from("[");
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            text.push_str(", ");
        }
        write(&mut text, item);
    }
    text.push(']');
    text
}

fn block_text(fields: &[Field]) -> String {
    list(fields, |text, field| {
        let (kind, name) = (field.kind.word(), &field.name.text);
        // Writing to a String does not fail.
        let _ = match &field.array {
            Array::No => write!(text, "['{kind}', '{name}']"),
            Array::Fixed(length) => write!(text, "['{kind}', '{name}', {length}, None]"),
            Array::Counted(count) => write!(text, "['{kind}', '{name}', 0, '{}']", count.text),
            Array::Open => write!(text, "['{kind}', '{name}', 0, None]"),
        };
    })
}

fn enum_text(value: &Enum) -> String {
    let entries: Vec<_> = value.entries.iter().filter(|entry| !entry.backwards_compatible).collect();
    list(&entries, |text, entry| {
        let _ = write!(text, "['{}', {}]", entry.name.text, entry.value);
    })
}

fn definition_text(definition: Definition<'_>) -> String {
    match definition {
        Definition::Enum(value) => enum_text(value),
        Definition::Alias(_) => "[]".to_owned(),
        Definition::Struct(body) => block_text(&body.fields),
    }
}

/// CRC of a message.
pub fn message(api: &Api, fields: &[Field]) -> u32 {
    types(api, fields, crc32(block_text(fields).as_bytes(), 0))
}

/// Adds the types that fields name, and the types that those name, each time anew. What an alias stands for is left out.
fn types(api: &Api, fields: &[Field], crc: u32) -> u32 {
    fields.iter().fold(crc, |crc, field| {
        let Type::Named(name) = &field.kind else { return crc };
        let Some((_, definition)) = api.definition(&name.text) else { return crc };
        let crc = crc32(definition_text(definition).as_bytes(), crc);
        match definition {
            Definition::Struct(Struct { fields, .. }) => types(api, fields, crc),
            Definition::Enum(_) | Definition::Alias(_) => crc,
        }
    })
}

/// CRC of a file, with the types of what it imports.
pub fn module(api: &Api, module: &Module) -> u32 {
    fold(api, module, true, 0)
}

fn fold(api: &Api, module: &Module, outermost: bool, crc: u32) -> u32 {
    let mut imports = module.imports.iter();
    module.statements.iter().fold(crc, |crc, statement| match statement {
        Statement::Import(_) => {
            imports.next().map_or(crc, |import| fold(api, &api.modules[*import], false, crc))
        }
        Statement::Enum(value) => crc32(enum_text(value).as_bytes(), crc),
        Statement::Alias(_) => crc32(b"[]", crc),
        Statement::Struct(body) => crc32(block_text(&body.fields).as_bytes(), crc),
        Statement::Option(setting) if outermost => crc32(setting.name.text.as_bytes(), crc),
        Statement::Message(message) if outermost => crc32(block_text(&message.fields).as_bytes(), crc),
        Statement::Option(_) | Statement::Message(_) | Statement::Service(_) => crc,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile;
    use crate::error::Source;

    #[test]
    fn crc32_is_the_one_of_zlib() {
        assert_eq!(crc32(b"123456789", 0), 0xcbf4_3926);
        assert_eq!(crc32(b"6789", crc32(b"12345", 0)), 0xcbf4_3926);
    }

    #[test]
    fn text_and_crc_of_worked_examples() {
        let text = r#"
            option version = "1.0.0";
            typedef u32 interface_index;
            enum if_status_flags { IF_STATUS_API_FLAG_ADMIN_UP = 1, IF_STATUS_API_FLAG_LINK_UP = 2, };
            typedef ip_table { u32 table_id; bool is_ip6; string name[64]; };
            autoreply define sw_interface_set_flags {
                u32 client_index; u32 context;
                vl_api_interface_index_t sw_if_index; vl_api_if_status_flags_t flags;
            };
            autoreply define ip_table_add_del {
                u32 client_index; u32 context;
                bool is_add [default=true]; vl_api_ip_table_t table;
            };
            autoreply define acl { u32 client_index; u32 context; u8 count; u32 acls[count]; };
            autoreply define cli { u32 client_index; u32 context; string cmd[]; };
        "#;
        let api = compile(vec![Source { name: "t.api".into(), text: text.into() }]).unwrap();
        let fields = |name: &str| api.message(name).unwrap().1.message.fields.as_slice();
        assert_eq!(
            block_text(fields("sw_interface_set_flags")),
            "[['u32', 'client_index'], ['u32', 'context'], ['vl_api_interface_index_t', 'sw_if_index'], \
             ['vl_api_if_status_flags_t', 'flags']]"
        );
        assert_eq!(message(&api, fields("sw_interface_set_flags")), 0xf5ae_c1b8);
        assert_eq!(message(&api, fields("ip_table_add_del")), 0x0ffd_aec0);
        assert_eq!(message(&api, fields("cli_reply")), 0xe8d4_e804);
        assert!(block_text(fields("acl")).ends_with("['u32', 'acls', 0, 'count']]"));
        assert!(block_text(fields("cli")).ends_with("['string', 'cmd', 0, None]]"));
    }
}

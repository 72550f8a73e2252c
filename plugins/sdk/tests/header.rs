// SPDX-License-Identifier: Apache-2.0
//! `include/weft_plugin.h` says in C what `src/abi.rs` says in Rust: it is made from it, and a C compiler finds every
//! field where Rust has it. `WEFT_WRITE_HEADER=1 cargo test -p weft-plugin-sdk --test header` makes it anew.

use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cbindgen::{Config, DocumentationStyle, Language, LayoutConfig, Style};
use weft_plugin_sdk::abi;

/// What is only ever pointed to.
const OPAQUE: [&str; 4] = ["Main", "Worker", "Table", "Text"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names after `keyword` in the source.
fn names<'a>(source: &'a str, keyword: &str) -> Vec<&'a str> {
    let lines = source.lines().filter_map(|line| line.strip_prefix(keyword));
    lines.filter_map(|line| line.split([' ', ':', '{']).next()).collect()
}

/// `CounterRow` as `counter_row`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

fn generated() -> String {
    let path = folder().join("src/abi.rs");
    let source = std::fs::read_to_string(&path).expect("the source is there");
    let types = names(&source, "pub struct ").into_iter().map(|name| {
        // cbindgen does not know that these are structures.
        let tag = if OPAQUE.contains(&name) { "struct " } else { "" };
        (name, format!("{tag}weft_{}", snake(name)))
    });
    let constants = names(&source, "pub const ").into_iter().map(|name| (name, format!("WEFT_{name}")));
    let renamed: Vec<(&str, String)> = types.chain(constants).collect();
    let mut config = Config {
        language: Language::C,
        style: Style::Tag,
        cpp_compat: true,
        line_length: 120,
        tab_width: 4,
        documentation_style: DocumentationStyle::C99,
        include_guard: Some("WEFT_PLUGIN_H".to_owned()),
        no_includes: true,
        usize_is_size_t: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        header: Some(
            "// SPDX-License-Identifier: Apache-2.0\n// Made from plugins/sdk/src/abi.rs, which says what everything \
             means; do not edit."
                .to_owned(),
        ),
        after_includes: Some(format!(
            "\n// Tells apart two states of this file, which both are version 0.\n\
             #define WEFT_ABI_FINGERPRINT {:#018x}ull\n\n\
             // What a plugin exports: WEFT_EXPORT const struct weft_plugin weft_plugin = {{ ... }};\n\
             #define WEFT_EXPORT __attribute__((visibility(\"default\")))\n\
             #define WEFT_ALIGNED(n) __attribute__((aligned(n)))\n\n\
             struct weft_main;\nstruct weft_worker;\nstruct weft_table;\nstruct weft_text;\nstruct weft_vector;",
            abi::ABI_FINGERPRINT,
        )),
        layout: LayoutConfig { aligned_n: Some("WEFT_ALIGNED".to_owned()), ..LayoutConfig::default() },
        ..Config::default()
    };
    config.export.exclude = OPAQUE.map(str::to_owned).into();
    config.export.include = names(&source, "pub struct ").into_iter().map(str::to_owned).collect();
    config.export.include.retain(|name| !OPAQUE.contains(&name.as_str()));
    config.export.rename = renamed.iter().map(|(rust, c)| ((*rust).to_owned(), c.clone())).collect();
    let bindings = cbindgen::Builder::new().with_config(config).with_src(path).generate();
    let mut header = Vec::new();
    bindings.expect("abi.rs is within what cbindgen can").write(&mut header);
    let mut header = String::from_utf8(header).expect("it is text");
    for (rust, c) in renamed {
        header = header.replace(&format!("[`{rust}`]"), &format!("`{c}`"));
        header = header.replace(&format!("`{rust}::"), &format!("`{c}."));
    }
    header
}

fn compile(source: &str) {
    let mut compiler = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-x", "c", "-I"])
        .arg(folder().join("include"))
        .arg("-")
        .stdin(Stdio::piped())
        .spawn()
        .expect("a C compiler is there");
    let mut input = compiler.stdin.take().expect("it was piped");
    input.write_all(source.as_bytes()).expect("the compiler reads");
    drop(input);
    assert!(compiler.wait().expect("the compiler ends").success(), "{source}");
}

#[test]
fn the_header_is_what_the_source_says() {
    let path = folder().join("include/weft_plugin.h");
    if std::env::var_os("WEFT_WRITE_HEADER").is_some() {
        std::fs::write(&path, generated()).expect("the header can be written");
    }
    let there = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
    assert!(
        there == generated(),
        "make it anew: WEFT_WRITE_HEADER=1 cargo test -p weft-plugin-sdk --test header"
    );
}

#[test]
fn c_has_every_field_where_rust_has_it() {
    let mut source = String::from("#include <weft_plugin.h>\n");
    macro_rules! same {
        ($($type:ident as $c:literal { $($field:ident),* })*) => { $(
            let size = size_of::<abi::$type>();
            writeln!(source, "_Static_assert(sizeof(struct {}) == {size}, \"{0}\");", $c).unwrap();
            $(
                let offset = std::mem::offset_of!(abi::$type, $field);
                let (c, field) = ($c, stringify!($field));
                writeln!(source, "_Static_assert(offsetof(struct {c}, {field}) == {offset}, \"{c}.{field}\");").unwrap();
            )*
        )* };
    }
    same! {
        Plugin as "weft_plugin" { magic, abi_version, size, fingerprint, name, version, summary, depends, init, exit, export_state,
            import_state, event }
        Event as "weft_event" { size, kind, object, changes }
        Host as "weft_host" { size, abi_version, write, add_node, add_field, trace, configuration, counter, defer, allocate, send, free, add_message,
            define_api, add_api_message, send_event, table_new, table_find, table_length }
        Message as "weft_message" { size, name, user, run, forget }
        ApiMessage as "weft_api_message" { size, name, user, run, forget }
        ApiRequest as "weft_api_request" { size, uid, session, name, name_length, body, length, place, client_index }
        ApiReply as "weft_api_reply" { size, retval, next, body }
        Node as "weft_node" { size, kind, period_ms, hands_off, name, edges, drops, drops_length, events_length, events, user, open,
            process, wait, close, trace, forget }
        Wait as "weft_wait" { size, busy, fd, within_ms, failure, host }
        Found as "weft_found" { slot, version }
        TableEntry as "weft_table_entry" { found, seen, key, value }
        RuleSet as "weft_rule_set" { size, exempt, name, rules, rules_length, attachments, attachments_length }
        Reason as "weft_reason" { name, text, severity }
        Feature as "weft_feature" { size, arc, node, after, before }
        Handler as "weft_handler" { size, number, registry, reason, node }
        Command as "weft_command" { size, path, synopsis, help, user, run, forget }
        Setting as "weft_setting" { size, kind, of_interface, name, help, what, words, low, high, initial, user, changed, forget }
        SettingValue as "weft_setting_value" { size, interface, none, text_length, number, text }
        Timer as "weft_timer" { size, period_ms, user, run, forget }
        Trace as "weft_trace" { size, length, metadata, data, fields, mark, record_length, record }
        CounterRow as "weft_counter_row" { cells, length }
        Vector as "weft_vector" { size, count, thread, buffers, nexts, metadata, slots, chain, chain_length, done,
            reason_base, edges, edges_length, punt, workers, now, state, events, events_length, counters_length, counters, host,
            worker, failure, fields, mark, tracing, hands_off, drops_length }
        Metadata as "weft_metadata" { data_offset, length, flags, rx_interface, feature, table, network_offset, link_offset,
            reason, scratch }
        Fields as "weft_fields" { bytes }
    }
    compile(&source);
}

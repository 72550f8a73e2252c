// SPDX-License-Identifier: Apache-2.0
//! What the compiler says about definitions that are wrong: where, what was found, what was expected.

use proptest::prelude::*;
use weft_api_idl::{Source, compile};

const HEAD: &str = "option version = \"1.0.0\";\n";

fn sources(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(name, text)| Source { name: (*name).into(), text: format!("{HEAD}{text}") }).collect()
}

/// The fault in the first file; lines count from the one after the version.
fn fault(files: &[(&str, &str)]) -> String {
    let fault = compile(sources(files)).expect_err("this must not compile");
    let (line, column) = fault.position();
    format!("{}:{column}: {}", line - 1, fault.message())
}

fn fault_in(text: &str) -> String {
    fault(&[("t.api", text)])
}

#[test]
fn a_fault_shows_the_place() {
    let text = "define x {\n    u32 context;\n    u33 y;\n};";
    let fault = compile(sources(&[("vnet/t.api", text)])).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "vnet/t.api:4:5: found `u33`: expected option, a type: u8, ..., bool, f64, string or vl_api_<name>_t or `}`
  4 |     u33 y;
    |     ^^^"
    );
}

#[test]
fn grammar() {
    assert_eq!(fault_in("define x {\n  u32 a\n};"), "3:1: found `}`: expected `;`");
    assert_eq!(fault_in("import \"a\""), "1:11: found the end of the file: expected `;`");
    assert_eq!(fault_in("import a;"), "1:8: found `a`: expected a text in quotes");
    assert_eq!(fault_in("enum e { A = x };"), "1:14: found `x`: expected a number");
    assert_eq!(fault_in("enum e : i8 { A };"), "1:6: `i8` below an enum: expected u8, u16, u32 or u64");
    assert_eq!(fault_in("enum e { A B };"), "1:12: found `B`: expected `,` or `}`");
    assert_eq!(fault_in("typedef u8 mac[0];"), "1:16: a length of 0: expected 1 to 65535");
    assert_eq!(fault_in("service { rpc a gives b; };"), "1:17: found `gives`: expected returns");
    assert_eq!(fault_in("autoreply typedef x { u8 a; };"), "1:11: found `typedef`: expected define");
    assert_eq!(
        fault_in("struct x { };"),
        "1:1: found `struct`: expected option, import, enum, enumflag, union, service, define, \
         typedef or the end of the file"
    );
}

#[test]
fn names() {
    assert_eq!(fault_in("typedef t { vl_api_u_t a; };"), "1:13: type `u` is not defined above nor imported");
    assert_eq!(
        fault(&[("t.api", "typedef vl_api_u_t t;"), ("u.api", "typedef u8 u;")]),
        "1:9: type `u` is not defined above nor imported"
    );
    assert_eq!(
        fault(&[("a.api", "typedef u8 u;"), ("t.api", "typedef vl_api_u_t t;")]),
        "1:9: type `u` is not imported: expected import \"a.api\";"
    );
    assert_eq!(fault_in("typedef u8 t;\ntypedef u8 t;"), "2:12: type `t` is defined in t.api already");
    assert_eq!(fault_in("typedef t { u8 a; u8 a; };"), "1:22: `t` has a field `a` already");
    assert_eq!(fault_in("define m { };\ndefine m { };"), "2:8: message `m` is defined already");
    assert_eq!(
        fault_in("autoreply define m { };\ndefine m_reply { };"),
        "2:8: message `m_reply` is defined already"
    );
    assert_eq!(fault_in("enum e { A, A };"), "1:13: `A` is there already");
    assert_eq!(fault_in("service { rpc m returns null; };"), "1:15: there is no message `m` in this file");
    assert_eq!(fault_in("import \"no.api\";"), "1:8: there is no file `no.api`");
    assert_eq!(
        fault(&[("a.api", "import \"b.api\";"), ("b.api", "import \"a.api\";")]),
        "1:8: `a.api` imports itself, by this file"
    );
    assert_eq!(
        fault(&[("a/t.api", ""), ("b/t.api", "")]),
        "0:1: `a/t.api` is called `t` already: expected another file name"
    );
}

#[test]
fn shapes() {
    assert_eq!(
        fault_in("define m { u8 n; u32 a[n]; u8 b; };"),
        "1:22: `a` has no fixed size: expected it to be the last field"
    );
    assert_eq!(
        fault_in("define m { i8 n; u32 a[n]; };"),
        "1:24: `n` counts nothing: expected an unsigned field above"
    );
    assert_eq!(
        fault_in("define m { string s; };"),
        "1:19: string `s` without a size: expected `[64]` or `[]`"
    );
    assert_eq!(fault_in("define m { u8 a[]; };"), "1:15: `a[]` is no string: expected the field that counts");
    assert_eq!(
        fault_in("union u { string s[]; u8 a; };"),
        "1:18: `s` has no fixed size: expected one in a union"
    );
    assert_eq!(
        fault_in("typedef t { string s[]; };\ndefine m { vl_api_t_t a[2]; };"),
        "2:23: `a`: an array of `vl_api_t_t`, which has no fixed size"
    );
    assert_eq!(fault_in("typedef string s;"), "1:16: `string` has no fixed size");
    assert_eq!(fault_in("typedef t { };"), "1:9: found no field: expected one or more");
    assert_eq!(fault_in("enum e : u8 { A = 256 };"), "1:15: `A` is 256: expected 255 at most");
    assert_eq!(fault_in("enumflag e { A = 3 };"), "1:14: `A` is 0x3: expected a single bit in an enumflag");
}

#[test]
fn a_file_has_a_version() {
    let compile = |text: &str| compile(vec![Source { name: "t.api".into(), text: text.into() }]);
    let fault = compile("typedef u8 t;").unwrap_err();
    assert_eq!(fault.message(), "found no version: expected option version = \"1.2.3\";");
    let fault = compile("option version = \"1.2\";").unwrap_err();
    assert_eq!(fault.message(), "this is no version: expected option version = \"1.2.3\";");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in a file, there is an answer.
    #[test]
    fn any_text_has_an_answer(words in prop::collection::vec(
        prop::sample::select(vec![
            "define", "typedef", "union", "enum", "enumflag", "service", "rpc", "returns", "stream", "events", "import",
            "option", "autoreply", "u8", "u32", "string", "vl_api_a_t", "a", "b", "{", "}", "[", "]", ";", "=", ",", ":",
            "-", "0", "7", "0xffffffffffffffff", "1.5", "\"x\"", "//", "/*", "*/", "\n", "ü",
        ]),
        0..40,
    )) {
        let text = format!("{HEAD}{}", words.join(" "));
        if let Err(fault) = compile(vec![Source { name: "t.api".into(), text }]) {
            prop_assert!(!fault.to_string().is_empty());
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Compiles `api/**/*.api` to Rust and to `.api.json`.
//!
//! The `.api.json` files go to `api/core` and `api/plugins` below the output folder, as clients expect them below
//! `/usr/share/vpp/api`, and into the library.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use weft_api_idl::{compile, json, read, rust};

/// Its messages have fixed ids, counted from its first, so it comes first.
const FIRST: &str = "vlibmemory/memclnt.api";

fn main() {
    if let Err(error) = generate() {
        // The message is made for people, and cargo shows what a failed build script prints.
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn generate() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=api");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut sources = read("api".as_ref())?;
    sources.sort_by_key(|source| source.name != FIRST);
    let api = compile(sources)?;
    for module in &api.modules {
        let folder = out.join("api").join(module.folder());
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_string(&json::module(&api, module))?;
        fs::write(folder.join(format!("{}.api.json", module.name)), text)?;
    }
    let json = |module: &weft_api_idl::Module| {
        format!("concat!(env!(\"OUT_DIR\"), \"/api/{}/{}.api.json\")", module.folder(), module.name)
    };
    fs::write(out.join("api.rs"), rust::source(&api, json))?;
    // What others import.
    let texts = api.modules.iter().map(|module| {
        let path = module.path();
        format!("({path:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/api/{path}\"))),")
    });
    fs::write(out.join("sources.rs"), format!("&[{}]", texts.collect::<String>()))?;
    // For tests that are about all messages.
    fs::write(out.join("messages.rs"), rust::messages(&api))?;
    Ok(())
}

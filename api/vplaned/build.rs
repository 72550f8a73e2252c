// SPDX-License-Identifier: Apache-2.0
//! Compiles `proto/*.proto` without a system protoc.

use std::path::Path;

/// One package per file, so that each file becomes a module of its own (`proto::arp`, ...).
const FILES: [&str; 3] = ["commands.proto", "envelope.proto", "route.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new("proto");
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, [folder])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}

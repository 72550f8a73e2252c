// SPDX-License-Identifier: Apache-2.0
//! Compiles the XDP program and generates its typed skeleton. Needs clang and the kernel's headers
//! (linux-libc-dev); libbpf and its headers come with libbpf-rs, which links libelf and zlib of the
//! system.

use std::env;
use std::path::PathBuf;

use libbpf_cargo::SkeletonBuilder;

const SOURCE: &str = "src/af_xdp/program/xdp.bpf.c";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("xdp.skel.rs");
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target");
    // asm/types.h lives in the multiarch folder of Debian, which clang doesn't search for the bpf
    // target.
    let include = format!("/usr/include/{architecture}-linux-gnu");
    if let Err(error) = SkeletonBuilder::new()
        .source(SOURCE)
        .clang_args(["-I", &include, "-Wall", "-Werror"])
        .build_and_generate(&out)
    {
        panic!(
            "compile {SOURCE}: {error:#}; it takes clang and linux-libc-dev (apt-get install clang linux-libc-dev)"
        );
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The server against vpp_papi, the client that scripts for VPP are written with, unchanged from PyPI.

use std::path::Path;
use std::process::Command;

use weft_binapi::server::Options;

use crate::daemon::Daemon;

#[test]
fn vpp_papi_works_unchanged() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let packages = target.join("tools/python");
    assert!(
        packages.join("vpp_papi").exists(),
        "{} has no vpp_papi: run scripts/setup test",
        packages.display()
    );
    let daemon = Daemon::with(Options::default(), 3);
    let output = Command::new("/usr/bin/python3")
        .env("PYTHONPATH", packages)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/papi.py"))
        .arg(&daemon.path)
        .arg(concat!(env!("OUT_DIR"), "/api"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().last(), Some("all done"), "{text}");
}

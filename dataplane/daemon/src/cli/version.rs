// SPDX-License-Identifier: Apache-2.0
//! `show version`.

use serde::Serialize;
use weft_cli::{Command, Reply};

use super::left;
use crate::VERSION;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Version {
    version: &'static str,
    build: &'static str,
    machine: &'static str,
    kernel: String,
    pid: u32,
    /// Seconds.
    uptime: u64,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show version", |dataplane: &mut Dataplane, args| {
            let verbose = args.keyword("verbose");
            args.finish()?;
            let version = Version {
                version: VERSION,
                build: if cfg!(debug_assertions) { "debug" } else { "release" },
                machine: std::env::consts::ARCH,
                kernel: nix::sys::utsname::uname()
                    .map(|name| name.release().to_string_lossy().into_owned())
                    .unwrap_or_default(),
                pid: std::process::id(),
                uptime: dataplane.uptime().as_secs(),
            };
            Ok(Reply::new(version, move |version| render(version, verbose)))
        })
        .synopsis("[verbose]")
        .help("Version of the daemon"),
    ]
}

fn render(version: &Version, verbose: bool) -> String {
    // As in VPP, the second word is the version.
    let first = format!("weft v{} built for {} as {}\n", version.version, version.machine, version.build);
    if !verbose {
        return first;
    }
    let line = |label: &str, value: String| format!("{}{value}\n", left(label, 25));
    [
        line("Version:", version.version.to_owned()),
        line("Build:", format!("{} for {}", version.build, version.machine)),
        line("Kernel:", version.kernel.clone()),
        line("Current PID:", version.pid.to_string()),
        line("Uptime:", format!("{} s", version.uptime)),
    ]
    .concat()
}

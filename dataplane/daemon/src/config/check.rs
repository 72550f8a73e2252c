// SPDX-License-Identifier: Apache-2.0
//! What can be known of a configuration on this machine without starting: `--check-config` asks, so that a file that it calls good
//! starts.

use std::path::Path;

use super::{Config, cpu::Workers};
use crate::topology::Topology;

/// What is wrong with a configuration on this machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The start would fail.
    pub errors: Vec<String>,
    /// The start would do without something.
    pub warnings: Vec<String>,
}

/// Looks at cores, folders, files and interfaces.
pub fn machine(config: &Config, topology: &Topology) -> Findings {
    let mut found = Findings::default();
    let workers = match config.cpu.place(topology.mask(), &topology.cores()) {
        Ok(placement) => placement.workers.len(),
        Err(error) => {
            found.errors.push(error.to_string());
            match &config.cpu.workers {
                Workers::Count(count) => count.get() as usize,
                Workers::On(cores) => cores.len(),
            }
        }
    };
    for interface in &config.interfaces {
        interface.check(workers, &mut found);
    }
    let unix = &config.unix;
    let folder = |path: &Path| path.parent().is_none_or(|folder| folder.is_dir());
    let in_runtime_dir = |path: &Path| path.starts_with(&unix.runtime_dir);
    if let Some(log) = unix.log.as_ref().map(|log| unix.in_runtime_dir(log))
        && !in_runtime_dir(&log)
        && !folder(&log)
    {
        let place = log.parent().unwrap_or(&log).display();
        found.warnings.push(format!("unix {{ log }}: there is no folder {place}, so there will be no log"));
    }
    if let Some(pidfile) = unix.pidfile.as_ref().map(|path| unix.in_runtime_dir(path))
        && !in_runtime_dir(&pidfile)
        && !folder(&pidfile)
    {
        let place = pidfile.parent().unwrap_or(&pidfile).display();
        found.errors.push(format!("unix {{ pidfile }}: there is no folder {place}"));
    }
    let sockets = [
        ("unix { weftctl-listen }", &unix.weftctl_listen),
        ("statseg { socket-name }", &config.statseg.socket),
        ("socksvr { socket-name }", &config.socksvr.socket),
    ];
    for (setting, path) in sockets {
        let path = unix.in_runtime_dir(path);
        if !in_runtime_dir(&path) && !folder(&path) {
            let place = path.parent().unwrap_or(&path).display();
            found.errors.push(format!("{setting}: there is no folder {place}"));
        }
    }
    if let Some(commands) = unix.startup_config.as_ref().map(|path| unix.in_runtime_dir(path))
        && !commands.is_file()
    {
        let path = commands.display();
        found
            .warnings
            .push(format!("unix {{ startup-config }}: there is no file {path}, so no command will be run"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, parse};

    fn findings(text: &str) -> Findings {
        let config = parse(&Source::from_text("f", text)).expect("well-formed").config;
        machine(&config, &Topology::read().expect("this machine has cores"))
    }

    #[test]
    fn what_would_not_start_here_is_found_by_the_setting() {
        assert_eq!(findings(""), Findings::default());
        let found = findings("cpu { main-core 0 corelist-workers 1001 }");
        assert!(found.errors[0].starts_with("cpu: core 1001 is not there"), "{found:?}");
        let found = findings("interfaces { af_xdp lo { workers 7 } }");
        assert_eq!(
            found.errors,
            ["interfaces { af_xdp lo { workers } }: there is no worker 7: there are 1, counted from 0"]
        );
        let found = findings(
            "unix { log /nowhere/log pidfile /nowhere/pid startup-config /nowhere/commands }
             statseg { socket-name /nowhere/stats.sock }",
        );
        assert!(found.warnings[0].starts_with("unix { log }: there is no folder /nowhere"), "{found:?}");
        assert!(found.warnings[1].starts_with("unix { startup-config }: there is no file"), "{found:?}");
        assert_eq!(
            found.errors,
            [
                "unix { pidfile }: there is no folder /nowhere",
                "statseg { socket-name }: there is no folder /nowhere"
            ]
        );
        // The runtime directory is made.
        assert_eq!(findings("unix { runtime-dir /nowhere log log }"), Findings::default());
        let found = findings("interfaces { af_xdp no-such-nic }");
        assert!(found.errors.is_empty() && found.warnings[0].contains("no-such-nic"), "{found:?}");
    }
}

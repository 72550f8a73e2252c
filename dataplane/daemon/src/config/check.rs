// SPDX-License-Identifier: Apache-2.0
//! What can be known of a configuration on this machine without starting. `--check-config` asks for it ([`crate::trial::check`]).

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use weft_background::file;

use super::unix::CliListen;
use super::{Config, Position, Source, cpu::Workers};
use crate::topology::Topology;

/// Something that is wrong with a configuration on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where in the file, if it is about one place.
    pub place: Option<Position>,
    /// The sentence.
    pub text: String,
}

impl Finding {
    /// The sentence with its place in the file of that name.
    pub fn said_of(&self, name: &str, severity: &str) -> String {
        match self.place {
            Some(place) => format!("{name}:{place}: {severity}: {}", self.text),
            None => format!("{name}: {severity}: {}", self.text),
        }
    }
}

/// All of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The start would fail.
    pub errors: Vec<Finding>,
    /// The start would do without something.
    pub warnings: Vec<Finding>,
    /// What is looked at.
    here: Option<Position>,
}

impl Findings {
    /// What follows is about this place.
    pub fn at(&mut self, place: Option<Position>) {
        self.here = place;
    }

    /// The start would fail.
    pub fn error(&mut self, text: impl Into<String>) {
        self.errors.push(Finding { place: self.here, text: text.into() });
    }

    /// The start would do without something.
    pub fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(Finding { place: self.here, text: text.into() });
    }
}

/// Looks at cores, folders, files and interfaces.
pub fn machine(config: &Config, source: &Source, topology: &Topology) -> Findings {
    let mut found = Findings::default();
    let workers = match config.cpu.place(topology.mask(), &topology.cores()) {
        Ok(placement) => placement.workers.len(),
        Err(error) => {
            found.error(error.to_string());
            match &config.cpu.workers {
                Workers::Count(count) => count.get() as usize,
                Workers::On(cores) => cores.len(),
            }
        }
    };
    for interface in &config.interfaces {
        found.at(Some(source.position(interface.common().span.start)));
        interface.check(workers, &mut found);
    }
    found.at(None);
    files(config, &mut found);
    found
}

/// What a socket's address holds (`sun_path`), without the byte that ends it.
const LONGEST_SOCKET: usize = 107;

fn files(config: &Config, found: &mut Findings) {
    let unix = &config.unix;
    // Folders of the runtime directory are made.
    let lacks = |path: &Path| {
        let is_made = path.starts_with(&unix.runtime_dir) || path.parent().is_none_or(Path::is_dir);
        (!is_made).then(|| path.parent().unwrap_or(path).display().to_string())
    };
    let kind = |path: &Path| path.metadata().ok().map(|found| found.file_type());
    if let Some(log) = unix.log.as_ref().map(|log| unix.in_runtime_dir(log)) {
        if let Some(place) = lacks(&log) {
            found.warning(format!("unix {{ log }}: there is no folder {place}, so there will be no log"));
        }
        let is_log =
            |is: &std::fs::FileType| is.is_file() || is.is_char_device() || file::handed_over(&log).is_some();
        if let Some(is) = kind(&log).filter(|is| !is_log(is)) {
            let (path, is) = (log.display(), file::kind(is));
            found.warning(format!(
                "unix {{ log }}: {path} is {is}, not a regular file, so there will be no log"
            ));
        }
    }
    if let Some(pidfile) = unix.pidfile.as_ref().map(|path| unix.in_runtime_dir(path)) {
        if let Some(is) = kind(&pidfile).filter(|is| !is.is_file()) {
            let (path, is) = (pidfile.display(), file::kind(is));
            found.error(format!("unix {{ pidfile }}: {path} is {is}, not a regular file"));
        }
        if let Some(place) = lacks(&pidfile) {
            found.error(format!("unix {{ pidfile }}: there is no folder {place}"));
        }
    }
    let sockets = [
        ("unix { weftctl-listen }", &unix.weftctl_listen),
        ("statseg { socket-name }", &config.statseg.socket),
        ("socksvr { socket-name }", &config.socksvr.socket),
    ];
    let listen = unix.cli_listen.iter().filter_map(|listen| match listen {
        CliListen::Path(path) => Some(("unix { cli-listen }", path)),
        CliListen::Tcp { .. } => None,
    });
    for (setting, path) in sockets.into_iter().chain(listen.clone()) {
        let path = unix.in_runtime_dir(path);
        let length = path.as_os_str().len();
        if length > LONGEST_SOCKET {
            found.error(format!(
                "{setting}: the path of a socket has at most {LONGEST_SOCKET} bytes, found {length}: {}",
                path.display()
            ));
        }
    }
    for (setting, path) in sockets {
        if let Some(place) = lacks(&unix.in_runtime_dir(path)) {
            found.error(format!("{setting}: there is no folder {place}"));
        }
    }
    if let Some(commands) = unix.startup_config.as_ref().map(|path| unix.in_runtime_dir(path))
        && !commands.is_file()
    {
        let path = commands.display();
        found.warning(format!(
            "unix {{ startup-config }}: there is no file {path}, so no command will be run"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn findings(text: &str) -> Findings {
        let source = Source::from_text("f", text);
        let config = parse(&source).expect("well-formed").config;
        crate::trial::check(&config, &source, &Topology::read().expect("this machine has cores"))
    }

    fn texts(list: &[Finding]) -> Vec<&str> {
        list.iter().map(|finding| finding.text.as_str()).collect()
    }

    #[test]
    fn what_would_not_start_here_is_found_by_the_setting() {
        assert_eq!(findings(""), Findings::default());
        let found = findings("cpu { main-core 0 corelist-workers 1001 }");
        assert!(found.errors[0].text.starts_with("cpu: core 1001 is not there"), "{found:?}");
        let found = findings("interfaces { af_xdp lo { workers 7 } }");
        assert_eq!(
            texts(&found.errors),
            ["interfaces { af_xdp lo { workers } }: there is no worker 7: there are 1, counted from 0"]
        );
        let found = findings(
            "unix { log /nowhere/log pidfile /nowhere/pid startup-config /nowhere/commands }
             statseg { socket-name /nowhere/stats.sock }",
        );
        assert!(found.warnings[0].text.starts_with("unix { log }: there is no folder /nowhere"), "{found:?}");
        assert!(found.warnings[1].text.starts_with("unix { startup-config }: there is no file"), "{found:?}");
        assert_eq!(
            texts(&found.errors),
            [
                "unix { pidfile }: there is no folder /nowhere",
                "statseg { socket-name }: there is no folder /nowhere"
            ]
        );
        // The runtime directory is made.
        assert_eq!(findings("unix { runtime-dir /nowhere log log }"), Findings::default());
        let found = findings("interfaces { af_xdp no-such-nic }");
        assert!(found.errors.is_empty() && found.warnings[0].text.contains("no-such-nic"), "{found:?}");
    }

    #[test]
    fn paths_and_addresses_that_the_start_cannot_use_are_found() {
        let long = format!("/tmp/{}", "x".repeat(103));
        for (text, error) in [
            ("unix { cli-listen 300.1.1.1:99 }", "unix { cli-listen }: cli-listen 300.1.1.1:99: "),
            ("unix { pidfile /tmp }", "unix { pidfile }: /tmp is a directory, not a regular file"),
            ("unix { pidfile /dev/null }", "unix { pidfile }: /dev/null is a device, not a regular file"),
            (
                "interfaces { tap t { host-ns nosuchns } }",
                "interfaces { tap t { host-ns } }: network namespace ",
            ),
            (
                "vplaned { authentication elliptic-curve certificate /nowhere/c controller-certificate /nowhere/d }",
                "vplaned: authentication elliptic-curve: ",
            ),
        ] {
            let found = findings(text);
            assert!(found.errors.len() == 1 && found.errors[0].text.starts_with(error), "{text}: {found:?}");
        }
        for setting in
            ["unix { weftctl-listen", "unix { cli-listen", "statseg { socket-name", "socksvr { socket-name"]
        {
            let found = findings(&format!("{setting} {long} }}"));
            let error =
                format!("{setting} }}: the path of a socket has at most 107 bytes, found 108: {long}");
            assert_eq!(texts(&found.errors), [error], "{setting}");
            assert_eq!(findings(&format!("{setting} {} }}", &long[..107])), Findings::default(), "{setting}");
        }
        let found = findings("unix { log /dev }");
        assert_eq!(
            texts(&found.warnings),
            ["unix { log }: /dev is a directory, not a regular file, so there will be no log"]
        );
        assert!(found.errors.is_empty());
        assert_eq!(findings("unix { log /dev/null }"), Findings::default());
    }

    #[test]
    fn what_the_start_would_refuse_is_found_with_its_place() {
        for (text, error) in [
            ("statseg { size 6m }", "f: error: "),
            (
                "interfaces {\n  loopback 1 { unnumbered nobody }\n}",
                "f:2:27: error: interface loop1: unnumbered",
            ),
            (
                "interfaces {\n  loopback 1\n  loopback 2 { unnumbered loop2 }\n}",
                "f:3:27: error: interface loop2: ",
            ),
            ("settings {\n  neighbor-limit 4294967295\n}", "f:2:18: error: settings: neighbor-limit"),
            ("interfaces {\n  af_xdp lo { mtu 30443 }\n}", "f:2:10: error: interface lo: mtu 30443"),
            (
                "interfaces {\n  tap lo\n}",
                "f:2:7: error: interfaces { tap lo }: there is a network interface lo already",
            ),
            ("interfaces { af_xdp lo { busy-poll-budget 9 } }", "busy-poll-budget needs busy-poll-usec too"),
        ] {
            let found = findings(text);
            let said: Vec<String> =
                found.errors.iter().map(|finding| finding.said_of("f", "error")).collect();
            assert!(said.iter().any(|said| said.contains(error)), "{text}: {said:?}");
        }
        let found = findings("plugins { plugin no-such.so { enable } }");
        assert!(found.errors.is_empty() && found.warnings[0].text.contains("no-such.so"), "{found:?}");
        // Neither a folder nor a socket is made.
        let flows = "unix { runtime-dir /nowhere } interfaces { loopback 1 { flow-tracking track } }";
        assert_eq!(findings(flows), Findings::default());
        let found = findings("settings { nobody.limit 3 }");
        assert!(found.errors.is_empty() && found.warnings[0].text.contains("nobody.limit"), "{found:?}");
        assert_eq!(
            findings(
                "interfaces { loopback 1 { ip address 192.0.2.1/32 }\nloopback 2 { unnumbered loop1 } }"
            ),
            Findings::default()
        );
    }
}

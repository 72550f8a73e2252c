// SPDX-License-Identifier: Apache-2.0
//! A dataplane with workers on threads of their own, for unit tests: no namespace, no socket, no right is needed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use weft_cli::{CliError, Reply};

use crate::assembly::assemble;
use crate::config::{Config, Source, parse};
use crate::log::Recent;
use crate::state::Dataplane;
use crate::threads::{Place, Plan, WorkerThreads};
use crate::topology::Topology;

/// Beds of this process so far, for the name of each one's folder.
static BEDS: AtomicU32 = AtomicU32::new(0);

/// A running dataplane. Its runtime directory is a folder of its own, which goes with it.
pub struct Bed {
    pub dataplane: Dataplane,
    folder: PathBuf,
}

impl Bed {
    /// As `config` says, with so many workers, which share the cores that there are.
    pub fn new(config: &str, workers: usize) -> Bed {
        let config = parse(&Source::from_text("test", config)).expect("a good configuration").config;
        Bed::make(config, workers).expect("memory for a dataplane")
    }

    /// With one worker; `None` if the configuration does not do.
    pub fn of(config: Config) -> Option<Bed> {
        Bed::make(config, 1).ok()
    }

    fn make(mut config: Config, workers: usize) -> anyhow::Result<Bed> {
        let number = BEDS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("weft-bed-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).context("a folder in the temporary directory")?;
        config.unix.runtime_dir = folder.clone();
        let cores: Vec<_> = Topology::read().expect("this machine has cores").cores().into_iter().collect();
        let place = |name: String, number: usize| Place {
            name,
            core: cores[number % cores.len()],
            numa: 0,
            scheduler: config.cpu.scheduler,
        };
        let plan = Plan {
            main: place("weft_main".into(), 0),
            workers: (0..workers).map(|number| place(format!("weft_wk_{number}"), number + 1)).collect(),
        };
        let (mut dataplane, workers) = assemble(config, plan, Recent::default())?;
        let threads = WorkerThreads::start(workers, &dataplane.plan().workers);
        dataplane.put_part(Box::new(threads.expect("threads for the workers")));
        Ok(Bed { dataplane, folder })
    }

    /// What a command answers, or why it does not.
    pub fn execute(&mut self, command: &str) -> Result<Reply, CliError> {
        let tree = self.dataplane.commands();
        tree.execute(&mut self.dataplane, command)
    }

    /// What a command answers.
    pub fn text(&mut self, command: &str) -> String {
        let reply = self.execute(command);
        reply.unwrap_or_else(|error| panic!("{command}: {error}")).to_text()
    }

    /// The same, as JSON.
    pub fn json(&mut self, command: &str) -> Value {
        let reply = self.execute(command);
        let json = reply.unwrap_or_else(|error| panic!("{command}: {error}")).to_json();
        serde_json::from_str(json.expect("every answer is JSON too").get()).expect("well-formed JSON")
    }

    /// Why a command is refused.
    pub fn refusal(&mut self, command: &str) -> CliError {
        match self.execute(command) {
            Err(error) => error,
            Ok(reply) => panic!("{command} should be refused, and says: {}", reply.to_text()),
        }
    }

    /// Lets the main loop's work be done until nothing of it waits.
    pub fn rest(&mut self) {
        let idle = self.dataplane.settle(Duration::from_secs(10), |dataplane| !dataplane.poll());
        assert!(idle, "nothing waits for the workers any more");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let (threads, control) = self.dataplane.part_and_control::<WorkerThreads>();
        let ended = threads.stop(control.engine(), Duration::from_secs(10));
        // Whatever a test leaves there is its own.
        let _ = std::fs::remove_dir_all(&self.folder);
        if !std::thread::panicking() {
            assert!(ended, "the workers end");
        }
    }
}

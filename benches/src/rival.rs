// SPDX-License-Identifier: Apache-2.0
//! A rival in a process of its own (`benches/rivals/dpdk`), which takes turns with ours round by round.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// The running process.
pub struct Rival {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Of the tables, as DPDK's allocator counts.
    pub bytes: usize,
    /// Time to build them.
    pub build_milliseconds: f64,
}

impl Rival {
    /// Hands over what to look for and among what, and waits until it is built in.
    pub fn start(program: &Path, method: &str, text: &str) -> Result<Rival> {
        let file = std::env::temp_dir().join(format!("weft-bench-{method}-{}", std::process::id()));
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        let started =
            Command::new(program).arg(method).arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = started.with_context(|| format!("start {}", program.display()))?;
        let input = process.stdin.take().context("a piped input")?;
        let output = BufReader::new(process.stdout.take().context("a piped output")?);
        let mut rival = Rival { process, input, output, bytes: 0, build_milliseconds: 0.0 };
        let ready = rival.line();
        std::fs::remove_file(&file).ok();
        let ready = ready?;
        let mut words = ready.split_whitespace();
        let (Some("ready"), Some(bytes), Some(milliseconds)) = (words.next(), words.next(), words.next())
        else {
            bail!("the rival said '{ready}', expected 'ready BYTES MILLISECONDS'");
        };
        rival.bytes = bytes.parse()?;
        rival.build_milliseconds = milliseconds.parse()?;
        Ok(rival)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the rival ended: {}", self.process.wait()?);
        }
        Ok(line.trim().to_owned())
    }

    /// Clocks per packet of a round over all of them.
    pub fn round(&mut self) -> Result<f64> {
        self.input.write_all(b"round\n")?;
        Ok(self.line()?.parse()?)
    }

    /// What each of these packets finds.
    pub fn results(&mut self, packets: usize) -> Result<Vec<i64>> {
        self.input.write_all(b"results\n")?;
        (0..packets).map(|_| Ok(self.line()?.parse()?)).collect()
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // It ends by itself when its input ends; should it hang, not with us.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

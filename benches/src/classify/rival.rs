// SPDX-License-Identifier: Apache-2.0
//! DPDK's classifier in a process of its own (`benches/rivals/dpdk`), which takes turns with ours round by round.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use weft_classify::{Match, Rule};

use super::rules::Tuple;

/// What of DPDK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// rte_acl.
    Acl,
    /// rte_hash.
    Hash,
}

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
    /// Hands over rules and packets, and waits until they are built in.
    pub fn start(program: &Path, method: Method, rules: &[Rule], packets: &[Tuple]) -> Result<Rival> {
        let mut text = format!("rules {}\n", rules.len());
        for Rule { matches, .. } in rules {
            let Match { source, destination, source_ports, destination_ports, protocol, .. } = matches;
            writeln!(
                text,
                "{} {} {} {} {} {} {} {} {} {}",
                source.network().to_bits(),
                source.prefix_len(),
                destination.network().to_bits(),
                destination.prefix_len(),
                source_ports.first(),
                source_ports.last(),
                destination_ports.first(),
                destination_ports.last(),
                protocol.map_or(0, |protocol| protocol.0),
                protocol.map_or(0, |_| 255),
            )?;
        }
        writeln!(text, "packets {}", packets.len())?;
        for Tuple { source, destination, source_port, destination_port, protocol } in packets {
            writeln!(text, "{source} {destination} {source_port} {destination_port} {}", protocol.0)?;
        }
        let file = std::env::temp_dir().join(format!("weft-bench-classify-{}", std::process::id()));
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        let started = Command::new(program)
            .arg(match method {
                Method::Acl => "acl",
                Method::Hash => "hash",
            })
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
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

    /// Clocks per packet of a round over all packets.
    pub fn round(&mut self) -> Result<f64> {
        self.input.write_all(b"round\n")?;
        Ok(self.line()?.parse()?)
    }

    /// How many of the packets find each rule.
    pub fn hits(&mut self, rules: usize, packets: usize) -> Result<Vec<u64>> {
        self.input.write_all(b"results\n")?;
        let mut hits = vec![0; rules];
        for _ in 0..packets {
            let rule: i64 = self.line()?.parse()?;
            if let Some(hits) = usize::try_from(rule).ok().and_then(|rule| hits.get_mut(rule)) {
                *hits += 1;
            }
        }
        Ok(hits)
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // It ends by itself when its input ends; should it hang, not with us.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

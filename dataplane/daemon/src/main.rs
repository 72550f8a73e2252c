// SPDX-License-Identifier: Apache-2.0
//! The daemon.
#![deny(unsafe_code)]

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use weft_daemon::args::Args;
use weft_daemon::config::{self, Parsed};
use weft_daemon::os::{Role, daemonise};
use weft_daemon::topology::Topology;
use weft_daemon::{crash, main_loop, trial};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        // The daemon in the background has said why.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", weft_daemon::error::sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    if let Some(folder) = &args.write_api_files {
        weft_daemon::binapi::write_files(folder)?;
        return Ok(true);
    }
    let source = args.source()?;
    let Parsed { mut config, warnings } = config::parse(&source)?;
    config.no_woven = args.no_woven;
    if !warnings.is_empty() {
        eprintln!("{warnings}");
    }
    if args.check_config.is_some() {
        let found = trial::check(&config, &source, &Topology::read()?);
        found.warnings.iter().for_each(|it| eprintln!("{}", it.said_of(source.name(), "warning")));
        found.errors.iter().for_each(|it| eprintln!("{}", it.said_of(source.name(), "error")));
        if found.errors.is_empty() {
            println!("{}: ok", source.name());
        }
        return Ok(found.errors.is_empty());
    }
    let starting = match config.unix.nodaemon || config.unix.interactive {
        true => None,
        false => match daemonise().context("go into the background")? {
            Role::Starter(runs) => return Ok(runs),
            Role::Daemon(starting) => Some(starting),
        },
    };
    crash::install();
    main_loop::run(config, &source, starting)?;
    Ok(true)
}

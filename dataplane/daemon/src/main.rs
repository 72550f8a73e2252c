// SPDX-License-Identifier: Apache-2.0
//! The daemon.
#![deny(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use weft_daemon::{args::Args, config};

fn main() -> ExitCode {
    let args = Args::parse();
    let source = match args.source() {
        Ok(source) => source,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match config::parse(&source) {
        Ok(parsed) => {
            if !parsed.warnings.is_empty() {
                eprintln!("{}", parsed.warnings);
            }
            if args.check_config.is_none() {
                eprintln!("this build can only check a configuration: weft --check-config FILE");
                return ExitCode::FAILURE;
            }
            println!("{}: ok", source.name());
            ExitCode::SUCCESS
        }
        Err(report) => {
            eprintln!("{report}");
            ExitCode::FAILURE
        }
    }
}

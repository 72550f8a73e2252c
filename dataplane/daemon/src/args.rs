// SPDX-License-Identifier: Apache-2.0
//! The command line of `weft`: a configuration file, or, as in VPP, the configuration itself.

use std::path::PathBuf;

use clap::Parser;

use crate::config::{Source, SourceError};

/// Userspace packet-processing dataplane.
#[derive(Debug, Parser)]
#[command(name = "weft", version, after_help = AFTER_HELP)]
pub struct Args {
    /// Configuration file; without one, and without a configuration behind the options, the defaults
    #[arg(short, long, value_name = "FILE", conflicts_with = "words")]
    pub config: Option<PathBuf>,

    /// Say whether the file is a good configuration, and do nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "words"])]
    pub check_config: Option<PathBuf>,

    /// Write the descriptions of all API messages below a folder, where clients read them, and do nothing else
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["config", "check_config", "words"])]
    pub write_api_files: Option<PathBuf>,

    /// Have all packets take the graph: for tests, which pass with it and without.
    #[arg(long, hide = true)]
    pub no_woven: bool,

    /// The configuration itself: weft unix { nodaemon } cpu { workers 2 }
    #[arg(value_name = "CONFIGURATION", trailing_var_arg = true)]
    pub words: Vec<String>,
}

const AFTER_HELP: &str = "startup.conf.example explains every setting. weftctl talks to a running weft.";

impl Args {
    /// The configuration to use.
    pub fn source(&self) -> Result<Source, SourceError> {
        match self.check_config.as_ref().or(self.config.as_ref()) {
            Some(path) => Source::read(path),
            None => Ok(Source::from_arguments(&self.words)),
        }
    }
}

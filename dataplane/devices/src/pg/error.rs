// SPDX-License-Identifier: Apache-2.0
//! Why a command of the packet generator is refused: a sentence each, for whoever typed it.

use std::path::PathBuf;

use weft_engine::graph::GraphError;

use super::parse::{PgId, StreamError};
use crate::pcap::PcapError;

/// Why the packet generator refuses.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// The description is wrong.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The file cannot be read or written.
    #[error(transparent)]
    Pcap(#[from] PcapError),
    /// The graph does not take the node.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A name that nobody has.
    #[error("found '{found}', expected a packet-generator stream: {}", Known(.known))]
    NoSuchStream {
        /// The name.
        found: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A name that no interface has.
    #[error("found '{0}', expected an interface")]
    NoSuchInterface(String),
    /// A number that no interface of the packet generator has.
    #[error("there is no packet-generator interface {0}; 'create packet-generator interface {0}' makes it")]
    NoSuchPgInterface(PgId),
    /// The number belongs to another interface.
    #[error("packet-generator interface {0} exists already")]
    InterfaceExists(PgId),
    /// A name that no node has.
    #[error("found '{0}', expected a graph node or an interface")]
    NoSuchNode(String),
    /// Packets cannot be given to the node.
    #[error("found '{0}', expected a node that packets can be given to: an input node only brings them in")]
    NoEntry(String),
    /// A number that no worker has.
    #[error("there is no worker {found}: there are {workers}, counted from 0")]
    NoSuchWorker {
        /// The number.
        found: usize,
        /// How many there are.
        workers: usize,
    },
    /// Nowhere to go.
    #[error("output interface or node not given: expected 'source pgN', 'interface IF' or 'node NODE'")]
    NoDestination,
    /// Nothing to replay.
    #[error("pcap file '{}' holds no packet", .0.display())]
    EmptyPcap(PathBuf),
}

struct Known<'a>(&'a [String]);

impl std::fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [] => f.write_str("there is none"),
            names => write!(f, "one of {}", names.join(", ")),
        }
    }
}

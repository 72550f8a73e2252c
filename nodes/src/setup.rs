// SPDX-License-Identifier: Apache-2.0
//! What nodes are made of, and the list to which each adds itself.
//!
//! The file of a node needs this one, and this one no node: so a node is a file, and the line that declares it.
//! [`crate::graph`] puts all of them into a graph.

use std::sync::Arc;

use linkme::distributed_slice;
use rtrb::{Consumer, RingBuffer};
use weft_engine::Engine;
use weft_engine::graph::{GraphError, NodeDef};
use weft_engine::node::NodeSpec;
use weft_engine::publish::Published;
use weft_fib::neighbor::{NeighborNotice, NoticeSender};
use weft_stats::SimpleVector;

use crate::interface::InterfaceTable;
use crate::tables::Tables;
use crate::values::{InterfaceValue, InterfaceValues, ValueReader};

pub(crate) const ONE_EACH: &str = "there is a ring for each worker";

/// What makes a node, for all workers.
pub type Added = Result<NodeDef<'static>, GraphError>;

/// The nodes of this crate: the linker makes the list of what [`built_in`] adds to it.
#[distributed_slice]
pub(crate) static NODES: [fn(&mut Setup<'_>) -> Added];

/// Adds nodes to [`NODES`], each by the function that makes it.
macro_rules! built_in {
    ($($add:expr),+) => {
        // A section of its own is all that is unsafe about it, and nothing else is in that.
        $(#[allow(unsafe_code)]
        const _: () = {
            #[linkme::distributed_slice($crate::setup::NODES)]
            static ADD: fn(&mut $crate::setup::Setup<'_>) -> $crate::setup::Added = $add;
        };)+
    };
}
pub(crate) use built_in;

/// What a node can be made of.
pub struct Setup<'a> {
    /// The graph that it will be in.
    pub engine: &'a mut Engine,
    /// What nodes read.
    pub tables: &'a Tables,
    pub(crate) values: InterfaceValues,
    pub(crate) notices: Vec<Consumer<NeighborNotice>>,
}

impl Setup<'_> {
    /// The interfaces.
    pub fn interfaces(&self) -> Arc<Published<InterfaceTable>> {
        Arc::clone(&self.tables.interfaces)
    }

    /// A number of each interface.
    pub fn value(&mut self, value: &'static InterfaceValue) -> ValueReader {
        self.values.reader(self.engine, value)
    }

    /// A counter of each interface, which `node` counts.
    pub fn interface_counter(&mut self, name: &str, node: &NodeSpec) -> Result<SimpleVector, GraphError> {
        self.engine.interface_counter(name).map_err(|error| GraphError::Stats(node.name.to_owned(), error))
    }

    /// By which each worker tells the main thread of neighbours.
    pub(crate) fn notice_senders(&mut self) -> impl Iterator<Item = NoticeSender> + use<> {
        let rings = self.engine.threads().map(|_| RingBuffer::new(self.tables.settings.notices));
        let (producers, consumers): (Vec<_>, Vec<_>) = rings.unzip();
        self.notices.extend(consumers);
        let main = self.tables.main.clone();
        producers.into_iter().map(move |ring| NoticeSender::new(ring, main.clone()))
    }
}

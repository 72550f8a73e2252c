// SPDX-License-Identifier: Apache-2.0
//! hello-input: every frame ends here, and says why.

use std::collections::BTreeSet;

use weft_plugin_sdk::{Done, InterfaceIndex, PluginNode, PublishedReader, Vector};

/// Interfaces on which nothing is to be heard.
pub type Deaf = BTreeSet<InterfaceIndex>;

weft_plugin_sdk::drops! {
    pub enum Reason {
        /// a neighbour has said something
        Heard = "heard", Info;
        /// the interface is not to hear what neighbours say
        Deaf = "deaf", Info;
        /// a hello without a text
        Empty = "empty", Error;
    }
}

/// One per worker.
pub struct HelloNode {
    pub deaf: PublishedReader<Deaf>,
}

impl PluginNode for HelloNode {
    fn process(&mut self, vector: Vector<'_>) -> Done {
        let deaf = self.deaf.read(vector.guard());
        vector.each(|packet| match packet.data() {
            _ if deaf.contains(&packet.rx_interface()) => packet.drop(Reason::Deaf),
            [] => packet.drop(Reason::Empty),
            [..] => packet.drop(Reason::Heard),
        })
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What the words of a rule stand for on the command line: interfaces and neighbours of this router.

use std::net::{IpAddr, Ipv4Addr};

use weft_classify::text::{Names, Resolve};
use weft_cli::{Args, CliError};
use weft_control::ChangeSet;
use weft_engine::InterfaceIndex;
use weft_nodes::fib::AdjacencyId;

use crate::state::Dataplane;

/// Reads rules, and notes the next hops that they name.
pub struct Reader<'a> {
    pub dataplane: &'a Dataplane,
    pub changes: &'a ChangeSet,
    pub next_hops: Vec<(InterfaceIndex, Ipv4Addr)>,
}

impl Resolve for Reader<'_> {
    fn interface(&mut self, args: &mut Args<'_>) -> Result<InterfaceIndex, CliError> {
        super::super::interface(args, self.dataplane, self.changes)
    }

    fn next_hop(&mut self, args: &mut Args<'_>) -> Result<AdjacencyId, CliError> {
        let address: Ipv4Addr = args.parse("address of a neighbour")?;
        let named = args.take_if("interface", |name| self.changes.find_interface(self.dataplane, name));
        let interface = named.or_else(|| on_link(self.dataplane, address)).ok_or_else(|| {
            args.reject(format!("{address} is on the link of no interface; name the interface after it"))
        })?;
        self.next_hops.push((interface, address));
        Ok(AdjacencyId(self.next_hops.len() as u32 - 1))
    }

    /// The tracker looks up flows for rules of vplaned and of plugins.
    fn may_admit(&self) -> bool {
        false
    }
}

/// The interface that has an address in the same subnet.
fn on_link(dataplane: &Dataplane, address: Ipv4Addr) -> Option<InterfaceIndex> {
    let mut interfaces = dataplane.interfaces().iter();
    interfaces
        .find(|(_, it)| it.ip4.addresses.iter().any(|own| own.contains(&address)))
        .map(|(index, _)| index)
}

impl Names for Dataplane {
    fn interface(&self, index: InterfaceIndex) -> String {
        self.interface_name(index)
    }

    fn next_hop(&self, id: AdjacencyId) -> Option<(IpAddr, InterfaceIndex)> {
        self.router().objects().adjacencies.get(id).map(|hop| (hop.address, hop.interface))
    }
}

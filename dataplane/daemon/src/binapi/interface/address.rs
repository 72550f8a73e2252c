// SPDX-License-Identifier: Apache-2.0
//! Addresses of interfaces.

use ipnet::Ipv4Net;
use weft_binapi::Retval;
use weft_binapi::api::interface::{SwInterfaceAddDelAddress, SwInterfaceAddDelAddressReply};
use weft_binapi::api::ip_types::AddressWithPrefix;
use weft_binapi::server::Registry;
use weft_nodes::ip4::RouterError;

use crate::binapi::ip4;
use crate::binapi::retval::router;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.command(|dataplane, _, message: SwInterfaceAddDelAddress| {
        let index = dataplane.api_interface(message.sw_if_index)?;
        let Dataplane { router: routes, engine, interfaces, .. } = dataplane;
        let own = interfaces.get(index).map(|interface| interface.addresses4.clone()).unwrap_or_default();
        if message.del_all && !message.is_add {
            for address in own {
                routes.remove_address(engine, interfaces, index, address).map_err(router)?;
            }
            return Ok(SwInterfaceAddDelAddressReply { retval: 0 });
        }
        let address = net(&message.prefix)?;
        match message.is_add {
            true => routes.add_address(engine, interfaces, index, address).map_err(router)?,
            false => {
                routes.remove_address(engine, interfaces, index, address).map_err(|error| match error {
                    RouterError::NoSuchAddress { .. }
                        if own.iter().any(|own| own.addr() == address.addr()) =>
                    {
                        Retval::ADDRESS_LENGTH_MISMATCH
                    }
                    error => router(error),
                })?
            }
        }
        Ok(SwInterfaceAddDelAddressReply { retval: 0 })
    });
}

/// An address with the length of its subnet.
fn net(address: &AddressWithPrefix) -> Result<Ipv4Net, Retval> {
    let (address, length) = address.get().ok_or(Retval::INVALID_VALUE)?;
    Ipv4Net::new(ip4(address)?, length).map_err(|_| Retval::INVALID_VALUE)
}

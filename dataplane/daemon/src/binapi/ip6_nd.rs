// SPDX-License-Identifier: Apache-2.0
//! `ip6_nd`: router advertisements and proxy neighbour discovery of an interface. Both are settings. Advertisements name the
//! subnets of the interface's addresses, so there are no prefixes to configure; and it answers for all that is reached by other
//! interfaces (RFC 4389), so there are no single addresses to answer for.

use weft_binapi::Retval;
use weft_binapi::api::ip6_nd::{Ip6ndProxyEnableDisable, SwInterfaceIp6ndRaConfig};
use weft_binapi::server::Registry;
use weft_control::{Object, Value, settings};

use super::{changing, set};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, message: SwInterfaceIp6ndRaConfig| {
        let index = changing(dataplane, changes, message.sw_if_index)?;
        // Advertisements have no such flags, and each goes to all hosts of the link.
        let SwInterfaceIp6ndRaConfig { managed, other, ll_option, send_unicast, .. } = message;
        if [managed, other, ll_option, send_unicast].iter().any(|flag| *flag != 0) && !message.is_no {
            return Err(Retval::UNSUPPORTED);
        }
        // To suppress them is the opposite of sending them; "no" takes back what a message without it says.
        if message.suppress != 0 || message.cease != 0 {
            changes.set(&settings::ROUTER_ADVERTISEMENT, index, Value::Switch(message.is_no));
        }
        for (named, setting, value) in [
            (message.default_router != 0, &settings::RA_LIFETIME, message.lifetime),
            (message.max_interval != 0, &settings::RA_INTERVAL, message.max_interval),
        ] {
            match (named, message.is_no) {
                (false, _) => {}
                (true, false) => changes.set(setting, index, Value::Number(value.into())),
                (true, true) => changes.release(Object::Setting(setting, Some(index))),
            }
        }
        Ok(())
    });
    registry.change(|dataplane, changes, _, Ip6ndProxyEnableDisable { sw_if_index, is_enable }| {
        set(dataplane, changes, sw_if_index, &settings::PROXY_ND, Value::Switch(is_enable))
    });
}

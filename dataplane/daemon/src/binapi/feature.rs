// SPDX-License-Identifier: Apache-2.0
//! `feature`: features on arcs, per interface.

use weft_binapi::Retval;
use weft_binapi::api::feature::{FeatureEnableDisable, FeatureIsEnabled, FeatureIsEnabledReply};
use weft_binapi::server::Registry;
use weft_control::Object;

use super::changing;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, message: FeatureEnableDisable| {
        let interface = changing(dataplane, changes, message.sw_if_index)?;
        let (arc, feature) = known(dataplane, message.arc_name.get(), message.feature_name.get())?;
        match message.enable {
            true => changes.enable_feature(interface, arc, feature),
            false => {
                let (arc, feature) = (arc.to_owned(), feature.to_owned());
                changes.delete(Object::Feature { interface, arc, feature });
            }
        }
        Ok(())
    });
    registry.query(|dataplane, _, message: FeatureIsEnabled| {
        let index = dataplane.api_interface(message.sw_if_index)?;
        let (arc, feature) = known(dataplane, message.arc_name.get(), message.feature_name.get())?;
        let mut arcs = dataplane.engine().features().list().filter(|other| other.name == arc);
        let is_enabled = arcs.any(|arc| arc.enabled(index).any(|other| other == feature));
        Ok(FeatureIsEnabledReply { retval: 0, is_enabled })
    });
}

/// That there is such an arc, and such a feature on it.
fn known<'a>(
    dataplane: &Dataplane,
    arc: Option<&'a str>,
    feature: Option<&'a str>,
) -> Result<(&'a str, &'a str), Retval> {
    let (arc, feature) = arc.zip(feature).ok_or(Retval::INVALID_VALUE)?;
    let features = dataplane.engine().features();
    match features.arc(arc).is_ok_and(|arc| features.has_feature(arc, feature)) {
        true => Ok((arc, feature)),
        false => Err(Retval::INVALID_VALUE),
    }
}

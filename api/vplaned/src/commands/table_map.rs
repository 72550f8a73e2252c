// SPDX-License-Identifier: Apache-2.0
//! Which kernel table holds a VRF's policy routes: `tablemap VRFNAME PBR-TABLE KERNEL-TABLE VRF-ID`.

use super::{CommandError, Feature, Words};
use crate::netlink::TableId;
use crate::store::{self, PolicyTable};

/// The feature.
#[derive(Debug)]
pub struct TableMap;

impl Feature for TableMap {
    const WORDS: &'static [&'static str] = &["tablemap"];
    type Value = store::TableMap;

    fn text(mut words: Words<'_>) -> Result<store::TableMap, CommandError> {
        let vrf = words.word("the name of a VRF")?.into();
        let policy = PolicyTable(words.value("the number of a policy table")?);
        let table: u32 = words.value("the number of a kernel table")?;
        // The name says it already.
        words.value::<u32>("the number of a VRF")?;
        words.end()?;
        Ok(store::TableMap { vrf, policy, table: (table != 0).then_some(TableId(table)) })
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Which kernel table holds a VRF's policy routes: `tablemap VRFNAME PBR-TABLE KERNEL-TABLE VRF-ID`.

use super::{CommandError, Feature, Words};

/// The feature.
#[derive(Debug)]
pub struct TableMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMapping {
    pub vrf: String,
    /// The table as policy rules name it.
    pub pbr_table: u32,
    /// The table as routes name it; `None` ends the mapping.
    pub kernel_table: Option<u32>,
    pub vrf_id: u32,
}

impl Feature for TableMap {
    const WORDS: &'static [&'static str] = &["tablemap"];
    const TYPES: &'static [&'static str] = &[];
    type Value = TableMapping;

    fn text(mut words: Words<'_>) -> Result<TableMapping, CommandError> {
        let vrf = words.word("the name of a VRF")?.to_owned();
        let pbr_table = words.value("the number of a policy table")?;
        let kernel_table: u32 = words.value("the number of a kernel table")?;
        let vrf_id = words.value("the number of a VRF")?;
        words.end()?;
        Ok(TableMapping { vrf, pbr_table, kernel_table: (kernel_table != 0).then_some(kernel_table), vrf_id })
    }
}

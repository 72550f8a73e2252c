// SPDX-License-Identifier: Apache-2.0
//! What the RIB holds for a prefix: a route per slot of owners, the best one first.

use weft_interface::Owner;

use super::super::LoadBalanceId;
use super::super::path_list::PathListId;
use super::super::route::Preference;

/// One owner's route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub preference: Preference,
    pub owner: Owner,
    /// Of the owner's resynchronisations, the one that mentioned this route last.
    pub generation: u16,
    pub list: PathListId,
}

impl Source {
    fn rank(&self) -> (Preference, Owner) {
        (self.preference, self.owner.slot())
    }
}

/// In order of rank. Nearly all prefixes have one source, which then needs no allocation.
pub(super) enum Sources {
    One(Source),
    Many(Vec<Source>),
}

impl Sources {
    pub fn as_slice(&self) -> &[Source] {
        match self {
            Sources::One(source) => std::slice::from_ref(source),
            Sources::Many(sources) => sources,
        }
    }
}

pub(super) struct Route {
    pub sources: Sources,
    /// What the forwarding table has.
    pub installed: LoadBalanceId,
}

const _: () = assert!(size_of::<Route>() == 32, "a million routes take 32 MB");

impl Route {
    pub fn empty() -> Route {
        Route { sources: Sources::Many(Vec::new()), installed: LoadBalanceId::NO_ROUTE }
    }

    /// What the slot of `owner` holds.
    pub fn source(&self, owner: Owner) -> Option<Source> {
        self.sources.as_slice().iter().find(|source| source.owner.slot() == owner.slot()).copied()
    }

    pub fn set_source(&mut self, owner: Owner, source: Option<Source>) {
        match (&self.sources, source) {
            (Sources::One(old), Some(new)) if old.owner.slot() == owner.slot() => {
                self.sources = Sources::One(new)
            }
            (Sources::Many(none), Some(new)) if none.is_empty() => self.sources = Sources::One(new),
            (sources, source) => {
                let mut sources = sources.as_slice().to_vec();
                sources.retain(|source| source.owner.slot() != owner.slot());
                sources.extend(source);
                sources.sort_unstable_by_key(Source::rank);
                self.sources = match *sources {
                    [one] => Sources::One(one),
                    _ => Sources::Many(sources),
                };
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.sources.as_slice().is_empty()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Routes as they are shown and dumped.

use weft_interface::Owner;

use super::super::LoadBalanceId;
use super::super::family::Family;
use super::super::path_list::PathLists;
use super::super::route::{Preference, RoutePath};
use super::source::Route;

/// The routes to one prefix, to be shown.
#[derive(Clone, Copy)]
pub struct RouteView<'a, F: Family> {
    prefix: F::Net,
    route: &'a Route,
    lists: &'a PathLists<F>,
}

impl<'a, F: Family> RouteView<'a, F> {
    pub(super) fn new(prefix: F::Net, route: &'a Route, lists: &'a PathLists<F>) -> Self {
        RouteView { prefix, route, lists }
    }

    /// To where.
    pub fn prefix(&self) -> F::Net {
        self.prefix
    }

    /// What the forwarding table has, [`LoadBalanceId::NO_ROUTE`] if nothing.
    pub fn load_balance(&self) -> LoadBalanceId {
        self.route.installed
    }

    /// Each owner's route, the best one first.
    pub fn sources(&self) -> impl Iterator<Item = SourceView<'a, F>> + use<'a, F> {
        let lists = self.lists;
        self.route.sources.as_slice().iter().map(move |source| {
            let list = lists.get(source.list);
            SourceView {
                owner: source.owner,
                preference: source.preference,
                paths: &list.paths,
                load_balance: list.load_balance,
            }
        })
    }
}

/// One owner's route to a prefix, to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceView<'a, F: Family> {
    /// Whose.
    pub owner: Owner,
    /// Its rank among the owners' routes.
    pub preference: Preference,
    /// In order of their targets.
    pub paths: &'a [RoutePath<F>],
    /// What the paths resolve to, [`LoadBalanceId::NO_ROUTE`] if they are unresolved. The first source that
    /// is not has the one that is installed.
    pub load_balance: LoadBalanceId,
}

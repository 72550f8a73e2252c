// SPDX-License-Identifier: Apache-2.0
//! The routes of one table as they were configured, and the way from there to the forwarding table.
//!
//! Several owners may have a route to one prefix. The one of the best [`Preference`] that can be resolved is
//! installed: its path list's load-balance is what the [`Fib`] answers. Routes that cannot be resolved are
//! kept and shown.
//!
//! # Changes
//! A batch is all or nothing ([`Rib::apply`]): it is edited into the RIB, resolved, and given its objects; if
//! any of that fails it is taken back, and no worker has seen anything. Then it is published, additions
//! before removals, so that a destination which has a route before and after never goes without.
//!
//! Main thread only. How a next hop without interface is resolved: [`resolve`].

mod resolve;
mod source;
mod view;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use hashbrown::HashMap;
use prefix_trie::PrefixMap;
use prefix_trie::map::Entry;
use thiserror::Error;
use weft_engine::InterfaceIndex;
use weft_engine::qsbr::Domain;
use weft_interface::{LinkState, Owner};

use super::family::{Family, LookupErrorOf, LookupWriter, ReaderOf, SettingsOf};
use super::path_list::{Objects, ObjectsFull, PathListId, PathLists, Prepared};
use super::route::{Action, Change, Outcome, Preference, RouteError, RoutePath, check_paths, check_prefix};
use super::{Forward, IpPrefix, LoadBalanceId};
use source::{Route, Source};
pub use view::{RouteView, SourceView};

/// Sizes of one table.
#[derive(Clone, Copy, Debug)]
pub struct RibSettings<F: Family> {
    /// Most prefixes.
    pub prefixes: usize,
    /// Of its forwarding table.
    pub fib: SettingsOf<F>,
}

/// Prefixes of a table, if nobody says otherwise: four times as many as the Internet has.
pub const MOST_PREFIXES: u32 = 4_000_000;

impl<F: Family> Default for RibSettings<F> {
    fn default() -> Self {
        RibSettings { prefixes: MOST_PREFIXES as usize, fib: Default::default() }
    }
}

/// Why a batch changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ApplyError<F: Family> {
    /// These changes, by their position in the batch, are wrong.
    #[error("{} of the changes refused, the first (number {}): {}", .0.len(), .0[0].0, .0[0].1)]
    Refused(Vec<(usize, RouteError<F>)>),
    /// There is no room for what workers need.
    #[error(transparent)]
    Objects(#[from] ObjectsFull),
    /// There is no room in the forwarding table.
    #[error(transparent)]
    Fib(LookupErrorOf<F>),
}

/// What an edit replaced. Holds the path list of `before`.
struct Edit<F: Family> {
    prefix: F::Net,
    owner: Owner,
    before: Option<Source>,
}

/// A change of the forwarding table.
struct Move<F: Family> {
    prefix: F::Net,
    from: LoadBalanceId,
    to: LoadBalanceId,
}

/// The control side of one forwarding table.
pub struct Rib<F: Family> {
    routes: PrefixMap<F::Net, Route>,
    /// Of `routes`, those with a source; the others are about to go.
    prefixes: usize,
    installed: usize,
    lists: PathLists<F>,
    fib: F::Fib,
    settings: RibSettings<F>,
    generations: HashMap<Owner, u16>,
    /// Of interfaces that are not up.
    states: HashMap<InterfaceIndex, LinkState>,
}

impl<F: Family> Rib<F> {
    /// An empty table. Fails if there is no address space for its forwarding table.
    pub fn new(settings: RibSettings<F>) -> io::Result<Rib<F>> {
        Ok(Rib {
            routes: PrefixMap::new(),
            prefixes: 0,
            installed: 0,
            lists: PathLists::default(),
            fib: F::Fib::new(settings.fib)?,
            settings,
            generations: HashMap::new(),
            states: HashMap::new(),
        })
    }

    /// For the workers.
    pub fn fib(&self) -> Arc<ReaderOf<F>> {
        self.fib.reader()
    }

    /// Makes all changes, one after the other, or none of them.
    pub fn apply(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        changes: &[Change<F>],
    ) -> Result<Vec<Outcome>, ApplyError<F>> {
        let pending = self.prepare(objects, domain, changes, &BTreeSet::new())?;
        Ok(self.publish(objects, domain, pending))
    }

    /// All of [`Rib::apply`] that can fail. Workers see none of it before [`Rib::publish`]; [`Rib::withdraw`] takes it
    /// back. One of the two must be next: no other change may come in between. When all changes are made, no path leads over
    /// the interfaces in `gone`.
    pub fn prepare<'a>(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        changes: impl IntoIterator<Item = &'a Change<F>>,
        gone: &BTreeSet<InterfaceIndex>,
    ) -> Result<Pending<F>, ApplyError<F>> {
        let changes = changes.into_iter();
        let mut batch = Batch::default();
        batch.edits.reserve(changes.size_hint().0);
        let mut outcomes = Vec::with_capacity(changes.size_hint().0);
        let mut refused = Vec::new();
        for (number, change) in changes.enumerate() {
            match self.edit(&mut batch, change) {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => refused.push((number, error)),
            }
        }
        for change in self.paths_over(gone) {
            let deleted = self.edit(&mut batch, &change);
            debug_assert!(deleted.is_ok(), "it was there: {deleted:?}");
        }
        let result = match refused.is_empty() {
            true => self.ready(objects, domain, &batch),
            false => Err(ApplyError::Refused(refused)),
        };
        match result {
            Ok(work) => Ok(Pending { batch, work, outcomes }),
            Err(error) => {
                self.undo(&mut batch);
                self.settle(objects, domain, batch);
                Err(error)
            }
        }
    }

    /// The deletions of all paths over some interfaces.
    fn paths_over(&self, gone: &BTreeSet<InterfaceIndex>) -> Vec<Change<F>> {
        // Nearly always there are none, which the path lists know; they are many.
        if gone.is_empty() {
            return Vec::new();
        }
        let used = self.lists.iter().any(|(_, list)| gone.iter().any(|index| list.uses(*index)));
        let mut deletions = Vec::new();
        for route in used.then(|| self.routes(None)).into_iter().flatten() {
            for source in route.sources() {
                let over =
                    |path: &&RoutePath<F>| path.target.interface().is_some_and(|index| gone.contains(&index));
                deletions.extend(source.paths.iter().filter(over).map(|path| Change {
                    prefix: route.prefix(),
                    owner: source.owner,
                    action: Action::DeletePath(path.target),
                }));
            }
        }
        deletions
    }

    /// Shows workers what was prepared.
    pub fn publish(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        pending: Pending<F>,
    ) -> Vec<Outcome> {
        let Pending { batch, work, outcomes } = pending;
        self.show(objects, domain, work);
        self.settle(objects, domain, batch);
        outcomes
    }

    /// Makes everything as it was.
    pub fn withdraw(&mut self, objects: &mut Objects, domain: &mut Domain, pending: Pending<F>) {
        let Pending { mut batch, work, .. } = pending;
        self.drop_work(objects, domain, work);
        self.undo(&mut batch);
        self.settle(objects, domain, batch);
    }

    /// Lets go of what the edits of a batch have replaced.
    fn settle(&mut self, objects: &mut Objects, domain: &mut Domain, batch: Batch<F>) {
        for list in batch.edits.iter().filter_map(|edit| Some(edit.before?.list)) {
            self.lists.release(objects, domain, list);
        }
        for prefix in batch.emptied {
            if self.routes.get(&prefix).is_some_and(Route::is_empty) {
                self.routes.remove(&prefix);
            }
        }
    }

    /// Begins a replay of all routes of `owner`: those that no change mentions until [`Rib::end_resync`] will
    /// be deleted then. Until then they stay.
    pub fn begin_resync(&mut self, owner: Owner) {
        let generation = self.generations.entry(owner).or_default();
        *generation = generation.wrapping_add(1);
    }

    /// Ends the replay; returns how many routes were deleted.
    pub fn end_resync(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        owner: Owner,
    ) -> Result<usize, ApplyError<F>> {
        let current = self.generation(owner);
        let stale = |route: &Route| {
            let source = route.source(owner);
            source.is_some_and(|source| source.owner == owner && source.generation != current)
        };
        let deletions: Vec<Change<F>> = self
            .routes
            .iter()
            .filter(|(_, route)| stale(route))
            .map(|(prefix, _)| Change { prefix, owner, action: Action::Delete })
            .collect();
        self.apply(objects, domain, &deletions)?;
        Ok(deletions.len())
    }

    /// Says what the state of an interface is; all are up at first. Paths over an interface that is not up are
    /// unresolved: flows move to the other paths of their route, then to the route of the next owner, and with none left to a
    /// less specific route. While it is down, that holds for what follows from its addresses too.
    pub fn set_interface(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        interface: InterfaceIndex,
        state: LinkState,
    ) -> Result<(), ApplyError<F>> {
        let before = self.state(interface);
        if before == state {
            return Ok(());
        }
        self.set_state(interface, state);
        let again = self.lists.iter().filter(|(_, list)| list.uses(interface) || list.is_recursive());
        let batch = Batch { again: again.map(|(id, _)| id).collect(), ..Batch::default() };
        match self.ready(objects, domain, &batch) {
            Ok(work) => {
                self.show(objects, domain, work);
                Ok(())
            }
            Err(error) => {
                self.set_state(interface, before);
                Err(error)
            }
        }
    }

    fn state(&self, interface: InterfaceIndex) -> LinkState {
        self.states.get(&interface).copied().unwrap_or(LinkState::Up)
    }

    fn set_state(&mut self, interface: InterfaceIndex, state: LinkState) {
        match state {
            LinkState::Up => self.states.remove(&interface),
            _ => self.states.insert(interface, state),
        };
    }

    /// The prefixes of which some owner's route leads to an object that `which` is true for: a table, or one of a registered
    /// kind.
    pub fn routes_to(&self, which: impl Fn(Forward) -> bool + Copy) -> impl Iterator<Item = F::Net> {
        // Nearly always there is none, which the path lists know.
        let routes = self.lists.objects().any(which).then(|| self.routes.iter());
        routes.into_iter().flatten().filter_map(move |(prefix, route)| {
            let mut sources = route.sources.as_slice().iter();
            let leads = sources.any(|source| self.lists.get(source.list).objects().any(which));
            leads.then_some(prefix)
        })
    }

    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.prefixes
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.prefixes == 0
    }

    /// Number of prefixes with a route in the forwarding table.
    pub fn installed(&self) -> usize {
        self.installed
    }

    /// Number of different path lists.
    pub fn path_lists(&self) -> usize {
        self.lists.len()
    }

    /// The routes to one prefix.
    pub fn get(&self, prefix: F::Net) -> Option<RouteView<'_, F>> {
        let route = self.routes.get(&prefix)?;
        Some(RouteView::new(prefix, route, &self.lists))
    }

    /// The route that workers use for `address`.
    pub fn longest_match(&self, address: F::Addr) -> Option<RouteView<'_, F>> {
        self.covering(F::Net::host(address))
    }

    /// The route that workers use for what `prefix` has no more specific route for.
    pub fn covering(&self, prefix: F::Net) -> Option<RouteView<'_, F>> {
        let (prefix, route) = self
            .routes
            .cover(&prefix)
            .filter(|(_, route)| route.installed != LoadBalanceId::NO_ROUTE)
            .last()?;
        Some(RouteView::new(prefix, route, &self.lists))
    }

    /// All routes by address and length; with `after`, those after that prefix, so that a dump can go on
    /// where it stopped although the table has changed.
    pub fn routes(&self, after: Option<F::Net>) -> impl Iterator<Item = RouteView<'_, F>> {
        let routes = match after {
            Some(prefix) => self.routes.iter_from(&prefix, false),
            None => self.routes.iter(),
        };
        routes.map(|(prefix, route)| RouteView::new(prefix, route, &self.lists))
    }

    fn generation(&self, owner: Owner) -> u16 {
        self.generations.get(&owner).copied().unwrap_or_default()
    }

    /// Makes one change in `routes`.
    fn edit(&mut self, batch: &mut Batch<F>, change: &Change<F>) -> Result<Outcome, RouteError<F>> {
        let Change { prefix, owner, action } = change;
        let (prefix, owner) = (*prefix, *owner);
        check_prefix(prefix)?;
        let changed;
        let (preference, paths): (Preference, &[RoutePath<F>]) = match action {
            Action::Add(preference, paths) | Action::Set(preference, paths) => {
                check_paths(prefix, paths)?;
                (*preference, paths)
            }
            Action::AddPath(preference, path) | Action::SetPath(preference, path) => {
                match self.source(prefix, owner) {
                    None => {
                        check_paths(prefix, std::slice::from_ref(path))?;
                        (*preference, std::slice::from_ref(path))
                    }
                    Some(source) => {
                        let replaces = matches!(action, Action::SetPath(..));
                        let others = self.lists.get(source.list).paths.iter();
                        let others = others.filter(|other| !replaces || other.target != path.target);
                        changed = others.chain([path]).copied().collect::<Vec<_>>();
                        check_paths(prefix, &changed)?;
                        (source.preference, &changed)
                    }
                }
            }
            Action::DeletePath(target) => {
                let source = self.source(prefix, owner).ok_or(RouteError::NoSuchRoute(prefix, owner))?;
                let paths = &self.lists.get(source.list).paths;
                changed = paths.iter().filter(|path| path.target != *target).copied().collect::<Vec<_>>();
                if changed.len() == paths.len() {
                    return Err(RouteError::NoSuchPath(prefix, *target));
                }
                (source.preference, &changed)
            }
            Action::Delete => (Preference::default(), &[]),
        };
        if paths.is_empty() {
            let route = self.routes.get_mut(&prefix).filter(|route| route.source(owner).is_some());
            let route = route.ok_or(RouteError::NoSuchRoute(prefix, owner))?;
            let before = route.source(owner);
            route.set_source(owner, None);
            if route.is_empty() {
                self.prefixes -= 1;
                batch.emptied.push(prefix);
            }
            batch.edits.push(Edit { prefix, owner, before });
            return Ok(Outcome::Deleted);
        }

        let generation = self.generation(owner);
        let has_room = self.prefixes < self.settings.prefixes;
        let route = match self.routes.entry(prefix) {
            Entry::Occupied(route) if has_room || !route.get().is_empty() => route.into_mut(),
            Entry::Vacant(vacant) if has_room => vacant.insert(Route::empty()),
            _ => return Err(RouteError::TableFull { prefix, limit: self.settings.prefixes }),
        };
        let before = route.source(owner);
        if before.is_some() && matches!(action, Action::Add(..)) {
            return Err(RouteError::Exists(prefix, owner));
        }
        let (list, new) = self.lists.acquire(paths);
        if new {
            let like =
                before.map_or(LoadBalanceId::NO_ROUTE, |before| self.lists.get(before.list).load_balance);
            batch.new.insert(list, like);
        }
        self.prefixes += usize::from(route.is_empty());
        route.set_source(owner, Some(Source { preference, owner, generation, list }));
        batch.edits.push(Edit { prefix, owner, before });
        Ok(match before {
            None => Outcome::Added,
            Some(before) if (before.preference, before.list) == (preference, list) => Outcome::Unchanged,
            Some(_) => Outcome::Replaced,
        })
    }

    fn source(&self, prefix: F::Net, owner: Owner) -> Option<Source> {
        self.routes.get(&prefix)?.source(owner)
    }

    /// Takes the edits of a batch back. What they put there takes the place in the journal of what they
    /// replaced, and is released in its stead.
    fn undo(&mut self, batch: &mut Batch<F>) {
        for edit in batch.edits.iter_mut().rev() {
            let route =
                self.routes.get_mut(&edit.prefix).expect("an edited route stays until its batch ends");
            let was_empty = route.is_empty();
            let after = route.source(edit.owner);
            route.set_source(edit.owner, edit.before);
            edit.before = after;
            match (was_empty, route.is_empty()) {
                (true, false) => self.prefixes += 1,
                (false, true) => {
                    self.prefixes -= 1;
                    batch.emptied.push(edit.prefix);
                }
                _ => {}
            }
        }
    }

    /// Resolves what the batch touched, and makes the load-balances for it.
    fn ready(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        batch: &Batch<F>,
    ) -> Result<Work<F>, ApplyError<F>> {
        let mut work = Work::default();
        match self.fill(objects, domain, batch, &mut work) {
            Ok(()) => Ok(work),
            Err(error) => {
                self.drop_work(objects, domain, work);
                Err(error)
            }
        }
    }

    fn drop_work(&mut self, objects: &mut Objects, domain: &mut Domain, work: Work<F>) {
        for Move { prefix, from, .. } in work.moves.into_iter().rev() {
            self.set_installed(prefix, from);
        }
        for prepared in work.prepared {
            self.lists.discard(objects, domain, prepared);
        }
    }

    /// Changes load-balances and forwarding table.
    fn show(&mut self, objects: &mut Objects, domain: &mut Domain, Work { prepared, moves }: Work<F>) {
        let superseded: Vec<_> =
            prepared.into_iter().map(|prepared| self.lists.commit(objects, domain, prepared)).collect();
        self.fib.expect_routes(self.installed);
        let (additions, removals): (Vec<_>, Vec<_>) =
            moves.into_iter().partition(|step| step.to != LoadBalanceId::NO_ROUTE);
        for Move { prefix, to, .. } in additions {
            self.fib.insert(prefix, to).expect("there is room: it was checked when this was prepared");
        }
        self.fib.show(domain);
        for Move { prefix, .. } in removals {
            let covering = self
                .routes
                .cover(&prefix)
                .map(|(prefix, route)| (prefix, route.installed))
                .filter(|(_, installed)| *installed != LoadBalanceId::NO_ROUTE)
                .last();
            self.fib.remove(domain, prefix, covering);
        }
        self.fib.show(domain);
        for superseded in superseded {
            superseded.release(objects, domain);
        }
    }

    fn fill(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        batch: &Batch<F>,
        Work { prepared, moves }: &mut Work<F>,
    ) -> Result<(), ApplyError<F>> {
        let mut lists: Vec<_> = batch.new.keys().chain(&batch.again).copied().collect();
        if batch.edits.iter().any(|edit| self.lists.recurse_into(edit.prefix)) {
            lists.extend(self.lists.iter().filter(|(_, list)| list.is_recursive()).map(|(id, _)| id));
            lists.sort_unstable();
            lists.dedup();
        }
        let mut visit_all = false;
        for (id, resolution) in self.resolve(lists) {
            let list = self.lists.get(id);
            if list.resolution == resolution {
                continue;
            }
            let new = batch.new.get(&id);
            // Only edited routes use a new list.
            visit_all |= list.resolution.is_empty() != resolution.is_empty() && new.is_none();
            let like = new.copied().unwrap_or(LoadBalanceId::NO_ROUTE);
            prepared.push(self.lists.prepare(objects, domain, id, resolution, like)?);
        }

        let mut touched: Vec<_> = match visit_all {
            true => self.routes.iter().map(|(prefix, _)| prefix).collect(),
            false => batch.edits.iter().map(|edit| edit.prefix).collect(),
        };
        // A table is written faster from its beginning to its end than here and there.
        touched.sort_unstable();
        self.plan(touched, moves);

        let additions = moves.iter().filter(|step| step.to != LoadBalanceId::NO_ROUTE);
        self.fib.check_room(additions.map(|step| step.prefix)).map_err(ApplyError::Fib)?;
        Ok(())
    }

    /// Notes for each prefix what the forwarding table has to have.
    fn plan(&mut self, prefixes: Vec<F::Net>, moves: &mut Vec<Move<F>>) {
        for prefix in prefixes {
            let Some(route) = self.routes.get_mut(&prefix) else { continue };
            let sources = route.sources.as_slice().iter();
            let to = sources
                .map(|source| self.lists.get(source.list).planned)
                .find(|planned| *planned != LoadBalanceId::NO_ROUTE)
                .unwrap_or(LoadBalanceId::NO_ROUTE);
            let from = std::mem::replace(&mut route.installed, to);
            if from != to {
                self.count_installed(from, to);
                moves.push(Move { prefix, from, to });
            }
        }
    }

    fn set_installed(&mut self, prefix: F::Net, to: LoadBalanceId) {
        let route = self.routes.get_mut(&prefix).expect("a route stays until its batch ends");
        let from = std::mem::replace(&mut route.installed, to);
        self.count_installed(from, to);
    }

    fn count_installed(&mut self, from: LoadBalanceId, to: LoadBalanceId) {
        self.installed -= usize::from(from != LoadBalanceId::NO_ROUTE);
        self.installed += usize::from(to != LoadBalanceId::NO_ROUTE);
    }
}

/// Changes that workers do not see yet.
#[must_use = "to be published or withdrawn"]
pub struct Pending<F: Family> {
    batch: Batch<F>,
    work: Work<F>,
    outcomes: Vec<Outcome>,
}

/// What is to be published.
struct Work<F: Family> {
    prepared: Vec<Prepared<F>>,
    moves: Vec<Move<F>>,
}

/// What was edited.
struct Batch<F: Family> {
    edits: Vec<Edit<F>>,
    /// Lists that the edits made, and what their first routes used before.
    new: HashMap<PathListId, LoadBalanceId>,
    /// Other lists that may resolve to something else now, besides those that recurse into an edited prefix.
    again: Vec<PathListId>,
    /// Prefixes that were without a source at some time.
    emptied: Vec<F::Net>,
}

impl<F: Family> Default for Work<F> {
    fn default() -> Self {
        Work { prepared: Vec::new(), moves: Vec::new() }
    }
}

impl<F: Family> Default for Batch<F> {
    fn default() -> Self {
        Batch { edits: Vec::new(), new: HashMap::new(), again: Vec::new(), emptied: Vec::new() }
    }
}

#[cfg(test)]
mod tests;

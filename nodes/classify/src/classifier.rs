// SPDX-License-Identifier: Apache-2.0
//! A rule set in the form that packets are matched against. Immutable; made by the main thread, read by workers.
//!
//! Two stages. [`Sessions`] holds the rules about exactly one 5-tuple; a packet that finds its session there is done, unless
//! a rule with wildcards may come before it, which was found out when the set was compiled. All others go through the
//! [`Forest`]. A vector of packets of which none needs the second stage pays nothing for it: not even keys are made.
//!
//! Each family has a forest of the rules that its packets may meet, and IPv4 the table of sessions; frames that are no IP meet the few
//! rules that ask for nothing of IP one after the other.

use std::sync::Arc;

use hashbrown::HashMap;
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{EtherType, network_offset};

use crate::action::{self, Outcome, Slot, Special};
use crate::forest::{BATCH, Forest, Shape};
use crate::group::{NO_RANK, Rank};
use crate::key::{Key4, Key6, MASKED4, MASKED6, Pattern4, Pattern6, Session, Sessions};
use crate::policer::Policer;
use crate::rule::{Redirect, Rule, RuleId, Verdict};
use crate::set::RuleSet;
use crate::simd::{self, Simd};

/// In the session table: the rest is an [`Outcome`]. Without it: a rank, to be compared with that of the forest.
const FINAL: u32 = 1 << 31;

/// Packets ahead of which the bucket of a session is fetched. A whole vector ahead is too far: with the packets and their
/// keys, the lines would not stay in the L1 cache.
const AHEAD: usize = 16;

/// Sessions are worth a stage of their own if at least one rule in this many is one.
const FEW: usize = 8;

/// What a compiled rule needs beside the rule.
pub struct Placement {
    /// Its counter.
    pub slot: Slot,
    /// Its bucket, if it polices.
    pub policer: Option<Arc<Policer>>,
}

/// A family, as its packets meet rules.
pub(crate) trait Header: 'static {
    /// What the trees look at.
    type Key: Copy + Default + Send;

    /// Where its header begins in a frame; `None`: the frame is of another family.
    fn offset(frame: &[u8]) -> Option<usize>;
    /// Makes the key of a packet; `None`: it is of another family, or shorter than its header.
    fn fill(key: &mut Self::Key, packet: &[u8], interface: InterfaceIndex) -> Option<()>;
    /// The table in which packets are looked for by their sessions; without one, their keys must be there before
    /// [`Classifier::lookup`].
    fn table(classifier: &Classifier) -> Option<&Sessions>;
    /// What sessions are found by.
    fn session(packet: &[u8], interface: InterfaceIndex) -> Option<Session>;
    /// The trees: see [`Forest::find`].
    fn find(classifier: &Classifier, keys: &[Self::Key; BATCH], packets: &[u8], found: &mut [Rank; BATCH]);
    /// The next matching rule after one that does not decide.
    fn next(classifier: &Classifier, key: &Self::Key, after: Rank) -> Rank;
}

/// IPv4.
pub(crate) struct Ip4;

impl Header for Ip4 {
    type Key = Key4;

    #[inline(always)]
    fn offset(frame: &[u8]) -> Option<usize> {
        network_offset(frame, EtherType::IPV4)
    }

    #[inline(always)]
    fn fill(key: &mut Key4, packet: &[u8], interface: InterfaceIndex) -> Option<()> {
        key.fill(packet, interface)
    }

    #[inline(always)]
    fn table(classifier: &Classifier) -> Option<&Sessions> {
        (!classifier.sessions.is_empty()).then_some(&classifier.sessions)
    }

    #[inline(always)]
    fn session(packet: &[u8], interface: InterfaceIndex) -> Option<Session> {
        Session::of(packet, interface)
    }

    #[inline(always)]
    fn find(classifier: &Classifier, keys: &[Key4; BATCH], packets: &[u8], found: &mut [Rank; BATCH]) {
        classifier.forest.find(keys, packets, found);
    }

    fn next(classifier: &Classifier, key: &Key4, after: Rank) -> Rank {
        let (session, sessions) = (key.session(), &classifier.sessions);
        // A session that was final would have decided already.
        let exact = sessions.get(session, sessions.place(session));
        let exact = if exact > after { exact } else { NO_RANK };
        classifier.forest.next(key, after).min(exact)
    }
}

/// IPv6.
pub(crate) struct Ip6;

impl Header for Ip6 {
    type Key = Key6;

    #[inline(always)]
    fn offset(frame: &[u8]) -> Option<usize> {
        network_offset(frame, EtherType::IPV6)
    }

    #[inline(always)]
    fn fill(key: &mut Key6, packet: &[u8], interface: InterfaceIndex) -> Option<()> {
        key.fill(packet, interface)
    }

    #[inline(always)]
    fn table(_: &Classifier) -> Option<&Sessions> {
        None
    }

    #[inline(always)]
    fn session(_: &[u8], _: InterfaceIndex) -> Option<Session> {
        None
    }

    #[inline(always)]
    fn find(classifier: &Classifier, keys: &[Key6; BATCH], packets: &[u8], found: &mut [Rank; BATCH]) {
        classifier.forest6.find(keys, packets, found);
    }

    fn next(classifier: &Classifier, key: &Key6, after: Rank) -> Rank {
        classifier.forest6.next(key, after)
    }
}

/// The packets of a vector on their way through a lookup. Memory of one worker, used again for every vector.
pub(crate) struct Batch<H: Header> {
    /// What the trees look at, by place in the vector.
    pub keys: [H::Key; BATCH],
    /// What was found.
    pub outcomes: [Outcome; BATCH],
    /// What the session table looks at, and where.
    sessions: [Session; BATCH],
    places: [u32; BATCH],
    found: [Rank; BATCH],
}

impl<H: Header> Batch<H> {
    /// Room for a vector.
    pub fn new() -> Box<Batch<H>> {
        Box::new(Batch {
            keys: [H::Key::default(); BATCH],
            outcomes: [Outcome::NONE; BATCH],
            sessions: [Session::default(); BATCH],
            places: [0; BATCH],
            found: [0; BATCH],
        })
    }

    /// Notes what the packet at a place of the vector is to be found by.
    #[inline(always)]
    pub fn take(&mut self, sessions: &Sessions, place: usize, session: Session) {
        self.sessions[place % BATCH] = session;
        self.places[place % BATCH] = sessions.place(session);
    }
}

/// A compiled rule set.
pub struct Classifier {
    sessions: Sessions,
    forest: Forest<MASKED4>,
    forest6: Forest<MASKED6>,
    /// By rank.
    outcomes: Box<[Outcome]>,
    specials: Box<[Special]>,
    /// By rank: for traces.
    rules: Box<[(Slot, RuleId)]>,
    /// Rules that frames meet which are no IP, in the order in which they are asked, with the interface that they ask for.
    others: Box<[(Rank, Option<InterfaceIndex>)]>,
    simd: Simd,
}

impl Classifier {
    /// Compiles a set; `place` says where its rules count.
    pub fn new(set: &RuleSet, mut place: impl FnMut(RuleId) -> Placement) -> Classifier {
        let patterns: Vec<Pattern4> = set.iter().map(|rule| Pattern4::new(&rule.matches)).collect();
        let of_ip4: Vec<bool> = set.iter().map(|rule| rule.matches.is_of_ip4()).collect();
        // A next hop is one of IPv4.
        let routes = |rule: &Rule| matches!(rule.action.verdict, Verdict::Redirect(Redirect::NextHop(_)));
        let (mut of_ip6, mut patterns6, mut others) = (Vec::new(), Vec::with_capacity(set.len()), Vec::new());
        for (rank, rule) in (0..).zip(set.iter()) {
            let pattern = Pattern6::new(&rule.matches).filter(|_| !routes(rule));
            of_ip6.extend(pattern.map(|_| rank));
            patterns6.push(pattern.unwrap_or(Pattern6::none()));
            if rule.matches.is_of_any_frame() && !routes(rule) {
                others.push((rank, rule.matches.interface));
            }
        }
        let mut specials = Vec::new();
        let mut rules = Vec::with_capacity(set.len());
        let outcomes: Box<[Outcome]> = (0..)
            .zip(set.iter())
            .map(|(rank, rule)| {
                let Placement { slot, policer } = place(rule.id);
                rules.push((slot, rule.id));
                action::compile(&rule.action, slot, rank, policer, &mut specials)
            })
            .collect();
        // The best rule of a session stands in the table, further ones (a count before a drop, say) in the trees.
        // A few sessions among many other rules do not pay for asking every packet: they stand in the trees like all others.
        let sessions = patterns.iter().filter(|pattern| pattern.session().is_some()).count();
        let worth_it = sessions * FEW >= patterns.len();
        let mut exact: HashMap<Session, Rank> = HashMap::new();
        let mut wild = Vec::new();
        for (rank, pattern) in (0..).zip(&patterns) {
            match pattern.session() {
                _ if !of_ip4[rank as usize] => {}
                Some(session) if worth_it && !exact.contains_key(&session) => {
                    exact.insert(session, rank);
                }
                _ => wild.push(rank),
            }
        }
        let forest = Forest::new(&patterns, wild);
        let forest6 = Forest::new(&patterns6, of_ip6);
        let terminal = |rank: Rank| {
            let outcome = outcomes[rank as usize];
            outcome.kind() != action::Kind::Special
                || specials[outcome.special()].verdict != Verdict::Continue
        };
        let sessions: Vec<(Session, u32)> = exact
            .into_iter()
            .map(|(session, rank)| {
                let mut last = terminal(rank);
                forest.of_session(session, &patterns, |other| last &= other > rank);
                (session, if last { FINAL | outcomes[rank as usize].word() } else { rank })
            })
            .collect();
        Classifier {
            sessions: Sessions::new(&sessions),
            forest,
            forest6,
            specials: specials.into_boxed_slice(),
            outcomes,
            rules: rules.into_boxed_slice(),
            others: others.into_boxed_slice(),
            simd: Simd::detect(),
        }
    }

    /// Finds the rules of those packets that `packets` names, whose sessions or keys the batch has. `fill` makes the key of one
    /// whose session does not decide.
    #[inline(always)]
    pub(crate) fn lookup<H: Header>(
        &self,
        batch: &mut Batch<H>,
        packets: &[u8],
        mut fill: impl FnMut(usize, &mut H::Key),
    ) {
        let Some(sessions) = H::table(self) else {
            batch.found = [NO_RANK; BATCH];
            return simd::lookup(self.simd, self, batch, packets);
        };
        for &packet in packets.iter().take(AHEAD) {
            sessions.prefetch(batch.places[usize::from(packet)]);
        }
        let mut all = FINAL;
        for (n, &packet) in packets.iter().enumerate() {
            if let Some(&ahead) = packets.get(n + AHEAD) {
                sessions.prefetch(batch.places[usize::from(ahead)]);
            }
            let i = usize::from(packet);
            let value = sessions.get(batch.sessions[i], batch.places[i]);
            batch.outcomes[i] = Outcome::from_word(value);
            all &= value;
        }
        if all == 0 {
            let mut rest = [0u8; BATCH];
            let mut count = 0;
            for &packet in packets {
                let value = batch.outcomes[usize::from(packet)].word();
                rest[count % BATCH] = packet;
                count += usize::from(value & FINAL == 0);
            }
            let rest = &rest[..count];
            for &packet in rest {
                let i = usize::from(packet);
                batch.found[i] = batch.outcomes[i].word();
                fill(i, &mut batch.keys[i]);
            }
            simd::lookup(self.simd, self, batch, rest);
        }
    }

    /// The rule of one packet that need not be sound; its key is the batch's first. `None`: it is shorter than its header, or
    /// of another family.
    pub(crate) fn find_one<H: Header>(
        &self,
        batch: &mut Batch<H>,
        packet: &[u8],
        interface: InterfaceIndex,
    ) -> Option<Outcome> {
        H::fill(&mut batch.keys[0], packet, interface)?;
        if let Some(sessions) = H::table(self)
            && let Some(session) = H::session(packet, interface)
        {
            batch.take(sessions, 0, session);
        }
        self.lookup(batch, &[0], |_, _| {});
        Some(batch.outcomes[0])
    }

    /// The trees, for the instruction set of the function that it is inlined into.
    #[inline(always)]
    pub(crate) fn lookup_inline<H: Header>(&self, batch: &mut Batch<H>, packets: &[u8]) {
        H::find(self, &batch.keys, packets, &mut batch.found);
        for &packet in packets {
            let rank = batch.found[usize::from(packet)];
            batch.outcomes[usize::from(packet)] = self.outcome(rank);
        }
    }

    #[inline(always)]
    fn outcome(&self, rank: Rank) -> Outcome {
        self.outcomes.get(rank as usize).copied().unwrap_or(Outcome::NONE)
    }

    /// The next matching rule after one that does not decide.
    pub(crate) fn next<H: Header>(&self, key: &H::Key, after: Rank) -> Outcome {
        self.outcome(H::next(self, key, after))
    }

    /// The rule of a frame that is no IP: the first one, or the first after one that does not decide.
    pub(crate) fn find_other(&self, interface: InterfaceIndex, after: Option<Rank>) -> Outcome {
        let from = after.map_or(0, |after| self.others.partition_point(|(rank, _)| *rank <= after));
        let found = self.others[from..].iter().find(|(_, its)| its.is_none_or(|its| its == interface));
        self.outcome(found.map_or(NO_RANK, |(rank, _)| *rank))
    }

    /// What a rule does beyond the ordinary; for an outcome of this classifier.
    #[inline(always)]
    pub(crate) fn special(&self, outcome: Outcome) -> Option<&Special> {
        self.specials.get(outcome.special())
    }

    /// The rule that counts in a slot.
    pub(crate) fn rule(&self, slot: Slot) -> Option<RuleId> {
        self.rules.iter().find(|(its, _)| *its == slot).map(|(_, id)| *id)
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Rules that stand in the session table, and its bytes.
    pub fn sessions(&self) -> (usize, usize) {
        (self.sessions.len(), self.sessions.bytes())
    }

    /// What the trees of IPv4 look like.
    pub fn shape(&self) -> Shape {
        self.forest.shape()
    }

    /// And those of IPv6.
    pub fn shape6(&self) -> Shape {
        self.forest6.shape()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A rule set in the form that packets are matched against. Immutable; made by the main thread, read by workers.
//!
//! Two stages. [`Sessions`] holds the rules about exactly one 5-tuple; a packet that finds its session there is done, unless
//! a rule with wildcards may come before it, which was found out when the set was compiled. All others go through the
//! [`Forest`]. A vector of packets of which none needs the second stage pays nothing for it: not even keys are made.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::Ipv6Net;
use weft_engine::InterfaceIndex;

use crate::action::{self, Outcome, Slot, Special};
use crate::forest::{BATCH, Forest, Shape};
use crate::group::{NO_RANK, Rank};
use crate::key::{Ip6, Key, Pattern, Session, Sessions};
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

/// The packets of a vector on their way through a lookup. Memory of one worker, used again for every vector.
pub struct Batch {
    /// What the trees look at, by place in the vector.
    pub(crate) keys: [Key; BATCH],
    /// What was found.
    pub(crate) outcomes: [Outcome; BATCH],
    /// What the session table looks at, and where.
    sessions: [Session; BATCH],
    places: [u32; BATCH],
    found: [Rank; BATCH],
}

impl Batch {
    /// Room for a vector.
    pub fn new() -> Box<Batch> {
        Box::new(Batch {
            keys: [Key::default(); BATCH],
            outcomes: [Outcome::NONE; BATCH],
            sessions: [Session::default(); BATCH],
            places: [0; BATCH],
            found: [0; BATCH],
        })
    }

    /// Notes what the packet at a place of the vector is to be found by.
    #[inline(always)]
    pub(crate) fn take(&mut self, sessions: &Sessions, place: usize, session: Session) {
        self.sessions[place % BATCH] = session;
        self.places[place % BATCH] = sessions.place(session);
    }
}

/// A compiled rule set.
pub struct Classifier {
    sessions: Sessions,
    forest: Forest,
    /// By rank.
    outcomes: Box<[Outcome]>,
    specials: Box<[Special]>,
    /// By rank: for traces.
    rules: Box<[(Slot, RuleId)]>,
    /// Rules that other packets than IPv4's may meet, in the order in which they are asked.
    others: Box<[Other]>,
    simd: Simd,
}

/// A rule, as packets other than IPv4's meet it.
struct Other {
    rank: Rank,
    /// But for the addresses.
    pattern: Pattern,
    /// Source and destination.
    addresses: (Ipv6Net, Ipv6Net),
    /// Frames that are no IP meet it too.
    any_frame: bool,
    not_discovery: bool,
}

impl Other {
    fn new(rank: Rank, rule: &Rule, pattern: Pattern) -> Option<Other> {
        let routes = matches!(rule.action.verdict, Verdict::Redirect(Redirect::NextHop(_)));
        Some(Other {
            rank,
            pattern,
            addresses: rule.matches.ip6().filter(|_| !routes)?,
            any_frame: rule.matches.is_of_any_frame(),
            not_discovery: rule.matches.not_discovery,
        })
    }

    fn matches(&self, frame: &OtherFrame) -> bool {
        self.pattern.matches_beside_addresses(&frame.key)
            && match &frame.ip6 {
                Some(ip6) => {
                    self.addresses.0.contains(&ip6.source)
                        && self.addresses.1.contains(&ip6.destination)
                        && !(self.not_discovery && ip6.is_discovery)
                }
                None => self.any_frame,
            }
    }
}

/// What rules look at of a frame that is not IPv4's.
pub(crate) struct OtherFrame {
    pub key: Key,
    /// `None`: it is no IP either.
    pub ip6: Option<Ip6>,
}

impl Classifier {
    /// Compiles a set; `place` says where its rules count.
    pub fn new(set: &RuleSet, mut place: impl FnMut(RuleId) -> Placement) -> Classifier {
        let patterns: Vec<Pattern> = set.iter().map(|rule| Pattern::new(&rule.matches)).collect();
        let of_ip4: Vec<bool> = set.iter().map(|rule| rule.matches.is_of_ip4()).collect();
        let others = (0..)
            .zip(set.iter().zip(&patterns))
            .filter_map(|(rank, (rule, pattern))| Other::new(rank, rule, *pattern))
            .collect();
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
            specials: specials.into_boxed_slice(),
            outcomes,
            rules: rules.into_boxed_slice(),
            others,
            simd: Simd::detect(),
        }
    }

    /// The table in which packets are looked for by their sessions; without one, their keys must be there before
    /// [`Classifier::lookup`].
    #[inline(always)]
    pub(crate) fn table(&self) -> Option<&Sessions> {
        (!self.sessions.is_empty()).then_some(&self.sessions)
    }

    /// Finds the rules of those packets that `packets` names, whose sessions or keys the batch has. `fill` makes the key of one
    /// whose session does not decide.
    #[inline(always)]
    pub(crate) fn lookup(&self, batch: &mut Batch, packets: &[u8], mut fill: impl FnMut(usize, &mut Key)) {
        let Some(sessions) = self.table() else {
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

    /// The rule of one IPv4 packet that need not be sound; its key is the batch's first. `None`: it is shorter than its header.
    pub(crate) fn find_ip4(
        &self,
        batch: &mut Batch,
        packet: &[u8],
        interface: InterfaceIndex,
    ) -> Option<Outcome> {
        batch.keys[0].fill(packet, interface)?;
        if let Some(sessions) = self.table() {
            let session = batch.keys[0].session();
            batch.take(sessions, 0, session);
        }
        self.lookup(batch, &[0], |_, _| {});
        Some(batch.outcomes[0])
    }

    /// The trees, for the instruction set of the function that it is inlined into.
    #[inline(always)]
    pub(crate) fn lookup_inline(&self, batch: &mut Batch, packets: &[u8]) {
        self.forest.find(&batch.keys, packets, &mut batch.found);
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
    pub(crate) fn next(&self, key: &Key, after: Rank) -> Outcome {
        let session = key.session();
        // A session that was final would have decided already.
        let exact = self.sessions.get(session, self.sessions.place(session));
        let exact = if exact > after { exact } else { NO_RANK };
        self.outcome(self.forest.next(key, after).min(exact))
    }

    /// The rule of a frame that is not IPv4's: the first one, or the first after one that does not decide. One after the
    /// other, as such frames are for the host and its speed bounds theirs.
    pub(crate) fn find_other(&self, frame: &OtherFrame, after: Option<Rank>) -> Outcome {
        let from = after.map_or(0, |after| self.others.partition_point(|rule| rule.rank <= after));
        let found = self.others[from..].iter().find(|rule| rule.matches(frame));
        self.outcome(found.map_or(NO_RANK, |rule| rule.rank))
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

    /// What the trees look like.
    pub fn shape(&self) -> Shape {
        self.forest.shape()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What becomes of a packet, as workers read it.
//!
//! Most rules pass, drop or punt and do nothing else. For them everything is in one word, the [`Outcome`], which the session
//! table holds beside the key: no further memory is read. All other rules point to a [`Special`].

use std::sync::Arc;

use crate::group::Rank;
use crate::policer::Policer;
use crate::rule::{Action, Dscp, Verdict};

/// Place of a rule in the counters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub(crate) u32);

impl Slot {
    /// For indexing the counters.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Most rules of all sets together: what fits beside the kind in an [`Outcome`].
pub(crate) const MOST_SLOTS: usize = 1 << 28;

/// What a lookup finds: a kind in bits 28 to 30, and below it a slot or the place of a [`Special`]. Bit 31 is the session
/// table's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome(u32);

const KIND: u32 = 28;
const INDEX: u32 = (1 << KIND) - 1;

/// The kinds of outcomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// No rule.
    None,
    /// [`Verdict::Pass`] alone.
    Pass,
    /// [`Verdict::Drop`] alone.
    Drop,
    /// [`Verdict::Punt`] alone.
    Punt,
    /// Anything else.
    Special,
}

impl Outcome {
    /// No rule matches.
    pub const NONE: Outcome = Outcome(0);

    fn new(kind: Kind, index: u32) -> Outcome {
        Outcome((kind as u32) << KIND | index & INDEX)
    }

    /// As it stands in the session table.
    pub const fn from_word(word: u32) -> Outcome {
        Outcome(word)
    }

    /// For the session table.
    pub const fn word(self) -> u32 {
        self.0
    }

    /// What it is.
    #[inline(always)]
    pub fn kind(self) -> Kind {
        match self.0 >> KIND & 7 {
            0 => Kind::None,
            1 => Kind::Pass,
            2 => Kind::Drop,
            3 => Kind::Punt,
            _ => Kind::Special,
        }
    }

    /// For [`Kind::Pass`] and [`Kind::Drop`], whether it is the latter. By bits, of which the compiler makes no branch
    /// between the two: it would be mispredicted as often as rules drop.
    #[inline(always)]
    pub fn drops(self) -> Option<bool> {
        let kind = self.0 >> KIND & 7;
        (kind.wrapping_sub(1) < 2).then_some(kind & 2 != 0)
    }

    /// The rule's counter; not for [`Kind::Special`].
    #[inline(always)]
    pub fn slot(self) -> Slot {
        Slot(self.0 & INDEX)
    }

    /// Place in the list of specials; for [`Kind::Special`] only.
    #[inline(always)]
    pub fn special(self) -> usize {
        (self.0 & INDEX) as usize
    }
}

/// What a rule does beyond the ordinary.
pub(crate) struct Special {
    /// The rule's counter.
    pub slot: Slot,
    /// The rule's place, from where the next matching one is looked for.
    pub rank: Rank,
    /// How much may pass.
    pub policer: Option<Arc<Policer>>,
    /// For the metadata.
    pub mark: Option<u32>,
    /// For the IP header.
    pub dscp: Option<Dscp>,
    /// Whether the flow is admitted.
    pub admit: bool,
    /// What then.
    pub verdict: Verdict,
}

/// The outcome of a rule; what does not fit in a word is appended to `specials`.
pub(crate) fn compile(
    action: &Action,
    slot: Slot,
    rank: Rank,
    policer: Option<Arc<Policer>>,
    specials: &mut Vec<Special>,
) -> Outcome {
    let plain = *action == Action::only(action.verdict);
    match action.verdict {
        Verdict::Pass if plain => Outcome::new(Kind::Pass, slot.0),
        Verdict::Drop if plain => Outcome::new(Kind::Drop, slot.0),
        Verdict::Punt if plain => Outcome::new(Kind::Punt, slot.0),
        verdict => {
            let place = specials.len() as u32;
            let Action { mark, dscp, admit, .. } = *action;
            specials.push(Special { slot, rank, policer, mark, dscp, admit, verdict });
            Outcome::new(Kind::Special, place)
        }
    }
}

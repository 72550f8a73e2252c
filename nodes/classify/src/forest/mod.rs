// SPDX-License-Identifier: Apache-2.0
//! Rules with wildcards: a few trees, each of which cuts bit windows out of the header until a handful of rules is left.
//!
//! A node of a tree takes some adjacent bits of one header word and goes on in the child of that number. A rule that
//! leaves these bits open would have to stand in all children; where that would cost too much, it is left to the next
//! tree ([`build`] decides). So rules of a firewall, half of which name no source and the other half no destination, become
//! two or three trees, while one would grow to the product of both halves.
//!
//! A lookup goes tree by tree, and in a tree level by level over the whole vector of packets: a step is some ten instructions
//! without a branch, and no packet waits for another one's cache miss. A leaf is a node that leads to itself, so all packets
//! take as many steps as the tree is deep. A tree of which all rules come after the rule that a packet has found already is not
//! asked.

mod build;

use crate::group::{Group, LANES, NO_RANK, Rank};
use crate::key::{Key, MASKED4, Pattern, Pattern4, SESSION_OPEN, Session};

/// A node: which bits to look at, and where the children are. Of a leaf: no bits, and itself.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Cut {
    children: u32,
    mask: u16,
    shift: u8,
    word: u8,
}

impl Cut {
    fn leaf(itself: usize) -> Cut {
        Cut { children: itself as u32, mask: 0, shift: 0, word: 0 }
    }

    fn is_leaf(self) -> bool {
        self.mask == 0
    }

    #[inline(always)]
    fn child<const N: usize>(self, key: &Key<N>) -> u32 {
        self.children + (key.word(self.word.into()) >> (self.shift % 32) & u32::from(self.mask))
    }
}

#[derive(Clone, Copy, Debug)]
struct Tree {
    root: u32,
    depth: u32,
    /// The lowest rank in it.
    best: Rank,
}

/// Trees over the rules of a set about one family, whose headers have so many words under a mask.
pub(crate) struct Forest<const M: usize> {
    /// By `best`.
    trees: Vec<Tree>,
    cuts: Vec<Cut>,
    /// Of each node that is a leaf: its first group.
    leaves: Vec<u32>,
    groups: Vec<Group<M>>,
}

/// What a forest looks like, for an operator and for benchmarks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Depth of each tree.
    pub depths: Vec<u32>,
    /// Nodes of all trees.
    pub nodes: usize,
    /// Groups of eight rules in the leaves.
    pub groups: usize,
    /// Bytes of all that.
    pub bytes: usize,
}

/// Packets ahead of which the group of a leaf is fetched.
const AHEAD: usize = 6;

/// Packets that are looked up at once.
pub(crate) const BATCH: usize = weft_engine::frame::FRAME_SIZE;

impl<const M: usize> Forest<M> {
    /// Of the rules whose ranks `rules` gives, in ascending order.
    pub fn new(patterns: &[Pattern<M>], rules: Vec<Rank>) -> Forest<M> {
        build::build(patterns, rules)
    }

    /// For an operator.
    pub fn shape(&self) -> Shape {
        Shape {
            depths: self.trees.iter().map(|tree| tree.depth).collect(),
            nodes: self.cuts.len(),
            groups: self.groups.len(),
            bytes: size_of_val(&self.cuts[..])
                + size_of_val(&self.leaves[..])
                + size_of_val(&self.groups[..]),
        }
    }

    /// Improves on `found`: sets those of `packets` (numbers of keys) for which a rule of a lower rank matches.
    ///
    /// Keys and ranks of a whole vector, whichever packets are asked for: so no index needs a check.
    #[inline(always)]
    pub fn find<const N: usize>(&self, keys: &[Key<N>; BATCH], packets: &[u8], found: &mut [Rank; BATCH]) {
        let mut asked = [0u8; BATCH];
        let mut at = [0u32; BATCH];
        for tree in &self.trees {
            let mut count = 0;
            for &packet in packets {
                asked[count % BATCH] = packet;
                count += usize::from(found[usize::from(packet)] > tree.best);
            }
            let asked = &asked[..count];
            let at = &mut at[..count];
            at.fill(tree.root);
            for _ in 0..tree.depth {
                for (at, &packet) in at.iter_mut().zip(asked) {
                    *at = self.cuts[*at as usize].child(&keys[usize::from(packet)]);
                }
            }
            for at in at.iter_mut() {
                *at = self.leaves[*at as usize];
            }
            for (i, &packet) in asked.iter().enumerate() {
                let packet = usize::from(packet);
                if let Some(ahead) = at.get(i + AHEAD) {
                    self.groups[*ahead as usize].prefetch();
                }
                let mut group = at[i] as usize;
                loop {
                    let rules = &self.groups[group];
                    found[packet] = found[packet].min(rules.first(&keys[packet]));
                    if !rules.more() || found[packet] < rules.rank(LANES - 1) {
                        break;
                    }
                    group += 1;
                }
            }
        }
    }

    /// The best rule of a rank above `after` that matches one packet: for those after a rule that lets the next one
    /// decide.
    pub fn next<const N: usize>(&self, key: &Key<N>, after: Rank) -> Rank {
        let mut best = NO_RANK;
        for tree in &self.trees {
            let mut at = tree.root;
            for _ in 0..tree.depth {
                at = self.cuts[at as usize].child(key);
            }
            let mut group = self.leaves[at as usize] as usize;
            loop {
                let rules = &self.groups[group];
                if let Some(rank) = rules.first_after(key, after) {
                    best = best.min(rank);
                    break;
                }
                if !rules.more() {
                    break;
                }
                group += 1;
            }
        }
        best
    }
}

impl Forest<MASKED4> {
    /// The ranks of rules that may match a packet of a session, whatever the session leaves open.
    pub fn of_session(&self, session: Session, patterns: &[Pattern4], mut each: impl FnMut(Rank)) {
        let mut waiting: Vec<u32> = self.trees.iter().map(|tree| tree.root).collect();
        let [source, destination, ports, rest] = session.words();
        let words = [source, destination, rest, ports, 0, 0, 0, 0];
        while let Some(at) = waiting.pop() {
            let cut = self.cuts[at as usize];
            if !cut.is_leaf() {
                let window = u32::from(cut.mask);
                let open = SESSION_OPEN[usize::from(cut.word)] >> cut.shift & window;
                let known = words[usize::from(cut.word)] >> cut.shift & window & !open;
                waiting.extend(
                    (0..=window).filter(|bits| bits & !open == known).map(|bits| cut.children + bits),
                );
                continue;
            }
            let mut group = self.leaves[at as usize] as usize;
            loop {
                let rules = &self.groups[group];
                for lane in 0..LANES {
                    let rank = rules.rank(lane);
                    if rank != NO_RANK && patterns[rank as usize].may_match(session) {
                        each(rank);
                    }
                }
                if !rules.more() {
                    break;
                }
                group += 1;
            }
        }
    }
}

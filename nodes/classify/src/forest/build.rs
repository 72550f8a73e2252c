// SPDX-License-Identifier: Apache-2.0
//! Grows the trees: which bits to cut at each node, and which rules to leave to the next tree.
//!
//! Greedy: at every node, of all windows of adjacent bits in all words, the one that tells the rules apart best. That is
//! measured as information: rules that stand in one child of their own gain the logarithm of how many they leave behind,
//! rules that leave the window open gain nothing. Main thread only; 10,000 rules take some 0.1 s.

use hashbrown::HashMap;

use super::{Cut, Forest, Tree};
use crate::group::{Group, LANES, Rank};
use crate::key::{Masked, Pattern, Span};

/// Trees; the last one takes what the others leave, whatever it costs.
const TREES: usize = 8;
/// Widest window, in bits.
const WIDEST: u32 = 12;
/// Children of a node per rule in it, at most.
const CHILDREN_PER_RULE: usize = 4;
/// Rules that are looked at to judge a window.
const SAMPLE: usize = 512;
/// How many times as many rules the children of a node may have together as the node has.
const GROWTH: usize = 4;
/// Levels below a root: a bound, far above what rules need.
const DEEPEST: u32 = 3;

/// A window of adjacent bits of a word.
#[derive(Clone, Copy, Debug)]
struct Window {
    field: Field,
    shift: u32,
    bits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// A word under a mask, by its number.
    Masked(usize),
    Upper,
    Lower,
    Interface,
}

impl Field {
    /// All of a header with `masked` words under a mask.
    fn all(masked: usize) -> impl Iterator<Item = Field> {
        (0..masked).map(Field::Masked).chain([Field::Upper, Field::Lower, Field::Interface])
    }

    /// Its width in bits.
    fn width(self) -> u32 {
        match self {
            Field::Masked(_) => 32,
            Field::Upper | Field::Lower | Field::Interface => 16,
        }
    }

    /// Its word, and where it stands in that.
    fn place(self, masked: usize) -> (usize, u32) {
        match self {
            Field::Masked(word) => (word, 0),
            Field::Upper => (masked, 16),
            Field::Lower => (masked, 0),
            Field::Interface => (masked + 1, 0),
        }
    }
}

/// The children that a rule stands in: those whose number has these bits, or a range of numbers, which may wrap around.
enum Children {
    Masked(Masked),
    Range { first: u32, count: u32 },
}

impl Window {
    fn children<const M: usize>(self, pattern: &Pattern<M>) -> Children {
        let window = (1 << self.bits) - 1;
        let masked = |field: Masked| {
            let mask = field.mask >> self.shift & window;
            Children::Masked(Masked { value: field.value >> self.shift & mask, mask })
        };
        // The window of all numbers from the first to the last: all, if they span it; otherwise those from the one to the
        // other, maybe past its end.
        let range = |span: Span| {
            let (first, last) = (u32::from(span.first) >> self.shift, u32::from(span.last) >> self.shift);
            Children::Range { first: first & window, count: (last - first + 1).min(window + 1) }
        };
        match self.field {
            Field::Masked(word) => masked(pattern.masked[word]),
            Field::Upper => range(pattern.upper),
            Field::Lower => range(pattern.lower),
            Field::Interface => masked(pattern.interface),
        }
    }

    /// How many children a rule stands in.
    fn copies<const M: usize>(self, pattern: &Pattern<M>) -> u32 {
        match self.children(pattern) {
            Children::Masked(Masked { mask, .. }) => 1 << (self.bits - mask.count_ones()),
            Children::Range { count, .. } => count,
        }
    }

    fn each_child<const M: usize>(self, pattern: &Pattern<M>, mut each: impl FnMut(usize)) {
        let window = (1u32 << self.bits) - 1;
        match self.children(pattern) {
            Children::Masked(Masked { value, mask }) => {
                // All numbers whose bits outside of `mask` are anything.
                let open = window & !mask;
                let mut bits = 0;
                loop {
                    each((value | bits) as usize);
                    bits = bits.wrapping_sub(open) & open;
                    if bits == 0 {
                        break;
                    }
                }
            }
            Children::Range { first, count } => {
                (first..first + count).for_each(|child| each((child & window) as usize));
            }
        }
    }
}

struct Builder<'a, const M: usize> {
    patterns: &'a [Pattern<M>],
    forest: Forest<M>,
    /// Leaves by their rules: many children have the same.
    known: HashMap<Box<[Rank]>, u32>,
    /// Rules that the tree under construction leaves to the next one.
    left: Vec<Rank>,
    last_tree: bool,
    /// Rules per child of the window that is judged.
    counts: Vec<u32>,
}

/// A forest of the given rules, in ascending order of rank.
pub(super) fn build<const M: usize>(patterns: &[Pattern<M>], rules: Vec<Rank>) -> Forest<M> {
    let empty = Forest { trees: Vec::new(), cuts: Vec::new(), leaves: Vec::new(), groups: Vec::new() };
    let mut builder = Builder {
        patterns,
        forest: empty,
        known: HashMap::new(),
        left: Vec::new(),
        last_tree: false,
        counts: Vec::new(),
    };
    let mut rules = rules;
    while let Some(&best) = rules.first() {
        builder.last_tree = builder.forest.trees.len() + 1 == TREES;
        let root = builder.allocate(1);
        let depth = builder.grow(root, &rules, 0);
        builder.forest.trees.push(Tree { root: root as u32, depth, best });
        rules = std::mem::take(&mut builder.left);
        rules.sort_unstable();
        rules.dedup();
    }
    builder.forest.trees.sort_by_key(|tree| tree.best);
    builder.forest
}

impl<const M: usize> Builder<'_, M> {
    fn allocate(&mut self, count: usize) -> usize {
        let first = self.forest.cuts.len();
        self.forest.cuts.extend((first..first + count).map(Cut::leaf));
        self.forest.leaves.resize(first + count, 0);
        first
    }

    /// Makes a tree of node `at`; returns its depth.
    fn grow(&mut self, at: usize, rules: &[Rank], level: u32) -> u32 {
        let window = if rules.len() > LANES && level < DEEPEST { self.choose(rules) } else { None };
        let split = window.and_then(|window| Some((window, self.limit(window, rules)?)));
        let Some((window, limit)) = split else {
            let kept = if self.last_tree { rules.len() } else { rules.len().min(LANES) };
            self.left.extend(&rules[kept..]);
            self.forest.leaves[at] = self.leaf(&rules[..kept]);
            return 0;
        };
        let mut children: Vec<Vec<Rank>> = vec![Vec::new(); 1 << window.bits];
        for &rule in rules {
            let pattern = &self.patterns[rule as usize];
            if window.copies(pattern) > limit {
                self.left.push(rule);
            } else {
                window.each_child(pattern, |child| children[child].push(rule));
            }
        }
        let first = self.allocate(children.len());
        let (word, offset) = window.field.place(M);
        self.forest.cuts[at] = Cut {
            children: first as u32,
            mask: (children.len() - 1) as u16,
            shift: (window.shift + offset) as u8,
            word: word as u8,
        };
        let below =
            children.iter().enumerate().map(|(i, rules)| self.grow(first + i, rules, level + 1)).max();
        below.unwrap_or(0) + 1
    }

    fn leaf(&mut self, rules: &[Rank]) -> u32 {
        if let Some(&group) = self.known.get(rules) {
            return group;
        }
        let first = self.forest.groups.len() as u32;
        let patterns = self.patterns;
        let chunks = rules.chunks(LANES).len().max(1);
        for i in 0..chunks {
            let rules = rules.iter().skip(i * LANES).take(LANES);
            let rules = rules.map(|&rule| (rule, &patterns[rule as usize]));
            self.forest.groups.push(Group::new(rules, i + 1 < chunks));
        }
        self.known.insert(rules.into(), first);
        first
    }

    /// Copies of a rule up to which it stays in the tree; `None`: all have to stay, and are too many.
    fn limit(&self, window: Window, rules: &[Rank]) -> Option<u32> {
        let mut by_copies = [0usize; WIDEST as usize + 1];
        for &rule in rules {
            let copies = window.copies(&self.patterns[rule as usize]);
            by_copies[copies.next_power_of_two().trailing_zeros() as usize] += copies as usize;
        }
        let most = rules.len() * GROWTH + LANES;
        if self.last_tree {
            return (by_copies.iter().sum::<usize>() <= most).then_some(u32::MAX);
        }
        let (mut total, mut limit) = (0, 1);
        for (bits, copies) in by_copies.iter().enumerate() {
            total += copies;
            if total > most {
                break;
            }
            limit = 1 << bits;
        }
        Some(limit)
    }

    /// The window that tells most, if any tells anything.
    fn choose(&mut self, rules: &[Rank]) -> Option<Window> {
        let step = rules.len().div_ceil(SAMPLE);
        let sample: Vec<&Pattern<M>> =
            rules.iter().step_by(step).map(|&rule| &self.patterns[rule as usize]).collect();
        let most_children = (rules.len() * CHILDREN_PER_RULE).next_power_of_two();
        let widest = WIDEST.min(most_children.trailing_zeros());
        let mut best: Option<(f64, Window)> = None;
        for field in Field::all(M) {
            let width = field.width();
            for bits in 1..=widest.min(width) {
                for shift in 0..=width - bits {
                    let window = Window { field, shift, bits };
                    let gain = self.gain(window, &sample, rules.len());
                    if gain > best.map_or(0.05, |(best, _)| best) {
                        best = Some((gain, window));
                    }
                }
            }
        }
        best.map(|(_, window)| window)
    }

    /// Bits of information that a window gives on the average of `sample`, less the price of its children.
    fn gain(&mut self, window: Window, sample: &[&Pattern<M>], rules: usize) -> f64 {
        let children = 1usize << window.bits;
        self.counts.clear();
        self.counts.resize(children, 0);
        let wide = (children as u32 / 4).clamp(1, 8);
        let (mut placed, mut copies) = (0u32, 0u32);
        for pattern in sample {
            let its = window.copies(pattern);
            if its <= wide {
                placed += 1;
                copies += its;
                let counts = &mut self.counts;
                window.each_child(pattern, |child| counts[child] += 1);
            }
        }
        if placed == 0 {
            return 0.0;
        }
        let squares: u64 = self.counts.iter().map(|&count| u64::from(count).pow(2)).sum();
        // How many rules stand in the child of an average rule: itself and, by the sample, as many others.
        let others = (squares as f64 / f64::from(copies) - 1.0) * rules as f64 / sample.len() as f64;
        let shared = (1.0 + others).max(LANES as f64 / 2.0);
        let gain = (rules as f64 / shared).log2().max(0.0) * f64::from(placed) / sample.len() as f64;
        gain - 0.1 * children as f64 / rules as f64
    }
}

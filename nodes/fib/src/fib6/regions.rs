// SPDX-License-Identifier: Apache-2.0
//! The regions of the IPv6 forwarding table as the main thread has them, and the way from there to lines.
//!
//! A region is a sorted list of runs, which is changed at will; what was changed is built into new lines when it is to be
//! shown, the regions furthest down first. So a batch of thousands of routes in one region builds it once. Of a large region that
//! was changed in one place only the lowest lines of that place are built, as long as they have room. A region that says nothing
//! of its own any more becomes an entry again where it begins.
//!
//! An entry holds the length of the prefix that wrote it, also where a region has inherited it. So a change finds its own
//! entries by their length, and needs no other record of the routes.

use hashbrown::HashMap;
use ipnet::Ipv6Net;
use weft_engine::qsbr::Domain;

use super::line::{Bound, Line, Place};
use super::{Depth, Entry, Fib6, Fib6Error, LINES, TABLE_LENGTH, slot};
use crate::blocks::Blocks;

/// From how many runs on a region has spare room in its lines: it has three levels of them.
const LARGE: usize = Line::RUNS * Line::RUNS;
/// For how many runs: a route is one, and what follows it is another.
const SPARE: usize = 2;
/// Most lines that are built one by one.
const PATCHED: usize = 8;

/// Where a run leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Route(Entry),
    /// The region of the next 16 bits. Such a run is of one number.
    Region(u32),
}

#[derive(Clone, Copy)]
struct Run {
    first: u16,
    to: To,
}

/// What leads to a region.
#[derive(Clone, Copy)]
enum Above {
    Slot(u32),
    Run(u32, u16),
}

struct Region {
    place: Place,
    above: Above,
    /// In order, the first one where the region begins; neighbours lead to different places.
    runs: Vec<Run>,
    /// What readers see; empty before it was shown.
    shown: Entry,
    /// Where that is not what the runs say: from the first to the last.
    changed: Option<[u16; 2]>,
}

impl Region {
    /// Where the last run ends.
    fn last(&self) -> u16 {
        self.runs[0].first | if self.place == Place::FIRST { 0xff } else { 0xffff }
    }

    /// The number of the run that `bits` are in.
    fn run(&self, bits: u16) -> usize {
        self.runs.partition_point(|run| run.first <= bits) - 1
    }

    /// Has a run begin at `bits`; returns its number.
    fn split(&mut self, bits: u16) -> usize {
        let run = self.run(bits);
        if self.runs[run].first == bits {
            return run;
        }
        self.runs.insert(run + 1, Run { first: bits, ..self.runs[run] });
        run + 1
    }

    /// Has runs begin at `first` and end at `last`; returns their numbers.
    fn cut(&mut self, first: u16, last: u16) -> std::ops::Range<usize> {
        let start = self.split(first);
        start..if last == self.last() { self.runs.len() } else { self.split(last + 1) }
    }

    /// Makes one of neighbours that lead to the same, among these and those beside them.
    fn join(&mut self, runs: std::ops::Range<usize>) {
        let mut kept = runs.start.saturating_sub(1);
        let end = self.runs.len().min(runs.end + 1);
        for next in kept + 1..end {
            if self.runs[next].to != self.runs[kept].to {
                kept += 1;
                self.runs[kept] = self.runs[next];
            }
        }
        self.runs.drain(kept + 1..end);
    }

    /// More lines than are needed to show it.
    fn most_lines(&self) -> usize {
        PATCHED + 2 * self.runs.len().div_ceil(Line::RUNS)
    }

    /// The entry that says all that it says, if the prefix is one that does not end here.
    fn inherited(&self) -> Option<Entry> {
        let above = if self.place == Place::FIRST { TABLE_LENGTH } else { self.place.end() - 16 };
        match self.runs[..] {
            [Run { to: To::Route(entry), .. }] if entry.depth() <= Depth::of(above) => Some(entry),
            _ => None,
        }
    }
}

/// All regions of one table.
pub(super) struct Regions {
    slots: HashMap<u32, u32>,
    regions: Vec<Region>,
    /// Numbers of regions that are gone.
    free: Vec<u32>,
    /// By place: those that are not shown as they are.
    changed: [Vec<u32>; Place::COUNT as usize],
    lines: Blocks,
    /// How many of these additions may use.
    limit: u32,
    /// Lines of regions, as they are shown.
    in_use: usize,
    /// What insertions can need since these were shown.
    promised: usize,
}

impl Regions {
    pub fn new(limit: u32) -> Regions {
        Regions {
            slots: HashMap::new(),
            regions: Vec::new(),
            free: Vec::new(),
            changed: Default::default(),
            lines: Blocks::new(LINES as u32),
            limit,
            in_use: 0,
            promised: 0,
        }
    }

    /// Whether these can be inserted and shown, and then others be removed and that be shown. No readers need to be
    /// quiescent in between, so all that there is afterwards must fit twice beside what there is.
    pub fn check_room(&self, additions: impl Iterator<Item = Ipv6Net>) -> Result<(), Fib6Error> {
        let needed: usize = additions.map(lines_for).sum();
        // Additions to a large region can make it higher by a line for each of its levels: less than half of what it has. And
        // less than all that it has may be patched in vain.
        let all = self.in_use * 5 / 2 + self.promised + needed;
        match needed == 0 || LINES - self.lines.left() + 2 * all <= self.limit as usize {
            true => Ok(()),
            false => Err(Fib6Error::LinesExhausted { limit: self.limit }),
        }
    }

    /// Adds the route of a prefix longer than the table's, or replaces it. `above` is the table's entry, if no region is there.
    pub fn insert(&mut self, prefix: Ipv6Net, above: Entry, route: Entry) -> Result<(), Fib6Error> {
        self.check_room(std::iter::once(prefix))?;
        self.promised += lines_for(prefix);
        let first = prefix.network().to_bits();
        let slot = slot(first) as u32;
        let mut number = match self.slots.get(&slot) {
            Some(number) => *number,
            None => {
                let number = self.create(Place::FIRST, Above::Slot(slot), (slot as u16) << 8, above);
                self.slots.insert(slot, number);
                number
            }
        };
        while prefix.prefix_len() > self.regions[number as usize].place.end() {
            let region = &self.regions[number as usize];
            let (place, bits) = (region.place, region.place.in_address(first));
            number = match region.runs[region.run(bits)].to {
                To::Region(below) => below,
                To::Route(entry) => {
                    let below = self.create(Place(place.0 + 1), Above::Run(number, bits), 0, entry);
                    let region = &mut self.regions[number as usize];
                    let run = region.cut(bits, bits).start;
                    region.runs[run].to = To::Region(below);
                    self.mark(number, [bits; 2]);
                    below
                }
            };
        }
        let cover = |entry: Entry| if entry.depth() <= route.depth() { route } else { entry };
        self.change(number, prefix, cover);
        Ok(())
    }

    /// Changes what is said of the addresses of a prefix longer than the table's.
    pub fn remove(&mut self, prefix: Ipv6Net, inherit: impl Fn(Entry) -> Entry + Copy) {
        let first = prefix.network().to_bits();
        let mut at = self.slots.get(&(slot(first) as u32)).copied();
        while let Some(number) = at {
            let region = &self.regions[number as usize];
            if prefix.prefix_len() <= region.place.end() {
                return self.change(number, prefix, inherit);
            }
            at = match region.runs[region.run(region.place.in_address(first))].to {
                To::Region(below) => Some(below),
                To::Route(_) => None,
            };
        }
        debug_assert!(false, "{prefix} is removed but was never added");
    }

    /// Changes what is said of all addresses of a /24; `false`: the table's entry says it.
    pub fn change_all(&mut self, slot: u32, change: impl Fn(Entry) -> Entry + Copy) -> bool {
        let Some(number) = self.slots.get(&slot) else { return false };
        self.change_region(*number, change);
        true
    }

    fn change_region(&mut self, number: u32, change: impl Fn(Entry) -> Entry + Copy) {
        let region = &self.regions[number as usize];
        self.change_runs(number, region.runs[0].first, region.last(), change);
    }

    /// Of a prefix that ends in this region.
    fn change(&mut self, number: u32, prefix: Ipv6Net, change: impl Fn(Entry) -> Entry + Copy) {
        let place = self.regions[number as usize].place;
        let [first, last] = [prefix.network(), prefix.broadcast()].map(|end| place.in_address(end.to_bits()));
        self.change_runs(number, first, last, change);
    }

    fn change_runs(&mut self, number: u32, first: u16, last: u16, change: impl Fn(Entry) -> Entry + Copy) {
        let region = &mut self.regions[number as usize];
        let runs = region.cut(first, last);
        let mut changed = false;
        let mut below = Vec::new();
        for run in &mut region.runs[runs.clone()] {
            match run.to {
                To::Region(number) => below.push(number),
                To::Route(entry) => {
                    run.to = To::Route(change(entry));
                    changed |= run.to != To::Route(entry);
                }
            }
        }
        region.join(runs);
        if changed {
            self.mark(number, [first, last]);
        }
        for number in below {
            self.change_region(number, change);
        }
    }

    fn create(&mut self, place: Place, above: Above, first: u16, entry: Entry) -> u32 {
        let runs = vec![Run { first, to: To::Route(entry) }];
        let region = Region { place, above, runs, shown: Entry::EMPTY, changed: None };
        let number = match self.free.pop() {
            Some(number) => {
                self.regions[number as usize] = region;
                number
            }
            None => {
                self.regions.push(region);
                self.regions.len() as u32 - 1
            }
        };
        self.mark(number, [first; 2]);
        number
    }

    /// Notes that a region is not shown as it is, from a number to another.
    fn mark(&mut self, number: u32, [first, last]: [u16; 2]) {
        let region = &mut self.regions[number as usize];
        match &mut region.changed {
            Some(range) => *range = [first.min(range[0]), last.max(range[1])],
            None => {
                region.changed = Some([first, last]);
                self.changed[usize::from(region.place.0)].push(number);
            }
        }
    }

    /// Has readers see what has changed. For additions [`Regions::check_room`] has said that there is room; removals may use
    /// all lines. Should workers still hold on to all of these, what a region has lost is shown the next time.
    pub fn show(&mut self, fib: &Fib6, domain: &mut Domain) {
        self.promised = 0;
        let mut old = Vec::new();
        for place in (0..self.changed.len()).rev() {
            for number in std::mem::take(&mut self.changed[place]) {
                let region = &mut self.regions[number as usize];
                let Some(range) = region.changed.take() else { continue };
                let inherited = region.inherited();
                let is_large = region.runs.len() > LARGE;
                if inherited.is_none() && region.most_lines() > self.lines.left() {
                    debug_assert!(region.shown.leads_on(), "there is room for additions");
                    self.mark(number, range);
                    continue;
                }
                let before = region.shown;
                if is_large && before.leads_on() && self.patch(fib, number, range, &mut old) {
                    continue;
                }
                if before.leads_on() {
                    let lines = old.len();
                    lines_of(fib, before, &mut old);
                    self.in_use -= old.len() - lines;
                }
                match inherited {
                    Some(entry) => self.dissolve(fib, number, entry),
                    None => self.build(fib, number, before),
                }
            }
        }
        if !old.is_empty() {
            self.lines.retire_all(domain, old);
        }
    }

    /// Puts an entry where the region was.
    fn dissolve(&mut self, fib: &Fib6, number: u32, entry: Entry) {
        let region = &mut self.regions[number as usize];
        region.runs = Vec::new();
        self.free.push(number);
        match region.above {
            Above::Slot(slot) => {
                self.slots.remove(&slot);
                entry.store(&fib.table[slot as usize]);
            }
            Above::Run(above, bits) => {
                let region = &mut self.regions[above as usize];
                let run = region.run(bits);
                region.runs[run].to = To::Route(entry);
                region.join(run..run + 1);
                self.mark(above, [bits; 2]);
            }
        }
    }

    /// Builds the lines of a region, and has what is above lead there.
    fn build(&mut self, fib: &Fib6, number: u32, before: Entry) {
        let region = &self.regions[number as usize];
        let (place, above) = (region.place, region.above);
        let mut level: Vec<Bound> = region.runs.iter().map(|run| (run.first, self.entry(run.to))).collect();
        // The lowest lines of a large region have room for what is changed next.
        let mut most = if level.len() > LARGE { Line::RUNS - SPARE } else { Line::RUNS };
        loop {
            // As many lines as there must be, filled alike.
            let count = level.len().div_ceil(most);
            let start = |line: usize| level.len() * line / count;
            let lines = (0..count).map(|line| &level[start(line)..start(line + 1)]);
            level = lines.map(|runs| (runs[0].0, self.line(fib, place, runs))).collect();
            most = Line::RUNS;
            if count == 1 {
                break;
            }
        }
        let shown = level[0].1;
        self.regions[number as usize].shown = shown;
        match above {
            Above::Slot(slot) => shown.store(&fib.table[slot as usize]),
            Above::Run(above, bits) if self.regions[above as usize].changed.is_none() => {
                let line = lowest(fib, self.regions[above as usize].shown, bits).line;
                debug_assert_eq!(fib.lines[line.line()].find(bits), before);
                lead(&fib.lines[line.line()], before, shown);
            }
            // It has yet to be built, and here, too.
            Above::Run(above, bits) => self.mark(above, [bits; 2]),
        }
    }

    fn entry(&self, to: To) -> Entry {
        match to {
            To::Route(entry) => entry,
            To::Region(below) => self.regions[below as usize].shown,
        }
    }

    /// A new line, which no reader can see yet.
    fn line(&mut self, fib: &Fib6, place: Place, runs: &[Bound]) -> Entry {
        let line = self.lines.allocate().expect("as many were left");
        fib.lines[line as usize].fill(runs);
        self.in_use += 1;
        Entry::to_line(line, place)
    }

    /// Builds the lowest lines of a region anew that say anything between two numbers; `false`: they have no room, or are
    /// many, or are all that there is.
    fn patch(&mut self, fib: &Fib6, number: u32, [mut at, last]: [u16; 2], old: &mut Vec<u32>) -> bool {
        let (place, shown) = (self.regions[number as usize].place, self.regions[number as usize].shown);
        for _ in 0..PATCHED {
            let way = lowest(fib, shown, at);
            let Some(above) = way.above else { return false };
            let region = &self.regions[number as usize];
            let end =
                way.end.map_or(region.runs.len(), |end| region.runs.partition_point(|run| run.first < end));
            let runs = &region.runs[region.run(way.start.unwrap_or(region.runs[0].first))..end];
            if runs.len() > Line::RUNS {
                return false;
            }
            let runs: Vec<Bound> = runs.iter().map(|run| (run.first, self.entry(run.to))).collect();
            let line = self.line(fib, place, &runs);
            lead(&fib.lines[above.line()], way.line, line);
            old.push(way.line.line() as u32);
            self.in_use -= 1;
            match way.end {
                Some(end) if end <= last => at = end,
                _ => return true,
            }
        }
        false
    }

    /// Lines that are in use, or that a reader may still see.
    #[cfg(test)]
    pub fn lines(&self) -> [usize; 2] {
        [self.in_use, self.lines.in_use()]
    }
}

/// Has the runs of a line that lead to `before` lead to `after`.
fn lead(line: &Line, before: Entry, after: Entry) {
    let entries = line.entries().iter();
    entries.filter(|word| Entry::load(word) == before).for_each(|word| after.store(word));
}

/// One of the lowest lines of a region.
struct Lowest {
    line: Entry,
    /// What leads to it, if it is not all of the region.
    above: Option<Entry>,
    /// Where it begins and ends, unless the region does there.
    start: Option<u16>,
    end: Option<u16>,
}

/// The lowest line of a region that is shown in which `bits` are.
fn lowest(fib: &Fib6, region: Entry, bits: u16) -> Lowest {
    let mut way = Lowest { line: region, above: None, start: None, end: None };
    loop {
        let line = &fib.lines[way.line.line()];
        let next = line.find(bits);
        if !(next.leads_on() && next.place() == region.place()) {
            return way;
        }
        let (start, end) = line.ends(next);
        way = Lowest { line: next, above: Some(way.line), start: start.or(way.start), end: end.or(way.end) };
    }
}

/// The lines of a region that is shown.
fn lines_of(fib: &Fib6, region: Entry, out: &mut Vec<u32>) {
    out.push(region.line() as u32);
    let mut before = Entry::EMPTY;
    for entry in fib.lines[region.line()].entries().iter().map(Entry::load) {
        // Where a line has fewer runs, the last entry stands there again.
        if entry != before && entry.leads_on() && entry.place() == region.place() {
            lines_of(fib, entry, out);
        }
        before = entry;
    }
}

/// How many lines more there can be with this prefix: one for each region that it needs, and two where they begin.
fn lines_for(prefix: Ipv6Net) -> usize {
    match prefix.prefix_len() {
        length if length > TABLE_LENGTH => usize::from(length).div_ceil(16) + 1,
        _ => 0,
    }
}

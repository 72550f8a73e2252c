// SPDX-License-Identifier: Apache-2.0
//! Tables that strangers can fill: an operator hears once that one is full, and once that it no longer is.
//!
//! The tables make room by themselves and count what they displace and refuse. A line for each would be as many as the
//! stranger likes. So the counts are looked at from time to time: the first that has grown begins an episode, and an episode
//! is over when nothing has grown for a while. Main thread.

use weft_flow::counts::Count;

use crate::state::Dataplane;
use crate::subsystem::Subsystem;

/// Looks without growth until it is over: 30 seconds.
const QUIET: u32 = 60;

/// What has happened since the last look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    Begins,
    /// After this many in all.
    Over(u64),
}

/// A table that is full at times.
#[derive(Default)]
struct Episode {
    seen: u64,
    /// While it lasts: the count at its begin, and looks without growth.
    running: Option<(u64, u32)>,
}

impl Episode {
    fn look(&mut self, count: u64) -> Option<Turn> {
        // A table that was made anew counts from 0.
        let grown = count > self.seen;
        let before = std::mem::replace(&mut self.seen, count);
        match &mut self.running {
            None if grown => {
                self.running = Some((before, 0));
                Some(Turn::Begins)
            }
            Some((_, quiet)) if grown => {
                *quiet = 0;
                None
            }
            Some((begin, quiet)) => {
                *quiet += 1;
                let over = Turn::Over(count.saturating_sub(*begin));
                (*quiet >= QUIET).then(|| {
                    self.running = None;
                    over
                })
            }
            None => None,
        }
    }
}

/// All such tables.
#[derive(Default)]
pub struct Pressure {
    neighbors: Episode,
    flows: Episode,
}

impl Subsystem for Pressure {}

impl Dataplane {
    /// Says what has begun and what is over. Twice a second.
    pub fn watch_tables(&mut self) {
        let neighbors = self.router().neighbors();
        let refusals = neighbors.refusals();
        let count = neighbors.displacements() + refusals.full + refusals.unresolved;
        match self.part_mut::<Pressure>().neighbors.look(count) {
            Some(Turn::Begins) => tracing::warn!(
                "the neighbour table is full: entries that nobody has confirmed make room (limits {{ neighbors }}); \
                 the interface with the most is {}",
                self.fullest_link()
            ),
            Some(Turn::Over(count)) => {
                tracing::info!(
                    "the neighbour table has room again: {count} entries made room or were not made"
                );
            }
            None => {}
        }
        let Some(tracker) = self.flows().tracker() else { return };
        let sum = |count| tracker.counts.sum(count);
        let count = sum(Count::Displaced) + sum(Count::Full);
        match self.part_mut::<Pressure>().flows.look(count) {
            Some(Turn::Begins) => tracing::warn!(
                "the flow table is full: flows that nobody has confirmed make room (flow {{ flows }})"
            ),
            Some(Turn::Over(count)) => {
                tracing::info!("the flow table has room again: {count} flows made room or did not begin");
            }
            None => {}
        }
    }

    fn fullest_link(&self) -> String {
        let neighbors = self.router().neighbors();
        neighbors.fullest().map_or_else(|| "none".to_owned(), |index| self.interface_name(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_told_at_its_begin_and_its_end() {
        let mut episode = Episode::default();
        assert_eq!(episode.look(0), None);
        assert_eq!(episode.look(5), Some(Turn::Begins));
        assert_eq!((0..QUIET - 1).find_map(|_| episode.look(5)), None);
        // It was not over.
        assert_eq!(episode.look(3000), None);
        let turns: Vec<Turn> = (0..2 * QUIET).filter_map(|_| episode.look(3000)).collect();
        assert_eq!(turns, [Turn::Over(3000)]);
        assert_eq!(episode.look(3001), Some(Turn::Begins));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The rows of the tables: what is counted for an interface, a node, an edge.

use super::figures::{Figure, PerThread};
use super::rates::per_second;
use crate::vector::ThreadIndex;

/// A row with a name, or two.
pub(super) trait Row {
    /// Tells it from all other rows of its table.
    fn key(&self) -> (&str, &str);
    fn add(&mut self, other: &Self);
}

/// A row of totals.
pub(super) trait Total: Row {
    type Rate;
    /// `self` has the totals of `seconds` later than `before`; `None`: nothing had been counted.
    fn rate(&self, before: Option<&Self>, seconds: f64) -> Self::Rate;
}

macro_rules! row {
    ($(#[$meta:meta])* $name:ident {
        $( $(#[$text_meta:meta])* $text:ident, )+
    } per thread {
        $( $(#[$figure_meta:meta])* $figure:ident, )+
    } key $key:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name<N = u64> {
            $( $(#[$text_meta])* pub $text: String, )+
            $( $(#[$figure_meta])* pub $figure: PerThread<N>, )+
        }

        impl<N: Figure> Row for $name<N> {
            fn key(&self) -> (&str, &str) {
                let key: fn(&Self) -> (&str, &str) = $key;
                key(self)
            }

            fn add(&mut self, other: &Self) {
                $( self.$figure.add(&other.$figure); )+
            }
        }

        impl Total for $name {
            type Rate = $name<f64>;

            fn rate(&self, before: Option<&Self>, seconds: f64) -> $name<f64> {
                $name {
                    $( $text: self.$text.clone(), )+
                    $( $figure: per_second(before.map(|before| &before.$figure), &self.$figure, seconds), )+
                }
            }
        }
    };
}

row! {
    /// An interface.
    Interface {
        name,
        /// `down`, `no-link` (up, and its link is not) or `up`; empty if the segment does not say.
        state,
    } per thread {
        rx_packets,
        rx_bytes,
        tx_packets,
        tx_bytes,
        /// Packets that came in here and were dropped anywhere.
        drops,
        /// Packets that came in here and were handed to the host.
        punts,
        /// Received IPv4 packets.
        ip4,
        /// Received IPv6 packets.
        ip6,
        /// Times the pool had no buffer for a received packet.
        rx_no_buffer,
        /// Packets that the device dropped before Weft saw them.
        rx_missed,
        /// Packets that arrived damaged.
        rx_errors,
        /// Packets that could not be transmitted.
        tx_errors,
    } key |row| (&row.name, "")
}

row! {
    /// A node of the graph.
    Node {
        name,
    } per thread {
        /// Times that it ran.
        calls,
        /// Packets given to it.
        vectors,
        /// Clocks spent in it.
        clocks,
    } key |row| (&row.name, "")
}

row! {
    /// Why packets ended in a node, or another event that it counts.
    Reason {
        node,
        /// Identifier, as in `/err/<node>/<reason>`.
        reason,
        /// What it means, as in `show errors`.
        sentence,
        /// "error", "warn" or "info".
        severity,
        /// "drop": packets that ended so; "event": something that ended none.
        kind,
    } per thread {
        count,
    } key |row| (&row.node, &row.reason)
}

row! {
    /// A way from one node to the next.
    Edge {
        from,
        to,
    } per thread {
        packets,
    } key |row| (&row.from, &row.to)
}

/// The loop of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker<N = u64> {
    pub thread: ThreadIndex,
    pub turns: N,
    /// Turns that moved no packet.
    pub idle_turns: N,
    pub sleeps: N,
    /// Clocks of turns that moved packets.
    pub busy_clocks: N,
}

/// A table: sorted by key, rows of the same key added up.
pub(super) fn sorted<R: Row>(mut rows: Vec<R>) -> Vec<R> {
    rows.sort_by(|a, b| a.key().cmp(&b.key()));
    rows.dedup_by(|row, kept| {
        let same = row.key() == kept.key();
        if same {
            kept.add(row);
        }
        same
    });
    rows
}

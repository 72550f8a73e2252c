// SPDX-License-Identifier: Apache-2.0
//! What interfaces carry in a second, for the console: of the last second or so, and averages that forget as the load average
//! of a system does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weft_engine::InterfaceIndex;
use weft_vplaned::console::json;
use weft_vplaned::types::Counters;

/// Time between two looks at the counters of an interface, at least.
const STEP: Duration = Duration::from_secs(1);
/// What averages are over, seconds.
const SPANS: [f64; 3] = [60.0, 300.0, 900.0];

/// One counter.
#[derive(Default)]
struct Rate {
    last: u64,
    now: f64,
    averages: [f64; 3],
}

impl Rate {
    /// The counter is `value` after so many seconds.
    fn look(&mut self, value: u64, seconds: f64) {
        self.now = value.wrapping_sub(self.last) as f64 / seconds;
        self.last = value;
        for (average, span) in self.averages.iter_mut().zip(SPANS) {
            *average += (self.now - *average) * (1.0 - (-seconds / span).exp());
        }
    }

    fn shown(&self) -> (u64, [u64; 3]) {
        (self.now.round() as u64, self.averages.map(|average| average.round() as u64))
    }
}

/// Received packets and bits, transmitted packets and bits.
struct Seen {
    at: Instant,
    rates: [Rate; 4],
}

/// Of all interfaces.
#[derive(Default)]
pub struct Rates(BTreeMap<InterfaceIndex, Seen>);

impl Rates {
    /// Looks at the counters of an interface, if it is time.
    pub fn look(&mut self, index: InterfaceIndex, now: Instant, counters: &Counters) {
        let Counters { rx_packets, rx_bytes, tx_packets, tx_bytes, .. } = *counters;
        let values = [rx_packets, rx_bytes.wrapping_mul(8), tx_packets, tx_bytes.wrapping_mul(8)];
        let seen = self.0.entry(index).or_insert_with(|| {
            let rates = values.map(|last| Rate { last, ..Rate::default() });
            Seen { at: now, rates }
        });
        let passed = now.saturating_duration_since(seen.at);
        if passed >= STEP {
            seen.at = now;
            let seconds = passed.as_secs_f64();
            seen.rates.iter_mut().zip(values).for_each(|(rate, value)| rate.look(value, seconds));
        }
    }

    /// An interface is deleted; another one will have its index.
    pub fn forget(&mut self, index: InterfaceIndex) {
        self.0.remove(&index);
    }

    /// What an interface carries; nothing is known of a new one.
    pub fn of(&self, index: InterfaceIndex) -> json::Rates {
        let Some(seen) = self.0.get(&index) else { return json::Rates::default() };
        let [rx_packets, rx_bits, tx_packets, tx_bits] = &seen.rates;
        let (rx_pps, rx_pps_avg) = rx_packets.shown();
        let (rx_bps, rx_bps_avg) = rx_bits.shown();
        let (tx_pps, tx_pps_avg) = tx_packets.shown();
        let (tx_bps, tx_bps_avg) = tx_bits.shown();
        json::Rates { rx_pps, rx_pps_avg, rx_bps, rx_bps_avg, tx_pps, tx_pps_avg, tx_bps, tx_bps_avg }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_come_closer_to_what_there_is() {
        let (mut rates, start, port) = (Rates::default(), Instant::now(), InterfaceIndex(1));
        let counters =
            |packets| Counters { rx_packets: packets, rx_bytes: packets * 100, ..Counters::default() };
        assert_eq!(rates.of(port), json::Rates::default());
        for second in 0..=60u64 {
            rates.look(port, start + Duration::from_secs(second), &counters(second * 1000));
            // Too soon for a look of its own.
            rates.look(
                port,
                start + Duration::from_millis(second * 1000 + 300),
                &counters(second * 1000 + 300),
            );
        }
        let found = rates.of(port);
        assert_eq!((found.rx_pps, found.rx_bps, found.tx_pps), (1000, 800_000, 0));
        // 1 - 1/e of the rate after the span itself.
        assert_eq!(found.rx_pps_avg[0], 632);
        assert!(found.rx_pps_avg[1] < 200 && found.rx_pps_avg[2] < 70, "{found:?}");
        rates.forget(port);
        assert_eq!(rates.of(port), json::Rates::default());
    }
}

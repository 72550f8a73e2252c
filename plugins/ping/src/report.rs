// SPDX-License-Identifier: Apache-2.0
//! What a ping says in the end: as operators expect it, and the same as JSON.

use weft_plugin_sdk::Answer;

use crate::message::ICMP;
use crate::run::{Outcome, Run};

/// What came of it, in numbers.
struct Figures {
    sent: usize,
    received: usize,
    errors: usize,
    /// Least, mean, most, in milliseconds.
    rtt: Option<[f64; 3]>,
}

fn figures(run: &Run, clocks_per_second: f64) -> Figures {
    let mut times = Vec::new();
    let (mut sent, mut errors) = (0, 0);
    for outcome in run.outcomes() {
        sent += 1;
        match outcome {
            Outcome::Reply { clocks, .. } => times.push(milliseconds(clocks, clocks_per_second)),
            Outcome::Error(_) => errors += 1,
            Outcome::Nothing => {}
        }
    }
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let rtt = times.iter().copied().reduce(f64::min).zip(times.iter().copied().reduce(f64::max));
    Figures { sent, received: times.len(), errors, rtt: rtt.map(|(least, most)| [least, mean, most]) }
}

fn milliseconds(clocks: u64, clocks_per_second: f64) -> f64 {
    clocks as f64 / clocks_per_second * 1e3
}

fn loss(figures: &Figures) -> f64 {
    match figures.sent {
        0 => 0.0,
        sent => 100.0 * (sent - figures.received) as f64 / sent as f64,
    }
}

/// One line.
pub fn summary(run: &Run) -> String {
    // No time is shown, so any rate will do.
    let figures = figures(run, 1.0);
    let mut line = format!(
        "ping {}: {} sent, {} received, {:.0}% packet loss",
        run.settings.destination,
        figures.sent,
        figures.received,
        loss(&figures)
    );
    let more = [
        (figures.errors as u64, "errors"),
        (run.duplicates().into(), "duplicates"),
        (run.damaged().into(), "damaged"),
    ];
    for (count, what) in more {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    line
}

/// All that is known.
pub fn report(run: &Run, clocks_per_second: f64) -> Answer {
    let settings = &run.settings;
    let (destination, source, size) = (settings.destination, settings.source, settings.size);
    let mut text = format!("PING {destination} from {source}: {size} data bytes\n");
    let mut answers = Vec::new();
    for (sequence, outcome) in run.outcomes().enumerate() {
        match outcome {
            Outcome::Reply { ttl, clocks } => {
                let (time, bytes) = (milliseconds(clocks, clocks_per_second), size + ICMP);
                text += &format!(
                    "{bytes} bytes from {destination}: seq={sequence} ttl={ttl} time={time:.3} ms\n"
                );
                answers.push(format!(r#"{{"sequence":{sequence},"ttl":{ttl},"time_ms":{time:.6}}}"#));
            }
            Outcome::Error(error) => {
                let (from, sentence) = (error.from, error.sentence());
                text += &format!("From {from}: seq={sequence} {sentence}\n");
                answers.push(format!(r#"{{"sequence":{sequence},"from":"{from}","error":"{sentence}"}}"#));
            }
            Outcome::Nothing => text += &format!("seq={sequence} no answer\n"),
        }
    }
    text += &format!("{}\n", summary(run));
    let figures = figures(run, clocks_per_second);
    let rtt = figures.rtt.map_or_else(
        || "null".to_owned(),
        |[least, mean, most]| {
            text += &format!("rtt min/avg/max = {least:.3}/{mean:.3}/{most:.3} ms\n");
            format!(r#"{{"min":{least:.6},"avg":{mean:.6},"max":{most:.6}}}"#)
        },
    );
    let json = format!(
        r#"{{"destination":"{destination}","source":"{source}","size":{size},"sent":{},"received":{},"errors":{},"duplicates":{},"damaged":{},"rtt_ms":{rtt},"answers":[{}]}}"#,
        figures.sent,
        figures.received,
        figures.errors,
        run.duplicates(),
        run.damaged(),
        answers.join(",")
    );
    Answer::new(text, json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Answer as Message, Error, Request};
    use crate::run::Settings;
    use std::net::IpAddr;
    use weft_plugin_sdk::{InterfaceIndex, Route};

    #[test]
    fn lost_ones_errors_and_duplicates_are_told() {
        let (source, destination) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let route = Route { interface: InterfaceIndex(1), source: Some(source), table: 0 };
        let settings =
            Settings { destination, source, route, size: 8, ttl: 64, repeat: 4, burst: 1, interval: 0 };
        let run = Run::new(settings, 7);
        assert_eq!(summary(&run), "ping 10.0.0.2: 0 sent, 0 received, 0% packet loss");
        for now in 1..=4 {
            run.send_next(now * 1_000, |_| true);
        }
        let reply = Message::Reply { ttl: 63, size: 8, intact: true };
        let error = Message::Error(Error { from: IpAddr::from([192, 0, 2, 1]), kind: 11, code: 0 });
        for (sequence, answer) in [(0, reply), (0, reply), (1, error), (3, reply)] {
            run.take(6_000, Request { source, destination, identifier: 7, sequence }, answer);
        }
        assert_eq!(
            summary(&run),
            "ping 10.0.0.2: 4 sent, 2 received, 50% packet loss, 1 errors, 1 duplicates"
        );
        let figures = figures(&run, 1e6);
        assert_eq!(figures.rtt, Some([2.0, 3.5, 5.0]));
    }
}

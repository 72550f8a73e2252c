// SPDX-License-Identifier: Apache-2.0
//! Counters as JSON, one line per answer. The shape is a promise to scripts; docs/weftctl.md has it.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use weft_stats::{Combined, Value};

use super::{
    Values,
    rates::{Rate, Rates},
};

pub fn names(out: &mut dyn Write, names: &[String]) -> io::Result<()> {
    line(out, names)
}

/// An object by name; with the changes per second, if there was a look before.
pub fn values(out: &mut dyn Write, values: &Values, rates: Option<&Rates<'_>>) -> io::Result<()> {
    let entry =
        |(name, value): &(String, Value)| (name.clone(), entry(value, rates.map(|rates| rates.of(name))));
    line(out, &values.iter().map(entry).collect::<Map<_, _>>())
}

pub fn line(out: &mut dyn Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

fn entry(value: &Value, rate: Option<Rate<'_>>) -> Json {
    match value {
        Value::Scalar(value) => object("scalar", "value", value, rate.map(|rate| rate.scalar(*value).into())),
        Value::Names(names) => object("names", "values", names, None),
        Value::Simple(rows) => {
            let rate = rate.map(|rate| by_index(rows, |thread, index, now| rate.simple(thread, index, now)));
            object("simple", "values", rows, rate)
        }
        Value::SimpleColumn(column) => {
            let rate = rate.map(|rate| by_thread(column, |thread, now| rate.simple(thread, 0, now)));
            object("simple-column", "values", column, rate)
        }
        Value::Combined(rows) => {
            let rate =
                rate.map(|rate| by_index(rows, |thread, index, now| pair(rate.combined(thread, index, now))));
            object("combined", "values", by_index(rows, |_, _, now| total(now)), rate)
        }
        Value::CombinedColumn(column) => {
            let rate = rate.map(|rate| by_thread(column, |thread, now| pair(rate.combined(thread, 0, now))));
            object("combined-column", "values", by_thread(column, |_, now| total(now)), rate)
        }
        Value::Other(number) => object("unknown", "number", number, None),
    }
}

fn object(kind: &str, key: &str, content: impl Serialize, per_second: Option<Json>) -> Json {
    let mut object = json!({ "type": kind, key: content });
    if let Some(per_second) = per_second {
        object["per_second"] = per_second;
    }
    object
}

fn by_index<T: Copy, J: Into<Json>>(rows: &[Vec<T>], json: impl Fn(usize, usize, T) -> J) -> Json {
    let row = |(thread, row): (usize, &Vec<T>)| by_thread(row, |index, now| json(thread, index, now));
    rows.iter().enumerate().map(row).collect()
}

fn by_thread<T: Copy, J: Into<Json>>(column: &[T], json: impl Fn(usize, T) -> J) -> Json {
    column.iter().enumerate().map(|(thread, now)| json(thread, *now).into()).collect()
}

fn total(now: Combined) -> Json {
    json!({ "packets": now.packets, "bytes": now.bytes })
}

fn pair([packets, bytes]: [f64; 2]) -> Json {
    json!({ "packets": packets, "bytes": bytes })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn print(now: &Values, rates: Option<&Rates<'_>>) -> Json {
        let mut out = Vec::new();
        values(&mut out, now, rates).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_type_has_its_shape() {
        let two = Combined { packets: 2, bytes: 120 };
        let now = vec![
            ("/a".to_owned(), Value::Scalar(u64::MAX)),
            ("/b".to_owned(), Value::Names(vec!["x".to_owned()])),
            ("/c".to_owned(), Value::Simple(vec![vec![1, 2], vec![3, 4]])),
            ("/d".to_owned(), Value::SimpleColumn(vec![1, 3])),
            ("/e".to_owned(), Value::Combined(vec![vec![two]])),
            ("/f".to_owned(), Value::CombinedColumn(vec![two])),
            ("/g".to_owned(), Value::Other(8)),
        ];
        assert_eq!(
            print(&now, None),
            json!({
                "/a": { "type": "scalar", "value": u64::MAX },
                "/b": { "type": "names", "values": ["x"] },
                "/c": { "type": "simple", "values": [[1, 2], [3, 4]] },
                "/d": { "type": "simple-column", "values": [1, 3] },
                "/e": { "type": "combined", "values": [[{ "packets": 2, "bytes": 120 }]] },
                "/f": { "type": "combined-column", "values": [{ "packets": 2, "bytes": 120 }] },
                "/g": { "type": "unknown", "number": 8 },
            })
        );
        let before = vec![
            ("/c".to_owned(), Value::Simple(vec![vec![1, 2], vec![3, 0]])),
            ("/f".to_owned(), Value::CombinedColumn(vec![Combined { packets: 0, bytes: 0 }])),
        ];
        let rates = Rates::new(&before, Duration::from_secs(2));
        let later = print(&now, Some(&rates));
        assert_eq!(later["/c"]["per_second"], json!([[0.0, 0.0], [0.0, 2.0]]));
        assert_eq!(later["/d"]["per_second"], json!([0.5, 1.5]));
        assert_eq!(later["/f"]["per_second"], json!([{ "packets": 1.0, "bytes": 60.0 }]));
        assert_eq!(later["/b"], json!({ "type": "names", "values": ["x"] }));
    }
}

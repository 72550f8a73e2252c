// SPDX-License-Identifier: Apache-2.0
//! `show buffers`.

use serde::Serialize;
use weft_cli::{Command, Reply};
use weft_engine::buffer::{Metadata, SLOT_SIZE};

use super::{center, left, row, showing};
use crate::gauges::PoolView;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Buffers {
    /// What the host gave.
    pages: String,
    /// Bytes per buffer, with its metadata.
    size: usize,
    data_size: usize,
    pools: Vec<PoolView>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        showing("show buffers", |dataplane| {
            let buffers = Buffers {
                pages: dataplane.engine().buffers.memory().pages().to_string(),
                size: SLOT_SIZE + size_of::<Metadata>(),
                data_size: SLOT_SIZE,
                pools: dataplane.buffer_pools(),
            };
            Ok(Reply::new(buffers, render))
        })
        .help("Packet buffers: how many there are, and where"),
    ]
}

fn render(buffers: &Buffers) -> String {
    let widths = [
        ("Index", 6),
        ("NUMA", 6),
        ("Size", 6),
        ("Data Size", 11),
        ("Total", 6),
        ("Avail", 8),
        ("Cached", 8),
        ("Used", 8),
    ];
    let header = widths.iter().map(|(name, width)| center(name, *width));
    let mut text = row(std::iter::once(left("Pool Name", 20)).chain(header));
    for (index, pool) in buffers.pools.iter().enumerate() {
        let values = [
            index,
            pool.numa as usize,
            buffers.size,
            buffers.data_size,
            pool.total,
            pool.available,
            pool.cached,
            pool.used,
        ];
        let cells = widths.iter().zip(values).map(|((_, width), value)| center(value, *width));
        text += &row(std::iter::once(left(&pool.name, 20)).chain(cells));
    }
    text + &format!("on {}\n", buffers.pages)
}

// SPDX-License-Identifier: Apache-2.0
//! What workers tell the main thread about neighbours and stations, and what the passing of time tells.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::main_loop::Main;
use crate::os;
use crate::state::Dataplane;

/// How often neighbours, and stations of bridge domains, are looked after.
const NEIGHBORS: Duration = Duration::from_millis(100);

/// Handles news as it comes.
pub async fn hear(main: Main) -> Result<()> {
    let waker = main.look(|dataplane| dataplane.waker().clone());
    let news = os::watch(waker.as_fd()).context("news of workers")?;
    loop {
        let mut ready = news.readable().await.context("news of workers")?;
        ready.clear_ready();
        while main.with(Dataplane::hear_workers) {
            // There is more, but others wait too.
            tokio::task::yield_now().await;
        }
    }
}

/// Asks for neighbours, ages them and gives them up; forgets stations.
pub async fn tick(main: Main) {
    loop {
        sleep(NEIGHBORS).await;
        if main.look(|dataplane| dataplane.neighbors_due()) {
            main.with(|dataplane| dataplane.tick_neighbors());
        }
        if main.look(|dataplane| dataplane.stations_due()) {
            main.with(|dataplane| dataplane.tick_stations());
        }
    }
}

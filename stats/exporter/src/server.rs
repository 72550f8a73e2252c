// SPDX-License-Identifier: Apache-2.0
//! HTTP: `/metrics` and the page.
//!
//! One thread serves all clients. Reading the segment may block for a while if the daemon is in a bad
//! way, so that happens on a second thread; whoever needs a snapshot meanwhile waits, nobody else does.
//! Metrics are of the moment of the scrape. The page shows rates between samples that [`Exporter::sample`]
//! takes, so all browsers see the same.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use weft_stats::tables::{Snapshot, rates};

use crate::graph::Show;
use crate::metrics::{self, Detail};
use crate::page;
use crate::source::Source;
use crate::text::Format;

/// Between two samples for the page.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Nothing but what the page itself brings.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The exporter; its clones are the same one.
#[derive(Clone)]
pub struct Exporter(Arc<Shared>);

struct Shared {
    detail: Detail,
    source: Mutex<Source>,
    recent: Mutex<Recent>,
}

/// The latest two samples in a row.
enum Recent {
    Down(String),
    Up { before: Arc<Snapshot>, now: Arc<Snapshot> },
}

impl Exporter {
    /// Reads from the statistics socket `socket`.
    pub fn new(socket: impl Into<PathBuf>, detail: Detail) -> Exporter {
        Exporter(Arc::new(Shared {
            detail,
            source: Mutex::new(Source::new(socket)),
            recent: Mutex::new(Recent::Down("not looked yet".to_owned())),
        }))
    }

    /// What is served.
    pub fn router(&self) -> Router {
        Router::new().route("/", get(page)).route("/metrics", get(metrics)).with_state(self.clone())
    }

    /// Takes samples for the page, for ever.
    pub async fn sample(&self) {
        let mut ticks = interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let result = self.read().await;
            self.keep(result);
        }
    }

    /// A fresh snapshot, or why there is none.
    async fn read(&self) -> Result<Snapshot, String> {
        let exporter = self.clone();
        let read = move || lock(&exporter.0.source).read().map_err(|error| error.to_string());
        spawn_blocking(read).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn keep(&self, result: Result<Snapshot, String>) {
        let mut recent = lock(&self.0.recent);
        *recent = match result {
            Ok(snapshot) => {
                let now = Arc::new(snapshot);
                let before = match &*recent {
                    Recent::Up { now, .. } => Arc::clone(now),
                    Recent::Down(_) => {
                        tracing::info!("reading the statistics of a daemon");
                        Arc::clone(&now)
                    }
                };
                Recent::Up { before, now }
            }
            Err(why) => {
                if !matches!(&*recent, Recent::Down(known) if *known == why) {
                    tracing::warn!("no statistics: {why}");
                }
                Recent::Down(why)
            }
        };
    }
}

async fn metrics(State(exporter): State<Exporter>, headers: HeaderMap) -> impl IntoResponse {
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::wanted(&accept.join(","));
    let snapshot = exporter.read().await.ok();
    let text = metrics::render(snapshot.as_ref(), exporter.0.detail, format);
    ([(CONTENT_TYPE, format.content_type())], text)
}

async fn page(State(exporter): State<Exporter>, uri: Uri) -> impl IntoResponse {
    let show = if uri.query() == Some("all") { Show::All } else { Show::Used };
    let html = match &*lock(&exporter.0.recent) {
        Recent::Up { before, now } => {
            page::render(&page::State::Up { snapshot: now, rates: &rates(before, now) }, show)
        }
        Recent::Down(why) => page::render(&page::State::Down { why }, show),
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, html)
}

/// A panic inside cannot leave half a change behind: both values are replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

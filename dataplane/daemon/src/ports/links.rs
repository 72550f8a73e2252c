// SPDX-License-Identifier: Apache-2.0
//! News of the kernel about links: that something has changed.
//!
//! One thread per network namespace waits on a socket and wakes the main thread. What a link is now, the main thread asks the
//! kernel ([`weft_devices::netdev`]): news may be late, and are lost when there are too many.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, thread};

use tokio::sync::Notify;
use weft_devices::netdev::LinkEvents;
use weft_devices::netns::NetNs;

/// What threads have heard.
#[derive(Default)]
pub struct LinkNews {
    listening: BTreeSet<Option<PathBuf>>,
    news: Arc<Notify>,
}

impl LinkNews {
    /// Hears of the links of a namespace from now on. One that cannot be listened to is looked at from time to time.
    pub fn listen(&mut self, namespace: Option<&Path>) {
        let key = namespace.map(Path::to_owned);
        if self.listening.contains(&key) {
            return;
        }
        let opened = match namespace {
            Some(path) => NetNs::open(path),
            None => Ok(NetNs::current()),
        };
        let events = opened.and_then(|namespace| LinkEvents::open(&namespace)).map_err(io::Error::other);
        let news = Arc::clone(&self.news);
        let heard = events.and_then(|events| events).and_then(|events| {
            thread::Builder::new().name("weft_links".into()).spawn(move || hear(&events, &news))
        });
        match heard {
            Ok(_) => drop(self.listening.insert(key)),
            Err(error) => tracing::warn!("the kernel's news of links is not heard: {error}"),
        }
    }

    /// Notified when something has changed.
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }
}

fn hear(events: &LinkEvents, news: &Notify) {
    loop {
        match events.wait() {
            Ok(_) => {}
            // Some were lost: whoever is woken looks at all links.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EINTR)) => {}
            Err(error) => {
                tracing::warn!(
                    "the kernel's news of links is no longer heard, which are looked at twice a second now: {error}"
                );
                return;
            }
        }
        news.notify_one();
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A client that waits for an answer that comes later (`Reply::later`): the thread that commands run on waits for nothing,
//! so whoever serves the client asks for it now and then. Main thread, as all servers.

use std::time::Duration;

use crate::{
    error::CliError,
    reply::{Later, Reply},
    server::Service,
};

/// How often an answer is asked for.
pub(crate) const PERIOD: Duration = Duration::from_millis(20);

/// Somebody waits for an answer; the command is told when that ends without one, also when the server ends.
pub(crate) struct Waiting<'s> {
    service: &'s dyn Service,
    later: Option<Later>,
}

impl<'s> Waiting<'s> {
    /// If `reply` is one that comes later.
    pub fn new(service: &'s dyn Service, reply: &Reply) -> Option<Waiting<'s>> {
        reply.is_later().map(|later| Waiting { service, later: Some(later.clone()) })
    }

    /// The answer, once it is there. It is given once.
    pub fn poll(&mut self) -> Option<Result<Reply, CliError>> {
        let answer = self.service.later(self.later.as_ref()?);
        if answer.as_ref().is_ok_and(|reply| reply.is_later().is_some()) {
            return None;
        }
        self.later = None;
        Some(answer)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(later) = &self.later {
            self.service.cancel(later);
        }
    }
}

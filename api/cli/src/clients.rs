// SPDX-License-Identifier: Apache-2.0
//! Who is connected to a socket, and who makes room when there are too many.
//!
//! A client that does nothing must not keep others out: the operator who is called because something is wrong comes last. So the
//! newcomer is served, and of the user with the most connections the one goes that has been idle for the longest time. A client
//! whose command is being run stays; only if all are busy is the newcomer refused. Main thread.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::Instant,
};

use tokio::sync::Notify;

/// The clients of a server.
pub(crate) struct Clients {
    most: usize,
    next: Cell<u64>,
    list: RefCell<BTreeMap<u64, Client>>,
}

struct Client {
    /// `None`: over TCP.
    user: Option<u32>,
    /// Since when; `None`: its command is being run.
    idle: Option<Instant>,
    cut: Rc<Notify>,
}

/// A place among the clients, given back when it is dropped.
pub(crate) struct Ticket {
    clients: Rc<Clients>,
    id: u64,
    cut: Rc<Notify>,
}

impl Clients {
    /// For `most` clients at a time.
    pub fn new(most: usize) -> Rc<Clients> {
        Rc::new(Clients { most, next: Cell::new(0), list: RefCell::default() })
    }

    /// Lets one more in. `None`: all are busy.
    pub fn enter(self: &Rc<Self>, user: Option<u32>) -> Option<Ticket> {
        if self.list.borrow().len() >= self.most {
            self.make_room(user)?;
        }
        let (id, cut) = (self.next.get(), Rc::new(Notify::new()));
        self.next.set(id + 1);
        let client = Client { user, idle: Some(Instant::now()), cut: Rc::clone(&cut) };
        self.list.borrow_mut().insert(id, client);
        Some(Ticket { clients: Rc::clone(self), id, cut })
    }

    /// For a `newcomer`, who counts among the others of that user.
    fn make_room(&self, newcomer: Option<u32>) -> Option<()> {
        let mut list = self.list.borrow_mut();
        let mut connections = HashMap::from([(newcomer, 1usize)]);
        list.values().for_each(|client| *connections.entry(client.user).or_default() += 1);
        let idle = list.iter().filter_map(|(id, client)| Some((client.idle?, client.user, *id)));
        let (.., id) = idle.min_by_key(|(since, user, _)| (usize::MAX - connections[user], *since))?;
        list.remove(&id)?.cut.notify_one();
        Some(())
    }
}

impl Ticket {
    /// Its command is being run, or is no more.
    pub fn set_busy(&self, busy: bool) {
        if let Some(client) = self.clients.list.borrow_mut().get_mut(&self.id)
            && client.idle.is_none() != busy
        {
            client.idle = (!busy).then(Instant::now);
        }
    }

    /// Returns when it has to make room.
    pub async fn cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.clients.list.borrow_mut().remove(&self.id);
    }
}

/// What a client is told that makes room.
pub(crate) const MADE_ROOM: &str =
    "too many clients are connected, and this one was idle for the longest time";

#[cfg(test)]
mod tests {
    use super::*;

    fn is_cut(ticket: &Ticket) -> bool {
        !ticket.clients.list.borrow().contains_key(&ticket.id)
    }

    #[test]
    fn the_longest_idle_client_of_the_user_with_the_most_makes_room() {
        let clients = Clients::new(4);
        let enter = |user| clients.enter(Some(user)).expect("somebody is idle");
        let operator = enter(0);
        let crowd = [enter(7), enter(7), enter(7)];
        crowd[0].set_busy(true);
        let late = enter(0);
        assert_eq!(crowd.each_ref().map(is_cut), [false, true, false]);
        // It has been served, which is longer ago for the other one.
        crowd[0].set_busy(false);
        let more = [enter(7), enter(7)];
        assert_eq!(crowd.each_ref().map(is_cut), [true, true, true]);
        assert!(!is_cut(&operator) && !is_cut(&late));
        for ticket in [&operator, &late, &more[0], &more[1]] {
            ticket.set_busy(true);
        }
        assert!(clients.enter(Some(0)).is_none(), "all are busy");
        drop(more);
        assert!(clients.enter(Some(9)).is_some());
    }
}

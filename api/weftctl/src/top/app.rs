// SPDX-License-Identifier: Apache-2.0
//! What the screen shows and what keys change. Knows no terminal and no daemon, so tests can play both.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use weft_stats::tables::Snapshot;

use super::{
    frame::{Frame, Order},
    table::Pane,
};

/// Rows that PgUp and PgDn move by while the screen has not said how many it shows.
const PAGE: usize = 10;

/// What a key asks of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Nothing,
    Quit,
}

/// The state of the screen.
#[derive(Debug)]
pub struct App {
    pub pane: Pane,
    pub order: Order,
    pub paused: bool,
    /// What the last look showed.
    pub frame: Option<Frame>,
    /// Why there was no look after that.
    pub waiting: Option<String>,
    /// First row shown, by pane.
    scroll: [usize; Pane::ALL.len()],
    /// Rows that the screen has room for.
    page: usize,
    last: Option<Snapshot>,
    /// The last heartbeat, when it was first seen, and whether it was seen to change.
    heartbeat: Option<(u64, Instant, bool)>,
}

impl App {
    pub fn new() -> Self {
        Self {
            pane: Pane::Interfaces,
            order: Order::Activity,
            paused: false,
            frame: None,
            waiting: None,
            scroll: [0; Pane::ALL.len()],
            page: PAGE,
            last: None,
            heartbeat: None,
        }
    }

    /// Takes a new look, taken at `wall` since 1970.
    pub fn look(&mut self, snapshot: Snapshot, wall: Duration) {
        let now = snapshot.system.heartbeat;
        self.heartbeat = match self.heartbeat {
            Some(seen @ (beat, ..)) if beat == now => Some(seen),
            seen => Some((now, snapshot.taken, seen.is_some())),
        };
        let mut frame = Frame::new(self.last.as_ref().unwrap_or(&snapshot), &snapshot, wall);
        frame.sort(self.order);
        self.frame = Some(frame);
        self.last = Some(snapshot);
        self.waiting = None;
    }

    /// There is nothing to look at. What comes next is another daemon's, or from much later.
    pub fn wait(&mut self, why: String) {
        self.waiting = Some(why);
        self.last = None;
        self.heartbeat = None;
    }

    /// How long ago the main thread was last heard of; `None` if it is not yet known.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        let (_, since, changed) = self.heartbeat?;
        changed.then(|| now.saturating_duration_since(since))
    }

    pub fn key(&mut self, key: KeyEvent) -> Ask {
        if key.kind == KeyEventKind::Release {
            return Ask::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return Ask::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Ask::Quit,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s') => {
                self.order = match self.order {
                    Order::Activity => Order::Name,
                    Order::Name => Order::Activity,
                };
                if let Some(frame) = &mut self.frame {
                    frame.sort(self.order);
                }
            }
            KeyCode::Char(digit @ '1'..='5') => self.pane = Pane::ALL[digit as usize - '1' as usize],
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Pane::ALL.len() - 1),
            KeyCode::Up | KeyCode::Char('k') => self.move_to(|at, _| at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.move_to(|at, _| at.saturating_add(1)),
            KeyCode::PageUp => self.move_to(|at, page| at.saturating_sub(page)),
            KeyCode::PageDown => self.move_to(|at, page| at.saturating_add(page)),
            KeyCode::Home => self.move_to(|_, _| 0),
            KeyCode::End => self.move_to(|_, _| usize::MAX),
            _ => {}
        }
        Ask::Nothing
    }

    /// First row of the pane to show, if it has `rows` and the screen has room for `page` of them.
    pub fn top_row(&mut self, rows: usize, page: usize) -> usize {
        self.page = page.max(1);
        let top = &mut self.scroll[self.pane as usize];
        *top = (*top).min(rows.saturating_sub(page));
        *top
    }

    fn turn(&mut self, by: usize) {
        self.pane = Pane::ALL[(self.pane as usize + by) % Pane::ALL.len()];
    }

    fn move_to(&mut self, place: impl FnOnce(usize, usize) -> usize) {
        let top = &mut self.scroll[self.pane as usize];
        *top = place(*top, self.page);
    }
}

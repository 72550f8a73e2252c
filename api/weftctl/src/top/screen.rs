// SPDX-License-Identifier: Apache-2.0
//! How the state looks on a screen of any size. Cells are written by hand: a table of fixed columns needs no layout
//! solver, and what is left out on a small screen is decided here, in one order.

use std::time::Instant;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};

use super::{
    app::App,
    frame::Order,
    table::{Column, Pane, Table, identity, summary},
};

/// Heights from which the less important lines are there.
const SUMMARY_FROM: u16 = 7;
const KEYS_FROM: u16 = 9;
const GAP: usize = 2;
/// Room that a name leaves for the first number behind it.
const FIRST_NUMBER: usize = 10;
const LEAST_NAME: usize = 4;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const ALERT: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);

/// Draws everything.
pub fn draw(app: &mut App, area: Rect, buffer: &mut Buffer, now: Instant) {
    let mut lines = area.rows();
    let keys = (area.height >= KEYS_FROM).then(|| lines.next_back()).flatten();
    if let Some(line) = lines.next() {
        status(app, line, buffer, now);
    }
    let Some(frame) = app.frame.take() else { return };
    if area.height >= SUMMARY_FROM
        && let Some(line) = lines.next()
    {
        put(buffer, line, 0, &summary(&frame), Style::new());
    }
    let tabs = lines.next();
    let heading = lines.next();
    let lines: Vec<Rect> = lines.collect();
    let table = Table::new(&frame, app.pane);
    let page = lines.len();
    let top = app.top_row(table.rows.len(), page);
    let widths = fit(&table, usize::from(area.width));
    if let Some(line) = tabs {
        let columns = (widths.len() < table.columns.len())
            .then(|| format!("{} of {} columns", widths.len(), table.columns.len()));
        let rows = Some(place(top, page, table.rows.len())).filter(|rows| !rows.is_empty());
        let missing: Vec<String> = rows.into_iter().chain(columns).collect();
        tab_line(app.pane, missing, line, buffer);
    }
    if let Some(line) = heading {
        row(&table, &widths, &mut table.columns.iter().map(|column| column.title()), line, buffer, BOLD);
    }
    let style = if app.waiting.is_some() { DIM } else { Style::new() };
    for (line, cells) in lines.into_iter().zip(table.rows.iter().skip(top)) {
        row(&table, &widths, &mut cells.iter().map(String::as_str), line, buffer, style);
    }
    if let Some(line) = keys {
        let order = match app.order {
            Order::Activity => "activity",
            Order::Name => "name",
        };
        let keys = format!("q quit  Tab 1-5 pane  arrows scroll  s sorted by {order}  p pause");
        put(buffer, line, 0, &keys, DIM);
    }
    app.frame = Some(frame);
}

/// What one must know first stands first: that the figures are old.
fn status(app: &App, line: Rect, buffer: &mut Buffer, now: Instant) {
    let mut column = 0;
    if let Some(why) = &app.waiting {
        put(buffer, line, 0, &format!("waiting for weft: {why}"), ALERT);
        return;
    }
    if app.paused {
        column = put(buffer, line, 0, "paused", ALERT) + GAP;
    }
    let Some(frame) = &app.frame else { return };
    let mut pieces = identity(frame);
    if let Some(silence) = app.silence(now) {
        pieces.push(format!("heartbeat {} s ago", silence.as_secs()));
    }
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 && column + piece.len() > usize::from(line.width) {
            return;
        }
        column += put(buffer, line, column, piece, Style::new()) + GAP;
    }
}

/// `5-24 of 1000`, or nothing if all rows are shown.
fn place(top: usize, page: usize, rows: usize) -> String {
    if page == 0 || (top == 0 && rows <= page) {
        return String::new();
    }
    format!("{}-{} of {rows}", top + 1, (top + page).min(rows))
}

/// The panes, and what of the chosen one is not seen, the most important first: of that, as much as there is room for.
fn tab_line(chosen: Pane, mut missing: Vec<String>, line: Rect, buffer: &mut Buffer) {
    let width = usize::from(line.width);
    let label = |(index, pane): (usize, &Pane)| format!("{} {}", index + 1, pane.title());
    let labels: Vec<String> = Pane::ALL.iter().enumerate().map(label).collect();
    let own: usize =
        labels.iter().zip(Pane::ALL).filter(|(_, pane)| *pane == chosen).map(|(label, _)| label.len()).sum();
    while !missing.is_empty() && own + GAP + missing.join(", ").len() > width {
        missing.pop();
    }
    let place = missing.join(", ");
    let all = labels.iter().map(|label| label.len() + GAP).sum::<usize>() + place.len();
    let all = if place.is_empty() { all - GAP } else { all };
    let mut column = 0;
    for (label, pane) in labels.iter().zip(Pane::ALL) {
        let style = if pane == chosen { CHOSEN } else { Style::new() };
        // Where not all fit beside what says that something is missing, the chosen one is what there is room for.
        if all <= width || pane == chosen {
            column += put(buffer, line, column, label, style) + GAP;
        }
    }
    put(buffer, line, width.saturating_sub(place.len()), &place, Style::new());
}

/// Widths of the columns that have room, from the left.
fn fit(table: &Table, width: usize) -> Vec<usize> {
    let mut left = width;
    let mut fitting = Vec::new();
    for (column, needed) in table.columns.iter().zip(table.widths()) {
        let gap = if fitting.is_empty() { 0 } else { GAP };
        let room = left.saturating_sub(gap);
        let taken = match column {
            Column::Number(_) if needed > room => break,
            Column::Number(_) => needed,
            Column::Text(_) if fitting.is_empty() => {
                needed.min(room.saturating_sub(FIRST_NUMBER).max(LEAST_NAME)).min(room)
            }
            Column::Text(_) if room < LEAST_NAME => break,
            Column::Text(_) => needed.min(room),
        };
        left = room - taken;
        fitting.push(taken);
    }
    fitting
}

fn row(
    table: &Table,
    widths: &[usize],
    cells: &mut dyn Iterator<Item = &str>,
    line: Rect,
    buffer: &mut Buffer,
    style: Style,
) {
    let mut start = 0;
    for ((cell, width), column) in cells.zip(widths).zip(table.columns) {
        if column.is_number() {
            put(buffer, line, start + width.saturating_sub(cell.len()), cell, style);
        } else if cell.len() <= *width {
            put(buffer, line, start, cell, style);
        } else {
            // The segment holds ASCII only, so any place is between two characters.
            let cut = cell.get(..width.saturating_sub(1)).unwrap_or_default();
            put(buffer, line, start, &format!("{cut}~"), style);
        }
        start += width + GAP;
    }
}

/// Writes `text` at `column` of a line as far as there is room; says how many columns it would take.
fn put(buffer: &mut Buffer, line: Rect, column: usize, text: &str, style: Style) -> usize {
    let room = usize::from(line.width).saturating_sub(column);
    if let Ok(column) = u16::try_from(column)
        && room > 0
        && line.height > 0
    {
        buffer.set_stringn(line.x + column, line.y, text, room, style);
    }
    text.len()
}

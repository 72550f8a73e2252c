// SPDX-License-Identifier: Apache-2.0
//! Tables of text. A column is said once: its title, its width, and what stands in a row.
//!
//! Widths and places are VPP's where it has the table, since scripts read them. A cell is cut at its width, and lines end
//! without blanks.

use serde::Serialize;
use weft_cli::Reply;

/// Where a text stands in its cell.
#[derive(Clone, Copy)]
pub enum Align {
    Left,
    Center,
    Right,
}

/// A column of a table whose rows are made of `T`.
pub struct Column<T> {
    title: &'static str,
    title_at: Align,
    cell: fn(&T) -> String,
    cell_at: Align,
    width: usize,
    /// Whether what is wider is cut.
    cuts: bool,
}

impl<T> Column<T> {
    const fn new(title: &'static str, width: usize, at: Align, cell: fn(&T) -> String) -> Self {
        Column { title, title_at: at, cell, cell_at: at, width, cuts: true }
    }

    pub const fn left(title: &'static str, width: usize, cell: fn(&T) -> String) -> Self {
        Self::new(title, width, Align::Left, cell)
    }

    pub const fn center(title: &'static str, width: usize, cell: fn(&T) -> String) -> Self {
        Self::new(title, width, Align::Center, cell)
    }

    pub const fn right(title: &'static str, width: usize, cell: fn(&T) -> String) -> Self {
        Self::new(title, width, Align::Right, cell)
    }

    /// Of what is not cut.
    pub const fn at_least(title: &'static str, width: usize, cell: fn(&T) -> String) -> Self {
        Column { cuts: false, ..Self::left(title, width, cell) }
    }

    /// The last column, of what is not cut.
    pub const fn rest(title: &'static str, cell: fn(&T) -> String) -> Self {
        Self::at_least(title, 0, cell)
    }

    /// Blanks between two columns, or before the first.
    pub const fn gap(width: usize) -> Self {
        Self::left("", width, |_| String::new())
    }

    fn place(&self, text: String, at: Align) -> String {
        let width = if self.cuts { self.width } else { self.width.max(text.chars().count()) };
        cell(text, width, at)
    }
}

/// The column with its title in the middle, wherever its cells stand.
pub const fn centered<T>(column: Column<T>) -> Column<T> {
    Column { title_at: Align::Center, ..column }
}

/// The line of titles.
pub fn titles<T>(columns: &[Column<T>]) -> String {
    row(columns.iter().map(|column| column.place(column.title.to_owned(), column.title_at)))
}

/// The line of one row.
pub fn line<T>(columns: &[Column<T>], of: &T) -> String {
    row(columns.iter().map(|column| column.place((column.cell)(of), column.cell_at)))
}

/// Titles, and a line for each row.
pub fn table<'a, T: 'a>(columns: &[Column<T>], rows: impl IntoIterator<Item = &'a T>) -> String {
    let lines = rows.into_iter().map(|it| line(columns, it));
    std::iter::once(titles(columns)).chain(lines).collect()
}

/// An answer that is a table, and in JSON a list under its name.
pub fn tabled<T: Serialize + Send + 'static>(
    name: &'static str,
    rows: impl IntoIterator<Item = T>,
    columns: &'static [Column<T>],
) -> Reply {
    Reply::list(name, rows, |rows| table(columns, rows))
}

fn cell(text: impl ToString, width: usize, align: Align) -> String {
    let text: String = text.to_string().chars().take(width).collect();
    let free = width - text.chars().count();
    let before = match align {
        Align::Left => 0,
        // The odd blank goes to the left.
        Align::Center => free.div_ceil(2),
        Align::Right => free,
    };
    format!("{}{text}{}", " ".repeat(before), " ".repeat(free - before))
}

pub fn left(text: impl ToString, width: usize) -> String {
    cell(text, width, Align::Left)
}

pub fn center(text: impl ToString, width: usize) -> String {
    cell(text, width, Align::Center)
}

pub fn right(text: impl ToString, width: usize) -> String {
    cell(text, width, Align::Right)
}

/// One line of a table.
pub fn row(cells: impl IntoIterator<Item = String>) -> String {
    let line: String = cells.into_iter().collect();
    format!("{}\n", line.trim_end())
}

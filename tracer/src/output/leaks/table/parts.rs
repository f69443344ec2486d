//! Parts that the lines of the table share.

use std::fmt::{Display, Write as _};

use crate::output::layout::{Cell, Spacing};
use tcpclose_core::summary::Ranking;

/// The indentation of the lines below an owner's line.
pub(super) const INDENT: &str = "       ";

/// The columns of an owner's line.
pub(super) type OwnerLine<T> = [T; 6];

/// Appends a line of cells.
pub(super) fn push_cells<const N: usize>(
    text: &mut String,
    cells: &[Cell; N],
    starts: &[usize; N],
    colours: bool,
) {
    let mut line = Vec::new();
    Spacing::new(cells, starts).write(cells, colours, &mut line);
    text.push_str(&String::from_utf8_lossy(&line));
}

/// Appends the most frequent values, each with its count.
pub(super) fn push_top_values<T: Display>(text: &mut String, values: &Ranking<T>) {
    for (place, (value, count)) in values.top.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{value} ({count})");
    }
    if values.rest_keys > 0 {
        let _ = write!(text, " and {} more", values.rest_keys);
    }
}

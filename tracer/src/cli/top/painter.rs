//! Brings a drawn screen to the terminal: only what has changed, in one piece.

use std::fs::File;
use std::io::{self, Write as _};

use ratatui_core::buffer::{Buffer, Cell};
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier};

use crate::output::terminal;
use crate::output::unbuffered_stdout::unbuffered_stdout;

/// The largest screen that is drawn; terminals may claim any size.
const MAX_SIZE: (u16, u16) = (1_000, 500);
/// The size where the terminal does not know its own.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// The screen as it is on the terminal.
pub(super) struct Painter {
    out: File,
    shown: Buffer,
}

impl Painter {
    /// Begins with an empty screen.
    ///
    /// # Errors
    /// Stdout is closed.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            out: unbuffered_stdout()?,
            shown: Buffer::empty(Rect::ZERO),
        })
    }

    /// Brings a screen that is drawn on an empty one to the terminal. `all`: whatever is there is
    /// overwritten.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn paint(&mut self, all: bool, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        let area = area();
        let mut bytes = Vec::new();
        if all || self.shown.area != area {
            self.shown = Buffer::empty(area);
            bytes.extend_from_slice(b"\x1b[0m\x1b[2J");
        }
        let mut next = Buffer::empty(area);
        draw(&mut next);
        push_changes(&mut bytes, &self.shown.diff(&next));
        self.out.write_all(&bytes)?;
        self.shown = next;
        Ok(())
    }
}

fn area() -> Rect {
    let size = terminal::size().map(|size| (size.columns, size.rows));
    let (columns, rows) = size.filter(|(_, rows)| *rows > 0).unwrap_or(DEFAULT_SIZE);
    Rect::new(0, 0, columns.min(MAX_SIZE.0), rows.min(MAX_SIZE.1))
}

fn push_changes(bytes: &mut Vec<u8>, changes: &[(u16, u16, &Cell)]) {
    let mut style = None;
    let mut end = None;
    for (column, row, cell) in changes {
        if end != Some((*column, *row)) {
            let place = format!("\x1b[{};{}H", row + 1, column + 1);
            bytes.extend_from_slice(place.as_bytes());
        }
        if style != Some((cell.fg, cell.modifier)) {
            push_style(bytes, cell.fg, cell.modifier);
            style = Some((cell.fg, cell.modifier));
        }
        bytes.extend_from_slice(cell.symbol().as_bytes());
        // What is wider than a column leaves the cursor where terminals do not agree.
        end = (cell.symbol().len() == 1).then_some((column + 1, *row));
    }
    if style.is_some() {
        bytes.extend_from_slice(b"\x1b[0m");
    }
}

/// Appends the attributes that a screen has: no background, and none of the colours that depend on
/// the theme.
fn push_style(bytes: &mut Vec<u8>, colour: Color, modifier: Modifier) {
    bytes.extend_from_slice(b"\x1b[0");
    for (is_set, code) in [
        (modifier.contains(Modifier::BOLD), &b";1"[..]),
        (modifier.contains(Modifier::DIM), b";2"),
        (modifier.contains(Modifier::REVERSED), b";7"),
        (colour == Color::Red, b";31"),
        (colour == Color::Yellow, b";33"),
    ] {
        if is_set {
            bytes.extend_from_slice(code);
        }
    }
    bytes.push(b'm');
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui_core::style::Style;

    #[test]
    fn only_what_has_changed_is_written() {
        let area = Rect::new(0, 0, 12, 2);
        let mut before = Buffer::empty(area);
        before.set_string(0, 0, "close 1", Style::new());
        let mut after = before.clone();
        after.set_string(6, 0, "2", Style::new().fg(Color::Red));
        after.set_string(0, 1, "数 x", Style::new().add_modifier(Modifier::REVERSED));
        let mut bytes = Vec::new();
        push_changes(&mut bytes, &before.diff(&after));
        assert_eq!(
            String::from_utf8(bytes).expect("it is text"),
            "\x1b[1;7H\x1b[0;31m2\x1b[2;1H\x1b[0;7m数\x1b[2;3H x\x1b[0m"
        );
    }
}

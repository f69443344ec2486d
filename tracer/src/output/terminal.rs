//! What the terminal on stdout can show.

use std::io::{self, IsTerminal as _};

use rustix::termios::tcgetwinsize;

/// Returns the number of columns; `None` where stdout is not a terminal.
#[must_use]
pub fn width() -> Option<u16> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let columns = tcgetwinsize(stdout).ok()?.ws_col;
    (columns > 0).then_some(columns)
}

/// Returns whether tables are coloured: on a terminal, unless `NO_COLOR` is set.
#[must_use]
pub fn has_colours() -> bool {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_plain
}

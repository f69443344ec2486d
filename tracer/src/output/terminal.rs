//! What the terminal on stdout can show.

use std::env;
use std::io::{self, IsTerminal as _};

use rustix::termios::tcgetwinsize;

use super::symbols::Symbols;

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The number of columns, at least 1.
    pub columns: u16,
    /// The number of rows; 0 where the terminal does not say.
    pub rows: u16,
}

/// Returns the size of the terminal; `None` where stdout is not a terminal, or does not know its
/// width.
#[must_use]
pub fn size() -> Option<Size> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(stdout).ok()?;
    (size.ws_col > 0).then_some(Size {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}

/// Returns the number of columns of the terminal, as [`size`] does.
#[must_use]
pub fn width() -> Option<u16> {
    size().map(|size| size.columns)
}

/// Returns whether stdout is a terminal.
#[must_use]
pub fn is_stdout() -> bool {
    io::stdout().is_terminal()
}

/// Returns whether tables are coloured: on a terminal, unless `NO_COLOR` is set or `TERM` is
/// `dumb`.
#[must_use]
pub fn has_colours() -> bool {
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    is_stdout() && !is_plain && !is_dumb
}

/// Returns the characters that the locale has. As POSIX has it, the first of `LC_ALL`, `LC_CTYPE`
/// and `LANG` that is set and not empty decides, and without one there is no Unicode.
#[must_use]
pub fn symbols() -> Symbols {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(env::var_os)
        .find(|value| !value.is_empty());
    symbols_of(&locale.unwrap_or_default().to_string_lossy())
}

fn symbols_of(locale: &str) -> Symbols {
    let locale = locale.to_ascii_lowercase();
    match locale.contains("utf-8") || locale.contains("utf8") {
        true => Symbols::Unicode,
        false => Symbols::Ascii,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_about_unicode() {
        for locale in ["C.UTF-8", "de_DE.utf8", "en_US.UTF-8@euro"] {
            assert_eq!(symbols_of(locale), Symbols::Unicode, "{locale}");
        }
        for locale in ["", "C", "POSIX", "de_DE.ISO-8859-1"] {
            assert_eq!(symbols_of(locale), Symbols::Ascii, "{locale}");
        }
    }
}

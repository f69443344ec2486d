//! Messages to the user: one line on stderr, beside the data on stdout.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use crate::escape::steers_terminal;

/// Prints a line to stderr, with the program's name before it. Unlike `eprintln!`, does not panic
/// when stderr is closed or its disk is full: then the line is lost.
macro_rules! notice {
    ($($words:tt)*) => {
        $crate::notice::write_line(format_args!($($words)*))
    };
}
pub(crate) use notice;

/// The most messages that are kept; of further ones the oldest are lost.
const MAX_KEPT: usize = 64;

/// The messages that wait for the end of a full screen.
#[derive(Debug)]
struct Kept {
    lines: Vec<String>,
    /// Whether the last one was not taken for the screen yet.
    is_new: bool,
}

static KEPT_MESSAGES: Mutex<Option<Kept>> = Mutex::new(None);

/// Keeps the messages from now on, until [`print_kept`].
pub(crate) fn keep() {
    let mut kept = KEPT_MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    kept.get_or_insert(Kept {
        lines: Vec::new(),
        is_new: false,
    });
}

/// Prints the messages that were kept, and the later ones at once.
pub(crate) fn print_kept() {
    let mut kept = KEPT_MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    for line in kept.take().into_iter().flat_map(|kept| kept.lines) {
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

/// Returns the last message that was kept, once.
pub(crate) fn take_new() -> Option<String> {
    let mut kept = KEPT_MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.as_mut().filter(|kept| kept.is_new)?;
    kept.is_new = false;
    let last = kept.lines.last()?;
    Some(last.trim_end().replace('\n', " "))
}

pub fn write_line(words: fmt::Arguments<'_>) {
    let words: String = words.to_string().chars().map(visible).collect();
    // At once, so that no other thread's line comes in between.
    let line = format!("tcpclose: {words}\n");
    let mut kept = KEPT_MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kept) = kept.as_mut() {
        if kept.lines.len() >= MAX_KEPT {
            kept.lines.remove(0);
        }
        kept.lines.push(line);
        kept.is_new = true;
        return;
    }
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Returns what stands for a character on the terminal. Names are escaped where they are put into a
/// message; this is for those that are part of a path or of another program's message. Some
/// messages have several lines.
fn visible(character: char) -> char {
    match character {
        '\n' | '\t' => character,
        character if steers_terminal(character) => char::REPLACEMENT_CHARACTER,
        character => character,
    }
}

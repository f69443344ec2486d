//! Messages to the user: one line on stderr, beside the data on stdout.

use std::fmt;
use std::io::{self, Write as _};

use crate::escape::steers_terminal;

/// Prints a line to stderr, with the program's name before it. Unlike `eprintln!`, does not panic
/// when stderr is closed or its disk is full: then the line is lost.
macro_rules! notice {
    ($($words:tt)*) => {
        $crate::notice::write_line(format_args!($($words)*))
    };
}
pub(crate) use notice;

pub fn write_line(words: fmt::Arguments<'_>) {
    let words: String = words.to_string().chars().map(visible).collect();
    // At once, so that no other thread's line comes in between.
    let line = format!("tcpclose: {words}\n");
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

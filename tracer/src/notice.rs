//! What the program says to its user: one line on stderr, beside the data on stdout.

use std::fmt;
use std::io::{self, Write};

/// Says a sentence, as `eprintln!` does, with the program's name before it. Where nobody can read it (a full disk, a pipe
/// whose reader is gone) it is lost, and the work goes on: `eprintln!` would panic.
macro_rules! notice {
    ($($words:tt)*) => {
        $crate::notice::write_line(format_args!($($words)*))
    };
}
pub(crate) use notice;

pub fn write_line(words: fmt::Arguments<'_>) {
    // At once, so that no other thread's line comes in between.
    let line = format!("tcpclose: {words}\n");
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

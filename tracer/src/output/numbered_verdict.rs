//! One of several verdicts, the worst first, as `triage` and `compare` show them.

use std::fmt::Write as _;

use super::paragraph::push_paragraph;

/// The columns of text.
pub(super) const TEXT_WIDTH: usize = 78;
/// The indent of further lines.
const OTHER_LINES: &str = "          ";

/// A verdict in words.
pub(super) struct NumberedVerdict<'a> {
    pub what: &'a str,
    pub who: &'a [String],
    pub why: Option<&'a str>,
    pub advice: Option<&'a str>,
    pub command: &'a str,
}

/// Appends a verdict.
pub(super) fn push_numbered_verdict(
    text: &mut String,
    number: u32,
    verdict: &NumberedVerdict<'_>,
    colours: bool,
) {
    let mark = format!("{number:2}. ");
    let mut what = String::new();
    push_paragraph(&mut what, &mark, "    ", verdict.what, TEXT_WIDTH);
    match colours {
        true => {
            let _ = writeln!(text, "\x1b[1m{}\x1b[0m", what.trim_end());
        }
        false => text.push_str(&what),
    }
    let mut push = |mark: &str, words: &str| {
        push_paragraph(text, mark, OTHER_LINES, words, TEXT_WIDTH);
    };
    for who in verdict.who {
        push("     WHO  ", who);
    }
    if let Some(why) = verdict.why {
        push("     WHY  ", why);
    }
    if let Some(advice) = verdict.advice {
        push("     DO   ", advice);
    }
    push("     MORE ", verdict.command);
}

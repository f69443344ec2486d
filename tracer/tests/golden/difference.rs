//! Where two texts differ, for people.

use std::fmt::Write as _;

/// Lines that are shown, of those that differ.
const SHOWN: usize = 3;
/// Characters that are shown of a line, and how many of them stand before the first that differs.
const WIDTH: usize = 200;
const BEFORE: usize = 60;

/// The first lines that differ, `None` where all are the same.
pub fn difference(expected: &str, text: &str) -> Option<String> {
    if expected == text {
        return None;
    }
    let (old, new) = (lines(expected), lines(text));
    let (old_count, new_count) = (old.len(), new.len());
    let mut shown = format!("  {old_count} lines expected, {new_count} found");
    let longest = old_count.max(new_count);
    let pairs = (0..longest).map(|at| (at + 1, old.get(at).copied(), new.get(at).copied()));
    for (number, old, new) in pairs.filter(|(_, old, new)| old != new).take(SHOWN) {
        let from = column(old, new);
        for (mark, line) in [('-', old), ('+', new)] {
            if let Some(line) = line {
                let _ = write!(shown, "\n  line {number} {mark} {}", cut(line, from));
            }
        }
    }
    Some(shown)
}

/// With what ends them, so that a missing line feed is a difference.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Where two lines begin to differ.
fn column(old: Option<&str>, new: Option<&str>) -> usize {
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let same = old.chars().zip(new.chars());
    same.take_while(|(old, new)| old == new).count()
}

/// What is around that place. Nothing of it acts on a terminal.
fn cut(line: &str, from: usize) -> String {
    let skipped = if from < WIDTH { 0 } else { from - BEFORE };
    let mut shown = String::from(if skipped > 0 { "…" } else { "" });
    for character in line.chars().skip(skipped).take(WIDTH) {
        match character {
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    if line.chars().count() > skipped + WIDTH {
        shown.push('…');
    }
    shown
}

#[test]
fn lines_that_differ_are_shown_with_their_numbers() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(
        difference("a\nb\nc\n", "a\nx\nc\nd\n").as_deref(),
        Some("  3 lines expected, 4 found\n  line 2 - b\\n\n  line 2 + x\\n\n  line 4 + d\\n")
    );
    assert_eq!(
        difference("a\n", "a").as_deref(),
        Some("  1 lines expected, 1 found\n  line 1 - a\\n\n  line 1 + a")
    );
    let long = "x".repeat(1000);
    let shown = difference(&format!("{long}y{long}"), &format!("{long}z{long}"));
    let shown = shown.expect("they differ");
    assert!(shown.contains("xy") && shown.contains("xz"), "{shown}");
    assert!(shown.len() < 600, "{shown}");
}

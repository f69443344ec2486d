//! Messages about the configuration: serde's in the words of the configuration, and the words of
//! the file safe to show.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::escape::{is_hostile, push_for_terminal};

/// The longest part between two quotation marks that is shown, in characters. Our own sentences
/// have none that is as long.
const MAX_PART_CHARS: usize = 200;

/// The longest message in characters.
const MAX_CHARS: usize = 700;

/// The longest wrong word for which a similar one is searched, in bytes. The search takes time and
/// memory in proportion, and no key is as long.
const MAX_COMPARED_LEN: usize = 64;

/// Returns a message about the file: it may quote words of the file, which may be long and may
/// contain anything.
pub(super) fn shown(message: &str) -> String {
    let mut shown = String::new();
    for part in message.split_inclusive(['`', '"']) {
        push_cut(&mut shown, part, MAX_PART_CHARS);
    }
    let mut cut = String::new();
    push_cut(&mut cut, &shown, MAX_CHARS);
    let mut escaped = String::new();
    for character in cut.chars() {
        match is_hostile(character) {
            true => push_for_terminal(&mut escaped, character.encode_utf8(&mut [0; 4]).as_bytes()),
            false => escaped.push(character),
        }
    }
    escaped
}

/// Returns the path of the file for messages.
pub(super) fn file_name(path: &Path) -> String {
    let mut name = String::new();
    push_for_terminal(&mut name, path.as_os_str().as_bytes());
    name
}

/// Appends a text, or its beginning and its last character.
fn push_cut(text: &mut String, part: &str, max: usize) {
    match part.char_indices().nth(max) {
        None => text.push_str(part),
        Some((end, _)) => {
            text.push_str(&part[..end]);
            text.push('…');
            text.extend(
                part.chars()
                    .next_back()
                    .filter(|end| matches!(end, '`' | '"')),
            );
        }
    }
}

/// Returns serde's message in plain words. Where it lists the keys or values that exist, the one
/// that is most like the wrong one replaces the list.
pub(super) fn rewrite_message(message: &str) -> String {
    let message = replace_rust_words(message.trim_end());
    let Some((problem, expected)) = message.split_once(", expected ") else {
        return message;
    };
    let (Some(wrong), true) = (quoted(problem).next(), problem.starts_with("unknown ")) else {
        return message;
    };
    if wrong.len() > MAX_COMPARED_LEN {
        return message;
    }
    // A word that contains the other one probably has a part too many or too few.
    let is_part = |word: &str| word.contains(wrong) || wrong.contains(word);
    let nearest = quoted(expected)
        .map(|word| {
            let distance = strsim::damerau_levenshtein(wrong, word);
            (!is_part(word), distance, word)
        })
        .min();
    match nearest {
        Some((differs, distance, nearest)) if !differs || distance <= 1 + wrong.len() / 3 => {
            format!("{problem}: did you mean `{nearest}`?")
        }
        // A guess that is hardly similar does not help; the whole list does.
        _ => message,
    }
}

/// Replaces the words of Rust.
fn replace_rust_words(message: &str) -> String {
    let words = [
        (
            "invalid type: map, expected a sequence",
            "a list is needed here: tables in a list have double brackets, as in [[output]]",
        ),
        ("expected a sequence", "expected a list in brackets"),
        (
            "expected a nonzero usize",
            "expected a number of at least 1",
        ),
        (
            "expected a nonzero u32",
            "expected a number from 1 to 4294967295",
        ),
        ("expected u16", "expected a port from 1 to 65535"),
        ("expected i64", "expected a number"),
        ("expected usize", "expected a number"),
        ("expected variant identifier", "expected a word"),
        ("expected a map", "expected a table"),
        ("expected path string", "expected a path"),
        ("invalid type: map", "invalid type: table"),
        ("invalid type: sequence", "invalid type: list"),
        ("invalid type: floating point", "invalid type: number"),
        ("\n", " "),
    ];
    let translate = |text: String, (rust, plain): &(&str, &str)| text.replace(rust, plain);
    let message = words.iter().fold(message.to_owned(), translate);
    match message.split_once("expected struct ") {
        Some((problem, _)) => format!("{problem}expected a table"),
        None => message,
    }
}

/// Returns the words between backticks.
pub(super) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

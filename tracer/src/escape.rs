//! Makes names that users choose (of processes, cgroups) safe to show.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// Returns whether a character can move the cursor, start a line, reorder the text around it, end a
/// record, or is invisible: C0, DEL and C1 controls, the line and paragraph separators, all that
/// take no column (bidirectional marks, zero-width and other format characters, combining marks,
/// variation selectors), and those that take a column and leave it empty.
pub(crate) fn is_hostile(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    let empty = matches!(
        character,
        '\u{ad}' | '\u{115f}'..='\u{1160}' | '\u{2028}'..='\u{2029}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
    );
    empty || matches!(character.width(), None | Some(0))
}

/// Returns whether a character changes how a terminal shows what follows: control characters, and
/// those that reorder the text. Combining marks, which many scripts need, do not.
pub(crate) fn steers_terminal(character: char) -> bool {
    let reorders = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || reorders
}

/// Returns the first bytes of a name, at most `limit`, that end with a whole character.
pub(crate) fn cut(name: &[u8], limit: usize) -> &[u8] {
    let is_continued = |at: usize| name.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has at most four bytes; a longer sequence is not UTF-8.
    let end = (0..4)
        .map(|back| limit.saturating_sub(back))
        .find(|&end| !is_continued(end));
    name.get(..end.unwrap_or(limit)).unwrap_or(name)
}

/// Returns the bytes of a name up to the first NUL (the kernel pads names with NULs).
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Appends a name for the terminal: hostile characters and backslashes as Rust escapes them (`\n`,
/// `\x1b`, `\u{202e}`, `\\`), invalid UTF-8 as U+FFFD, and the rest, including quotes, unchanged.
/// An empty name becomes `""`.
pub(crate) fn push_for_terminal(text: &mut String, name: &[u8]) {
    if name.is_empty() {
        text.push_str("\"\"");
    }
    for character in String::from_utf8_lossy(name).chars() {
        let _ = match character {
            '\\' => write!(text, "\\\\"),
            '\n' => write!(text, "\\n"),
            '\r' => write!(text, "\\r"),
            '\t' => write!(text, "\\t"),
            '\0'..='\x7f' if is_hostile(character) => {
                write!(text, "\\x{:02x}", u32::from(character))
            }
            _ if is_hostile(character) => write!(text, "\\u{{{:x}}}", u32::from(character)),
            _ => write!(text, "{character}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &[u8]) -> String {
        let mut text = String::new();
        push_for_terminal(&mut text, name);
        text
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        assert_eq!(shown(b"tokio-runtime-w"), "tokio-runtime-w");
        assert_eq!(shown(b"Web Content"), "Web Content");
        assert_eq!(shown("café 数据".as_bytes()), "café 数据");
        assert_eq!(shown(b"it's \"me\""), "it's \"me\"");
    }

    #[test]
    fn control_characters_are_shown_as_escapes() {
        assert_eq!(shown(b"\x1b[31mred\x07"), "\\x1b[31mred\\x07");
        assert_eq!(shown(b"a\nb\rc\td"), "a\\nb\\rc\\td");
        assert_eq!(shown("\u{9b}2J\u{7f}".as_bytes()), "\\u{9b}2J\\x7f");
        assert_eq!(
            shown("\u{202e}txt\u{2066}\u{200f}".as_bytes()),
            "\\u{202e}txt\\u{2066}\\u{200f}"
        );
        assert_eq!(shown("a\u{2028}b".as_bytes()), "a\\u{2028}b");
    }

    #[test]
    fn invisible_characters_are_shown_as_escapes() {
        let names = [
            ("a\u{200b}b", "a\\u{200b}b"),
            ("a\u{feff}b", "a\\u{feff}b"),
            ("a\u{2060}\u{ad}b", "a\\u{2060}\\u{ad}b"),
            ("e\u{301}", "e\\u{301}"),
            ("a\u{3164}\u{e0041}b", "a\\u{3164}\\u{e0041}b"),
        ];
        for (name, expected) in names {
            assert_eq!(shown(name.as_bytes()), expected);
        }
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        let name = "aä数😀".as_bytes();
        let texts: Vec<&str> = (0..=name.len() + 1)
            .map(|limit| std::str::from_utf8(cut(name, limit)).expect("whole characters"))
            .collect();
        let expected = [
            "",
            "a",
            "a",
            "aä",
            "aä",
            "aä",
            "aä数",
            "aä数",
            "aä数",
            "aä数",
            "aä数😀",
            "aä数😀",
        ];
        assert_eq!(texts, expected);
        assert_eq!(cut(&[0x80; 9], 7).len(), 7);
    }

    #[test]
    fn an_escape_cannot_be_forged() {
        assert_eq!(shown(b"\\x1b"), "\\\\x1b");
    }

    #[test]
    fn invalid_and_empty_names_are_visible() {
        assert_eq!(shown(b"a\xff\xc3"), "a\u{fffd}\u{fffd}");
        assert_eq!(shown(b""), "\"\"");
    }

    #[test]
    fn kernel_padding_is_not_part_of_a_name() {
        assert_eq!(until_nul(b"sshd\0\0\0\0"), b"sshd");
        assert_eq!(until_nul(b"sixteen-bytes-16"), b"sixteen-bytes-16");
        assert_eq!(until_nul(b"\0rest"), b"");
    }
}

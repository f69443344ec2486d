//! Makes what users named (processes, cgroups) safe to show.

use std::fmt::Write as _;

/// Characters that can move the cursor, start a line, reorder the text around them or end a record: C0, DEL and C1
/// controls, the line and paragraph separators, and the bidirectional marks, embeddings, overrides and isolates.
pub(super) const fn is_hostile(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// The bytes of a name up to the first NUL (the kernel pads with them).
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Appends a name for the terminal: what is hostile and the backslash as Rust writes them (`\n`, `\x1b`, `\u{202e}`,
/// `\\`), invalid UTF-8 as U+FFFD, the rest, quotes among it, as it is. An empty name is `""`.
pub(super) fn push_for_terminal(text: &mut String, name: &[u8]) {
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
    fn what_would_act_on_the_terminal_is_shown_instead() {
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
    fn an_escape_cannot_be_forged() {
        assert_eq!(shown(b"\\x1b"), "\\\\x1b");
    }

    #[test]
    fn invalid_and_empty_names_are_visible() {
        assert_eq!(shown(b"a\xff\xc3"), "a\u{fffd}\u{fffd}");
        assert_eq!(shown(b""), "\"\"");
    }

    #[test]
    fn kernel_padding_is_no_part_of_a_name() {
        assert_eq!(until_nul(b"sshd\0\0\0\0"), b"sshd");
        assert_eq!(until_nul(b"sixteen-bytes-16"), b"sixteen-bytes-16");
        assert_eq!(until_nul(b"\0rest"), b"");
    }
}

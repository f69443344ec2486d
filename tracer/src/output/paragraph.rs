//! Breaks text into lines.

use unicode_width::UnicodeWidthStr as _;

use super::layout::cut_to;

/// Appends a text in lines of at most `width` columns, but for a longer word: the first begins with
/// `first`, the others with `others`.
pub(super) fn push_paragraph(
    text: &mut String,
    first: &str,
    others: &str,
    words: &str,
    width: usize,
) {
    text.push_str(first);
    let mut column = first.width();
    let mut is_first_word = true;
    for word in words.split_whitespace() {
        let length = word.width();
        if !is_first_word {
            if column + 1 + length > width {
                text.push('\n');
                text.push_str(others);
                column = others.width();
            } else {
                text.push(' ');
                column += 1;
            }
        }
        text.push_str(word);
        column += length;
        is_first_word = false;
    }
    text.push('\n');
}

/// Returns a line as several if it is longer than `width` columns: broken at spaces where there are
/// some, and indented by two more than it is.
pub(super) fn broken_line(line: &str, width: usize) -> Vec<String> {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let indent = if indent + 12 < width { indent + 2 } else { 0 };
    let mut lines = Vec::new();
    let mut rest = line.to_owned();
    while rest.width() > width {
        let head = cut_to(&rest, width + 1, ' ').into_owned();
        let head = head.get(..head.len() - 1).unwrap_or_default();
        let at_space = head.rfind(' ').filter(|at| *at > indent);
        let end = at_space.unwrap_or(head.len()).max(1);
        let end = rest.ceil_char_boundary(end);
        let tail = format!("{:indent$}{}", "", rest[end..].trim_start());
        rest.truncate(end);
        lines.push(std::mem::replace(&mut rest, tail));
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::{broken_line, push_paragraph};

    #[test]
    fn a_long_line_is_broken_at_spaces_and_indented() {
        assert_eq!(
            broken_line("    WHY one two three four", 20),
            ["    WHY one two", "      three four"]
        );
        assert_eq!(broken_line("short", 20), ["short"]);
        assert_eq!(broken_line("endless-word", 7), ["endless", "-word"]);
    }

    #[test]
    fn lines_are_as_long_as_they_may_be() {
        let mut text = String::new();
        push_paragraph(
            &mut text,
            "WHY  ",
            "     ",
            "one two three endless-word x",
            12,
        );
        assert_eq!(
            text,
            "WHY  one two\n     three\n     endless-word\n     x\n"
        );
    }
}

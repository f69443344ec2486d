//! Breaks text into lines.

use unicode_width::UnicodeWidthStr as _;

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

#[cfg(test)]
mod tests {
    use super::push_paragraph;

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

//! serde's messages in the words of the configuration.

/// Returns serde's message in plain words. Where it lists the keys or values that exist, the one
/// that is most like the wrong one replaces the list.
pub(super) fn plain(message: &str) -> String {
    let message = in_plain_words(message.trim_end());
    let Some((problem, expected)) = message.split_once(", expected ") else {
        return message;
    };
    let (Some(wrong), true) = (quoted(problem).next(), problem.starts_with("unknown ")) else {
        return message;
    };
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
fn in_plain_words(message: &str) -> String {
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
        ("\n", " "),
    ];
    let translate = |text: String, (rust, plain): &(&str, &str)| text.replace(rust, plain);
    words.iter().fold(message.to_owned(), translate)
}

/// Returns the words between backticks.
pub(super) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

//! Singular and plural in messages.

/// Returns the word for one thing, or the word for several.
pub(crate) const fn plural<'a>(count: u64, one: &'a str, several: &'a str) -> &'a str {
    if count == 1 { one } else { several }
}

//! The characters beyond ASCII that tables draw with, and what stands for them in a locale that
//! does not have them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The characters that tables draw with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symbols {
    /// Those of Unicode.
    #[default]
    Unicode,
    /// ASCII alone, also in names.
    Ascii,
}

impl Symbols {
    /// Returns the arrow from the local address to the peer's: this host connected.
    pub(super) const fn connected(self) -> &'static str {
        self.pick("→", "->")
    }

    /// Returns the arrow from the peer's address to the local one: this host accepted.
    pub(super) const fn accepted(self) -> &'static str {
        self.pick("←", "<-")
    }

    /// Returns the line between two addresses of which neither is known to have connected.
    pub(super) const fn unknown_role(self) -> &'static str {
        self.pick("–", "--")
    }

    /// Returns the mark of a line that belongs to the one above it.
    pub(super) const fn detail(self) -> &'static str {
        self.pick("└ ", "` ")
    }

    /// Returns the mark before an error in both directions.
    pub(super) const fn plus_minus(self) -> &'static str {
        self.pick("±", "+-")
    }

    /// Returns the mark between a number and what is counted.
    pub(super) const fn times(self) -> &'static str {
        self.pick("×", "x")
    }

    /// Returns a piece of a drawn segment.
    pub(super) const fn line(self) -> &'static str {
        self.pick("─", "-")
    }

    /// Returns a piece of a drawn segment that is inferred.
    pub(super) const fn dots(self) -> &'static str {
        self.pick("·", ".")
    }

    /// Returns the line of life of a drawn connection.
    pub(super) const fn bar(self) -> &'static str {
        self.pick("│", "|")
    }

    /// Returns the mark where a name was cut.
    pub(super) const fn cut(self) -> char {
        match self {
            Self::Unicode => '…',
            Self::Ascii => '+',
        }
    }

    const fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self {
            Self::Unicode => unicode,
            Self::Ascii => ascii,
        }
    }

    /// Returns a text as it can be shown: without Unicode, each of its characters beyond ASCII as
    /// an escape (`\u{e9}`).
    pub(super) fn show(self, text: &str) -> Cow<'_, str> {
        if self == Self::Unicode || text.is_ascii() {
            return text.into();
        }
        let mut shown = String::new();
        for character in text.chars() {
            let _ = match character {
                character if character.is_ascii() => write!(shown, "{character}"),
                char::REPLACEMENT_CHARACTER => write!(shown, "?"),
                _ => write!(shown, "{}", character.escape_unicode()),
            };
        }
        shown.into()
    }
}

#[cfg(test)]
mod tests {
    use super::Symbols;

    #[test]
    fn a_locale_without_unicode_gets_escapes() {
        assert_eq!(Symbols::Unicode.show("café\u{fffd}"), "café\u{fffd}");
        assert_eq!(Symbols::Ascii.show("café\u{fffd}"), "caf\\u{e9}?");
        assert_eq!(Symbols::Ascii.show("plain"), "plain");
    }
}

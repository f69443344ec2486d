//! Where the key of pair ids comes from: the value itself, or a file.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use serde::Deserialize;
use thiserror::Error;

use crate::pair_id::PairKey;
use crate::small_file::read_small_file;

/// The largest file in bytes. A key has 32.
const MAX_FILE_LEN: u64 = 4_096;

/// A key, or the file in which it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum PairKeySource {
    /// The key itself.
    Key(PairKey),
    /// A file with the key.
    File(PathBuf),
}

/// The text is neither a key nor a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key is 32 hexadecimal digits, or the path of a file with them, which begins with `/`")]
pub struct InvalidPairKey;

impl PairKeySource {
    /// Returns the key.
    ///
    /// # Errors
    /// The file cannot be read, or has no key.
    pub fn read(&self) -> anyhow::Result<PairKey> {
        match self {
            Self::Key(key) => Ok(*key),
            Self::File(file) => {
                let key = read(file);
                key.with_context(|| format!("the pair key in {} cannot be used", file.display()))
            }
        }
    }
}

fn read(file: &Path) -> anyhow::Result<PairKey> {
    let text = String::from_utf8(read_small_file(file, MAX_FILE_LEN)?)?;
    let key = PairKey::from_hex(text.trim());
    key.context("it does not have 32 hexadecimal digits and nothing else")
}

impl Default for PairKeySource {
    fn default() -> Self {
        Self::Key(PairKey::default())
    }
}

impl FromStr for PairKeySource {
    type Err = InvalidPairKey;

    fn from_str(text: &str) -> Result<Self, InvalidPairKey> {
        match PairKey::from_hex(text) {
            Some(key) => Ok(Self::Key(key)),
            None if text.starts_with('/') => Ok(Self::File(text.into())),
            None => Err(InvalidPairKey),
        }
    }
}

impl TryFrom<String> for PairKeySource {
    type Error = InvalidPairKey;

    fn try_from(text: String) -> Result<Self, InvalidPairKey> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DIGITS: &str = "000102030405060708090A0b0c0d0e0f";

    #[test]
    fn a_key_is_32_digits_or_in_a_file() {
        let key = DIGITS.parse::<PairKeySource>().expect("a key");
        let bytes: [u8; 16] = std::array::from_fn(|at| at as u8);
        assert_eq!(key.read().expect("it is there").bytes(), &bytes);
        for wrong in [
            "",
            "key",
            &DIGITS[1..],
            &format!("{DIGITS}0"),
            &"+1".repeat(16),
        ] {
            assert_eq!(
                wrong.parse::<PairKeySource>(),
                Err(InvalidPairKey),
                "{wrong}"
            );
        }
        let folder = std::env::temp_dir().join(format!("tcpclose-key-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("pair.key");
        let source: PairKeySource = file.display().to_string().parse().expect("a path");
        for (text, problem) in [
            (None, "No such file"),
            (Some(""), "32 hexadecimal digits"),
            (Some("secret"), "32 hexadecimal digits"),
        ] {
            if let Some(text) = text {
                fs::write(&file, text).expect("a file");
            }
            let error = format!("{:#}", source.read().expect_err("no key"));
            assert!(error.contains(problem), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        fs::write(&file, format!("{DIGITS}\n")).expect("a file");
        assert_eq!(source.read().ok(), key.read().ok());
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn nothing_shows_a_key() {
        let key = DIGITS.parse::<PairKeySource>().expect("a key");
        assert_eq!(format!("{key:?}"), "Key(PairKey { .. })");
    }
}

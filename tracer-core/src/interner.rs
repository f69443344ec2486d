//! Names that live as long as the program: of the kernel's reset reasons, and of container runtimes. Where they are read
//! from a recording, each is kept once.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Such a name.
pub type StaticName = &'static str;

/// Names kept at most: ten times what kernels and runtimes have. A file must not fill the memory with what is never freed.
const MOST: usize = 1024;
/// The longest name.
const LONGEST: usize = 128;

const NO_NAME: &str = "no name of a kernel or a runtime, or more names than there can be";

static KEPT: LazyLock<Mutex<HashSet<StaticName>>> = LazyLock::new(Mutex::default);

fn keep(name: &str) -> Option<StaticName> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(name) {
        return Some(known);
    }
    if !is_name(name) || kept.len() >= MOST {
        return None;
    }
    let name: StaticName = Box::leak(name.into());
    kept.insert(name);
    Some(name)
}

/// Whether it could be the name of a reset reason or of a runtime. Others could act on the terminal that shows them.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Reads one.
pub(super) fn required<'de, D: Deserializer<'de>>(from: D) -> Result<StaticName, D::Error> {
    let name = String::deserialize(from)?;
    keep(&name).ok_or_else(|| D::Error::custom(NO_NAME))
}

/// As [`required`], where there may be none.
pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<StaticName>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    let kept = name.map(|name| keep(&name).ok_or_else(|| D::Error::custom(NO_NAME)));
    kept.transpose()
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, keep};

    #[test]
    fn a_name_is_kept_once_and_none_is_endless() {
        let first = keep("TCP_ABORT_ON_CLOSE").unwrap();
        assert!(std::ptr::eq(first, keep("TCP_ABORT_ON_CLOSE").unwrap()));
        assert_eq!(keep(&"x".repeat(LONGEST + 1)), None);
    }

    #[test]
    fn what_could_act_on_a_terminal_is_no_name() {
        for name in ["cri-o", "systemd-nspawn", "TCP_TIMEWAIT_SOCKET", "a.b"] {
            assert_eq!(keep(name), Some(name));
        }
        for name in ["", "\x1b[2J", "REASON\0\0", "two words", "a\nb", "ä"] {
            assert_eq!(keep(name), None, "{name:?}");
        }
    }
}

//! Names that live as long as the program: of the kernel's reset reasons, and of container
//! runtimes. Where they are read from a recording, each is interned once.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

/// A name that lives as long as the program.
pub type StaticName = &'static str;

/// The most names that are interned: ten times as many as kernels and runtimes have. Names are
/// never freed, so a file must not be able to fill the memory with them.
const MAX_NAMES: usize = 1024;
/// The most bytes of a name.
const MAX_NAME_LEN: usize = 128;

const NO_NAME: &str = "no name of a kernel or a runtime, or more names than there can be";

static INTERNED: LazyLock<Mutex<HashSet<StaticName>>> = LazyLock::new(Mutex::default);

fn intern(name: &str) -> Option<StaticName> {
    let mut interned = INTERNED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = interned.get(name) {
        return Some(known);
    }
    if !is_name(name) || interned.len() >= MAX_NAMES {
        return None;
    }
    let name: StaticName = Box::leak(name.into());
    interned.insert(name);
    Some(name)
}

/// Returns whether a text could be the name of a reset reason or of a runtime. Other texts could
/// act on the terminal that shows them.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=MAX_NAME_LEN).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Deserializes a name.
pub(super) fn required<'de, D: Deserializer<'de>>(from: D) -> Result<StaticName, D::Error> {
    let name = String::deserialize(from)?;
    intern(&name).ok_or_else(|| D::Error::custom(NO_NAME))
}

/// Does as [`required`], for an optional name.
pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<StaticName>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    let interned = name.map(|name| intern(&name).ok_or_else(|| D::Error::custom(NO_NAME)));
    interned.transpose()
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME_LEN, intern};

    #[test]
    fn a_name_is_kept_once_and_none_is_endless() {
        let first = intern("TCP_ABORT_ON_CLOSE").unwrap();
        assert!(std::ptr::eq(first, intern("TCP_ABORT_ON_CLOSE").unwrap()));
        assert_eq!(intern(&"x".repeat(MAX_NAME_LEN + 1)), None);
    }

    #[test]
    fn what_could_act_on_a_terminal_is_no_name() {
        for name in ["cri-o", "systemd-nspawn", "TCP_TIMEWAIT_SOCKET", "a.b"] {
            assert_eq!(intern(name), Some(name));
        }
        for name in ["", "\x1b[2J", "REASON\0\0", "two words", "a\nb", "ä"] {
            assert_eq!(intern(name), None, "{name:?}");
        }
    }
}

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

static KEPT: LazyLock<Mutex<HashSet<StaticName>>> = LazyLock::new(Mutex::default);

fn keep(name: &str) -> Option<StaticName> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(name) {
        return Some(known);
    }
    if name.len() > LONGEST || kept.len() >= MOST {
        return None;
    }
    let name: StaticName = Box::leak(name.into());
    kept.insert(name);
    Some(name)
}

/// Reads one.
pub(super) fn required<'de, D: Deserializer<'de>>(from: D) -> Result<StaticName, D::Error> {
    let name = String::deserialize(from)?;
    keep(&name).ok_or_else(|| D::Error::custom("more names than there can be"))
}

/// As [`required`], where there may be none.
pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<StaticName>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    let kept = name
        .map(|name| keep(&name).ok_or_else(|| D::Error::custom("more names than there can be")));
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
}

//! The name that both endpoints of a connection have in common.

use std::fmt;
use std::hash::Hasher as _;

use serde::{Serialize, Serializer};
use siphasher::sip::SipHasher24;

use tcpclose_core::finding::InitialSequenceNumbers;

/// The key of the hash. Another key makes other pair ids; a pair id joins records, and proves
/// nothing, whatever the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PairKey([u8; 16]);

impl PairKey {
    /// Returns the key with these 32 hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()?;
        Some(Self(number.to_be_bytes()))
    }

    /// Returns the key's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Returns the public key that is used unless a fleet has its own.
impl Default for PairKey {
    fn default() -> Self {
        Self(*b"tcpclose pair id")
    }
}

/// Leaves out the key.
impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairKey").finish_non_exhaustive()
    }
}

/// A hash of the two initial sequence numbers, which is the same at both endpoints, also through
/// NAT. Two connections may have the same one by chance: records are joined by their times, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairId(u64);

impl PairId {
    /// Returns the pair id of a connection with these numbers, under a key.
    #[must_use]
    pub fn new(InitialSequenceNumbers { iss, irs }: InitialSequenceNumbers, key: PairKey) -> Self {
        let mut hasher = SipHasher24::new_with_key(key.bytes());
        hasher.write(&iss.min(irs).to_le_bytes());
        hasher.write(&iss.max(irs).to_le_bytes());
        Self(hasher.finish())
    }

    /// Returns it as a number, which any number below 2^64 is as likely to be.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// 16 hexadecimal digits: JSON's numbers are not exact from 2^53 on.
impl Serialize for PairId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(iss: u32, irs: u32) -> PairId {
        PairId::new(InitialSequenceNumbers { iss, irs }, PairKey::default())
    }

    #[test]
    fn both_endpoints_have_the_same() {
        assert_eq!(pair(1, 4_000_000_000), pair(4_000_000_000, 1));
        assert_ne!(pair(1, 2), pair(1, 3));
        assert_ne!(pair(1, 2), pair(2, 2));
    }

    #[test]
    fn another_key_makes_other_names() {
        let numbers = InitialSequenceNumbers { iss: 1, irs: 2 };
        let other = PairKey::from_hex(&"a5".repeat(16)).expect("a key");
        assert_ne!(
            PairId::new(numbers, other),
            PairId::new(numbers, PairKey::default())
        );
        // The public key in digits.
        let public = PairKey::from_hex("746370636c6f73652070616972206964");
        assert_eq!(public, Some(PairKey::default()));
    }

    #[test]
    fn it_is_the_documented_hash_in_16_digits() {
        let json = serde_json::to_string(&pair(0x8000_0001, 7)).unwrap();
        assert_eq!(json, "\"eb7114d420404e12\"");
    }
}

//! The name that both endpoints of a connection have in common.

use std::hash::Hasher as _;

use serde::{Serialize, Serializer};
use siphasher::sip::SipHasher24;

use tcpclose_core::finding::InitialSequenceNumbers;

/// The key of the hash. It is public: a pair id joins records, and proves nothing.
const KEY: [u8; 16] = *b"tcpclose pair id";

/// A hash of the two initial sequence numbers, which is the same at both endpoints, also through
/// NAT. Two connections may have the same one by chance: records are joined by their times, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PairId(u64);

impl From<InitialSequenceNumbers> for PairId {
    fn from(InitialSequenceNumbers { iss, irs }: InitialSequenceNumbers) -> Self {
        let mut hasher = SipHasher24::new_with_key(&KEY);
        hasher.write(&iss.min(irs).to_le_bytes());
        hasher.write(&iss.max(irs).to_le_bytes());
        Self(hasher.finish())
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
    use super::{InitialSequenceNumbers, PairId};

    fn pair(iss: u32, irs: u32) -> PairId {
        InitialSequenceNumbers { iss, irs }.into()
    }

    #[test]
    fn both_endpoints_have_the_same() {
        assert_eq!(pair(1, 4_000_000_000), pair(4_000_000_000, 1));
        assert_ne!(pair(1, 2), pair(1, 3));
        assert_ne!(pair(1, 2), pair(2, 2));
    }

    #[test]
    fn it_is_the_documented_hash_in_16_digits() {
        let json = serde_json::to_string(&pair(0x8000_0001, 7)).unwrap();
        assert_eq!(json, "\"eb7114d420404e12\"");
    }
}

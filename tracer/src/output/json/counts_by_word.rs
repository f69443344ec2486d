//! Counts by the words of an enum.

use serde::{Serialize, Serializer};

use tcpclose_core::summary::{CountKey, Counts};

/// An object with a number for each kind, including zeros.
pub(super) struct CountsByWord<K>(pub(super) Counts<K>, pub(super) fn(K) -> &'static str);

impl<K: CountKey> Serialize for CountsByWord<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(counts, name) = self;
        serializer.collect_map(counts.iter().map(|(kind, count)| (name(kind), count)))
    }
}

//! Counts the records that could not be decoded, and reports why.

use std::collections::HashSet;
use std::mem::{self, Discriminant};

use tcpclose_sys::kernel::decode::DecodeError;

/// Counts undecodable records for the next loss, and reports each kind of error only once, as the
/// same error may occur a million times.
#[derive(Debug, Default)]
pub(super) struct DecodeFailures {
    count: u64,
    reported: HashSet<Discriminant<DecodeError>>,
}

impl DecodeFailures {
    /// Counts a record; returns a sentence if its kind of error has not been reported yet.
    pub fn add(&mut self, error: &DecodeError) -> Option<String> {
        self.count += 1;
        let is_new = self.reported.insert(mem::discriminant(error));
        is_new.then(|| format!("a kernel record could not be understood: {error}"))
    }

    /// Takes the number of records that were counted since the last call.
    pub fn take(&mut self) -> u64 {
        mem::take(&mut self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_reported_once_and_every_record_counted() {
        let mut failures = DecodeFailures::default();
        let first = failures.add(&DecodeError::UnknownKind(9));
        let expected =
            "a kernel record could not be understood: no kind of record has the number 9";
        assert_eq!(first.as_deref(), Some(expected));
        for kind in 9..200 {
            assert_eq!(failures.add(&DecodeError::UnknownKind(kind)), None);
        }
        assert!(failures.add(&DecodeError::UnknownState(13)).is_some());
        assert_eq!(failures.take(), 193);
        assert_eq!(failures.take(), 0);
        assert_eq!(failures.add(&DecodeError::UnknownState(13)), None);
        assert_eq!(failures.take(), 1);
    }
}

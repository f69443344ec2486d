//! Entries on their way into a frame, and the count of those that were dropped.

use super::EntryRef;
use tcpclose_core::Input;
use tcpclose_core::finding::{Loss, LossLocation};
use tcpclose_core::types::Nanos;

/// A frame is written when it has this size. A crash of the program, or one bad byte, costs one
/// frame.
const TARGET_FRAME_LEN: usize = 256 << 10;

/// A frame is also written when its first entry is this old.
const MAX_FRAME_AGE: Nanos = Nanos::from_secs(1);

/// Collects entries for frames. The caller passes each frame on.
#[derive(Debug)]
pub(crate) struct EntryBuffer {
    entries: Vec<u8>,
    count: u64,
    /// When the first of `entries` was recorded.
    since: Option<Nanos>,
    recorded: u64,
    /// The number of dropped entries, including those that [`Self::take_dropped`] has returned.
    dropped: u64,
    /// The dropped entries that [`Self::take_dropped`] has returned.
    reported: u64,
    /// The dropped entries whose loss is not in the recording yet.
    unrecorded: u64,
    /// The last time that was recorded.
    now: Nanos,
}

impl Default for EntryBuffer {
    fn default() -> Self {
        Self {
            entries: empty_frame(),
            count: 0,
            since: None,
            recorded: 0,
            dropped: 0,
            reported: 0,
            unrecorded: 0,
            now: Nanos(0),
        }
    }
}

fn empty_frame() -> Vec<u8> {
    Vec::with_capacity(TARGET_FRAME_LEN + TARGET_FRAME_LEN / 8)
}

/// Appends an entry to the content of a frame.
pub(crate) fn push_entry(entries: &mut Vec<u8>, entry: EntryRef<'_>) {
    *entries = postcard::to_extend(&entry, std::mem::take(entries))
        .expect("every entry has a form, and a vector takes what is written");
}

impl EntryBuffer {
    /// Adds an input of the core. Returns whether a frame is due.
    pub fn input(&mut self, input: &Input) -> bool {
        let is_full = self.entry(EntryRef::Input(input));
        let Input::Time(now) = input else {
            return is_full;
        };
        self.now = *now;
        let is_old = self.since.is_none_or(|since| since + MAX_FRAME_AGE <= *now);
        if is_old {
            self.since = Some(*now);
        }
        is_full || is_old
    }

    /// Adds another entry. Returns whether a frame is due.
    pub fn entry(&mut self, entry: EntryRef<'_>) -> bool {
        self.push(entry);
        self.entries.len() >= TARGET_FRAME_LEN
    }

    fn push(&mut self, entry: EntryRef<'_>) {
        push_entry(&mut self.entries, entry);
        self.count += 1;
    }

    /// Returns when the next [`Input::Time`] is needed, so that entries are not in memory for long.
    pub fn next_flush(&self) -> Option<Nanos> {
        (self.count > 0).then(|| self.since.unwrap_or_default() + MAX_FRAME_AGE)
    }

    /// Takes the number of entries that were dropped since the last call.
    pub const fn take_dropped(&mut self) -> u64 {
        let dropped = self.dropped - self.reported;
        self.reported = self.dropped;
        dropped
    }

    /// Returns the number of entries that were dropped so far.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of entries that wait for the next frame.
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Returns the number of entries that were passed on so far.
    pub const fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Returns whether entries were dropped of which no frame says so yet.
    pub const fn has_unrecorded(&self) -> bool {
        self.unrecorded > 0
    }

    /// Passes the collected entries on as a frame, which is dropped if it is not taken.
    pub fn flush(&mut self, pass_on: impl FnOnce(Vec<u8>) -> bool) {
        if self.count == 0 && self.unrecorded == 0 {
            return;
        }
        let lost = self.push_loss();
        let frame = std::mem::replace(&mut self.entries, empty_frame());
        let count = std::mem::take(&mut self.count);
        if pass_on(frame) {
            self.recorded += count;
        } else {
            let dropped = count - u64::from(lost > 0);
            self.dropped += dropped;
            self.unrecorded = lost + dropped;
        }
    }

    /// Adds the loss of dropped entries to the next frame, which may be dropped, too. Returns the
    /// number of those entries.
    fn push_loss(&mut self) -> u64 {
        let lost = std::mem::take(&mut self.unrecorded);
        if lost > 0 {
            self.push(EntryRef::Input(&Input::Loss(Loss {
                at: self.now,
                lost,
                location: LossLocation::Recording,
                repaired: false,
                duration: None,
            })));
        }
        lost
    }
}

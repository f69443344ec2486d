//! The parts of a recording that could not be read.

use super::BrokenPart;

/// The most broken parts that are kept; further ones are only counted.
const MAX_BROKEN_PARTS: usize = 8;

/// The broken parts of one recording, in order.
#[derive(Debug, Default)]
pub struct Damage {
    parts: Vec<BrokenPart>,
    more: u64,
    is_cut: bool,
    /// Whether the frame with the wall clock's time was broken.
    pub lacks_wall_clock: bool,
}

impl Damage {
    /// Adds the next broken part.
    pub fn add(&mut self, broken: BrokenPart) {
        self.is_cut |= broken.resumed_at.is_none();
        if self.parts.len() < MAX_BROKEN_PARTS {
            self.parts.push(broken);
        } else {
            self.more += 1;
        }
    }

    /// Returns whether everything could be read.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns whether the recording breaks off before its end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns a sentence for each broken part, which describes what was lost.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        let parts = self.parts.iter().map(|broken| match broken.resumed_at {
            Some(resumed_at) => {
                let skipped = resumed_at - broken.offset;
                format!(
                    "{broken}; {skipped} bytes were skipped, and everything after them was shown"
                )
            }
            None => format!("{broken}; everything before that point was shown"),
        });
        let more = self.more;
        let more = (more > 0).then(|| format!("the recording is broken in {more} more places"));
        let clock = self.lacks_wall_clock.then(|| {
            "the wall clock's time was in what is broken: times count from the start of the host, as if that had been in \
             1970"
                .to_owned()
        });
        parts.chain(more).chain(clock)
    }
}

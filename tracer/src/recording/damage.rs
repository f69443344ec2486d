//! What could not be read of a recording.

use super::Broken;

/// Broken places that are kept; of further ones only the number is.
const KEPT: usize = 8;

/// The broken places of one recording, in their order.
#[derive(Debug, Default)]
pub struct Damage {
    places: Vec<Broken>,
    more: u64,
    is_cut: bool,
    /// The frame with the wall clock's time was broken.
    pub lacks_wall_clock: bool,
}

impl Damage {
    /// Adds the next one.
    pub fn add(&mut self, broken: Broken) {
        self.is_cut |= broken.resumed_at.is_none();
        if self.places.len() < KEPT {
            self.places.push(broken);
        } else {
            self.more += 1;
        }
    }

    /// Returns whether all could be read.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns whether the recording breaks off before its end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Says what was lost, a sentence for each place.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        let places = self.places.iter().map(|broken| match broken.resumed_at {
            Some(resumed_at) => {
                let skipped = resumed_at - broken.offset;
                format!("{broken}; {skipped} bytes were skipped, and what follows was shown")
            }
            None => format!("{broken}; what stands before that was shown"),
        });
        let more = self.more;
        let more = (more > 0).then(|| format!("the recording is broken in {more} more places"));
        let clock = self.lacks_wall_clock.then(|| {
            "the wall clock's time was in what is broken: times count from the start of the host, as if that had been in \
             1970"
                .to_owned()
        });
        places.chain(more).chain(clock)
    }
}

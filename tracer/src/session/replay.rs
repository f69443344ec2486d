//! A recording instead of a kernel.

use std::path::Path;

use super::core_driver::{CoreDriver, RawTransition};
use crate::recording::{Broken, Entry, Head, OpenError, Reader};
use tcpclose_core::Input;
use tcpclose_core::finding::Finding;
use tcpclose_core::summary::IntervalEnd;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::shared_cgroup_names::SharedCgroupNames;

/// A session that has been recorded.
pub struct Replay {
    reader: Reader,
    pub(super) intake: CoreDriver,
    /// Wall time minus monotonic time, in ns.
    wall_clock: i64,
    /// The last time that went in.
    now: Nanos,
    cgroups: SharedCgroupNames,
    boundary: Option<IntervalEnd>,
}

impl Replay {
    /// Opens a recording.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let reader = Reader::open(path)?;
        let intake = CoreDriver::new(reader.head(), None);
        Ok(Self {
            reader,
            intake,
            wall_clock: 0,
            now: Nanos(0),
            cgroups: SharedCgroupNames::default(),
            boundary: None,
        })
    }

    /// What the recording says of itself.
    #[must_use]
    pub fn head(&self) -> &Head {
        self.reader.head()
    }

    /// Wall time minus monotonic time, in ns, for all that the next call of [`Self::pump`] brings.
    #[must_use]
    pub fn wall_clock(&self) -> i64 {
        self.wall_clock
    }

    /// The time of the session up to which it has been replayed.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// The names of cgroups, those of all owners in the findings so far among them.
    #[must_use]
    pub fn cgroups(&self) -> SharedCgroupNames {
        self.cgroups.clone()
    }

    /// The end of an agent's interval that the last call of [`Self::pump`] has come to. What was found before belongs to
    /// that interval.
    #[must_use]
    pub fn take_boundary(&mut self) -> Option<IntervalEnd> {
        self.boundary.take()
    }

    /// Takes what went in up to the next time that the recorder looked at its clock, or to the end of an interval; false
    /// when there is no more. `each`
    /// sees every transition before the core does.
    ///
    /// # Errors
    /// [`Broken`], after which there is no more.
    pub fn pump(&mut self, mut each: impl FnMut(&RawTransition<'_>)) -> Result<bool, Broken> {
        while let Some(entry) = self.reader.next_entry()? {
            match entry {
                Entry::Input(input) => {
                    self.intake.take_showing(&input, &mut each);
                    if let Input::Time(now) = input {
                        self.now = now;
                        return Ok(true);
                    }
                }
                Entry::WallClock(offset) => {
                    // What was found before must not see it: it is to be taken first.
                    self.wall_clock = offset;
                    return Ok(true);
                }
                Entry::Cgroup { id, path } => self.cgroups.insert(id, path),
                Entry::IntervalEnd(boundary) => {
                    self.boundary = Some(boundary);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The next finding.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.intake.next_finding()
    }

    /// Ends that wait for the peer's FIN: closed by their process, but not yet told.
    #[must_use]
    pub fn waiting_for_fin(&self) -> usize {
        self.intake.waiting_for_fin()
    }
}

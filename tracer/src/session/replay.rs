//! A recording as a source.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context as _;

use super::core_driver::{CoreDriver, OnTransition};
use super::entries::Entries;
use super::event_loop::Session;
use super::source::Source;
use crate::clock_offset::ClockOffset;
use crate::recording::{Damage, Entry, Head, Reader};
use crate::summary::IntervalEnd;
use tcpclose_core::Input;
use tcpclose_core::finding::{Loss, LossLocation};
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::shared_cgroup_names::SharedCgroupNames;

/// A recording that is being replayed.
pub(crate) struct Replay {
    entries: Entries,
    /// Wall time minus monotonic time in nanoseconds, for the next entries; `None` until the
    /// recording has it.
    wall_clock: Option<i64>,
    /// The last time that was passed to the core.
    now: Nanos,
    cgroups: SharedCgroupNames,
    interval_end: Option<IntervalEnd>,
    /// Whether all entries have been read.
    ended: bool,
    /// The time at which it stands still; `None`: it goes on to its end, which ends the session.
    hold_at: Option<Nanos>,
    damage: Damage,
}

impl Session<Replay> {
    /// Opens a recording.
    ///
    /// # Errors
    /// Returns a [`crate::recording::OpenError`] with the name of the file.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("{} cannot be replayed", file.display());
        let reader = Reader::open(file).with_context(cannot)?;
        Ok(Self::with_entries(Entries::File(Box::new(reader))))
    }

    pub(super) fn with_entries(entries: Entries) -> Self {
        Self {
            core: CoreDriver::new(entries.head(), None),
            clock: ClockOffset::new(0),
            source: Replay {
                entries,
                wall_clock: None,
                now: Nanos(0),
                cgroups: SharedCgroupNames::default(),
                interval_end: None,
                ended: false,
                hold_at: None,
                damage: Damage::default(),
            },
        }
    }

    /// Returns the recording's head.
    #[must_use]
    pub fn head(&self) -> &Head {
        self.source.entries.head()
    }

    /// Returns the names of the cgroups that were read so far, including those of all owners in the
    /// findings.
    #[must_use]
    pub fn cgroups(&self) -> SharedCgroupNames {
        self.source.cgroups.clone()
    }

    /// Takes the end of an agent's interval, if one was just read. Earlier findings belong to that
    /// interval.
    #[must_use]
    pub fn take_interval_end(&mut self) -> Option<IntervalEnd> {
        self.source.interval_end.take()
    }

    /// Returns whether all of the recording has been read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.source.ended
    }

    /// Replays up to this time, and then stands still, also at the end; `None`: replays all of it.
    pub fn hold_at(&mut self, at: Option<Nanos>) {
        self.source.hold_at = at;
    }

    /// Returns the parts of the recording that could not be read so far.
    #[must_use]
    pub fn damage(&self) -> &Damage {
        &self.source.damage
    }

    /// Ends the replay and returns [`Self::damage`].
    #[must_use]
    pub fn into_damage(self) -> Damage {
        self.source.damage
    }
}

impl Replay {
    /// Returns whether it stands still.
    fn is_held(&self) -> bool {
        self.hold_at.is_some_and(|at| self.ended || self.now >= at)
    }

    pub(super) const fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Returns the wall clock's offset for the next entries.
    pub(super) fn wall_clock(&self) -> i64 {
        self.wall_clock.unwrap_or(0)
    }

    /// Returns the next entry, which the core does not take.
    ///
    /// # Errors
    /// Something is broken, and whether something follows.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, bool> {
        self.entries.next().map_err(|broken| {
            let is_followed = broken.resumed_at.is_some();
            self.damage.add(broken);
            is_followed
        })
    }

    /// Returns the input for missing entries, whose number is not known.
    fn missing(&self) -> Input {
        Input::Loss(Loss {
            at: self.now,
            lost: 1,
            location: LossLocation::Recording,
            repaired: false,
            duration: None,
        })
    }
}

impl Source for Replay {
    async fn wait(&mut self, _: &CoreDriver) -> anyhow::Result<()> {
        if self.is_held() {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Reads up to the next recorded time, change of the wall clock, or end of an interval.
    fn pump(
        &mut self,
        core: &mut CoreDriver,
        clock: &ClockOffset,
        mut on_transition: OnTransition<'_>,
    ) -> anyhow::Result<ControlFlow<()>> {
        if self.is_held() {
            return Ok(ControlFlow::Continue(()));
        }
        clock.set(self.wall_clock.unwrap_or(0));
        loop {
            let entry = match self.entries.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    self.ended = true;
                    return Ok(match self.hold_at {
                        Some(_) => ControlFlow::Continue(()),
                        None => ControlFlow::Break(()),
                    });
                }
                Err(broken) => {
                    // Where no entries follow, the core need not know of those that are missing.
                    if broken.resumed_at.is_some() {
                        core.take(&self.missing());
                    }
                    self.damage.lacks_wall_clock |= self.wall_clock.is_none();
                    self.damage.add(broken);
                    continue;
                }
            };
            match entry {
                Entry::Input(input) => {
                    core.take_and_show(&input, &mut on_transition);
                    if let Input::Time(now) = input {
                        self.now = now;
                        return Ok(ControlFlow::Continue(()));
                    }
                }
                Entry::WallClock(offset) => {
                    // Applies to later findings only.
                    self.wall_clock = Some(offset);
                    return Ok(ControlFlow::Continue(()));
                }
                Entry::Cgroup { id, path } => self.cgroups.insert(id, path),
                Entry::IntervalEnd(end) => {
                    self.interval_end = Some(end);
                    return Ok(ControlFlow::Continue(()));
                }
            }
        }
    }

    async fn settle(&mut self) {}

    fn drain(
        &mut self,
        _: &mut CoreDriver,
        _: &ClockOffset,
        _: OnTransition<'_>,
    ) -> anyhow::Result<()> {
        Ok(())
    }

    fn now(&self) -> Nanos {
        self.now
    }
}

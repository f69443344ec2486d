//! Records a session: the core's inputs, and what a replay needs besides them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::cgroups_of::cgroups_of;
use crate::notice::notice;
use crate::recording::{EntryRef, Head, IfExists, Recorder};
use crate::summary::IntervalEnd;
use tcpclose_core::Input;
use tcpclose_core::finding::LossLocation;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::cgroup_paths::CgroupPaths;
use tcpclose_sys::host::shared_cgroup_names::{MAX_CGROUP_NAMES, SharedCgroupNames};

/// A recorder, and the cgroups whose names have been recorded.
pub(super) struct Recording {
    file: PathBuf,
    recorder: Recorder,
    paths: CgroupPaths,
    /// The cgroups whose names have been looked up.
    looked_up: HashSet<u64>,
    names: SharedCgroupNames,
    wall_clock: Option<i64>,
    /// The number of dropped entries at the last input.
    dropped: u64,
}

impl Recording {
    /// Opens the file, and leaves what exists as it is until [`Self::begin`].
    pub fn prepare(path: &Path, if_exists: IfExists, head: &Head) -> io::Result<Self> {
        Ok(Self {
            file: path.to_owned(),
            recorder: Recorder::prepare(path, if_exists, head)?,
            paths: CgroupPaths::new(),
            looked_up: HashSet::new(),
            names: SharedCgroupNames::default(),
            wall_clock: None,
            dropped: 0,
        })
    }

    /// Records an input, after the names of the cgroups in it.
    pub fn input(&mut self, input: &Input) {
        let dropped = self.recorder.dropped();
        if dropped != std::mem::replace(&mut self.dropped, dropped) {
            // The names and the offset may have been among the dropped entries.
            self.looked_up.clear();
            self.wall_clock = None;
        }
        // The recorder records these losses itself, as soon as it can.
        if matches!(input, Input::Loss(loss) if loss.location == LossLocation::Recording) {
            return;
        }
        cgroups_of(input, |id| self.cgroup(id));
        self.recorder.input(input);
    }

    fn cgroup(&mut self, id: u64) {
        if self.looked_up.contains(&id) || self.looked_up.len() >= MAX_CGROUP_NAMES {
            return;
        }
        self.looked_up.insert(id);
        if let Some(path) = self.paths.path(id) {
            self.recorder.entry(EntryRef::Cgroup { id, path: &path });
            self.names.insert(id, path);
        }
    }

    /// Records the wall clock's offset if it has changed.
    pub fn wall_clock(&mut self, offset: i64) {
        if self.wall_clock.replace(offset) != Some(offset) {
            self.recorder.entry(EntryRef::WallClock(offset));
        }
    }

    pub fn interval_end(&mut self, end: &IntervalEnd) {
        self.recorder.entry(EntryRef::IntervalEnd(end));
    }

    /// Returns the names that have been recorded.
    pub fn names(&self) -> SharedCgroupNames {
        self.names.clone()
    }

    pub fn next_flush(&self) -> Option<Nanos> {
        self.recorder.next_flush()
    }

    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// Begins to write: now an existing file is overwritten or moved aside.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        let begun = self.recorder.begin();
        let file = self.file.display();
        begun.with_context(|| format!("making the recording's file failed: {file}"))
    }

    /// Ends the recording, if it has begun, and prints what it contains.
    ///
    /// # Errors
    /// Returns the error that stopped the recording, now or earlier.
    pub fn finish(self) -> anyhow::Result<()> {
        let Self { file, recorder, .. } = self;
        if !recorder.has_begun() {
            return Ok(());
        }
        let recorded = recorder.finish().with_context(|| {
            format!(
                "writing the recording {} failed; it holds what came before",
                file.display()
            )
        })?;
        notice!("{}", recorded.sentence(&file));
        Ok(())
    }
}

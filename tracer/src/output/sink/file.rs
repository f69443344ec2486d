//! JSON lines appended to a file.
//!
//! Only whole lines stay in the file. One program at a time writes to it: the one that holds the
//! file's lock (`flock`).

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::destination_error::DestinationError;
use super::render::RenderContext;
use super::transport::{Delivered, Transport};
use crate::output::write_all::write_all;
use crate::record::Record;
use crate::safe_path::ResolvedPath;

/// Records show who talks to whom: not everybody may read them.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

/// How every line begins. What begins otherwise was written by somebody else.
const LINE_START: &[u8] = b"{\"v\":";

/// The longest line that is taken for a partial one of ours. Records are far shorter.
const MAX_PARTIAL_LINE_LEN: usize = 1 << 20;

/// A transport that appends JSON lines to a file.
pub(super) struct JsonLinesFile {
    path: PathBuf,
    file: File,
    context: RenderContext,
    lines: Vec<u8>,
    /// The number of bytes at the file's end that belong to a partial line and could not be removed
    /// yet.
    partial: u64,
}

impl JsonLinesFile {
    /// Opens the file, or creates it.
    pub(super) fn open(path: &Path, context: RenderContext) -> Result<Self, DestinationError> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
            context,
            lines: Vec::new(),
            partial: 0,
        })
    }

    /// Appends `self.lines`, or as many whole lines as fit. Returns how many bytes of them are in
    /// the file.
    fn append(&mut self) -> (usize, io::Result<()>) {
        if let Err(error) = self.remove_partial_line() {
            return (0, Err(error));
        }
        let mut written = 0;
        let result = write_all(&mut self.file, &self.lines, |part| written += part.len());
        let whole = end_of_lines(&self.lines[..written]);
        self.partial = (written - whole) as u64;
        // If this fails it is retried before the next line.
        let _ = self.remove_partial_line();
        (whole, result)
    }

    /// Returns whether the file has no name any more, so that all that is written would be lost.
    fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.nlink() == 0)
    }

    fn remove_partial_line(&mut self) -> io::Result<()> {
        if self.partial > 0 {
            let length = self.file.metadata()?.len();
            // Another program may have truncated the file meanwhile.
            self.file.set_len(length.saturating_sub(self.partial))?;
            self.partial = 0;
        }
        Ok(())
    }
}

impl Transport for JsonLinesFile {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        if self.is_deleted()
            && let Err(reason) = self.reopen()
        {
            return Delivered {
                unavailable: Some(
                    format!("it was deleted, and cannot be created again: {reason}").into(),
                ),
                ..Delivered::default()
            };
        }
        self.lines.clear();
        self.context.clock.refresh();
        for record in records {
            self.context.write_line(&mut self.lines, record);
        }
        let (bytes, result) = self.append();
        let written = self.lines[..bytes].iter().filter(|byte| **byte == b'\n');
        Delivered {
            written: written.count(),
            unavailable: result
                .err()
                .map(|error| format!("write failed: {error}").into()),
            ..Delivered::default()
        }
    }

    fn reopen(&mut self) -> Result<(), DestinationError> {
        if is_at(&self.file, &self.path) {
            return Ok(());
        }
        // No partial line may stay in the file that is left.
        self.remove_partial_line()
            .map_err(DestinationError::PartialLine)?;
        self.file = open(&self.path)?;
        Ok(())
    }
}

/// Returns the position after the last newline; 0 if there is none.
fn end_of_lines(text: &[u8]) -> usize {
    let newline = text.iter().rposition(|byte| *byte == b'\n');
    newline.map_or(0, |at| at + 1)
}

/// Checks that the file exists or can be created, without opening it.
pub(super) fn check(path: &Path) -> Result<(), DestinationError> {
    match path.parent() {
        Some(directory) if !directory.is_dir() => {
            Err(DestinationError::NoDirectory(directory.into()))
        }
        _ if path.exists() && !path.is_file() => Err(DestinationError::NotRegular),
        _ => ResolvedPath::find(path)
            .and_then(|place| place.check())
            .map_err(|error| DestinationError::Failed {
                operation: "open",
                error,
            }),
    }
}

/// Opens the file for appending, locks it, and removes a line that a crash has cut.
fn open(path: &Path) -> Result<File, DestinationError> {
    let failed = |operation| move |error| DestinationError::Failed { operation, error };
    loop {
        // Opening a pipe must not block until it has a reader. For a file this has no effect.
        let unblocked = OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | unblocked;
        let mut file = ResolvedPath::find(path)
            .and_then(|place| place.open(flags, FILE_MODE))
            .map_err(|error| match path.parent() {
                Some(directory) if !directory.exists() => {
                    DestinationError::NoDirectory(directory.into())
                }
                _ => failed("open")(error),
            })?;
        let metadata = file.metadata().map_err(failed("stat"))?;
        if !metadata.is_file() {
            return Err(DestinationError::NotRegular);
        }
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DestinationError::Locked,
            TryLockError::Error(error) => failed("flock")(error),
        })?;
        // The file may have been renamed before it was locked: then its lock would protect nothing.
        if is_at(&file, path) {
            end_cut_line(&mut file).map_err(failed("ending its last line"))?;
            return Ok(file);
        }
    }
}

/// Returns whether the path still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Removes the line that a crash has cut: it would stay as a line that is no JSON. A last line that
/// is not ours is ended instead.
fn end_cut_line(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    // With the newline before a partial line of the greatest length.
    let from = length.saturating_sub(MAX_PARTIAL_LINE_LEN as u64 + 1);
    let mut end = vec![0; usize::try_from(length - from).unwrap_or_default()];
    file.read_exact_at(&mut end, from)?;
    let whole = end_of_lines(&end);
    let line = &end[whole..];
    let has_start = from == 0 || whole > 0;
    let is_ours = line.starts_with(LINE_START) || LINE_START.starts_with(line);
    match line {
        [] => Ok(()),
        _ if has_start && is_ours => file.set_len(from + whole as u64),
        _ => file.write_all(b"\n"),
    }
}

//! JSON lines appended to a file.
//!
//! Only whole lines stay in the file. One program at a time writes to it: the one that holds the
//! file's lock (`flock`).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::render::RenderContext;
use super::transport::{Delivered, Transport};
use crate::output::write_all::write_all;
use crate::record::Record;

/// Records show who talks to whom: not everybody may read them.
const MODE: u32 = 0o640;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error("there is no directory {}; create it", .0.display())]
    NoDirectory(PathBuf),
    #[error("it is not a regular file; choose another one")]
    NotRegular,
    #[error(
        "another program writes to it and holds its lock; stop that program, or choose another file"
    )]
    Locked,
    #[error("{operation} failed: {error}")]
    Failed {
        operation: &'static str,
        error: io::Error,
    },
}

/// A transport that appends JSON lines to a file.
pub(super) struct LinesFile {
    path: PathBuf,
    file: File,
    context: RenderContext,
    lines: Vec<u8>,
    /// The number of bytes at the file's end that belong to a partial line and could not be removed
    /// yet.
    partial: u64,
}

impl LinesFile {
    /// Opens the file, or creates it.
    pub(super) fn open(path: &Path, context: RenderContext) -> Result<Self, FileError> {
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

impl Transport for LinesFile {
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

    fn reopen(&mut self) -> Result<(), String> {
        if is_at(&self.file, &self.path) {
            return Ok(());
        }
        // No partial line may stay in the file that is left.
        self.remove_partial_line()
            .map_err(|error| format!("a partial line could not be removed: {error}"))?;
        self.file = open(&self.path).map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// Returns the position after the last newline; 0 if there is none.
fn end_of_lines(text: &[u8]) -> usize {
    let newline = text.iter().rposition(|byte| *byte == b'\n');
    newline.map_or(0, |at| at + 1)
}

/// Checks that the file exists or can be created, without opening it.
pub(super) fn check(path: &Path) -> Result<(), FileError> {
    match path.parent() {
        Some(directory) if !directory.is_dir() => Err(FileError::NoDirectory(directory.into())),
        _ if path.exists() && !path.is_file() => Err(FileError::NotRegular),
        _ => Ok(()),
    }
}

/// Opens the file for appending, locks it, and ends a line that a crash may have cut.
fn open(path: &Path) -> Result<File, FileError> {
    let failed = |operation| move |error| FileError::Failed { operation, error };
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            // Opening a pipe must not block until it has a reader. For a file this has no effect.
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|error| match path.parent() {
                Some(directory) if !directory.exists() => FileError::NoDirectory(directory.into()),
                _ => failed("open")(error),
            })?;
        let metadata = file.metadata().map_err(failed("stat"))?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular);
        }
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FileError::Locked,
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

fn end_cut_line(file: &mut File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(())
}

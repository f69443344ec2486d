//! JSON lines to the end of a file.
//!
//! Only whole lines are ever left in it. One program writes to it at a time: it holds the file's lock (`flock`).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::record::Record;

use super::render::RenderContext;
use super::transport::{Delivered, Transport};

/// Records say who talks to whom: nothing for everybody.
const MODE: u32 = 0o640;

const NOT_REGULAR: &str = "it is not a regular file; name another";

/// See the module.
pub(super) struct LinesFile {
    path: PathBuf,
    file: File,
    surroundings: RenderContext,
    lines: Vec<u8>,
    /// Bytes at the file's end that are no whole line and could not be taken back yet.
    half: u64,
}

impl LinesFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn open(path: &Path, surroundings: RenderContext) -> Result<Self, String> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
            surroundings,
            lines: Vec::new(),
            half: 0,
        })
    }

    /// Appends `self.lines`, or as many whole ones as fit. Returns how many bytes of them are in the file.
    fn append(&mut self) -> (usize, io::Result<()>) {
        if let Err(error) = self.take_back() {
            return (0, Err(error));
        }
        let mut written = 0;
        let mut result = Ok(());
        while written < self.lines.len() {
            match self.file.write(&self.lines[written..]) {
                Ok(0) => result = Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
            if result.is_err() {
                break;
            }
        }
        let whole = end_of_lines(&self.lines[..written]);
        self.half = (written - whole) as u64;
        // Tried again before the next line, where it fails.
        let _ = self.take_back();
        (whole, result)
    }

    /// Whether what is written would go nowhere.
    fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.nlink() == 0)
    }

    /// Takes a half line away from the end of the file.
    fn take_back(&mut self) -> io::Result<()> {
        if self.half > 0 {
            let length = self.file.metadata()?.len();
            // Somebody may have emptied the file meanwhile.
            self.file.set_len(length.saturating_sub(self.half))?;
            self.half = 0;
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
                down: Some(format!("it was deleted, and cannot be made again: {reason}").into()),
                ..Delivered::default()
            };
        }
        self.lines.clear();
        self.surroundings.clock.refresh();
        for record in records {
            self.surroundings.write_line(&mut self.lines, record);
        }
        let (bytes, result) = self.append();
        let written = self.lines[..bytes].iter().filter(|byte| **byte == b'\n');
        Delivered {
            written: written.count(),
            down: result
                .err()
                .map(|error| format!("write failed: {error}").into()),
            ..Delivered::default()
        }
    }

    fn reopen(&mut self) -> Result<(), String> {
        if is_at(&self.file, &self.path) {
            return Ok(());
        }
        // The half line stays in no file: it is taken back before this one is left.
        self.take_back()
            .map_err(|error| format!("a half line could not be taken back: {error}"))?;
        self.file = open(&self.path)?;
        Ok(())
    }
}

/// Just behind the last newline; 0 where there is none.
fn end_of_lines(text: &[u8]) -> usize {
    let newline = text.iter().rposition(|byte| *byte == b'\n');
    newline.map_or(0, |at| at + 1)
}

/// Whether such a file may be there, or be made.
///
/// # Errors
/// A sentence.
pub(super) fn check(path: &Path) -> Result<(), String> {
    match path.parent() {
        Some(directory) if !directory.is_dir() => Err(no_directory(directory)),
        _ if path.exists() && !path.is_file() => Err(NOT_REGULAR.to_owned()),
        _ => Ok(()),
    }
}

fn no_directory(directory: &Path) -> String {
    format!("there is no directory {}; make it", directory.display())
}

/// Opens the file for appending, locks it, and ends a line that a crash may have cut.
fn open(path: &Path) -> Result<File, String> {
    let failed = |what: &str, error: io::Error| format!("{what} failed: {error}");
    loop {
        // A pipe without a reader must not hold us up; for a regular file it means nothing.
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|error| match path.parent() {
                Some(directory) if !directory.exists() => no_directory(directory),
                _ => failed("open", error),
            })?;
        let kind = file.metadata().map_err(|error| failed("stat", error))?;
        if !kind.is_file() {
            return Err(NOT_REGULAR.to_owned());
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(
                    "another program writes to it and holds its lock; stop that one, or name another file"
                        .to_owned(),
                );
            }
            Err(TryLockError::Error(error)) => return Err(failed("flock", error)),
        }
        // It may have been renamed between the two, and its lock would be worth nothing.
        if is_at(&file, path) {
            end_cut_line(&mut file).map_err(|error| failed("ending its last line", error))?;
            return Ok(file);
        }
    }
}

/// Whether this is still the file of that name.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
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

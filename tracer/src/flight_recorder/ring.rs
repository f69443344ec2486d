//! The segments on disk: bounded in bytes and in number, the oldest makes room.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use rustix::fs::Mode;

use super::folder::{MAX_SEGMENTS, segment_path, segments};
use crate::safe_path::ResolvedPath;

/// It shows who connects to whom, and has command lines of processes.
const MODE: Mode = Mode::from_raw_mode(0o600);

/// The segments, the oldest first.
#[derive(Debug)]
pub(super) struct Ring {
    folder: PathBuf,
    /// The most bytes of all segments.
    size: u64,
    /// Each segment's number and length.
    segments: VecDeque<(u64, u64)>,
    bytes: u64,
    /// The last segment, if it can be written to.
    open: Option<File>,
    next: u64,
    overwritten: u64,
}

impl Ring {
    /// Finds the segments of earlier agents.
    pub fn find(folder: PathBuf, size: u64) -> io::Result<Self> {
        let mut found = VecDeque::new();
        for number in segments(&folder)? {
            let metadata = segment_path(&folder, number).symlink_metadata()?;
            found.push_back((number, metadata.len()));
        }
        Ok(Self {
            folder,
            size,
            bytes: found.iter().map(|(_, len)| len).sum(),
            next: found.back().map_or(1, |(last, _)| last + 1),
            segments: found,
            open: None,
            overwritten: 0,
        })
    }

    /// Returns the bytes of all segments.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns how many segments made room.
    pub const fn overwritten(&self) -> u64 {
        self.overwritten
    }

    /// Returns the number of the last segment that was begun; 0 if there is none.
    pub const fn last(&self) -> u64 {
        self.next - 1
    }

    /// Returns whether there is a segment that can be written to.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Begins a segment with these bytes.
    pub fn begin(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.open = None;
        while self.segments.len() >= MAX_SEGMENTS {
            self.remove_oldest()?;
        }
        let number = self.next;
        let place = ResolvedPath::find(&segment_path(&self.folder, number))?;
        let file = place.create_anew(MODE)?;
        self.next += 1;
        self.segments.push_back((number, 0));
        self.open = Some(file);
        self.append(bytes).inspect_err(|_| {
            // Nothing of it can be read.
            if place.remove_any().is_ok() {
                self.forget_last();
            }
        })
    }

    /// Adds bytes to the last segment. After an error it ends with what was whole, and cannot be
    /// written to any more.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let appended = self.try_to_append(bytes);
        if appended.is_err() {
            self.open = None;
        }
        appended
    }

    fn try_to_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        while self.bytes + len > self.size {
            if self.segments.len() < 2 {
                return Err(io::Error::other("its size is too small for one segment"));
            }
            self.remove_oldest()?;
        }
        let (Some(file), Some((_, before))) = (&mut self.open, self.segments.back_mut()) else {
            return Err(io::Error::other("no segment could be begun"));
        };
        if let Err(error) = file.write_all(bytes) {
            // Readers cut half a frame, too.
            let _ = file.set_len(*before);
            return Err(error);
        }
        *before += len;
        self.bytes += len;
        Ok(())
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        let Some((number, len)) = self.segments.front().copied() else {
            return Ok(());
        };
        ResolvedPath::find(&segment_path(&self.folder, number))?.remove_any()?;
        self.segments.pop_front();
        self.bytes -= len;
        self.overwritten += 1;
        Ok(())
    }

    fn forget_last(&mut self) {
        if let Some((_, len)) = self.segments.pop_back() {
            self.bytes -= len;
        }
    }
}

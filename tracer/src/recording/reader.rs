//! Reads a recording, and skips its broken parts.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::frame::{self, Fault, Frames};
use super::{Entry, FIRST_WORDS, Head, VERSION};

/// The most bytes of the first line.
const FIRST_LINE: usize = 64;

/// A recording that is being read.
#[derive(Debug)]
pub struct Reader<R = File> {
    frames: Frames<R>,
    head: Head,
    /// Unpacked entries; the bytes before `taken` are used up.
    entries: Vec<u8>,
    taken: usize,
    /// The offset of the entries' frame.
    frame_at: u64,
    /// Whether the frame that ends the recording has been read.
    ended: bool,
    /// Whether nothing more can be read.
    over: bool,
}

/// The reason why a file cannot be replayed at all. The message does not name the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("it is no recording of `tcpclose record`")]
    NotARecording,
    /// The file has another version of the format.
    #[error(
        "it is a recording of format {0}, and this tcpclose reads format {VERSION}: use {older} tcpclose",
        older = if *.0 > VERSION { "a newer" } else { "an older" }
    )]
    OtherVersion(u32),
    /// Not even the file's head is whole.
    #[error("the recording is broken at its head, so nothing of it can be replayed")]
    Head,
}

/// A broken part of a recording.
#[derive(Debug)]
pub struct Broken {
    /// The offset in the file of the broken part.
    pub offset: u64,
    /// The offset at which reading resumes; `None` if nothing that follows can be read.
    pub resumed_at: Option<u64>,
    what: What,
}

#[derive(Debug, thiserror::Error)]
enum What {
    #[error(transparent)]
    Frame(#[from] Fault),
    #[error("the file ends there, and whoever recorded it had not finished")]
    NotEnded,
    #[error("something follows the recording's end")]
    AfterEnd,
    #[error("a frame is of the unknown kind {0}")]
    UnknownKind(u8),
    #[error("a frame's entries are none that this tcpclose understands")]
    Entries,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, what, .. } = self;
        write!(f, "the recording is broken at byte {offset}: {what}")
    }
}

impl std::error::Error for Broken {}

impl Reader {
    /// Opens a file and reads its head.
    ///
    /// # Errors
    /// Returns an [`OpenError`] if the file is not a readable recording.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::new(File::open(path)?)
    }
}

impl<R: Read> Reader<R> {
    /// Reads the head of the recording in `file`.
    ///
    /// # Errors
    /// Returns an [`OpenError`] if the file is not a readable recording.
    pub fn new(file: R) -> Result<Self, OpenError> {
        let mut frames = Frames::new(file);
        let first = frames.first_line(FIRST_LINE)?;
        let version = version_of(&first).ok_or(OpenError::NotARecording)?;
        if version != VERSION {
            return Err(OpenError::OtherVersion(version));
        }
        let frame = match frames.next() {
            Ok(Some(frame)) if frame.kind == frame::HEAD => frame,
            Err(Fault::Io(error)) => return Err(error.into()),
            Ok(_) | Err(_) => return Err(OpenError::Head),
        };
        let head = serde_json::from_slice(&frame.stored).map_err(|_| OpenError::Head)?;
        Ok(Self {
            frames,
            head,
            entries: Vec::new(),
            taken: 0,
            frame_at: 0,
            ended: false,
            over: false,
        })
    }

    /// Returns the recording's head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the next entry; `None` at the end.
    ///
    /// # Errors
    /// Returns [`Broken`] where entries are missing. Later calls return the entries that follow.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Broken> {
        while self.taken == self.entries.len() {
            if self.over || !self.next_frame()? {
                return Ok(None);
            }
        }
        match postcard::take_from_bytes(&self.entries[self.taken..]) {
            Ok((entry, rest)) => {
                self.taken = self.entries.len() - rest.len();
                Ok(Some(entry))
            }
            Err(_) => {
                self.entries.clear();
                self.taken = 0;
                Err(self.passed_over(self.frame_at, What::Entries))
            }
        }
    }

    /// Unpacks the next frame of entries. Returns `false` at the end.
    fn next_frame(&mut self) -> Result<bool, Broken> {
        let at = self.frames.offset();
        let frame = match self.frames.next() {
            Ok(frame) => frame,
            Err(fault) => return Err(self.skip(at, fault)),
        };
        let Some(frame) = frame else {
            self.over = true;
            return match self.ended {
                true => Ok(false),
                false => Err(self.nothing_follows(at, What::NotEnded)),
            };
        };
        if self.ended {
            return Err(self.nothing_follows(at, What::AfterEnd));
        }
        match frame.kind {
            frame::ENTRIES => {
                self.frame_at = at;
                self.taken = 0;
                match lz4_flex::block::decompress(&frame.stored, frame.length) {
                    Ok(entries) if entries.len() == frame.length => self.entries = entries,
                    _ => {
                        self.entries.clear();
                        return Err(self.passed_over(at, What::Entries));
                    }
                }
            }
            frame::END => self.ended = true,
            frame::OPTIONAL.. => {}
            kind => return Err(self.passed_over(at, What::UnknownKind(kind))),
        }
        Ok(true)
    }

    /// Skips a broken frame, up to the next whole one. Nothing after the recording's end belongs to
    /// it.
    fn skip(&mut self, at: u64, fault: Fault) -> Broken {
        let can_go_on = !self.ended && !matches!(fault, Fault::Io(_));
        // If the file cannot be read any further, nothing follows either.
        if can_go_on && self.frames.skip_broken().unwrap_or(false) {
            return self.passed_over(at, fault.into());
        }
        self.nothing_follows(at, fault.into())
    }

    fn passed_over(&self, offset: u64, what: What) -> Broken {
        Broken {
            offset,
            resumed_at: Some(self.frames.offset()),
            what,
        }
    }

    fn nothing_follows(&mut self, offset: u64, what: What) -> Broken {
        self.over = true;
        Broken {
            offset,
            resumed_at: None,
            what,
        }
    }
}

fn version_of(first_line: &[u8]) -> Option<u32> {
    let number = first_line.strip_prefix(FIRST_WORDS)?.strip_suffix(b"\n")?;
    str::from_utf8(number).ok()?.parse().ok()
}

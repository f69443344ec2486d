//! Reads a recording, and skips its broken parts.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::format_3::Format3Entry;
use super::frame::{self, FrameError, Frames};
use super::older_entry::Format4Entry;
use super::plausible::is_plausible;
use super::version::{MAGIC, OLDEST_VERSION, VERSION};
use super::{Entry, Head};

/// The most bytes of the first line.
const MAX_FIRST_LINE_LEN: usize = 64;

/// A recording that is being read.
#[derive(Debug)]
pub struct Reader<R = File> {
    frames: Frames<R>,
    version: u32,
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
    /// Whether what was known at the beginning of a segment is left out.
    skips_snapshot: bool,
}

/// The reason why a file cannot be replayed at all. The message does not name the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("it is not a recording made by tcpclose")]
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
pub struct BrokenPart {
    /// The offset in the file of the broken part.
    pub offset: u64,
    /// The offset at which reading resumes; `None` if nothing that follows can be read.
    pub resumed_at: Option<u64>,
    reason: BrokenReason,
    /// The segment of a flight recorder, if it is one.
    segment: Option<String>,
}

impl BrokenPart {
    /// Returns whether the recording merely ends there, in the middle: its writer was interrupted.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        use BrokenReason::{Frame, NotEnded};
        self.resumed_at.is_none() && matches!(self.reason, NotEnded | Frame(FrameError::Cut))
    }

    /// Names the segment of a flight recorder.
    #[must_use]
    pub(crate) fn in_segment(self, name: String) -> Self {
        Self {
            segment: Some(name),
            ..self
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum BrokenReason {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the recording ends there unfinished")]
    NotEnded,
    #[error("something follows the recording's end")]
    AfterEnd,
    #[error("a frame is of the unknown kind {0}")]
    UnknownKind(u8),
    #[error("a frame has entries that this tcpclose does not understand")]
    Entries,
    #[error("a frame has names or lists that are longer than any recorder writes")]
    Implausible,
}

impl fmt::Display for BrokenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offset,
            reason,
            segment,
            ..
        } = self;
        match segment {
            Some(name) => write!(f, "{name} is broken at byte {offset}: {reason}"),
            None => write!(f, "the recording is broken at byte {offset}: {reason}"),
        }
    }
}

impl std::error::Error for BrokenPart {}

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
        let first = frames.first_line(MAX_FIRST_LINE_LEN)?;
        let version = parse_version(&first).ok_or(OpenError::NotARecording)?;
        if !(OLDEST_VERSION..=VERSION).contains(&version) {
            return Err(OpenError::OtherVersion(version));
        }
        let frame = match frames.next() {
            Ok(Some(frame)) if frame.kind == frame::KIND_HEAD => frame,
            Err(FrameError::Io(error)) => return Err(error.into()),
            Ok(_) | Err(_) => return Err(OpenError::Head),
        };
        let head = serde_json::from_slice(&frame.stored).map_err(|_| OpenError::Head)?;
        Ok(Self {
            frames,
            version,
            head,
            entries: Vec::new(),
            taken: 0,
            frame_at: 0,
            ended: false,
            over: false,
            skips_snapshot: false,
        })
    }

    /// Returns the recording's head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Leaves out what was known where a segment of the flight recorder begins: the segment before
    /// was read.
    pub const fn skip_snapshot(&mut self) {
        self.skips_snapshot = true;
    }

    /// Returns whether the frame that ends the recording has been read.
    #[must_use]
    pub const fn has_end(&self) -> bool {
        self.ended
    }

    /// Returns the next entry; `None` at the end.
    ///
    /// # Errors
    /// Returns a [`BrokenPart`] where entries are missing. Later calls return the entries that
    /// follow.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, BrokenPart> {
        while self.taken == self.entries.len() {
            if self.over || !self.next_frame()? {
                return Ok(None);
            }
        }
        let entries = &self.entries[self.taken..];
        let read = match self.version {
            ..=3 => postcard::take_from_bytes::<Format3Entry>(entries)
                .map(|(entry, rest)| (Entry::from(entry), rest)),
            4 => postcard::take_from_bytes::<Format4Entry>(entries)
                .map(|(entry, rest)| (Entry::from(entry), rest)),
            _ => postcard::take_from_bytes(entries),
        };
        match read {
            Ok((entry, rest)) if is_plausible(&entry) => {
                self.taken = self.entries.len() - rest.len();
                Ok(Some(entry))
            }
            Ok(_) => Err(self.skip_entries(BrokenReason::Implausible)),
            Err(_) => Err(self.skip_entries(BrokenReason::Entries)),
        }
    }

    /// Skips the remaining entries of the frame.
    fn skip_entries(&mut self, reason: BrokenReason) -> BrokenPart {
        // The memory of a large frame, too.
        self.entries = Vec::new();
        self.taken = 0;
        self.passed_over(self.frame_at, reason)
    }

    /// Unpacks the next frame of entries. Returns `false` at the end.
    fn next_frame(&mut self) -> Result<bool, BrokenPart> {
        let at = self.frames.offset();
        let frame = match self.frames.next() {
            Ok(frame) => frame,
            Err(frame_error) => return Err(self.skip(at, frame_error)),
        };
        let Some(frame) = frame else {
            self.over = true;
            return match self.ended {
                true => Ok(false),
                false => Err(self.nothing_follows(at, BrokenReason::NotEnded)),
            };
        };
        if self.ended {
            return Err(self.nothing_follows(at, BrokenReason::AfterEnd));
        }
        match frame.kind {
            frame::KIND_SNAPSHOT if self.skips_snapshot => {}
            frame::KIND_ENTRIES | frame::KIND_SNAPSHOT => {
                self.frame_at = at;
                self.taken = 0;
                match lz4_flex::block::decompress(&frame.stored, frame.length) {
                    Ok(entries) if entries.len() == frame.length => self.entries = entries,
                    _ => {
                        self.entries.clear();
                        return Err(self.passed_over(at, BrokenReason::Entries));
                    }
                }
            }
            frame::KIND_END => self.ended = true,
            frame::FIRST_OPTIONAL_KIND.. => {}
            kind => return Err(self.passed_over(at, BrokenReason::UnknownKind(kind))),
        }
        Ok(true)
    }

    /// Skips a broken frame, up to the next whole one. Nothing after the recording's end belongs to
    /// it.
    fn skip(&mut self, at: u64, frame_error: FrameError) -> BrokenPart {
        let can_go_on = !self.ended && !matches!(frame_error, FrameError::Io(_));
        // If the file cannot be read any further, nothing follows either.
        if can_go_on && self.frames.skip_broken().unwrap_or(false) {
            return self.passed_over(at, frame_error.into());
        }
        self.nothing_follows(at, frame_error.into())
    }

    fn passed_over(&self, offset: u64, reason: BrokenReason) -> BrokenPart {
        BrokenPart {
            offset,
            resumed_at: Some(self.frames.offset()),
            reason,
            segment: None,
        }
    }

    fn nothing_follows(&mut self, offset: u64, reason: BrokenReason) -> BrokenPart {
        self.over = true;
        BrokenPart {
            offset,
            resumed_at: None,
            reason,
            segment: None,
        }
    }
}

fn parse_version(first_line: &[u8]) -> Option<u32> {
    let number = first_line.strip_prefix(MAGIC)?.strip_suffix(b"\n")?;
    str::from_utf8(number).ok()?.parse().ok()
}

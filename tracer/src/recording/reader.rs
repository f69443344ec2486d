//! Reads a recording, up to its end or to where it is broken.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::frame::{self, Fault};
use super::{Entry, FIRST_WORDS, Head, VERSION};

/// The longest first line.
const FIRST_LINE: u64 = 64;

/// A recording that is being read.
#[derive(Debug)]
pub struct Reader<R = BufReader<File>> {
    file: R,
    /// Where the frame begins that is read next.
    offset: u64,
    head: Head,
    /// Unpacked entries, those before `taken` already taken.
    entries: Vec<u8>,
    taken: usize,
    /// Where their frame begins.
    frame_at: u64,
    ended: bool,
}

/// Why a file cannot be replayed at all. The message says what to do, not which file.
#[derive(Debug)]
pub enum OpenError {
    /// It cannot be read.
    Io(io::Error),
    /// It is something else.
    NotARecording,
    /// Another version of the format.
    OtherVersion(u32),
    /// Not even its head is whole.
    Head,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotARecording => f.write_str("it is no recording of `tcpclose record`"),
            Self::OtherVersion(version) => write!(
                f,
                "it is a recording of format {version}, and this tcpclose reads format {VERSION}: use {} tcpclose",
                if *version > VERSION {
                    "a newer"
                } else {
                    "an older"
                }
            ),
            Self::Head => {
                f.write_str("the recording is broken at its head, so nothing of it can be replayed")
            }
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where a recording breaks off. All entries before that have been read.
#[derive(Debug)]
pub struct Broken {
    /// Offset in the file of what cannot be read.
    pub offset: u64,
    /// What is wrong there.
    what: What,
}

#[derive(Debug)]
enum What {
    Fault(Fault),
    NotEnded,
    AfterEnd,
    UnknownKind(u8),
    Entries,
    Io(io::Error),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the recording is broken at byte {}: ", self.offset)?;
        match &self.what {
            What::Fault(Fault::Cut) => f.write_str("the file ends in the middle of a frame"),
            What::Fault(Fault::Checksum) => f.write_str("a frame's checksum is wrong"),
            What::Fault(Fault::TooLong) => {
                f.write_str("what stands there is no frame (its length is absurd)")
            }
            What::NotEnded => {
                f.write_str("the file ends there, and whoever recorded it had not finished")
            }
            What::AfterEnd => f.write_str("something follows the recording's end"),
            What::UnknownKind(kind) => write!(f, "a frame is of the unknown kind {kind}"),
            What::Entries => {
                f.write_str("a frame's entries are none that this tcpclose understands")
            }
            What::Io(error) => write!(f, "the file cannot be read any further ({error})"),
        }
    }
}

impl std::error::Error for Broken {}

impl Reader {
    /// Opens a file and reads its head.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::new(BufReader::with_capacity(1 << 18, File::open(path)?))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the head of what `file` yields.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn new(mut file: R) -> Result<Self, OpenError> {
        let mut first = Vec::new();
        file.by_ref()
            .take(FIRST_LINE)
            .read_until(b'\n', &mut first)?;
        let version = version_of(&first).ok_or(OpenError::NotARecording)?;
        if version != VERSION {
            return Err(OpenError::OtherVersion(version));
        }
        let Ok(Some(frame)) = frame::read(&mut file)? else {
            return Err(OpenError::Head);
        };
        let head = serde_json::from_slice(&frame.stored);
        let head = head
            .ok()
            .filter(|_| frame.kind == frame::HEAD)
            .ok_or(OpenError::Head)?;
        Ok(Self {
            file,
            offset: (first.len() + frame::HEADER + frame.stored.len()) as u64,
            head,
            entries: Vec::new(),
            taken: 0,
            frame_at: 0,
            ended: false,
        })
    }

    /// What the recording says of itself.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// [`Broken`], and nothing comes after it.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Broken> {
        while self.taken == self.entries.len() {
            if !self.next_frame()? {
                return Ok(None);
            }
        }
        match postcard::take_from_bytes(&self.entries[self.taken..]) {
            Ok((entry, rest)) => {
                self.taken = self.entries.len() - rest.len();
                Ok(Some(entry))
            }
            Err(_) => {
                let at = self.frame_at;
                self.break_off(at, What::Entries)
            }
        }
    }

    /// Unpacks the next frame of entries; false at the end.
    fn next_frame(&mut self) -> Result<bool, Broken> {
        let at = self.offset;
        let frame = match frame::read(&mut self.file) {
            Ok(Ok(frame)) => frame,
            Ok(Err(fault)) => return self.break_off(at, What::Fault(fault)),
            Err(error) => return self.break_off(at, What::Io(error)),
        };
        let Some(frame) = frame else {
            if self.ended {
                return Ok(false);
            }
            return self.break_off(at, What::NotEnded);
        };
        if self.ended {
            return self.break_off(at, What::AfterEnd);
        }
        self.offset += (frame::HEADER + frame.stored.len()) as u64;
        match frame.kind {
            frame::ENTRIES => {
                self.taken = 0;
                self.frame_at = at;
                match lz4_flex::block::decompress(&frame.stored, frame.length) {
                    Ok(entries) if entries.len() == frame.length => self.entries = entries,
                    _ => return self.break_off(at, What::Entries),
                }
            }
            frame::END => self.ended = true,
            frame::OPTIONAL.. => {}
            kind => return self.break_off(at, What::UnknownKind(kind)),
        }
        Ok(true)
    }

    /// What was wrong once stays so.
    fn break_off<T>(&mut self, offset: u64, what: What) -> Result<T, Broken> {
        self.entries.clear();
        self.taken = 0;
        Err(Broken { offset, what })
    }
}

fn version_of(first_line: &[u8]) -> Option<u32> {
    let number = first_line.strip_prefix(FIRST_WORDS)?.strip_suffix(b"\n")?;
    str::from_utf8(number).ok()?.parse().ok()
}

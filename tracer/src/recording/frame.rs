//! The frames of a recording, and of the agent's state file. Each is checked by itself, so the
//! frames after a broken one can be read.

use std::io::{self, Read};

/// The size of a frame's header in bytes: kind, three zeros, stored length, length, checksum.
pub(crate) const HEADER_LEN: usize = 16;

/// The longest content of a frame, stored or unpacked. A frame that claims more is broken, so that
/// no file can use unlimited memory.
const MAX_FRAME_LEN: usize = 64 << 20;

/// The kind of the recording's head: JSON, not compressed.
pub(crate) const KIND_HEAD: u8 = 1;
/// The kind of a frame with compressed entries.
pub(crate) const KIND_ENTRIES: u8 = 2;
/// The kind of the empty frame at the end of a complete recording.
pub(crate) const KIND_END: u8 = 3;
/// The kind of the frame of a state file with the time until which its agent worked.
pub(crate) const KIND_UNTIL: u8 = 4;
/// The kind of a frame with compressed entries that repeat what was known where a segment of the
/// flight recorder begins. Who has read the segment before knows it.
pub(crate) const KIND_SNAPSHOT: u8 = 5;
/// Readers skip frames of this kind and above if they do not know the kind.
pub(crate) const FIRST_OPTIONAL_KIND: u8 = 128;

/// The number of bytes that are read from the file at a time.
const READ_LEN: usize = 256 << 10;

/// The most bytes of supposed frames that are checked in one file when searching for the next whole
/// frame. That is enough for damaged files, and keeps a file that resembles a frame at each of its
/// bytes from taking hours.
const MAX_SEARCH_LEN: usize = 256 << 20;

/// A whole frame as it is in the file.
#[derive(Debug)]
pub(crate) struct Frame {
    pub kind: u8,
    /// Length of the content when it is unpacked.
    pub length: usize,
    pub stored: Vec<u8>,
}

/// The reason why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the file ends in the middle of a frame")]
    Cut,
    #[error("a frame's checksum is wrong")]
    Checksum,
    #[error("no valid frame at this position (impossible length)")]
    TooLong,
    #[error("the file cannot be read any further ({0})")]
    Io(#[from] io::Error),
}

/// Appends a frame with this content, which is not compressed here.
pub(crate) fn push(file: &mut Vec<u8>, kind: u8, length: usize, stored: &[u8]) {
    let start = file.len();
    file.extend([kind, 0, 0, 0]);
    file.extend((stored.len() as u32).to_le_bytes());
    file.extend((length as u32).to_le_bytes());
    let checksum = checksum(&file[start..], stored);
    file.extend(checksum.to_le_bytes());
    file.extend(stored);
}

/// Appends a frame with this content, which is compressed here.
pub(crate) fn push_compressed(file: &mut Vec<u8>, kind: u8, entries: &[u8]) {
    push(
        file,
        kind,
        entries.len(),
        &lz4_flex::block::compress(entries),
    );
}

fn checksum(header: &[u8], stored: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(header);
    checksum.update(stored);
    checksum.finalize()
}

/// A frame's header, not checked.
struct Header {
    kind: u8,
    zeros: [u8; 3],
    stored: usize,
    length: usize,
    checksum: u32,
}

impl Header {
    fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            kind: bytes[0],
            zeros: [bytes[1], bytes[2], bytes[3]],
            stored: number(4) as usize,
            length: number(8) as usize,
            checksum: number(12),
        }
    }

    fn is_too_long(&self) -> bool {
        self.stored > MAX_FRAME_LEN || self.length > MAX_FRAME_LEN
    }

    fn is_plausible(&self) -> bool {
        let is_known = matches!(
            self.kind,
            KIND_ENTRIES | KIND_END | KIND_SNAPSHOT | FIRST_OPTIONAL_KIND..
        );
        is_known && self.zeros == [0; 3] && !self.is_too_long()
    }
}

/// Reads the frames of a file.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    file: R,
    /// Bytes that have been read from the file; those before `taken` are used up.
    buffer: Vec<u8>,
    taken: usize,
    /// The offset of the next byte in the file.
    offset: u64,
    /// The remaining bytes of [`MAX_SEARCH_LEN`].
    search_left: usize,
}

impl<R: Read> Frames<R> {
    pub fn new(file: R) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            taken: 0,
            offset: 0,
            search_left: MAX_SEARCH_LEN,
        }
    }

    /// Returns the offset of the next frame in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the file's first line with its end, at most `most` bytes.
    pub fn first_line(&mut self, most: usize) -> io::Result<Vec<u8>> {
        self.fill(most)?;
        let bytes = self.bytes(0, most);
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let line = bytes[..end.map_or(bytes.len(), |end| end + 1)].to_vec();
        self.take(line.len());
        Ok(line)
    }

    /// Takes the next frame; `None` at the end of the file. Leaves a broken frame for
    /// [`Self::skip_broken`].
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        self.fill(HEADER_LEN)?;
        if self.bytes(0, 1).is_empty() {
            return Ok(None);
        }
        let header = self.whole_frame_at(0)?;
        let stored = self.bytes(HEADER_LEN, header.stored).to_vec();
        self.take(HEADER_LEN + stored.len());
        Ok(Some(Frame {
            kind: header.kind,
            length: header.length,
            stored,
        }))
    }

    /// Skips to the next whole frame, or to the end of the file. Returns whether there is another
    /// frame.
    pub fn skip_broken(&mut self) -> io::Result<bool> {
        self.fill(HEADER_LEN)?;
        if let Some(header) = self.header_at(0).filter(|header| !header.is_too_long()) {
            let behind = HEADER_LEN + header.stored;
            if self.has_frame_at(behind)? {
                self.take(behind);
                return Ok(true);
            }
            let is_last = self.bytes(behind, 1).is_empty();
            if is_last && header.is_plausible() {
                // The writer was interrupted. The content of this frame may resemble a frame.
                self.take_all();
                return Ok(false);
            }
        }
        loop {
            self.fill(1 + HEADER_LEN)?;
            if self.bytes(1, 1).is_empty() || self.search_left == 0 {
                self.take_all();
                return Ok(false);
            }
            if self.has_frame_at(1)? {
                self.take(1);
                return Ok(true);
            }
            self.take(1);
        }
    }

    /// Returns whether a whole frame begins `at` bytes ahead.
    fn has_frame_at(&mut self, at: usize) -> io::Result<bool> {
        self.fill(at + HEADER_LEN)?;
        let Some(header) = self.header_at(at).filter(Header::is_plausible) else {
            return Ok(false);
        };
        let Some(left) = self.search_left.checked_sub(HEADER_LEN + header.stored) else {
            self.search_left = 0;
            return Ok(false);
        };
        self.search_left = left;
        match self.whole_frame_at(at) {
            Ok(_) => Ok(true),
            Err(FrameError::Io(error)) => Err(error),
            Err(FrameError::Cut | FrameError::Checksum | FrameError::TooLong) => Ok(false),
        }
    }

    fn whole_frame_at(&mut self, at: usize) -> Result<Header, FrameError> {
        let header = self.header_at(at).ok_or(FrameError::Cut)?;
        if header.is_too_long() {
            return Err(FrameError::TooLong);
        }
        self.fill(at + HEADER_LEN + header.stored)?;
        let stored = self.bytes(at + HEADER_LEN, header.stored);
        if stored.len() < header.stored {
            return Err(FrameError::Cut);
        }
        if checksum(&self.bytes(at, HEADER_LEN)[..12], stored) != header.checksum {
            return Err(FrameError::Checksum);
        }
        Ok(header)
    }

    /// Returns the header `at` bytes ahead, if it has been read in full.
    fn header_at(&self, at: usize) -> Option<Header> {
        let bytes = self.bytes(at, HEADER_LEN).try_into().ok()?;
        Some(Header::parse(bytes))
    }

    /// Returns `count` bytes from `at` bytes ahead, or fewer where fewer have been read.
    fn bytes(&self, at: usize, count: usize) -> &[u8] {
        let read = &self.buffer[self.taken..];
        let from = at.min(read.len());
        &read[from..read.len().min(at + count)]
    }

    fn take(&mut self, count: usize) {
        self.taken += count;
        self.offset += count as u64;
    }

    fn take_all(&mut self) {
        self.take(self.buffer.len() - self.taken);
    }

    /// Reads until `count` bytes are buffered, or the file ends.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        if self.buffer.len() - self.taken >= count {
            return Ok(());
        }
        if self.taken > self.buffer.len() / 2 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        while self.buffer.len() - self.taken < count {
            // Read in pieces, because the file may be shorter than its headers claim.
            let mut piece = self.file.by_ref().take(READ_LEN as u64);
            if piece.read_to_end(&mut self.buffer)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

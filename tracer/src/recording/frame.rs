//! The frames of a recording: each is whole or broken by itself.

use std::io::{self, Read};

/// Bytes before a frame's content: kind, three zeros, stored length, length, checksum.
pub(super) const HEADER: usize = 16;

/// The most that one frame holds, stored or unpacked. Longer ones are broken: memory stays bounded whatever a file says.
pub(super) const LONGEST: usize = 64 << 20;

/// The head: JSON, not compressed.
pub(super) const HEAD: u8 = 1;
/// Entries, compressed.
pub(super) const ENTRIES: u8 = 2;
/// Nothing: the recording ended as it should.
pub(super) const END: u8 = 3;
/// From this kind on, readers pass over a frame that they do not know.
pub(super) const OPTIONAL: u8 = 128;

/// A whole frame as it is in the file.
#[derive(Debug)]
pub(super) struct Frame {
    pub kind: u8,
    /// Length of the content when it is unpacked.
    pub length: usize,
    pub stored: Vec<u8>,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The file ends within it.
    Cut,
    /// Its bytes are not those that were written.
    Checksum,
    /// It claims to be longer than any.
    TooLong,
}

/// Appends a frame whose content is stored as it is.
pub(super) fn push(file: &mut Vec<u8>, kind: u8, length: usize, stored: &[u8]) {
    let start = file.len();
    file.extend([kind, 0, 0, 0]);
    file.extend((stored.len() as u32).to_le_bytes());
    file.extend((length as u32).to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&file[start..]);
    checksum.update(stored);
    file.extend(checksum.finalize().to_le_bytes());
    file.extend(stored);
}

/// Reads the next frame; `None` at the end of the file.
pub(super) fn read(from: &mut impl Read) -> io::Result<Result<Option<Frame>, Fault>> {
    let mut header = [0; HEADER];
    match fill(from, &mut header)? {
        0 => return Ok(Ok(None)),
        HEADER => {}
        _ => return Ok(Err(Fault::Cut)),
    }
    let number = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (stored_length, length) = (number(4) as usize, number(8) as usize);
    if stored_length > LONGEST || length > LONGEST {
        return Ok(Err(Fault::TooLong));
    }
    let mut stored = Vec::new();
    from.take(stored_length as u64).read_to_end(&mut stored)?;
    if stored.len() < stored_length {
        return Ok(Err(Fault::Cut));
    }
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&header[..12]);
    checksum.update(&stored);
    if checksum.finalize() != number(12) {
        return Ok(Err(Fault::Checksum));
    }
    Ok(Ok(Some(Frame {
        kind: header[0],
        length,
        stored,
    })))
}

/// Reads until the buffer is full or the file ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match from.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

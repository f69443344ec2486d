//! The bytes of a state file: a line with the version, and frames as recordings have them.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::recording::frame::{self, Frame, FrameError, Frames};
use crate::recording::{Entry, EntryRef, is_plausible};
use crate::session::SavedSession;
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, SavedEndpoints};

/// The version of the format. It rises with each change of what is saved, and with that of the
/// recordings' entries: a file of another version is not read.
const VERSION: u32 = 2;

/// The first line of a file, up to the version's number and the end of the line.
const MAGIC: &[u8] = b"tcpclose state ";

/// The most bytes of the first line.
const MAX_FIRST_LINE_LEN: usize = 64;

/// The most bytes of a file. What does not fit is left out.
pub(super) const MAX_FILE_LEN: usize = 64 << 20;

/// The most bytes of the endpoints; the rest is for the head.
const MAX_BODY_LEN: usize = MAX_FILE_LEN - (1 << 20);

/// The most endpoints of a file.
pub(super) const MAX_ENDPOINTS: usize = 1 << 18;

/// Whose state it is: JSON, so that people can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateHead {
    /// The version of tcpclose that wrote it.
    pub program: String,
    /// The host's boot ([`tcpclose_sys::host::boot_id`]).
    pub boot: String,
    /// Which connections are traced.
    pub traced: String,
    /// From when on all stuck sockets were known.
    pub stuck_known_from: Nanos,
    /// Whether it has all live endpoints.
    pub is_complete: bool,
    /// How many endpoints it has.
    pub endpoints: usize,
    /// How many there was no room for.
    pub left_out: usize,
}

/// What a file says, apart from its head.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StateContent {
    pub until: Nanos,
    pub parts: Vec<SavedEndpoints>,
}

/// Why a file is not read. The message does not name it.
#[derive(Debug, Error)]
pub(super) enum FormatError {
    #[error("it is not a state file of tcpclose")]
    NotAState,
    #[error("it has version {0}, and this tcpclose reads version {VERSION}")]
    OtherVersion(u32),
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// The bytes of a file, and how many endpoints did not fit in.
pub(super) struct Encoded {
    pub bytes: Vec<u8>,
    pub left_out: usize,
}

/// Returns the file's bytes.
pub(super) fn encode(head: &StateHead, saved: &SavedSession) -> Encoded {
    let mut body = Vec::new();
    let mut left_out = saved.endpoints.left_out;
    let mut endpoints = 0;
    for part in &saved.endpoints.parts {
        let before = body.len();
        push_part(&mut body, part);
        if body.len() > MAX_BODY_LEN {
            body.truncate(before);
            left_out += part.len();
        } else {
            endpoints += part.len();
        }
    }
    let head = StateHead {
        endpoints,
        left_out,
        ..head.clone()
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend(format!("{VERSION}\n").bytes());
    bytes.extend(until_frame(saved.until));
    // It has nothing but texts and numbers.
    let head = serde_json::to_vec(&head).unwrap_or_default();
    frame::push(&mut bytes, frame::KIND_HEAD, head.len(), &head);
    bytes.append(&mut body);
    frame::push(&mut bytes, frame::KIND_END, 0, &[]);
    Encoded { bytes, left_out }
}

fn push_part(body: &mut Vec<u8>, part: &SavedEndpoints) {
    let input = Input::Restore(part.clone());
    // A vector takes what is written.
    let entries = postcard::to_allocvec(&EntryRef::Input(&input)).unwrap_or_default();
    let stored = lz4_flex::block::compress(&entries);
    frame::push(body, frame::KIND_ENTRIES, entries.len(), &stored);
}

/// Returns the bytes of the frame with the time until which the agent worked, and where it stands
/// in the file. It can be replaced there: it lies within the first page, which a process that is
/// killed writes in full or not at all.
pub(super) fn until_frame_at(until: Nanos) -> (Vec<u8>, u64) {
    let first_line = MAGIC.len() + format!("{VERSION}\n").len();
    (until_frame(until), first_line as u64)
}

fn until_frame(until: Nanos) -> Vec<u8> {
    let mut bytes = Vec::new();
    let until = until.0.to_le_bytes();
    frame::push(&mut bytes, frame::KIND_UNTIL, until.len(), &until);
    bytes
}

/// Reads a file's bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<(StateHead, StateContent), FormatError> {
    let mut frames = Frames::new(bytes);
    let first = frames.first_line(MAX_FIRST_LINE_LEN);
    let first = first.map_err(|_| FormatError::NotAState)?;
    match parse_version(&first).ok_or(FormatError::NotAState)? {
        VERSION => {}
        other => return Err(FormatError::OtherVersion(other)),
    }
    let until = next(&mut frames, frame::KIND_UNTIL)?;
    let until = until.stored.try_into().map(u64::from_le_bytes);
    let until = until.map_err(|_| FormatError::Damaged("its time has another length"))?;
    let head = next(&mut frames, frame::KIND_HEAD)?;
    let head: StateHead = serde_json::from_slice(&head.stored)
        .map_err(|_| FormatError::Damaged("its head is not understood"))?;
    let mut content = StateContent {
        until: Nanos(until),
        parts: Vec::new(),
    };
    let mut endpoints = 0;
    loop {
        let frame = whole(frames.next())?;
        match frame.kind {
            frame::KIND_ENTRIES => {
                let part = part(&frame)?;
                endpoints += part.len();
                if endpoints > MAX_ENDPOINTS {
                    return Err(FormatError::Damaged("it has too many endpoints"));
                }
                content.parts.push(part);
            }
            frame::KIND_END => break,
            _ => return Err(FormatError::Damaged("a frame is of an unknown kind")),
        }
    }
    if !matches!(frames.next(), Ok(None)) {
        return Err(FormatError::Damaged("something follows its end"));
    }
    if endpoints != head.endpoints {
        return Err(FormatError::Damaged("endpoints are missing"));
    }
    Ok((head, content))
}

fn part(frame: &Frame) -> Result<SavedEndpoints, FormatError> {
    let damaged = || FormatError::Damaged("its entries are not understood");
    let entries = lz4_flex::block::decompress(&frame.stored, frame.length);
    let entries = entries.map_err(|_| damaged())?;
    match postcard::take_from_bytes::<Entry>(&entries) {
        Ok((entry, [])) if is_plausible(&entry) => match entry {
            Entry::Input(Input::Restore(part)) => Ok(part),
            _ => Err(damaged()),
        },
        _ => Err(damaged()),
    }
}

fn next(frames: &mut Frames<&[u8]>, kind: u8) -> Result<Frame, FormatError> {
    let frame = whole(frames.next())?;
    match frame.kind == kind {
        true => Ok(frame),
        false => Err(FormatError::Damaged("its frames are in another order")),
    }
}

fn whole(frame: Result<Option<Frame>, FrameError>) -> Result<Frame, FormatError> {
    match frame {
        Ok(Some(frame)) => Ok(frame),
        Ok(None) | Err(FrameError::Cut) => Err(FormatError::Damaged("it is cut")),
        Err(FrameError::Checksum) => Err(FormatError::Damaged("a checksum is wrong")),
        Err(FrameError::TooLong | FrameError::Io(_)) => {
            Err(FormatError::Damaged("a frame is too long"))
        }
    }
}

fn parse_version(first_line: &[u8]) -> Option<u32> {
    let number = first_line.strip_prefix(MAGIC)?.strip_suffix(b"\n")?;
    str::from_utf8(number).ok()?.parse().ok()
}

//! Where the entries of a replay come from.

use crate::flight_recorder::SpanReader;
use crate::recording::{BrokenPart, Entry, Head, Reader};

/// A recording, or segments of a flight recorder.
pub(super) enum Entries {
    File(Box<Reader>),
    Span(Box<SpanReader>),
}

impl Entries {
    pub fn next(&mut self) -> Result<Option<Entry>, BrokenPart> {
        match self {
            Self::File(reader) => reader.next_entry(),
            Self::Span(reader) => reader.next_entry(),
        }
    }

    pub fn head(&self) -> &Head {
        match self {
            Self::File(reader) => reader.head(),
            Self::Span(reader) => reader.head(),
        }
    }
}

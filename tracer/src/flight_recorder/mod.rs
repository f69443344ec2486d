//! The flight recorder: the agent's last inputs on disk, in segments of which the oldest make room.
//!
//! Each segment is a recording of its own: it begins with what was known at that moment. The event
//! loop only encodes; a thread compresses, writes and removes. Readers open the segments
//! themselves, so they hold up nobody.

mod folder;
mod recorder;
mod ring;
mod span;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use folder::{DEFAULT_FOLDER, LOCK_NAME};
pub(crate) use recorder::{FlightRecorder, SegmentStart};
pub(crate) use span::{Span, SpanReader};

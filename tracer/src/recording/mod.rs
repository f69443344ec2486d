//! Recordings: files with all inputs of the core, from which a replay makes the same findings.
//! docs/recording.md describes the format.

mod buffer;
mod damage;
mod destination;
mod entry;
mod format_3;
mod format_4;
pub(crate) mod frame;
mod head;
mod older_entry;
mod plausible;
mod reader;
mod recorder;
mod version;

pub(crate) use buffer::{EntryBuffer, push_entry};
pub use damage::Damage;
pub(crate) use destination::Destination;
pub use destination::{IfExists, OLD_SUFFIX};
pub use entry::{Entry, EntryRef};
pub use head::{Head, RecordedTier, SegmentHead};
pub(crate) use plausible::is_plausible;
pub use reader::{BrokenPart, OpenError, Reader};
pub use recorder::{Recorded, Recorder};
pub(crate) use version::first_line;
pub use version::{OLDEST_VERSION, VERSION};

//! Recordings: files with all inputs of the core, from which a replay makes the same findings.
//! docs/recording.md describes the format.

mod damage;
mod entry;
mod frame;
mod head;
mod reader;
mod recorder;

pub use damage::Damage;
pub use entry::{Entry, EntryRef};
pub use head::{Head, Seen};
pub use reader::{Broken, OpenError, Reader};
pub use recorder::{Recorded, Recorder};

/// The version of the format that is written and read. No release had an earlier one.
pub const VERSION: u32 = 2;

/// The first line of a file, up to the version's number and the end of the line.
const FIRST_WORDS: &[u8] = b"tcpclose recording ";

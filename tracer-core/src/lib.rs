//! The pure core: events in, findings out. It has no clock, does no I/O and writes no log, so every test of it is exact.

mod arena;
mod close_path;
mod endpoint;
mod errno;
pub mod event;
pub mod filter;
pub mod finding;
mod hash_index;
mod input;
mod interner;
mod kernel_ids;
mod listeners;
mod live_endpoint;
mod orphan;
pub mod process;
mod snapshot;
mod stale_closing;
pub mod stuck;
pub mod summary;
mod table;
mod time_wait;
mod tracker;
pub mod types;

pub use input::Input;
pub use listeners::{place, places};
pub use orphan::{Lookup, Minisocket};
pub use snapshot::SnapshotSocket;
pub use time_wait::{Poll, PollRequest, PolledMinisocket, TIME_WAIT};
pub use tracker::Tracker;

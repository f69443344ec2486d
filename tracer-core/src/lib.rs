//! The pure core: events in, findings out. It has no clock, does no I/O and writes no log, so every test of it is exact.

mod close_path;
mod connection;
pub mod event;
pub mod finding;
mod index;
mod input;
pub mod leak;
mod listeners;
mod orphan;
pub mod process;
mod reset;
mod slots;
mod static_name;
pub mod summary;
mod suspects;
mod table;
mod time_wait;
mod tracker;
pub mod types;

pub use input::Input;
pub use listeners::{place, places};
pub use orphan::{Lookup, Minisocket};
pub use time_wait::{Sighting, Sweep, SweepRequest, TIME_WAIT};
pub use tracker::{Existing, Tracker};

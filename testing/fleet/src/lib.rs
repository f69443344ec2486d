//! A simulated fleet: hosts whose connections close in ways that are planned from a seed, and the
//! records that their agents would write, made by the real core and the real JSON.
//!
//! What the kernels of the hosts would report is invented (`course`, `endpoint`); what follows from
//! it is not: each host has a [`Tracker`](tcpclose_core::Tracker) of its own. Both endpoints of a
//! connection have the same two initial sequence numbers, so their pair ids match.

mod course;
mod endpoint;
mod faults;
mod fleet;
mod host;
mod inventory;
mod mix;
mod names;
mod pending;
mod probes;
mod services;
mod simulation;
mod truth;

pub use simulation::{Options, Written, first_of, simulate};

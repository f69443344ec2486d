//! Tracing sessions: a core, the source of its inputs, and the loop that runs both.

mod builder;
mod cgroups_of;
mod core_driver;
mod decode_failures;
mod entries;
mod event_loop;
#[cfg(test)]
mod event_loop_tests;
mod existing_sockets;
mod flight;
mod gauges;
mod known_sockets;
mod live;
mod minisocket_prober;
mod owners;
mod pending_restart;
mod port_pressure;
mod probe_thread;
mod quiet_time;
mod reader_priority;
mod recording;
mod replay;
mod replay_span;
mod restart;
mod resync;
mod snapshot;
mod source;
mod time_wait_overflow;

pub(crate) use builder::SessionError;
pub use core_driver::tracker_for;
pub(crate) use event_loop::{Consumer, Session};
pub(crate) use live::Live;
pub(crate) use quiet_time::QuietTime;
pub(crate) use replay::Replay;
pub(crate) use restart::SavedSession;
pub(crate) use source::Source;
pub use tcpclose_sys::kernel::clock::now;

//! Reconstructs how TCP connections close from the state transitions that the Linux kernel reports.
//!
//! The core is a state machine: [`Input`]s go into a [`Tracker`] in the order in which they were
//! seen, and [`Finding`](finding::Finding)s come out: closes with their segments, ends of
//! TIME_WAIT, stuck sockets, losses. It has no clock and does no I/O: time is an input too, so the
//! same inputs always give the same findings. What has to be asked of the kernel (minisockets,
//! holders of sockets) it hands out as requests, and the responses are inputs.
//!
//! The server's side of a connection that its peer closes first, with the evidence that the
//! kernel's socket had at each transition:
//!
//! ```
//! use tcpclose_common::TcpState;
//! use tcpclose_core::event::{Event, Evidence, Transition};
//! use tcpclose_core::finding::{ClosePath, Finding, Initiator};
//! use tcpclose_core::types::{EndpointId, Nanos, Tuple};
//! use tcpclose_core::{Input, Tracker};
//!
//! let addresses = ("192.0.2.1:80".parse()?, "198.51.100.7:40000".parse()?);
//! let transition = |ms, old, new, evidence| {
//!     Input::Event(Event::Transition(Transition {
//!         at: Nanos::from_millis(ms),
//!         id: EndpointId(1), // the socket's cookie
//!         skaddr: None,
//!         netns: None,
//!         tuple: Tuple::from(addresses),
//!         old,
//!         new,
//!         task: None,
//!         evidence: Some(evidence),
//!     }))
//! };
//! // All data is sent and acknowledged, and the peer's window is open.
//! let mut open = Evidence::default();
//! (open.tcp.snd_una, open.tcp.snd_nxt, open.tcp.write_seq) = (1001, 1001, 1001);
//! (open.tcp.rcv_nxt, open.tcp.snd_wnd) = (501, 65_535);
//! let mut fin_came = open;
//! fin_came.tcp.rcv_nxt = 502;
//! fin_came.flags.done = true;
//! let mut closed = fin_came;
//! (closed.tcp.snd_una, closed.tcp.snd_nxt, closed.tcp.write_seq) = (1002, 1002, 1002);
//! closed.tcp.segs_out = 1;
//!
//! let mut tracker = Tracker::new(1024);
//! for input in [
//!     transition(0, TcpState::SynRecv, TcpState::Established, open),
//!     transition(250, TcpState::Established, TcpState::CloseWait, fin_came),
//!     transition(251, TcpState::CloseWait, TcpState::LastAck, fin_came),
//!     transition(252, TcpState::LastAck, TcpState::Close, closed),
//! ] {
//!     tracker.apply(&input);
//! }
//! let Some(Finding::Close(close)) = tracker.next_finding() else {
//!     panic!("the connection has closed");
//! };
//! // No segment was sent between the two FINs: the second one acknowledged the first.
//! assert_eq!((close.path, close.initiator), (ClosePath::ThreeWay, Initiator::Peer));
//! assert_eq!(close.segments, Some(3));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! `examples/findings.rs` does the same for inputs that it reads as JSON lines.
//!
//! Where to start reading: [`event`] has what the kernel reports, [`Tracker`] what becomes of it,
//! `close_path` the rules that turn the transitions of a close into its segments.
//!
//! # Stability
//!
//! Of version 0.1 nothing is promised between minor versions. Enums and structures are exhaustive
//! on purpose: a program that handles every kind of input and finding does not compile until it
//! handles a new one, too. Each new kind, state or field is therefore a new minor version.
//! [`Nanos`](types::Nanos) is a moment as well as a span, as the kernel's own numbers are, and its
//! subtraction saturates: records of two CPUs may be slightly out of order.

#![forbid(unsafe_code)]

mod arena;
mod calling_thread;
mod close_path;
mod close_progress;
mod closes_awaiting_peer;
pub mod compare;
pub mod container_filter;
mod ended_while_stopped;
mod endpoint;
mod errno;
pub mod event;
pub mod filter;
pub mod finding;
mod hash_index;
mod input;
mod interner;
mod kernel_ids;
mod kernel_timing;
mod known_socket;
mod listeners;
mod live_endpoint;
pub mod open_endpoint;
mod parked;
mod peer;
mod probe_request;
pub mod process;
mod ranking;
pub mod routes;
#[cfg(test)]
mod samples;
mod saved;
mod snapshot;
mod snapshot_join;
mod stale_closing;
pub mod stuck;
pub mod summary;
mod table;
mod time_wait;
mod tracker;
pub mod types;
mod uncounted_losses;
mod unjoined_endpoints;

pub use input::Input;
pub use known_socket::{KnownMinisocket, KnownSocket, ProcessTrend};
pub use listeners::{listening_address, possible_listeners};
pub use parked::MinisocketState;
pub use probe_request::ProbeRequest;
pub use saved::{RestoreEnd, SaveScope, Saved, SavedEndpoints};
pub use snapshot::{SnapshotSocket, SocketKind};
pub use snapshot_join::SnapshotJoin;
pub use time_wait::{PollRequest, PollResponse, PolledMinisocket, TIME_WAIT};
pub use tracker::{ListedEndpoint, PortsInUse, Tracker};

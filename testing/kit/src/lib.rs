//! What tcpclose's test programs share: network namespaces, processes, mounts and privileges of their own, and one way
//! to report that a test cannot run here.
//!
//! All `unsafe` of the tests that several of them need is here. Where a test cannot do without one of these, it panics:
//! there is nothing that it could do about it.

pub mod command;
pub mod kernel;
pub mod mounts;
pub mod namespace;
pub mod netns;
pub mod own_network;
pub mod process;
pub mod scratch;
pub mod skip;
pub mod sockets;
pub mod wait;

/// What a test returns.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

//! What crosses between the eBPF programs and user space: the records of the ring buffer, the
//! [`ProgramConfig`] written at load time, and the TCP states.
//!
//! Every record is `repr(C)` without implicit padding and starts with its [`RingRecordKind`] as one
//! byte. Enums cross as raw integers; user space turns them into types with `from_repr` and refuses
//! unknown ones.
#![no_std]
#![forbid(unsafe_code)]

mod config;
mod evidence;
pub mod flags;
mod program_stats;
mod recursion_fallback;
mod signal;
mod state;
mod task_file_iter;
mod transition;

pub use config::ProgramConfig;
pub use evidence::{SocketFlags, TcpFields};
pub use program_stats::{Program, RunStats};
pub use recursion_fallback::FallbackStage;
pub use signal::{SignalRecord, segment_flags};
pub use state::TcpState;
pub use task_file_iter::{SocketDescriptor, task_file_context};
pub use transition::{COMM_LEN, CallingThread, TransitionRecord};

/// The ring buffers, by their names in the object. Those of a CPU's number modulo
/// [`ProgramConfig::ring_mask`] plus one are used: with one for all, its lock and its positions
/// travel between the CPUs at each record.
pub const RING_NAMES: [&str; 8] = [
    "EVENTS_0", "EVENTS_1", "EVENTS_2", "EVENTS_3", "EVENTS_4", "EVENTS_5", "EVENTS_6", "EVENTS_7",
];

/// The kind of a record of the ring buffer, which is its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(strum::FromRepr))]
#[repr(u8)]
pub enum RingRecordKind {
    /// A [`TransitionRecord`].
    Transition = 1,
    /// A [`SignalRecord`]: this host sent a RST for the socket (`tcp:tcp_send_reset`).
    ResetSent = 2,
    /// A [`SignalRecord`]: the peer's RST was accepted (`tcp:tcp_receive_reset`).
    ResetReceived = 3,
    /// A [`SignalRecord`]: a segment with this socket's FIN was sent again
    /// (`tcp:tcp_retransmit_skb`).
    FinRetransmitted = 4,
    /// A [`SignalRecord`]: the timer of a timewait minisocket was started or restarted
    /// (`__inet_twsk_schedule`); `state` is its substate, FIN_WAIT2 or TIME_WAIT.
    MinisocketArmed = 5,
    /// A [`SignalRecord`]: a minisocket is about to end before its timer fires
    /// (`inet_twsk_deschedule_put`).
    MinisocketDescheduled = 6,
    /// A [`SignalRecord`]: a minisocket ends (`inet_twsk_kill`).
    MinisocketKilled = 7,
    /// A [`SignalRecord`]: a timewait minisocket took this FIN, or this RST which killed it
    /// (`skb:kfree_skb`).
    MinisocketSegment = 8,
    /// A [`SignalRecord`]: a segment of this socket was dropped on this host, after TCP had handed
    /// it to IP and before it left (`skb:kfree_skb`); `reason` is the kernel's `enum
    /// skb_drop_reason`.
    SegmentDropped = 9,
}

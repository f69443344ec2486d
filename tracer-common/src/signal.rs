//! The record of everything that is not a transition.

use core::mem::{align_of, offset_of, size_of};

/// An event of a socket that is no transition: a reset sent or received, a FIN sent again, a
/// segment that was taken and dropped, or dropped on its way out.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(Debug, bytemuck::AnyBitPattern))]
#[repr(C)]
pub struct SignalRecord {
    /// The signal's [`crate::RingRecordKind`].
    pub kind: u8,
    /// `sk_state` at the time; `tw_substate` of a minisocket that a hook or a segment has shown.
    pub state: u8,
    /// The TCP flags of the segment, as in the header's last byte ([`segment_flags`]); 0 where
    /// there is no segment.
    pub segment_flags: u8,
    /// Always zero.
    pub reserved: u8,
    /// Bits of [`crate::flags`]: `COOKIE` and `UNHASHED`.
    pub flags: u32,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub at: u64,
    /// The same as [`crate::TransitionRecord::id`].
    pub id: u64,
    /// The kernel's `enum sk_rst_reason` of a reset sent, [`SignalRecord::NO_REASON`] where the
    /// kernel gives none (before 6.10); `enum skb_drop_reason` of a segment dropped on its way out.
    /// The numbers differ between kernels: names come from the kernel's BTF.
    pub reason: u32,
    /// Sequence number of the segment's first byte.
    pub seq: u32,
    /// Sequence number behind the segment's last byte; SYN and FIN count.
    pub end_seq: u32,
    /// Acknowledgment number of the segment.
    pub ack_seq: u32,
}

impl SignalRecord {
    /// The kernel gave no reason.
    pub const NO_REASON: u32 = u32::MAX;
}

/// Bits of [`SignalRecord::segment_flags`]: those of the TCP header (RFC 9293, `TCPHDR_*` of
/// include/net/tcp.h).
pub mod segment_flags {
    /// The sender has finished sending.
    pub const FIN: u8 = 1 << 0;
    /// The connection is reset.
    pub const RST: u8 = 1 << 2;
    /// The acknowledgment number is valid.
    pub const ACK: u8 = 1 << 4;
}

const _: () = {
    assert!(size_of::<SignalRecord>() == 40);
    assert!(align_of::<SignalRecord>() == 8);
    assert!(offset_of!(SignalRecord, flags) == 4);
    assert!(offset_of!(SignalRecord, at) == 8);
    assert!(offset_of!(SignalRecord, id) == 16);
    assert!(offset_of!(SignalRecord, reason) == 24);
    assert!(offset_of!(SignalRecord, ack_seq) + 4 == size_of::<SignalRecord>());
};

//! Resets and repeated FINs, which the transitions alone do not show.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::BtfTracePointContext;
use tcpclose_common::{RingRecordKind, SignalRecord, TcpState, flags, segment_flags};

use crate::kernel::{Sock, config, load};
use crate::{filter, ring};

/// `tcp_send_reset(sk, skb, reason)`; `sk` is NULL when the segment belongs to no socket.
#[inline(always)]
pub fn on_send_reset(ctx: &BtfTracePointContext) {
    let sk = ctx.arg::<*const c_void>(0);
    if sk.is_null() {
        return;
    }
    let reason = if config!(has_reset_reason) != 0 {
        ctx.arg::<u32>(2)
    } else {
        SignalRecord::NO_REASON
    };
    // The segment that is answered; NULL when this endpoint aborts by itself
    // (tcp_send_active_reset).
    let skb = Skb(ctx.arg::<*const c_void>(1));
    record(RingRecordKind::ResetSent, Sock(sk), reason, skb);
}

/// `tcp_receive_reset(sk)`: the kernel accepts a RST.
#[inline(always)]
pub fn on_receive_reset(ctx: &BtfTracePointContext) {
    record(
        RingRecordKind::ResetReceived,
        Sock(ctx.arg::<*const c_void>(0)),
        SignalRecord::NO_REASON,
        Skb::NONE,
    );
}

/// `tcp_retransmit_skb(sk, skb, error)`: recorded only when the segment holds this endpoint's FIN.
#[inline(always)]
pub fn on_retransmit(ctx: &BtfTracePointContext) {
    let sk = Sock(ctx.arg::<*const c_void>(0));
    let state: u8 = sk.field(config!(skc_state));
    if state != TcpState::FinWait1 && state != TcpState::LastAck && state != TcpState::Closing {
        return;
    }
    if config!(has_retransmit_error) != 0 && ctx.arg::<i32>(2) != 0 {
        return;
    }
    let skb = Skb(ctx.arg::<*const c_void>(1));
    if skb.tcp_flags() & segment_flags::FIN != 0 {
        record(
            RingRecordKind::FinRetransmitted,
            sk,
            SignalRecord::NO_REASON,
            Skb::NONE,
        );
    }
}

/// A typed `struct sk_buff *` of a segment that TCP has read: its header's fields lie in the
/// control block (`struct tcp_skb_cb`), where tcp_v4_fill_cb and tcp_v6_fill_cb put them. May be
/// NULL.
#[derive(Clone, Copy)]
pub struct Skb(pub *const c_void);

impl Skb {
    /// No segment.
    pub const NONE: Self = Self(core::ptr::null());

    /// Returns the low byte of the header's flags.
    #[inline(always)]
    pub fn tcp_flags(self) -> u8 {
        self.field(config!(skb_tcp_flags))
    }

    /// Returns a field of the control block, or of `struct sk_buff`.
    #[inline(always)]
    pub fn field<T>(self, offset: u32) -> T {
        // SAFETY: the verifier has typed the argument; the offset is BTF's.
        unsafe { load(self.0, offset) }
    }

    /// Returns the header's fields; [`Segment::NONE`] where there is no segment.
    #[inline(always)]
    pub fn segment(self) -> Segment {
        if self.0.is_null() {
            return Segment::NONE;
        }
        Segment {
            flags: self.tcp_flags(),
            seq: self.field(config!(skb_seq)),
            end_seq: self.field(config!(skb_end_seq)),
            ack_seq: self.field(config!(skb_ack_seq)),
        }
    }
}

/// What a record has of a segment.
#[derive(Clone, Copy)]
pub struct Segment {
    /// The low byte of the header's flags.
    pub flags: u8,
    /// Number of its first byte.
    pub seq: u32,
    /// The number behind it; SYN and FIN count.
    pub end_seq: u32,
    /// Its acknowledgment number.
    pub ack_seq: u32,
}

impl Segment {
    /// No segment.
    pub const NONE: Self = Self {
        flags: 0,
        seq: 0,
        end_seq: 0,
        ack_seq: 0,
    };
}

/// Records a signal of a full socket, if the filter lets it pass.
#[inline(always)]
pub fn record(kind: RingRecordKind, sk: Sock, reason: u32, skb: Skb) {
    if !filter::passes_socket(sk) {
        return;
    }
    let (id, is_cookie) = sk.id();
    let bits = if is_cookie { flags::COOKIE } else { 0 };
    let segment = skb.segment();
    write_signal(
        kind,
        sk.field(config!(skc_state)),
        id,
        bits,
        reason,
        segment,
    );
}

/// Writes a signal of the socket with this id to the ring; `bits` are those of its
/// [`SignalRecord::flags`].
#[inline(always)]
pub fn write_signal(
    kind: RingRecordKind,
    state: u8,
    id: u64,
    bits: u32,
    reason: u32,
    segment: Segment,
) {
    let Some(entry) = ring::reserve::<SignalRecord>() else {
        return;
    };
    // SAFETY: the helper has no preconditions.
    let at = unsafe { bpf_ktime_get_ns() };
    let record = SignalRecord {
        kind: kind as u8,
        state,
        segment_flags: segment.flags,
        reserved: 0,
        flags: bits,
        at,
        id,
        reason,
        seq: segment.seq,
        end_seq: segment.end_seq,
        ack_seq: segment.ack_seq,
    };
    // SAFETY: the entry was reserved in the ring, with room for a signal.
    unsafe { entry.write(record) };
    ring::submit(entry);
}

//! Resets and repeated FINs: what the transitions alone do not tell.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::BtfTracePointContext;
use tcpclose_common::{RecordKind, Signal, flags};

use crate::kernel::{Sock, config, load};
use crate::{filter, ring};

const FIN_WAIT1: u8 = 4;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;
/// `TCPHDR_FIN` of include/net/tcp.h.
const TCPHDR_FIN: u8 = 1;

/// `tcp_send_reset(sk, skb, reason)`; `sk` is NULL when no socket answers for the segment.
#[inline(always)]
pub fn on_send_reset(ctx: &BtfTracePointContext) {
    let sk = ctx.arg::<*const c_void>(0);
    if sk.is_null() {
        return;
    }
    let reason = if config!(has_reset_reason) != 0 {
        ctx.arg::<u32>(2)
    } else {
        Signal::NO_REASON
    };
    send(RecordKind::ResetSent, Sock(sk), reason);
}

/// `tcp_receive_reset(sk)`.
#[inline(always)]
pub fn on_receive_reset(ctx: &BtfTracePointContext) {
    send(
        RecordKind::ResetReceived,
        Sock(ctx.arg::<*const c_void>(0)),
        Signal::NO_REASON,
    );
}

/// `tcp_retransmit_skb(sk, skb, error)`: told only when the segment holds this end's FIN.
#[inline(always)]
pub fn on_retransmit(ctx: &BtfTracePointContext) {
    let sk = Sock(ctx.arg::<*const c_void>(0));
    let state: u8 = sk.field(config!(skc_state));
    if state != FIN_WAIT1 && state != LAST_ACK && state != CLOSING {
        return;
    }
    if config!(has_retransmit_error) != 0 && ctx.arg::<i32>(2) != 0 {
        return;
    }
    let skb = ctx.arg::<*const c_void>(1);
    // SAFETY: the verifier has typed the argument; the offset is BTF's.
    let tcp_flags: u8 = unsafe { load(skb, config!(skb_tcp_flags)) };
    if tcp_flags & TCPHDR_FIN != 0 {
        send(RecordKind::FinRetransmitted, sk, Signal::NO_REASON);
    }
}

#[inline(always)]
fn send(kind: RecordKind, sk: Sock, reason: u32) {
    if !filter::wants_socket(sk) {
        return;
    }
    let Some(mut entry) = ring::reserve::<Signal>() else {
        return;
    };
    let (id, is_cookie) = sk.id();
    // SAFETY: the helper has no preconditions.
    let at = unsafe { bpf_ktime_get_ns() };
    entry.write(Signal {
        kind: kind as u8,
        state: sk.field(config!(skc_state)),
        reserved: [0; 2],
        flags: if is_cookie { flags::COOKIE } else { 0 },
        at,
        id,
        reason,
        reserved2: 0,
    });
    ring::submit(entry);
}

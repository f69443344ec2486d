//! The timewait minisockets, which no tracepoint shows: begin, restart and end of TIME_WAIT and of
//! an orphan's FIN_WAIT2 come from function hooks (fentry), and the FINs and RSTs that minisockets
//! take from `skb:kfree_skb`. Where the kernel refuses the hooks or has inlined a function, user
//! space polls sock_diag instead.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_timewait_sock;
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext};
use tcpclose_common::{RingRecordKind, SignalRecord, flags, segment_flags};

use crate::filter;
use crate::kernel::{Sock, config};
use crate::signal::{Skb, write_signal};

/// A `struct inet_timewait_sock *` is the first argument of all three functions. It begins with the
/// same `sock_common` as a full socket.
#[inline(always)]
pub fn on_hook(ctx: &FEntryContext, kind: RingRecordKind) {
    let tw = Sock(ctx.arg::<*const c_void>(0));
    if !filter::passes_minisocket(tw) {
        return;
    }
    record(kind, tw, 0, Skb::NONE);
}

/// `kfree_skb(skb, location, reason, rx_sk)`, with `rx_sk` since 6.11: tcp_v4_rcv and tcp_v6_rcv
/// drop what a minisocket took without naming a reason (tcp_timewait_state_process). A segment that
/// was dropped before it reached the minisocket (a firewall, a wrong checksum) has a reason, or no
/// socket.
#[inline(always)]
pub fn on_kfree_skb(ctx: &BtfTracePointContext) {
    if config!(has_receiving_socket) == 0 {
        return;
    }
    let skb = Skb(ctx.arg::<*const c_void>(0));
    // In other protocols this byte means something else; the socket shows which it is.
    let tcp_flags = skb.tcp_flags();
    if tcp_flags & (segment_flags::FIN | segment_flags::RST) == 0 {
        return;
    }
    let sk = ctx.arg::<*mut c_void>(3);
    if sk.is_null() {
        return;
    }
    // SAFETY: the helper takes any typed sock and returns NULL for what is no timewait minisocket
    // of TCP.
    let tw = unsafe { bpf_skc_to_tcp_timewait_sock(sk) };
    if tw.is_null() {
        return;
    }
    let tw = Sock(tw.cast());
    // In no hash chain: it is being taken down, and has just been if a RST did it. The memory may
    // be another minisocket's by now (SLAB_TYPESAFE_BY_RCU), but that has another cookie and is in
    // a chain.
    let gone = tw.field::<u64>(config!(skc_node_pprev)) == 0;
    if tcp_flags & segment_flags::RST != 0 && !gone {
        return;
    }
    if !filter::passes_minisocket(tw) {
        return;
    }
    let bits = if gone { flags::UNHASHED } else { 0 };
    record(RingRecordKind::MinisocketSegment, tw, bits, skb);
}

#[inline(always)]
fn record(kind: RingRecordKind, tw: Sock, bits: u32, skb: Skb) {
    // Zero: the socket closed before anybody requested its cookie, so user space does not follow
    // it.
    let cookie: u64 = tw.field(config!(skc_cookie));
    if cookie == 0 {
        return;
    }
    write_signal(
        kind,
        tw.field(config!(tw_substate)),
        cookie,
        flags::COOKIE | bits,
        SignalRecord::NO_REASON,
        skb.segment(),
    );
}

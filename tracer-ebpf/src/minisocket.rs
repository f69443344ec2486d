//! The timewait minisockets, which pass no tracepoint: begin, restart and end of TIME_WAIT and of an orphan's FIN_WAIT2.
//!
//! These are function hooks (fentry). Where the kernel refuses them or a function was inlined, user space asks sock_diag
//! instead.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::FEntryContext;
use tcpclose_common::{RecordKind, Signal, flags};

use crate::kernel::{Sock, config};
use crate::{filter, ring};

/// A `struct inet_timewait_sock *` is the first argument of all three functions. It begins with the same `sock_common`
/// as a full socket.
#[inline(always)]
pub fn on_hook(ctx: &FEntryContext, kind: RecordKind) {
    let tw = Sock(ctx.arg::<*const c_void>(0));
    if !filter::wants_minisocket(tw) {
        return;
    }
    // Zero: the socket closed before anybody asked for its cookie, so nobody follows it.
    let cookie: u64 = tw.field(config!(skc_cookie));
    if cookie == 0 {
        return;
    }
    let Some(mut entry) = ring::reserve::<Signal>() else {
        return;
    };
    // SAFETY: the helper has no preconditions.
    let at = unsafe { bpf_ktime_get_ns() };
    entry.write(Signal {
        kind: kind as u8,
        state: tw.field(config!(tw_substate)),
        reserved: [0; 2],
        flags: flags::COOKIE,
        at,
        id: cookie,
        reason: Signal::NO_REASON,
        reserved2: 0,
    });
    ring::submit(entry);
}

//! The eBPF programs of tcpclose. Each is one line here; the file of its topic has the rest.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "everything here is the kernel's memory")]
#![allow(missing_docs, reason = "the program macros drop the docs")]

mod classic;
mod dropped;
mod filter;
mod kernel;
mod minisocket;
mod program_stats;
mod recursion_fallback;
mod ring;
mod signal;
mod task;
mod task_file_iter;
mod transition;

use aya_ebpf::macros::{btf_tracepoint, fentry, tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, TracePointContext};
use tcpclose_common::{Program, RingRecordKind};

use kernel::config;
use program_stats::timed;

/// Records every TCP state transition, with the evidence that the socket holds.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    timed(Program::SetState, || {
        recursion_fallback::main_program(&ctx, || transition::on_set_state(&ctx))
    });
    0
}

/// Records the transitions that the main program missed because it was already running on this CPU.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state_fallback(ctx: BtfTracePointContext) -> i32 {
    timed(Program::SetStateFallback, || {
        recursion_fallback::fallback(&ctx, || transition::on_set_state(&ctx))
    });
    0
}

/// Records the same transitions on kernels without BTF: states, addresses and ports only.
#[tracepoint(category = "sock", name = "inet_sock_set_state")]
pub fn inet_sock_set_state_classic(ctx: TracePointContext) -> u32 {
    timed(Program::SetStateClassic, || classic::on_set_state(&ctx));
    0
}

/// Records that this host sends a RST.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    timed(Program::SendReset, || signal::on_send_reset(&ctx));
    0
}

/// Records that this host accepts a RST from the peer.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    timed(Program::ReceiveReset, || signal::on_receive_reset(&ctx));
    0
}

/// Records that a segment with a FIN is sent again.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    timed(Program::RetransmitSkb, || signal::on_retransmit(&ctx));
    0
}

/// Records the FIN or RST that a minisocket received, which the kernel drops afterwards, and what
/// is dropped of this host's own segments before they have left.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    timed(Program::KfreeSkb, || {
        // Nearly all packets have another reason.
        if ctx.arg::<u32>(2) == config!(reason_not_specified) {
            minisocket::on_kfree_skb(&ctx);
        } else {
            dropped::on_kfree_skb(&ctx);
        }
    });
    0
}

/// Records that the timer of a minisocket is started or restarted.
#[fentry(function = "__inet_twsk_schedule")]
pub fn inet_twsk_schedule(ctx: FEntryContext) -> i32 {
    timed(Program::TwskSchedule, || {
        minisocket::on_hook(&ctx, RingRecordKind::MinisocketArmed)
    });
    0
}

/// Records that a minisocket is removed before its timer fires.
#[fentry(function = "inet_twsk_deschedule_put")]
pub fn inet_twsk_deschedule_put(ctx: FEntryContext) -> i32 {
    timed(Program::TwskDeschedulePut, || {
        minisocket::on_hook(&ctx, RingRecordKind::MinisocketDescheduled)
    });
    0
}

/// Records that a minisocket is removed, for any reason.
#[fentry(function = "inet_twsk_kill")]
pub fn inet_twsk_kill(ctx: FEntryContext) -> i32 {
    timed(Program::TwskKill, || {
        minisocket::on_hook(&ctx, RingRecordKind::MinisocketKilled)
    });
    0
}

/// Called for every open file of every process: writes the descriptors of sockets in CLOSE_WAIT and
/// LISTEN.
#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
pub fn socket_descriptors(ctx: *mut core::ffi::c_void) -> i32 {
    task_file_iter::on_file(ctx);
    0
}

/// Under this licence a program may call the kernel's GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

//! `tracepoint:sock:inet_sock_set_state`, for kernels without BTF: sockets cannot be read there, so
//! the record has no evidence and no cookie.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::TracePointContext;
use tcpclose_common::{RingRecordKind, TransitionRecord};

use crate::kernel::{AF_INET, config, is_v4_mapped};
use crate::{filter, ring, task};

const IPPROTO_TCP: u16 = 6;
/// Words of eight bytes that a context may have: 72 bytes on every kernel but RHEL's, whose common
/// fields are longer.
const WORDS: usize = 10;

/// A copy of the context, word by word: the verifier lets a context be read only at offsets that
/// stand in the instruction, a copy on the stack at any known one.
struct Context([u64; WORDS]);

impl Context {
    #[inline(always)]
    fn copy(ctx: &TracePointContext) -> Self {
        let from = ctx.as_ptr().cast::<u64>();
        let mut words = [0; WORDS];
        // SAFETY: the verifier checks each constant offset against the size of the context.
        unsafe {
            words[1] = from.add(1).read_volatile();
            words[2] = from.add(2).read_volatile();
            words[3] = from.add(3).read_volatile();
            words[4] = from.add(4).read_volatile();
            words[5] = from.add(5).read_volatile();
            words[6] = from.add(6).read_volatile();
            words[7] = from.add(7).read_volatile();
            words[8] = from.add(8).read_volatile();
            if config!(classic_size) > 72 {
                words[9] = from.add(9).read_volatile();
            }
        }
        Self(words)
    }

    /// Returns the field at `offset`, or `None` where that is outside the copy.
    #[inline(always)]
    fn field<T: Copy>(&self, offset: u32) -> Option<T> {
        let offset = offset as usize;
        if offset + size_of::<T>() > size_of::<Self>() {
            return None;
        }
        // SAFETY: inside the array, checked above; fields of a trace record are naturally aligned.
        Some(unsafe {
            self.0
                .as_ptr()
                .cast::<u8>()
                .add(offset)
                .cast::<T>()
                .read_volatile()
        })
    }
}

/// Records a transition as [`crate::transition::on_set_state`] does, from the tracepoint's own
/// record.
#[inline(always)]
pub fn on_set_state(ctx: &TracePointContext) {
    let _ = try_on_set_state(&Context::copy(ctx));
}

#[inline(always)]
fn try_on_set_state(ctx: &Context) -> Option<()> {
    let protocol = if config!(classic_protocol_is_byte) != 0 {
        u16::from(ctx.field::<u8>(config!(classic_protocol))?)
    } else {
        ctx.field(config!(classic_protocol))?
    };
    let old = ctx.field::<u32>(config!(classic_oldstate))? as u8;
    let new = ctx.field::<u32>(config!(classic_newstate))? as u8;
    if protocol != IPPROTO_TCP || !filter::is_connection_transition(old, new) {
        return None;
    }
    // The tracepoint has ports in host order and v4 addresses in the v6 fields as v4-mapped.
    let local_port = ctx.field::<u16>(config!(classic_sport))?;
    let peer_port = ctx.field::<u16>(config!(classic_dport))?;
    let peer_v6 = config!(classic_daddr_v6);
    let peer: [u64; 2] = [ctx.field(peer_v6)?, ctx.field(peer_v6 + 8)?];
    let is_mapped = is_v4_mapped(peer[0], peer[1] as u32);
    let ip = if ctx.field::<u16>(config!(classic_family))? == AF_INET || is_mapped {
        4
    } else {
        6
    };
    if !filter::passes(old, new, 0, ip, local_port, peer_port) {
        return None;
    }
    let local_v6 = config!(classic_saddr_v6);
    let local: [u64; 2] = [ctx.field(local_v6)?, ctx.field(local_v6 + 8)?];
    let skaddr: u64 = ctx.field(config!(classic_skaddr))?;

    let has_task = filter::is_syscall_driven(old, new, false);
    let record = ring::reserve_transition(ip, has_task)?;
    // SAFETY: the record was reserved in the ring, with the length that it needs; all of that is
    // zeroed, so no field is left unwritten.
    unsafe {
        record
            .cast::<u8>()
            .write_bytes(0, TransitionRecord::LEN_IPV4);
        (*record).kind = RingRecordKind::Transition as u8;
        (*record).old = old;
        (*record).new = new;
        (*record).ip = ip;
        (*record).at = bpf_ktime_get_ns();
        (*record).id = skaddr;
        (*record).skaddr = skaddr;
        if ip == 4 {
            // The last four bytes of a v4-mapped address.
            (*record).local_v4 = ((local[1] >> 32) as u32).to_ne_bytes();
            (*record).peer_v4 = ((peer[1] >> 32) as u32).to_ne_bytes();
        } else {
            (&raw mut (*record).local_v6)
                .cast::<[u64; 2]>()
                .write(local);
            (&raw mut (*record).peer_v6).cast::<[u64; 2]>().write(peer);
        }
        (*record).local_port = local_port;
        (*record).peer_port = peer_port;
        if has_task {
            (*record).flags = task::fill_task(record);
            if filter::is_connect(old, new) {
                (*record).flags |= task::fill_calling_thread(record);
            }
        } else if ip != 4 {
            task::clear_task(record);
        }
    }
    ring::submit(record);
    Some(())
}

//! The ring buffers, their losses, and waking the reader.

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ringbuf_submit};
use aya_ebpf::macros::map;
use aya_ebpf::maps::ring_buf::RingBufBytes;
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};
use tcpclose_common::TransitionRecord;

use crate::kernel::config;

macro_rules! rings {
    ($($number:literal => $name:ident,)*) => {
        $(
            /// Records on their way to user space. Its size is set at load time.
            #[map]
            static $name: RingBuf = RingBuf::with_byte_size(4096, 0);
        )*

        #[inline(always)]
        fn reserve_in(ring: u32, length: usize) -> Option<RingBufBytes<'static>> {
            match ring {
                $($number => $name.reserve_bytes(length, 0),)*
                _ => None,
            }
        }
    };
}

rings! {
    0 => EVENTS_0,
    1 => EVENTS_1,
    2 => EVENTS_2,
    3 => EVENTS_3,
    4 => EVENTS_4,
    5 => EVENTS_5,
    6 => EVENTS_6,
    7 => EVENTS_7,
}

/// Records that found the ring full, counted on each CPU.
#[map]
static LOST_RECORDS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// 1 while the reader sleeps without a time-out.
#[map]
static READER_ASLEEP: Array<u32> = Array::with_max_entries(1, 0);

/// Reserves room for a record in this CPU's ring; `None` (counted) when that is full.
#[inline(always)]
pub fn reserve<T: 'static>() -> Option<*mut T> {
    reserve_bytes(size_of::<T>())
}

/// Reserves room for a transition of [`TransitionRecord::len_for`]. Each length is a call of its
/// own: from a length that is chosen first the compiler may make a sum, which is not a constant to
/// the verifier.
#[inline(always)]
pub fn reserve_transition(ip: u8, has_task: bool) -> Option<*mut TransitionRecord> {
    if ip != 4 {
        reserve_bytes(TransitionRecord::LEN_MAX)
    } else if has_task {
        reserve_bytes(TransitionRecord::LEN_IPV4_WITH_TASK)
    } else {
        reserve_bytes(TransitionRecord::LEN_IPV4)
    }
}

/// Reserves as many bytes as the verifier knows as a constant at each call.
#[inline(always)]
fn reserve_bytes<T>(length: usize) -> Option<*mut T> {
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let mut entry = reserve_in(cpu & config!(ring_mask), length);
    if entry.is_none()
        && let Some(lost) = LOST_RECORDS.get_ptr_mut(0)
    {
        // SAFETY: this CPU's own slot. The count of a program that interrupts this one between the
        // load and the store is lost; the counts before and after it are not.
        unsafe { *lost += 1 };
    }
    entry.as_mut().map(|entry| entry.as_mut_ptr().cast())
}

/// Hands a record to user space. A wake-up costs ten times the record, so only a sleeping reader is
/// woken, once: an awake reader polls every few milliseconds.
#[inline(always)]
pub fn submit<T>(record: *mut T) {
    let mut flags = BPF_RB_NO_WAKEUP;
    if let Some(asleep) = READER_ASLEEP.get_ptr_mut(0) {
        // SAFETY: a valid slot of the map. Two CPUs may both see 1 and both wake the reader:
        // harmless.
        unsafe {
            if asleep.read_volatile() != 0 {
                asleep.write_volatile(0);
                flags = BPF_RB_FORCE_WAKEUP;
            }
        }
    }
    // SAFETY: it is a record that was reserved, and is not used after this.
    unsafe { bpf_ringbuf_submit(record.cast(), u64::from(flags)) }
}

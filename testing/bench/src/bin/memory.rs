//! How much memory the core has for each live endpoint: counted, not estimated. One JSON object a
//! line.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tcpclose_common::TcpState;
use tcpclose_core::event::{Event, Evidence, Task, Transition};
use tcpclose_core::types::{CgroupId, EndpointId, Nanos, NetNs, Port, Tuple};
use tcpclose_core::{Input, Tracker};

struct CountingAllocator;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work; only numbers are kept beside it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Endpoints of each measurement, for a plot over three powers of ten.
const SIZES: [u64; 7] = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000];
/// The time is that of the fastest round.
const ROUNDS: usize = 5;

fn main() {
    for endpoints in SIZES {
        let rounds: Vec<_> = (0..ROUNDS).map(|_| open_all(endpoints)).collect();
        let seconds = rounds.iter().map(|it| it.seconds).fold(f64::MAX, f64::min);
        let Measurement {
            bytes, peak_bytes, ..
        } = rounds[0];
        println!(
            r#"{{"endpoints":{endpoints},"bytes":{bytes},"peak_bytes":{peak_bytes},"seconds":{seconds:.9}}}"#
        );
    }
}

struct Measurement {
    bytes: usize,
    peak_bytes: usize,
    seconds: f64,
}

fn open_all(endpoints: u64) -> Measurement {
    let before = LIVE_BYTES.load(Ordering::Relaxed);
    PEAK_BYTES.store(before, Ordering::Relaxed);
    let begun = Instant::now();
    let mut tracker = Tracker::new(1 << 20);
    for number in 0..endpoints {
        open(&mut tracker, number);
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(tracker.live() as u64, endpoints);
    Measurement {
        bytes: LIVE_BYTES.load(Ordering::Relaxed) - before,
        peak_bytes: PEAK_BYTES.load(Ordering::Relaxed) - before,
        seconds,
    }
}

/// A client of one of a hundred processes connects.
fn open(tracker: &mut Tracker, number: u64) {
    let local = SocketAddr::from((
        Ipv4Addr::from_bits(0x0a00_0000 + (number / 50_000) as u32),
        10_000,
    ));
    let peer = SocketAddr::from(([192, 0, 2, 1], 443));
    let mut tuple = Tuple::from((local, peer));
    tuple.local_port = Port::new(10_000 + (number % 50_000) as u16);
    let task = Task {
        pid: 1000 + (number % 100) as u32,
        uid: 1000,
        cgroup: CgroupId::new(7),
        comm: *b"client\0\0\0\0\0\0\0\0\0\0",
        exits: None,
        thread: None,
    };
    let steps = [
        (TcpState::Close, TcpState::SynSent, Some(task)),
        (TcpState::SynSent, TcpState::Established, None),
    ];
    for (old, new, task) in steps {
        tracker.apply(&Input::Event(Event::Transition(Transition {
            at: Nanos(1000 * number + 1),
            id: EndpointId(number + 1),
            skaddr: None,
            netns: NetNs::new(1),
            tuple,
            old,
            new,
            task,
            evidence: Some(Evidence::default()),
        })));
    }
}

//! How much memory the core has for each live connection end: counted, not estimated. One JSON object a line.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tcpclose::lifecycle::event::{Event, Evidence, Task, Transition};
use tcpclose::lifecycle::types::{ConnId, Nanos, NetNs, Tuple};
use tcpclose::lifecycle::{Input, Tracker};
use tcpclose_common::TcpState;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    for ends in [1_000, 10_000, 100_000, 300_000, 1_000_000] {
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let begun = Instant::now();
        let mut tracker = Tracker::new(1 << 20);
        for number in 0..ends {
            open(&mut tracker, number);
        }
        let took = begun.elapsed();
        assert_eq!(tracker.live() as u64, ends);
        let bytes = LIVE.load(Ordering::Relaxed) - before;
        let peak = PEAK.load(Ordering::Relaxed) - before;
        println!(
            r#"{{"ends":{ends},"bytes":{bytes},"bytes_each":{:.1},"peak_bytes":{peak},"seconds":{:.6}}}"#,
            bytes as f64 / ends as f64,
            took.as_secs_f64()
        );
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
    tuple.local_port = 10_000 + (number % 50_000) as u16;
    let task = Task {
        pid: 1000 + (number % 100) as u32,
        uid: 1000,
        cgroup: 7,
        comm: *b"client\0\0\0\0\0\0\0\0\0\0",
        exits: None,
    };
    let steps = [
        (TcpState::Close, TcpState::SynSent, Some(task)),
        (TcpState::SynSent, TcpState::Established, None),
    ];
    for (old, new, task) in steps {
        tracker.take(&Input::Event(Event::Transition(Transition {
            at: Nanos(1000 * number + 1),
            id: ConnId(number + 1),
            skaddr: 0,
            netns: NetNs(1),
            tuple,
            old,
            new,
            task,
            evidence: Some(Evidence::default()),
        })));
    }
}

//! The core alone, on a stream that was recorded: `cargo xtask bench` records one and names it in `TCPCLOSE_RECORDING`.

use std::hint::black_box;
use std::mem;
use std::path::Path;

use criterion::{Criterion, Throughput};
use tcpclose::kernel::decode::decode;
use tcpclose::lifecycle::event::{Event, Transition};
use tcpclose::lifecycle::finding::Finding;
use tcpclose::lifecycle::{Input, Tracker};
use tcpclose::output::cgroup_names::NoCgroups;
use tcpclose::output::clock::WallClock;
use tcpclose::output::json;
use tcpclose::recording::{Entry, Head, Reader};
use tcpclose_common::{self as wire, RecordKind, flags};

/// What the core is given, transitions as the ring buffer holds them.
enum Step {
    Record([u8; mem::size_of::<wire::Transition>()]),
    Input(Input),
}

struct Stream {
    head: Head,
    steps: Vec<Step>,
    transitions: u64,
}

impl Stream {
    fn read(path: &Path) -> Self {
        let mut reader = Reader::open(path).expect("a recording");
        let mut steps = Vec::new();
        let mut transitions = 0;
        while let Some(entry) = reader.next_entry().expect("a whole recording") {
            let Entry::Input(input) = entry else { continue };
            steps.push(match input {
                Input::Event(Event::Transition(transition)) => {
                    transitions += 1;
                    Step::Record(record(&transition))
                }
                input => Step::Input(input),
            });
        }
        Self {
            head: reader.head().clone(),
            steps,
            transitions,
        }
    }

    /// Runs all of it through a new core.
    fn run(&self, mut found: impl FnMut(Finding)) -> Tracker {
        let mut tracker = self.head.tracker();
        let (mut lookups, mut sweeps, mut questions) = (Vec::new(), Vec::new(), Vec::new());
        for step in &self.steps {
            match step {
                Step::Record(bytes) => {
                    let event = decode(bytes, &[]).expect("a record that was one");
                    tracker.take(&Input::Event(event));
                }
                Step::Input(input) => tracker.take(input),
            }
            if let Step::Input(Input::Time(now)) = step {
                tracker.due_lookups(*now, &mut lookups);
                tracker.due_sweeps(*now, &mut sweeps);
                tracker.due_questions(*now, &mut questions);
            }
            while let Some(finding) = tracker.next_finding() {
                found(finding);
            }
        }
        tracker
    }
}

fn record(transition: &Transition) -> [u8; mem::size_of::<wire::Transition>()] {
    let evidence = transition.evidence.unwrap_or_default();
    let task = transition.task;
    let flag = |is: bool, flag: u32| if is { flag } else { 0 };
    let address = |ip: std::net::IpAddr| match ip {
        std::net::IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        std::net::IpAddr::V6(ip) => ip.octets(),
    };
    let record = wire::Transition {
        kind: RecordKind::Transition as u8,
        old: transition.old as u8,
        new: transition.new as u8,
        ip: transition.tuple.ip() as u8,
        flags: flag(transition.id.is_cookie(), flags::COOKIE)
            | flag(transition.evidence.is_some(), flags::EVIDENCE)
            | flag(task.is_some(), flags::TASK)
            | flag(evidence.dead, flags::DEAD)
            | flag(evidence.done, flags::DONE)
            | flag(evidence.no_socket, flags::NO_SOCKET)
            | flag(evidence.owned, flags::OWNED)
            | flag(evidence.linger_zero, flags::LINGER_ZERO)
            | flag(evidence.fin_alone, flags::FIN_ALONE)
            | flag(evidence.unread, flags::UNREAD),
        at: transition.at.0,
        id: transition.id.0,
        skaddr: transition.skaddr,
        local: address(transition.tuple.local().ip()),
        peer: address(transition.tuple.peer().ip()),
        local_port: transition.tuple.local_port,
        peer_port: transition.tuple.peer_port,
        netns: transition.netns.0,
        snd_una: evidence.snd_una,
        snd_nxt: evidence.snd_nxt,
        write_seq: evidence.write_seq,
        rcv_nxt: evidence.rcv_nxt,
        snd_wnd: evidence.snd_wnd,
        snd_wl1: evidence.snd_wl1,
        segs_in: evidence.segs_in,
        segs_out: evidence.segs_out,
        bytes_acked: evidence.bytes_acked,
        bytes_received: evidence.bytes_received,
        error: evidence.error,
        out_of_order: evidence.out_of_order,
        retransmits: evidence.retransmits,
        pid: task.map_or(0, |task| task.pid),
        uid: task.map_or(0, |task| task.uid),
        cgroup: task.map_or(0, |task| task.cgroup),
        comm: task.map_or([0; wire::COMM_LEN], |task| task.comm),
    };
    // SAFETY: the record has no padding (asserted beside its definition), so all its bytes are set.
    unsafe { mem::transmute(record) }
}

fn main() {
    let Some(path) = std::env::var_os("TCPCLOSE_RECORDING") else {
        eprintln!(
            "TCPCLOSE_RECORDING names no recording: `cargo xtask bench --only core` makes one"
        );
        return;
    };
    let stream = Stream::read(Path::new(&path));
    let mut findings = Vec::new();
    stream.run(|finding| findings.push(finding));
    println!(
        "{} transitions, {} findings in {}",
        stream.transitions,
        findings.len(),
        Path::new(&path).display()
    );

    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(stream.transitions));
    group.bench_function("decode_and_track", |bencher| {
        bencher.iter(|| stream.run(|finding| drop(black_box(finding))));
    });
    let clock = WallClock::new();
    let mut lines = Vec::new();
    group.bench_function("json", |bencher| {
        bencher.iter(|| {
            lines.clear();
            for finding in &findings {
                json::write_finding(&mut lines, finding, &clock, &mut NoCgroups)
                    .expect("memory takes everything");
            }
            black_box(lines.len())
        });
    });
    group.finish();
    criterion.final_summary();
}

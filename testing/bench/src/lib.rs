//! A recorded stream, as the ring buffer would hold it, and what the core makes of it.

#![expect(
    unsafe_code,
    reason = "a record as the bytes that the kernel would write"
)]

use std::mem;
use std::net::IpAddr;
use std::path::Path;

use tcpclose::output::cgroup_names::NoCgroups;
use tcpclose::output::clock::WallClock;
use tcpclose::output::json;
use tcpclose::recording::{Entry, Head, Reader};
use tcpclose::session;
use tcpclose_common::{self as wire, RecordKind, flags};
use tcpclose_core::event::{Event, Transition};
use tcpclose_core::finding::Finding;
use tcpclose_core::types::{CgroupId, NetNs, SocketAddress};
use tcpclose_core::{Input, Tracker};
use tcpclose_sys::kernel::decode::decode;

/// What the core is given, transitions as the ring buffer holds them.
enum Step {
    Record {
        bytes: [u8; wire::TransitionRecord::WHOLE],
        length: usize,
    },
    Input(Input),
}

impl Step {
    fn record(transition: &Transition) -> Self {
        let ip = transition.tuple.ip() as u8;
        Self::Record {
            bytes: whole_record(transition),
            length: wire::TransitionRecord::length(ip, transition.task.is_some()),
        }
    }
}

/// What one recording has.
pub struct Stream {
    head: Head,
    steps: Vec<Step>,
    /// How many of them are transitions.
    pub transitions: u64,
}

impl Stream {
    /// Reads all of it, before anything is measured.
    pub fn read(path: &Path) -> Self {
        let mut reader = Reader::open(path).expect("a recording");
        let mut steps = Vec::new();
        let mut transitions = 0;
        while let Some(entry) = reader.next_entry().expect("a whole recording") {
            let Entry::Input(input) = entry else { continue };
            steps.push(match input {
                Input::Event(Event::Transition(transition)) => {
                    transitions += 1;
                    Step::record(&transition)
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

    /// A core that has seen nothing yet.
    pub fn tracker(&self) -> Tracker {
        session::tracker_for(&self.head)
    }

    /// Decodes all of it and runs it through `tracker`.
    pub fn run(&self, tracker: &mut Tracker, mut found: impl FnMut(Finding)) {
        let (mut lookups, mut sweeps, mut questions) = (Vec::new(), Vec::new(), Vec::new());
        for step in &self.steps {
            match step {
                Step::Record { bytes, length } => {
                    let event = decode(&bytes[..*length], &[]).expect("a record that was one");
                    tracker.ingest(&event);
                }
                Step::Input(input) => tracker.take(input),
            }
            if let Step::Input(Input::Time(now)) = step {
                tracker.due_probes(*now, &mut lookups);
                tracker.due_polls(*now, &mut sweeps);
                tracker.due_stuck_probes(*now, &mut questions);
            }
            while let Some(finding) = tracker.next_finding() {
                found(finding);
            }
        }
    }

    /// All that is found in it.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.run(&mut self.tracker(), |finding| findings.push(finding));
        findings
    }
}

/// Writes all findings as JSON lines, over those that `lines` had.
pub fn write_json(lines: &mut Vec<u8>, findings: &[Finding], clock: &WallClock) {
    lines.clear();
    for finding in findings {
        json::write_finding(lines, finding, clock, &mut NoCgroups)
            .expect("memory takes everything");
    }
}

fn whole_record(transition: &Transition) -> [u8; wire::TransitionRecord::WHOLE] {
    let evidence = transition.evidence.unwrap_or_default();
    let task = transition.task;
    let flag = |is: bool, flag: u32| if is { flag } else { 0 };
    let v4 = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => [0; 4],
    };
    let v6 = |ip: IpAddr| match ip {
        IpAddr::V4(_) => [0; 16],
        IpAddr::V6(ip) => ip.octets(),
    };
    let (local, peer) = (transition.tuple.local().ip(), transition.tuple.peer().ip());
    let record = wire::TransitionRecord {
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
        skaddr: transition.skaddr.map_or(0, SocketAddress::get),
        local_v4: v4(local),
        peer_v4: v4(peer),
        local_port: transition.tuple.local().port(),
        peer_port: transition.tuple.peer().port(),
        netns: transition.netns.map_or(0, NetNs::get),
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
        cgroup: task.and_then(|task| task.cgroup).map_or(0, CgroupId::get),
        comm: task.map_or([0; wire::COMM_LEN], |task| task.comm),
        local_v6: v6(local),
        peer_v6: v6(peer),
    };
    // SAFETY: the record has no padding (asserted beside its definition), so all its bytes are set.
    unsafe { mem::transmute(record) }
}

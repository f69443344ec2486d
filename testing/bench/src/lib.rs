//! A recorded stream, as the ring buffer would hold it, and what the core finds in it.

use std::net::IpAddr;
use std::path::Path;

use tcpclose::cgroup_names::NoCgroups;
use tcpclose::clock_offset::ClockOffset;
use tcpclose::output::clock::WallClock;
use tcpclose::output::json;
use tcpclose::recording::{Entry, Head, Reader};
use tcpclose::session;
use tcpclose_common::{self as wire, RingRecordKind, flags};
use tcpclose_core::event::{Event, Transition};
use tcpclose_core::finding::Finding;
use tcpclose_core::types::{CgroupId, NetNs, SocketAddress, Thread};
use tcpclose_core::{Input, Tracker};
use tcpclose_sys::kernel::decode::{ReasonNames, decode};

/// What the core receives, transitions as the ring buffer holds them.
enum BenchInput {
    Record {
        record: wire::TransitionRecord,
        length: usize,
    },
    Input(Input),
}

impl BenchInput {
    fn record(transition: &Transition) -> Self {
        let ip = transition.tuple.ip() as u8;
        Self::Record {
            record: wire_record(transition),
            length: wire::TransitionRecord::len_for(ip, transition.task.is_some()),
        }
    }
}

/// The contents of a recording.
pub struct Stream {
    head: Head,
    inputs: Vec<BenchInput>,
    /// How many of them are transitions.
    pub transitions: u64,
}

impl Stream {
    /// Reads the recording that `TCPCLOSE_RECORDING` names.
    ///
    /// # Errors
    /// It names none; the sentence says where one is.
    pub fn from_environment() -> Result<Self, &'static str> {
        match std::env::var_os("TCPCLOSE_RECORDING") {
            Some(path) => Ok(Self::read(Path::new(&path))),
            None => Err(
                "TCPCLOSE_RECORDING names no recording: testing/bench/kept has one, and \
                         `cargo xtask bench --only e` makes a longer one",
            ),
        }
    }

    /// Reads all of it, before anything is measured.
    pub fn read(path: &Path) -> Self {
        let mut reader = Reader::open(path).expect("a recording");
        let mut inputs = Vec::new();
        let mut transitions = 0;
        while let Some(entry) = reader.next_entry().expect("a whole recording") {
            let Entry::Input(input) = entry else { continue };
            inputs.push(match input {
                Input::Event(Event::Transition(transition)) => {
                    transitions += 1;
                    BenchInput::record(&transition)
                }
                input => BenchInput::Input(input),
            });
        }
        Self {
            head: reader.head().clone(),
            inputs,
            transitions,
        }
    }

    /// A core that has seen nothing yet.
    pub fn tracker(&self) -> Tracker {
        session::tracker_for(&self.head)
    }

    /// Decodes all of it and runs it through `tracker`.
    pub fn run(&self, tracker: &mut Tracker, mut found: impl FnMut(Finding)) {
        let (mut probes, mut polls, mut stuck_probes) = (Vec::new(), Vec::new(), Vec::new());
        for input in &self.inputs {
            match input {
                BenchInput::Record { record, length } => {
                    let bytes = &bytemuck::bytes_of(record)[..*length];
                    let event =
                        decode(bytes, &ReasonNames::default()).expect("a record that was one");
                    tracker.apply(&Input::Event(event));
                }
                BenchInput::Input(input) => tracker.apply(input),
            }
            if let BenchInput::Input(Input::Time(now)) = input {
                tracker.due_probes(*now, &mut probes);
                tracker.due_polls(*now, &mut polls);
                tracker.due_stuck_probes(*now, &mut stuck_probes);
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

/// Returns the clock that the JSON's times are written with.
pub fn clock() -> WallClock {
    WallClock::new(ClockOffset::measured())
}

/// Writes all findings as JSON lines, over those that `lines` had.
pub fn write_json(lines: &mut Vec<u8>, findings: &[Finding], clock: &WallClock) {
    lines.clear();
    for finding in findings {
        json::write_finding(lines, finding, clock, &mut NoCgroups)
            .expect("memory takes everything");
    }
}

fn wire_record(transition: &Transition) -> wire::TransitionRecord {
    let evidence = transition.evidence.unwrap_or_default();
    let task = transition.task;
    let exits = task.and_then(|task| task.exits);
    let thread = task.and_then(|task| task.thread);
    let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
    let v4 = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => [0; 4],
    };
    let v6 = |ip: IpAddr| match ip {
        IpAddr::V4(_) => [0; 16],
        IpAddr::V6(ip) => ip.octets(),
    };
    let (local, peer) = (transition.tuple.local().ip(), transition.tuple.peer().ip());
    wire::TransitionRecord {
        kind: RingRecordKind::Transition as u8,
        old: transition.old as u8,
        new: transition.new as u8,
        ip: transition.tuple.ip() as u8,
        flags: flag(transition.id.is_cookie(), flags::COOKIE)
            | flag(transition.evidence.is_some(), flags::EVIDENCE)
            | flag(task.is_some(), flags::TASK)
            | flag(exits == Some(true), flags::PROCESS_EXITING)
            | flag(exits == Some(false), flags::PROCESS_ALIVE)
            | flag(thread.is_some(), flags::CALLING_THREAD)
            | evidence.flags.bits(),
        at: transition.at.0,
        id: transition.id.0,
        skaddr: transition.skaddr.map_or(0, SocketAddress::get),
        local_v4: v4(local),
        peer_v4: v4(peer),
        local_port: transition.tuple.local().port(),
        peer_port: transition.tuple.peer().port(),
        netns: transition.netns.map_or(0, NetNs::get),
        tcp: thread.map_or(evidence.tcp, in_place_of_fields),
        pid: task.map_or(0, |task| task.pid),
        uid: task.map_or(0, |task| task.uid),
        cgroup: task.and_then(|task| task.cgroup).map_or(0, CgroupId::get),
        comm: task.map_or([0; wire::COMM_LEN], |task| task.comm),
        local_v6: v6(local),
        peer_v6: v6(peer),
    }
}

/// Returns the fields of the record of a connect(), which begin with the thread.
fn in_place_of_fields(thread: Thread) -> wire::TcpFields {
    let mut bytes = [0; size_of::<wire::TcpFields>()];
    let thread = wire::CallingThread {
        tid: thread.id,
        comm: thread.comm,
    };
    bytes[..size_of::<wire::CallingThread>()].copy_from_slice(bytemuck::bytes_of(&thread));
    bytemuck::pod_read_unaligned(&bytes)
}

#[cfg(test)]
mod tests {
    use tcpclose_common::TcpState;
    use tcpclose_core::event::{Evidence, SocketFlags, Task, TcpFields};
    use tcpclose_core::types::{EndpointId, Nanos, Tuple};

    use super::*;

    #[test]
    fn a_transition_survives_the_way_through_a_record() {
        let addresses = |local: &str, peer: &str| {
            let address = |text: &str| text.parse().expect("an address");
            Tuple::from((address(local), address(peer)))
        };
        let mut transition = Transition {
            at: Nanos(1),
            id: EndpointId(2),
            skaddr: SocketAddress::new(3),
            netns: NetNs::new(4),
            tuple: addresses("192.0.2.1:5", "198.51.100.7:6"),
            old: TcpState::Established,
            new: TcpState::Close,
            task: None,
            evidence: None,
        };
        let task = Task {
            pid: 7,
            uid: 8,
            cgroup: CgroupId::new(9),
            comm: *b"0123456789abcde\0",
            exits: None,
            thread: None,
        };
        let evidence = Evidence {
            tcp: TcpFields {
                snd_una: 10,
                bytes_received: 1 << 40,
                retransmits: 11,
                ..TcpFields::default()
            },
            flags: SocketFlags::from_bits(u32::MAX),
        };
        for evidence in [None, Some(evidence)] {
            transition.evidence = evidence;
            for exits in [None, Some(false), Some(true)] {
                transition.task = Some(Task { exits, ..task });
                assert_survives(&transition);
            }
            transition.task = None;
            assert_survives(&transition);
        }
        transition.tuple = addresses("[2001:db8::1]:5", "[2001:db8::7]:6");
        assert_survives(&transition);
    }

    #[track_caller]
    fn assert_survives(transition: &Transition) {
        let BenchInput::Record { record, length } = BenchInput::record(transition) else {
            panic!("it is a record");
        };
        let read = decode(
            &bytemuck::bytes_of(&record)[..length],
            &ReasonNames::default(),
        )
        .expect("it was one");
        let written = Event::Transition(*transition);
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
    }
}

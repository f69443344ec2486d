//! Whatever comes, in whatever order: no panic, no entry left behind, no time that was not there.

use proptest::collection::vec;
use proptest::prelude::*;
use strum::VariantArray as _;
use tcpclose_common::TcpState;
use tcpclose_core::event::{
    Event, Evidence, Segment, Signal, SignalKind, SocketFlags, TcpFields, Transition,
};
use tcpclose_core::finding::Finding;
use tcpclose_core::stuck::{
    AgeCertainty, HolderCoverage, ObservedSocket, ProbedSocket, StuckProbeResponse,
};
use tcpclose_core::types::{EndpointId, Inode, Nanos};
use tcpclose_core::{MinisocketState, PollResponse, PolledMinisocket, ProbeRequest, Tracker};

use crate::input_methods::InputMethods as _;
use crate::socket::{NETNS, tuple};

fn state() -> impl Strategy<Value = TcpState> {
    prop::sample::select(TcpState::VARIANTS.to_vec())
}

prop_compose! {
    fn evidence()(
        numbers in any::<[u32; 10]>(), bytes in any::<[u64; 2]>(), flags in any::<[bool; 6]>(),
        error in prop::sample::select(vec![0, 32, 103, 104, 110, 111, 113]), out_of_order in any::<u16>(),
    ) -> Evidence {
        let [
            snd_una, snd_nxt, write_seq, rcv_nxt, snd_wnd, snd_wl1, segs_in, segs_out,
            sent_ms_ago, received_ms_ago,
        ] = numbers;
        let tcp = TcpFields {
            snd_una, snd_nxt, write_seq, rcv_nxt, snd_wnd, snd_wl1, segs_in, segs_out,
            bytes_acked: bytes[0], bytes_received: bytes[1], error, out_of_order, retransmits: 0,
            sent_ms_ago, received_ms_ago,
        };
        let flags = SocketFlags {
            dead: flags[0], fin_without_data: flags[0], unread: flags[1], done: flags[1], no_socket: flags[2], lock_owned: flags[3], linger_zero: flags[4],
            timestamps: flags[5], saw_timestamp: flags[0], repair: flags[5],
            fin_out_of_order: flags[2], backlog: flags[3], fin_ack_differs: flags[4], peer_saw_silence: flags[5], fin_sent_time: flags[0],
        };
        Evidence { tcp, flags }
    }
}

#[derive(Clone, Debug)]
enum Input {
    Transition {
        socket: u64,
        old: TcpState,
        new: TcpState,
        evidence: Option<Evidence>,
        step_back: bool,
    },
    Signal {
        socket: u64,
        which: u8,
        segment: Segment,
    },
    Pass(u64),
    Answer(u8, u64),
}

prop_compose! {
    fn segment()(numbers in any::<[u32; 3]>(), flags in any::<[bool; 3]>()) -> Segment {
        let [seq, end, ack] = numbers;
        Segment { fin: flags[0], rst: flags[1], has_ack: flags[2], seq, end, ack }
    }
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        6 => (0_u64..4, state(), state(), prop::option::weighted(0.9, evidence()), prop::bool::weighted(0.1)).prop_map(
            |(socket, old, new, evidence, step_back)| Input::Transition { socket, old, new, evidence, step_back }
        ),
        2 => (0_u64..4, 0_u8..9, segment()).prop_map(|(socket, which, segment)| Input::Signal { socket, which, segment }),
        1 => (0_u64..70_000).prop_map(Input::Pass),
        1 => (0_u8..5, 0_u64..70_000).prop_map(|(which, left)| Input::Answer(which, left)),
    ]
}

/// The socket's key: half of them have a cookie, half an address.
fn key(socket: u64) -> EndpointId {
    EndpointId(if socket.is_multiple_of(2) {
        socket + 1
    } else {
        0xffff_8000_0000_0000 + socket
    })
}

fn feed(tracker: &mut Tracker, now: &mut Nanos, input: &Input) {
    match input.clone() {
        Input::Transition {
            socket,
            old,
            new,
            evidence,
            step_back,
        } => {
            *now = *now + Nanos(1000);
            let at = if step_back { *now - Nanos(5000) } else { *now };
            let (id, netns, tuple) = (key(socket), Some(NETNS), tuple(1, 2));
            let transition = Transition {
                at,
                id,
                skaddr: None,
                netns,
                tuple,
                old,
                new,
                task: None,
                evidence,
            };
            tracker.ingest(&Event::Transition(transition));
        }
        Input::Signal {
            socket,
            which,
            segment,
        } => {
            let (time_wait, minisocket) = (segment.has_ack, segment.has_ack);
            let kind = match which {
                0 => SignalKind::ResetSent {
                    reason: Some("NOT_SPECIFIED"),
                    answers: Some(segment),
                    minisocket,
                },
                1 => SignalKind::ResetReceived,
                2 => SignalKind::FinRetransmitted,
                3 => SignalKind::MinisocketArmed { time_wait },
                4 => SignalKind::MinisocketDescheduled,
                5 => SignalKind::MinisocketKilled,
                6 => SignalKind::SegmentDropped {
                    segment,
                    reason: Some("NEIGH_FAILED"),
                },
                _ => SignalKind::MinisocketSegment { segment, time_wait },
            };
            tracker.ingest(&Event::Signal(Signal {
                at: *now,
                id: key(socket),
                kind,
            }));
        }
        Input::Pass(ms) => {
            *now = *now + Nanos::from_millis(ms);
            tracker.tick(*now);
        }
        Input::Answer(which, left) => {
            let left = Nanos::from_millis(left);
            // All endpoints were alive after the start, so no TIME_WAIT began before it.
            let time_wait_left = left.max(Nanos::from_secs(60) - (*now - START));
            let mut requests = Vec::new();
            tracker.due_probes(*now, &mut requests);
            for request in requests {
                let answer = match which {
                    0 => MinisocketState::FinWait2(left),
                    1 => MinisocketState::TimeWait(time_wait_left),
                    2 => MinisocketState::Gone,
                    4 => MinisocketState::FullSocket,
                    _ => MinisocketState::Unreachable,
                };
                tracker.apply_minisocket_probe(request.id, answer, *now);
            }
            let mut questions = Vec::new();
            tracker.due_stuck_probes(*now, &mut questions);
            let answers = questions.iter().map(|question| answer(question, which));
            tracker.apply_stuck_probe(&StuckProbeResponse {
                at: *now,
                ended: *now,
                found: answers.filter(|_| which < 3).collect(),
                coverage: HolderCoverage::All,
            });
            let mut requests = Vec::new();
            tracker.due_polls(*now, &mut requests);
            for request in requests {
                let sighting = PolledMinisocket {
                    cookie: key(0),
                    tuple: tuple(1, 2),
                    left: time_wait_left,
                };
                tracker.apply_poll(&PollResponse {
                    netns: request.netns,
                    began: *now,
                    ended: *now,
                    cost: Nanos(0),
                    reached: which != 4,
                    complete: which != 3,
                    overflows: u64::from(which == 2),
                    found: Vec::from_iter((which < 2).then_some(sighting)),
                });
            }
        }
    }
}

/// A probe of a socket: stuck, still sending, or not accepted.
fn answer(question: &ProbeRequest, which: u8) -> ProbedSocket {
    let socket = ObservedSocket {
        id: question.id,
        state: TcpState::CloseWait,
        netns: question.netns,
        tuple: question.tuple,
        interface: None,
        inode: Inode::new((which < 2).into()),
        uid: 0,
        cgroup: None,
        queued: 0,
        unsent: u32::from(which == 1),
        unanswered: None,
        keepalive: false,
        mptcp: false,
        opening: None,
        entered: None,
        activity: None,
    };
    ProbedSocket {
        id: question.id,
        socket,
        holders: vec![],
        process: None,
    }
}

/// When the test's clock starts.
const START: Nanos = Nanos::from_secs(100);

/// A record may be stamped up to 5 µs before the one that came first.
fn elapsed_since(start: Nanos, now: Nanos) -> Nanos {
    now - start + Nanos(5000)
}

/// A tracker of each tier.
fn tracker(capacity: usize, hooks: bool, segments: bool) -> Tracker {
    let mut tracker = Tracker::new(capacity);
    if hooks {
        tracker = tracker.with_hooks();
    }
    if segments {
        tracker = tracker.with_segments().with_drops();
    }
    tracker
}

proptest! {
    #[test]
    fn no_order_of_events_panics_or_reports_more_time_than_has_passed(
        inputs in vec(input(), 0..200), hooks: bool, segments: bool,
    ) {
        let mut tracker = tracker(3, hooks, segments).with_stuck_after(Nanos::from_millis(50));
        let start = START;
        let mut now = start;
        for input in &inputs {
            feed(&mut tracker, &mut now, input);
            prop_assert!(tracker.live() <= 3);
            while let Some(finding) = tracker.next_finding() {
                let close = match finding {
                    Finding::Close(close) => close,
                    Finding::TimeWait(time_wait) => {
                        prop_assert!(time_wait.dwell <= elapsed_since(start, now), "{time_wait:?}");
                        continue;
                    }
                    Finding::Stuck(stuck) => {
                        let known = stuck.age.known == AgeCertainty::Observed;
                        prop_assert!(!known || stuck.at - stuck.age.since <= elapsed_since(start, now));
                        prop_assert_eq!(stuck.resolution().is_some(), stuck.event.to_string() == "resolved");
                        continue;
                    }
                    Finding::Loss(_) => continue,
                };
                let elapsed = elapsed_since(start, now);
                let known = close.states.iter().filter_map(|(_, dwell)| *dwell);
                let total = known.fold(Nanos(0), |sum, dwell| sum + dwell);
                prop_assert!(total <= elapsed, "{total:?} of {elapsed:?}: {close:?}");
                prop_assert!(close.endpoint.lifetime.is_none_or(|lifetime| lifetime <= elapsed));
                if let Some(segments) = close.segments {
                    prop_assert!(segments as usize >= close.steps.len());
                }
            }
        }
    }

    #[test]
    fn no_entry_stays_behind_a_close(inputs in vec(input(), 0..100), hooks: bool, segments: bool) {
        let mut tracker = tracker(100, hooks, segments).with_stuck_after(Nanos::from_millis(50));
        let mut now = Nanos::from_secs(100);
        for input in &inputs {
            feed(&mut tracker, &mut now, input);
        }
        for socket in 0..4 {
            let tcp = TcpFields { error: 104, ..TcpFields::default() };
            let evidence = Some(Evidence { tcp, ..Evidence::default() });
            let end = Input::Transition {
                socket, old: TcpState::Established, new: TcpState::Close, evidence, step_back: false,
            };
            feed(&mut tracker, &mut now, &end);
        }
        prop_assert_eq!(tracker.live(), 0);
        // Nothing is held for good either: after the longest wait all is reported.
        for _ in 0..100 {
            feed(&mut tracker, &mut now, &Input::Pass(2000));
            feed(&mut tracker, &mut now, &Input::Answer(2, 0));
        }
        prop_assert_eq!(tracker.waiting_for_fin(), 0);
        tracker.take_uncounted_losses(now);
        prop_assert_eq!(tracker.next_deadline(), None);
    }
}

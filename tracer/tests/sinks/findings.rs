//! Findings to send, and what is common to all tests.

use smallvec::smallvec;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tcpclose::cgroup_names::NoCgroups;
use tcpclose::output::clock::WallClock;
use tcpclose::output::json;
use tcpclose::output::sink::{RenderContext, Sink, SinkConfig};
use tcpclose::output_status::OutputCounts;
use tcpclose::record::Record;
use tcpclose::summary::{IntervalEnd, Summarizer};
use tcpclose_common::TcpState;
use tcpclose_core::finding::{
    Bytes, Close, ClosePath, EndSource, Endpoint, Finding, Initiator, Loss, LossLocation,
    SegmentFlags, Side, Step, TimeWait, TimeWaitEnd,
};
use tcpclose_core::summary::IntervalContext;
use tcpclose_core::types::{Certainty, EndpointId, Nanos, NetNs, Owner, OwnerSource, Role};

/// Monotonic zero is 2026-01-31T12:00:00Z.
pub const NOON_NS: i64 = 1_769_860_800_000_000_000;

/// Longer than anything takes on the slowest machine.
pub const LONG: Duration = Duration::from_secs(60);

pub fn long() -> Instant {
    Instant::now() + LONG
}

pub fn clock() -> WallClock {
    WallClock::fixed(NOON_NS, jiff::tz::TimeZone::UTC)
}

/// The messages of an output, which would go to stderr.
#[derive(Clone, Default)]
pub struct Messages(Arc<Mutex<Vec<String>>>);

impl Messages {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    /// Waits until something with these words is reported.
    pub fn wait_for(&self, words: &str) {
        wait_until(
            &format!("{words:?} has been written, not {:?}", self.all()),
            || self.all().iter().any(|sentence| sentence.contains(words)),
        );
    }
}

pub fn render_context() -> RenderContext {
    RenderContext {
        clock: clock(),
        cgroups: Box::new(NoCgroups),
        lock: None,
        json: json::JsonOptions::default(),
    }
}

pub fn try_start(config: &SinkConfig) -> (anyhow::Result<Sink>, Messages) {
    let messages = Messages::default();
    let writer = Messages::clone(&messages);
    let notify = move |sentence: &str| writer.0.lock().expect("no panic").push(sentence.to_owned());
    (
        Sink::start_with_notify(config, render_context(), notify),
        messages,
    )
}

pub fn start(config: &SinkConfig) -> (Sink, Messages) {
    let (sink, messages) = try_start(config);
    (sink.expect("the output starts"), messages)
}

/// Waits for something that happens soon, and panics when it does not.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = long();
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
pub fn assert_adds_up(counts: OutputCounts) {
    let OutputCounts {
        offered,
        filtered,
        rate_limited,
        dropped,
        written,
        failed,
        queued,
        uncertain: _,
    } = counts;
    assert_eq!(
        offered,
        filtered + rate_limited + dropped + written + failed + queued,
        "{counts:?}"
    );
}

/// A close, which its `conn.id` distinguishes from all others.
pub fn close(id: u64) -> Arc<Record> {
    close_of(id, b"mariadb")
}

/// As [`close`], of a process with this name.
pub fn close_of(id: u64, comm: &[u8]) -> Arc<Record> {
    let us = |us: u64| Nanos(us * 1_000);
    Arc::new(Record::Finding(Finding::Close(Box::new(Close {
        at: us(8_500),
        endpoint: endpoint(id),
        owner: Some(Arc::new(Owner {
            pid: 28_089,
            uid: 27,
            cgroup: None,
            comm: comm.into(),
            source: OwnerSource::Connect,
            thread: None,
        })),
        path: ClosePath::ThreeWay,
        initiator: Initiator::Peer,
        cause: None,
        idle: None,
        peer_cause: None,
        connect_error: None,
        lost: None,
        steps: smallvec![Step {
            from: Side::Peer,
            flags: SegmentFlags::FinAck,
            seq: Some(174),
            ack: Some(211),
            at: Some(us(8_460)),
            known: Certainty::Observed,
        }],
        segments: Some(3),
        states: smallvec![
            (TcpState::Established, Some(us(8_360))),
            (TcpState::CloseWait, Some(us(90))),
            (TcpState::LastAck, Some(us(50))),
        ],
        bytes: Bytes {
            sent: Some(210),
            received: Some(173),
        },
        retransmits: Some(0),
        reset: None,
        half_close: None,
    }))))
}

fn endpoint(id: u64) -> Endpoint {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Endpoint {
        id: EndpointId(id),
        netns: NetNs::new(4_026_531_840),
        tuple: (end("192.0.2.7:48350"), end("192.0.2.9:3306")).into(),
        role: Role::Client,
        initial: None,
        seen_from_start: true,
        opened: Some(Nanos(100_000)),
        lifetime: Some(Nanos(8_400_000)),
        peer: None,
        peer_owner: None,
    }
}

pub fn time_wait(id: u64) -> Arc<Record> {
    Arc::new(Record::Finding(Finding::TimeWait(Box::new(TimeWait {
        at: Nanos::from_secs(61),
        endpoint: endpoint(id),
        owner: None,
        entered: Nanos(8_500_000),
        dwell: Nanos::from_millis(60_991),
        end: TimeWaitEnd::Expired,
        measured: EndSource::Timer,
        error: Nanos::from_millis(127),
        restarts: 0,
    }))))
}

pub fn loss(lost: u64) -> Arc<Record> {
    Arc::new(Record::Finding(Finding::Loss(Loss {
        at: Nanos::from_secs(7),
        lost,
        location: LossLocation::Ring,
        repaired: true,
        duration: None,
    })))
}

/// The record that `watch --format json` would print.
pub fn record(record: &Record) -> Value {
    let mut line = Vec::new();
    json::write_record(
        &mut line,
        record,
        &clock(),
        &mut NoCgroups,
        &json::JsonOptions::default(),
    )
    .expect("JSON");
    serde_json::from_slice(&line).expect("JSON")
}

/// The `conn.id` of each JSON line, and 0 for a `loss`. Panics where a line is no whole record.
pub fn ids(lines: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(lines).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "a line is cut");
    text.lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).expect("a whole record");
            record["conn"]["id"].as_u64().unwrap_or(0)
        })
        .collect()
}

/// A summary of the seconds from one to another, with so many closes that were a quarter of a
/// second in CLOSE_WAIT.
pub fn summary(from: u64, to: u64, closes: u64) -> Arc<Record> {
    Summed::new(from).up_to(to, closes)
}

/// An agent's summaries, one after the other.
pub struct Summed(Summarizer);

impl Summed {
    /// From this second on.
    pub fn new(from: u64) -> Self {
        let from = Nanos::from_secs(from);
        let start = clock().timestamp(from);
        Self(Summarizer::new(from).for_metrics(start, from))
    }

    /// The summary of the seconds up to this one, as [`summary()`] has it.
    pub fn up_to(&mut self, to: u64, closes: u64) -> Arc<Record> {
        for id in 0..closes {
            let mut close = close(id);
            if let Some(Record::Finding(finding)) = Arc::get_mut(&mut close) {
                if let Finding::Close(close) = finding {
                    close.initiator = Initiator::Local;
                    close.states = smallvec![(TcpState::CloseWait, Some(Nanos::from_millis(250)))];
                }
                self.0.take(finding);
            }
        }
        let end = IntervalEnd {
            at: Nanos::from_secs(to),
            ..IntervalEnd::default()
        };
        let summary = self.0.end_interval(end, IntervalContext::default());
        Arc::new(Record::Summary(Box::new(summary)))
    }
}

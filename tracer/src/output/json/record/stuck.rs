//! The `stuck` record, of `tcpclose leaks` and of the tracer.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;

use super::holder_evidence::Why;
use super::parts::{Conn, Owner, RecordContext, VERSION, netns, self_test};
use super::sample::Sample;
use crate::escape::cut;
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;
use crate::output::leaks::{send_queue_text, why_text};
use tcpclose_core::process;
use tcpclose_core::stuck::{
    self, Fit, Forecast, OwnerProcess, OwnerUnknown, StuckSocket, Unanswered, Verdict, VerdictCount,
};

/// The most bytes of a command line in a record, which each socket of a process repeats.
const MAX_COMMAND_LINE_LEN: usize = 256;

/// The record of a socket that is stuck, or no longer stuck.
#[derive(Serialize)]
pub(in crate::output::json) struct StuckRecord<'a> {
    v: u8,
    kind: &'static str,
    event: &'static str,
    ts: Rfc3339,
    netns: Option<u32>,
    conn: Conn<'a>,
    owner: Option<Owner<'a>>,
    process: Option<ProcessRecord<'a>>,
    holders: Vec<Holder<'a>>,
    stuck: StuckDetails<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_test: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
}

#[derive(Serialize)]
struct StuckDetails<'a> {
    state: &'static str,
    since: Rfc3339,
    age_ms: f64,
    age_known: &'static str,
    age_at_most_ms: Option<f64>,
    verdict: &'static str,
    idle_before_fin_ms: Option<f64>,
    unanswered: Option<UnansweredRecord>,
    unread_bytes: Option<u32>,
    unsent_bytes: u32,
    fds: &'a [u32],
    owner_unknown: Option<&'static str>,
    cgroup: Option<&'a str>,
    advice: String,
    /// Only where the holders were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Why<'a>>,
    resolved_by: Option<&'static str>,
    /// Only where it is not TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
}

#[derive(Serialize)]
struct UnansweredRecord {
    kind: &'static str,
    count: u8,
}

#[derive(Serialize)]
struct ProcessRecord<'a> {
    exe: Option<Cow<'a, str>>,
    command_line: Vec<Cow<'a, str>>,
    command_line_cut: bool,
    unit: Option<&'a str>,
    user_unit: Option<&'a str>,
    descriptors: Descriptors,
    stuck: usize,
    growth: Option<Growth>,
}

#[derive(Serialize)]
pub(in crate::output::json) struct Descriptors {
    open: u64,
    limit: Option<u64>,
}

#[derive(Serialize)]
pub(in crate::output::json) struct Growth {
    per_second: f64,
    samples: usize,
    span_ms: f64,
    r_squared: f64,
    open_descriptors: Option<Line>,
    exhausted_in_ms: Option<f64>,
}

/// The line through the numbers of open descriptors, from which `exhausted_in_ms` is.
#[derive(Serialize)]
struct Line {
    per_second: f64,
    samples: usize,
    span_ms: f64,
    r_squared: f64,
}

#[derive(Serialize)]
struct Holder<'a> {
    pid: u32,
    comm: Cow<'a, str>,
    fds: &'a [u32],
    /// Only where the descriptors are those of one thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<u32>,
}

impl<'a> StuckRecord<'a> {
    /// Returns the record; the cgroup of the owner is that of the socket.
    pub(in crate::output::json) fn new(
        stuck: &'a StuckSocket,
        clock: &WallClock,
        context: RecordContext<'a>,
    ) -> Self {
        let StuckSocket {
            at,
            event,
            endpoint,
            socket,
            age,
            verdict,
            idle_before_fin,
            owner,
            owner_unknown,
            holders,
            process,
            why: _,
        } = stuck;
        let (at, fds) = (*at, stuck.fds());
        let unread = socket.unread();
        let mut advice = why_text(&VerdictCount::from_socket(stuck), fds, *owner_unknown);
        if let Some(unsent) = send_queue_text([stuck]) {
            let _ = write!(advice, "; {unsent}");
        }
        if let Some(
            unknown
            @ (OwnerUnknown::NoHolder | OwnerUnknown::NotInspectable | OwnerUnknown::Closed),
        ) = owner_unknown
        {
            let why = unknown.explain(*verdict != Verdict::NotAccepted);
            let _ = write!(advice, "; {why}");
        }
        Self {
            v: VERSION,
            kind: "stuck",
            event: event.into(),
            ts: clock.rfc3339(at),
            netns: netns(endpoint.netns),
            conn: Conn::new(endpoint, clock, &context),
            owner: owner.as_deref().map(|owner| match process {
                Some(known) => Owner::from_process(owner, &known.process),
                None => Owner::new(owner, None),
            }),
            process: process.as_ref().map(ProcessRecord::new),
            holders: holders.iter().map(Holder::new).collect(),
            stuck: StuckDetails {
                state: socket.state.into(),
                since: clock.rfc3339(age.since),
                age_ms: rounded_ms(at - age.since),
                age_known: age.known.into(),
                age_at_most_ms: age.earliest.map(|earliest| rounded_ms(at - earliest)),
                verdict: verdict.into(),
                idle_before_fin_ms: idle_before_fin.map(rounded_ms),
                unanswered: socket.unanswered.map(UnansweredRecord::from),
                unread_bytes: unread,
                unsent_bytes: socket.unsent,
                fds,
                owner_unknown: owner_unknown.map(Into::into),
                cgroup: context.owner.map(|cgroup| cgroup.path.as_str()),
                advice,
                why: Why::new(stuck),
                resolved_by: stuck.resolution().map(Into::into),
                protocol: socket.mptcp.then_some("mptcp"),
            },
            self_test: self_test(endpoint),
            sample: context.sample,
        }
    }
}

impl<'a> ProcessRecord<'a> {
    fn new(owner: &'a OwnerProcess) -> Self {
        let process = &*owner.process;
        let exe = process.exe.as_deref();
        let unit = process.unit.as_ref();
        let (command_line, was_cut) = command_line(process);
        Self {
            exe: exe.map(|exe| exe.as_os_str().to_string_lossy()),
            command_line,
            command_line_cut: process.command_line_cut || was_cut,
            unit: unit.map(|unit| unit.name.as_str()),
            user_unit: unit.and_then(|unit| unit.user.as_deref()),
            descriptors: Descriptors::new(process),
            stuck: owner.stuck,
            growth: owner.forecast.map(Growth::from),
        }
    }
}

/// Returns the first bytes of the arguments, and whether there are more.
fn command_line(process: &process::Process) -> (Vec<Cow<'_, str>>, bool) {
    let mut room = MAX_COMMAND_LINE_LEN;
    let (mut line, mut was_cut) = (Vec::new(), false);
    for argument in process.arguments() {
        if room == 0 {
            return (line, true);
        }
        let kept = cut(argument, room);
        was_cut |= kept.len() < argument.len();
        room = if was_cut { 0 } else { room - kept.len() };
        line.push(String::from_utf8_lossy(kept));
    }
    (line, was_cut)
}

impl Descriptors {
    pub(in crate::output::json) fn new(process: &process::Process) -> Self {
        Self {
            open: process.open_fds,
            limit: process.fd_limit,
        }
    }
}

impl From<Forecast> for Growth {
    fn from(forecast: Forecast) -> Self {
        let Forecast {
            fit,
            open,
            exhausted_in,
        } = forecast;
        Self {
            open_descriptors: open.map(Line::from),
            per_second: fit.per_second,
            samples: fit.samples,
            span_ms: rounded_ms(fit.span),
            r_squared: fit.r_squared,
            exhausted_in_ms: exhausted_in.map(rounded_ms),
        }
    }
}

impl From<Fit> for Line {
    fn from(fit: Fit) -> Self {
        Self {
            per_second: fit.per_second,
            samples: fit.samples,
            span_ms: rounded_ms(fit.span),
            r_squared: fit.r_squared,
        }
    }
}

impl From<Unanswered> for UnansweredRecord {
    fn from(unanswered: Unanswered) -> Self {
        let Unanswered {
            kind,
            count,
            at_least: _,
        } = unanswered;
        Self {
            kind: kind.into(),
            count,
        }
    }
}

impl<'a> Holder<'a> {
    fn new(holder: &'a stuck::Holder) -> Self {
        let stuck::Holder {
            pid,
            comm,
            fds,
            thread,
        } = holder;
        Self {
            pid: *pid,
            comm: String::from_utf8_lossy(comm),
            fds,
            thread: *thread,
        }
    }
}

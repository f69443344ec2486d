//! Records become findings again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::Error as _;
use serde_json::{Error, from_slice};
use strum::VariantArray;

use super::record::{
    CloseRecord, Conn, HalfClose, LossRecord, Lost, Owner, Reset, Step, StuckRecord, Thread,
    TimeWaitRecord,
};
use crate::cgroup_names::RecordedCgroupNames;
use crate::escape::{cut, push_for_terminal};
use tcpclose_common::COMM_LEN;
use tcpclose_core::finding::{self, Endpoint, Finding, Loss, TimeWait};
use tcpclose_core::types::{
    self, Certainty, CgroupId, EndpointId, Nanos, NetNs, OwnerSource, Role, SharedOwner, Tuple,
};
use tcpclose_sys::host::shared_cgroup_names::{MAX_CGROUP_NAMES, SharedCgroupNames};

/// The most bytes of a process's name: the kernel's have 15.
const MAX_COMM_LEN: usize = 64;
/// The most bytes of the path of a cgroup.
const MAX_CGROUP_LEN: usize = 4_096;
/// The most steps and states of a close.
const MAX_STEPS: usize = 32;

/// What a line has.
pub(crate) enum Line {
    Finding(Finding),
    Stuck(StuckLine),
}

/// That a socket is stuck, or is no longer.
pub(crate) struct StuckLine {
    pub id: EndpointId,
    pub at: Nanos,
    /// Whose it is, its state and the verdict; `None` where it is no longer stuck.
    pub what: Option<String>,
}

/// Converts records, and gives numbers to the cgroups that they name.
#[derive(Default)]
pub(super) struct Converter {
    numbers: HashMap<String, u64>,
    cgroups: SharedCgroupNames,
}

impl Converter {
    pub fn cgroups(&self) -> RecordedCgroupNames {
        RecordedCgroupNames::new(self.cgroups.clone())
    }

    /// Converts a record; `None` where its kind is not read.
    pub fn convert(&mut self, kind: &str, line: &[u8]) -> Result<Option<Line>, Error> {
        let finding = match kind {
            "close" => self.close(from_slice(line)?)?,
            "time_wait" => self.time_wait(from_slice(line)?)?,
            "loss" => loss(&from_slice(line)?)?,
            "stuck" => return stuck(&from_slice(line)?).map(Line::Stuck).map(Some),
            _ => return Ok(None),
        };
        Ok(Some(Line::Finding(finding)))
    }

    fn close(&mut self, record: CloseRecord) -> Result<Finding, Error> {
        let at = time(&record.ts)?;
        let close = record.close;
        let states = record.states.iter().take(MAX_STEPS);
        let states = states.map(|state| Ok((word(&state.state)?, span(state.ms))));
        Ok(Finding::Close(Box::new(finding::Close {
            at,
            endpoint: self.endpoint(record.netns, record.conn)?,
            owner: self.owner(record.owner)?,
            path: word(&close.path)?,
            initiator: word(&close.initiator)?,
            cause: close.cause.as_deref().map(word).transpose()?,
            idle: span(close.idle_ms),
            peer_cause: close.peer_cause.as_deref().map(word).transpose()?,
            connect_error: close.errno,
            lost: close.lost.map(|lost| {
                let Lost {
                    unacknowledged_bytes: unacknowledged,
                    unread_bytes: unread,
                } = lost;
                finding::Lost {
                    unacknowledged,
                    unread,
                }
            }),
            steps: steps(at, &close.steps)?,
            segments: close.segments,
            states: states.collect::<Result<_, Error>>()?,
            bytes: finding::Bytes {
                sent: record.bytes.sent,
                received: record.bytes.received,
            },
            retransmits: record.retransmits,
            reset: record.reset.as_ref().map(reset).transpose()?,
            half_close: record.half_close.as_ref().map(half_close).transpose()?,
        })))
    }

    fn time_wait(&mut self, record: TimeWaitRecord) -> Result<Finding, Error> {
        let part = record.time_wait;
        Ok(Finding::TimeWait(Box::new(TimeWait {
            at: time(&record.ts)?,
            endpoint: self.endpoint(record.netns, record.conn)?,
            owner: self.owner(record.owner)?,
            entered: time(&part.entered)?,
            dwell: nanos(part.dwell_ms),
            end: word(&part.end)?,
            measured: word(&part.measured)?,
            error: nanos(part.error_ms),
            restarts: part.restarts,
        })))
    }

    fn endpoint(&mut self, netns: Option<u32>, conn: Conn) -> Result<Endpoint, Error> {
        let local = SocketAddr::new(conn.local.addr, conn.local.port);
        let peer = SocketAddr::new(conn.peer.addr, conn.peer.port);
        Ok(Endpoint {
            id: EndpointId(conn.id),
            netns: netns.and_then(NetNs::new),
            tuple: Tuple::from((local, peer)),
            role: match &*conn.role {
                "client" => Role::Client,
                "server" => Role::Server,
                "unknown" => Role::Unknown,
                other => return Err(unknown(other)),
            },
            // `pair` is their hash.
            initial: None,
            seen_from_start: conn.seen_from_start,
            opened: conn.opened.as_deref().map(time).transpose()?,
            lifetime: span(conn.lifetime_ms),
            peer: None,
            peer_owner: self.owner(conn.peer_owner)?,
        })
    }

    fn owner(&mut self, owner: Option<Owner>) -> Result<Option<SharedOwner>, Error> {
        let Some(owner) = owner else { return Ok(None) };
        Ok(Some(Arc::new(types::Owner {
            pid: owner.pid,
            uid: owner.uid,
            cgroup: owner.cgroup.and_then(|path| self.cgroup(path)),
            comm: cut(owner.comm.as_bytes(), MAX_COMM_LEN).into(),
            source: match &*owner.source {
                "connect" => OwnerSource::Connect,
                "close" => OwnerSource::Close,
                "listen" => OwnerSource::Listen,
                "proc" => OwnerSource::Proc,
                other => return Err(unknown(other)),
            },
            thread: owner.thread.map(thread),
        })))
    }

    /// Returns the number of a cgroup.
    fn cgroup(&mut self, path: String) -> Option<CgroupId> {
        if let Some(number) = self.numbers.get(&path) {
            return CgroupId::new(*number);
        }
        if path.len() > MAX_CGROUP_LEN || self.numbers.len() >= MAX_CGROUP_NAMES {
            return None;
        }
        let number = self.numbers.len() as u64 + 1;
        self.cgroups.insert(number, path.clone());
        self.numbers.insert(path, number);
        CgroupId::new(number)
    }
}

/// Returns the thread that called connect(), with as much of its name as the kernel's has.
fn thread(record: Thread) -> types::Thread {
    let mut comm = [0; COMM_LEN];
    let name = cut(record.name.as_bytes(), COMM_LEN - 1);
    for (place, byte) in comm.iter_mut().zip(name) {
        *place = *byte;
    }
    let id = record.id;
    types::Thread { id, comm }
}

fn loss(record: &LossRecord) -> Result<Finding, Error> {
    Ok(Finding::Loss(Loss {
        at: time(&record.ts)?,
        lost: record.lost,
        location: word(&record.location)?,
        repaired: record.repaired,
        duration: span(record.duration_ms),
    }))
}

fn stuck(record: &StuckRecord) -> Result<StuckLine, Error> {
    // What is listed and not counted as stuck.
    const NOT_STUCK: [&str; 3] = ["silent", "still_sending", "still_receiving"];
    let is_stuck =
        record.event != "resolved" && !NOT_STUCK.contains(&record.stuck.verdict.as_str());
    let what = is_stuck.then(|| {
        let mut text = String::new();
        let mut push =
            |part: &str| push_for_terminal(&mut text, cut(part.as_bytes(), MAX_COMM_LEN));
        match &record.owner {
            Some(owner) => push(&format!("{} {}", owner.comm, owner.pid)),
            None => push("process not known"),
        }
        push(": ");
        push(&record.stuck.state);
        push(", ");
        push(&record.stuck.verdict);
        text
    });
    Ok(StuckLine {
        id: EndpointId(record.conn.id),
        at: time(&record.ts)?,
        what,
    })
}

/// The record has times since the first step: the last step is when the connection had closed.
fn steps(closed: Nanos, steps: &[Step]) -> Result<finding::Steps, Error> {
    let steps = &steps[..steps.len().min(MAX_STEPS)];
    let times = steps.iter().filter_map(|step| span(step.at_ms));
    let first = closed - times.max().unwrap_or_default();
    let steps = steps.iter().map(|step| {
        Ok(finding::Step {
            from: word(&step.from)?,
            flags: word(&step.flags)?,
            seq: step.seq,
            ack: step.ack,
            at: span(step.at_ms).map(|since| first + since),
            known: match &*step.known {
                "observed" => Certainty::Observed,
                "inferred" => Certainty::Inferred,
                other => return Err(unknown(other)),
            },
        })
    });
    steps.collect()
}

fn reset(reset: &Reset) -> Result<finding::Reset, Error> {
    Ok(finding::Reset {
        by: word(&reset.by)?,
        reason: reset.reason.as_deref().map(word).transpose()?,
        // A name of the kernel's, which the program would have to know by heart.
        kernel_reason: None,
    })
}

fn half_close(half: &HalfClose) -> Result<finding::HalfClose, Error> {
    Ok(finding::HalfClose {
        by: word(&half.by)?,
        lasted: nanos(half.ms),
        bytes_sent: half.bytes_sent,
        bytes_received: half.bytes_received,
    })
}

/// Returns the variant with this name.
fn word<T: VariantArray + Copy + Into<&'static str>>(text: &str) -> Result<T, Error> {
    let mut variants = T::VARIANTS.iter().copied();
    let variant = variants.find(|variant| (*variant).into() == text);
    variant.ok_or_else(|| unknown(text))
}

fn unknown(word: &str) -> Error {
    Error::custom(format_args!("unknown word {word:?}"))
}

/// Returns a time since 1970.
fn time(text: &str) -> Result<Nanos, Error> {
    let time: Timestamp = text.parse().map_err(Error::custom)?;
    // A clock that was never set may be before that.
    Ok(Nanos(u64::try_from(time.as_nanosecond()).unwrap_or(0)))
}

fn span(ms: Option<f64>) -> Option<Nanos> {
    ms.map(nanos)
}

/// Negative and infinite spans become the nearest that there are.
fn nanos(ms: f64) -> Nanos {
    Nanos((ms * 1e6).round() as u64)
}

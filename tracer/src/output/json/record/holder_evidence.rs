//! `stuck.why`: why the holders of a stuck socket do nothing with it.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::output::leaks::evidence_text;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::stuck::why::{
    EpollEvents, EpollRegistration, HolderEvidence, SystemCall, ThreadEvidence, ThreadsFinding,
};

/// What is known of all holders.
#[derive(Serialize)]
pub(super) struct Why<'a> {
    text: Option<String>,
    holders: Vec<HolderRecord<'a>>,
}

#[derive(Serialize)]
struct HolderRecord<'a> {
    pid: u32,
    epoll: Option<&'static str>,
    epoll_sets: Option<usize>,
    registrations: Vec<Registration>,
    io_uring: Option<bool>,
    threads_on_socket: Vec<ThreadOnSocket<'a>>,
    threads: Option<Threads>,
    condition: Option<&'static str>,
    tracer: Option<u32>,
    out_of_descriptors: Option<bool>,
    forked: Option<bool>,
    duplicate: Option<&'static str>,
    runtime: Option<&'static str>,
    next_command: Option<String>,
    unknown: &'a [String],
}

#[derive(Serialize)]
struct Registration {
    set: u32,
    fd: u32,
    #[serde(serialize_with = "as_hex")]
    events: EpollEvents,
}

#[derive(Serialize)]
struct ThreadOnSocket<'a> {
    tid: u32,
    comm: Cow<'a, str>,
    call: &'static str,
}

#[derive(Serialize)]
struct Threads {
    count: usize,
    ran: Option<usize>,
    found: &'static str,
    calls: Vec<Call>,
}

#[derive(Serialize)]
struct Call {
    call: &'static str,
    threads: usize,
}

impl<'a> Why<'a> {
    /// Returns what is known of the holders of a socket; `None` where they were not looked at.
    pub(super) fn new(stuck: &'a StuckSocket) -> Option<Self> {
        let first = stuck.why.first()?;
        let owner = stuck.process.as_ref().map(|owner| owner.process.pid);
        Some(Self {
            text: evidence_text([stuck], owner.unwrap_or(first.pid)),
            holders: stuck.why.iter().map(HolderRecord::new).collect(),
        })
    }
}

impl<'a> HolderRecord<'a> {
    fn new(holder: &'a HolderEvidence) -> Self {
        let process = &*holder.process;
        Self {
            pid: holder.pid,
            epoll: holder.epoll.map(Into::into),
            epoll_sets: process.sets.as_ref().map(Vec::len),
            registrations: holder.registrations.iter().map(Registration::new).collect(),
            io_uring: process.uses_io_uring,
            threads_on_socket: holder
                .threads_on_socket()
                .map(ThreadOnSocket::new)
                .collect(),
            threads: process.threads.as_deref().map(Threads::new),
            condition: process.condition.map(Into::into),
            tracer: process.tracer,
            out_of_descriptors: process.fds_left.map(|left| left == 0),
            forked: process.is_forked,
            duplicate: holder.duplicate.map(Into::into),
            runtime: process.runtime.map(Into::into),
            next_command: process.next_command(holder.pid),
            unknown: &process.unknown,
        }
    }
}

impl Registration {
    const fn new(registration: &EpollRegistration) -> Self {
        let EpollRegistration { set, fd, events } = *registration;
        Self { set, fd, events }
    }
}

impl<'a> ThreadOnSocket<'a> {
    fn new((thread, call): (&'a ThreadEvidence, SystemCall)) -> Self {
        Self {
            tid: thread.tid,
            comm: String::from_utf8_lossy(&thread.comm),
            call: call.name.unwrap_or("other"),
        }
    }
}

impl Threads {
    fn new(threads: &[ThreadEvidence]) -> Self {
        let ran: Option<Vec<bool>> = threads.iter().map(|thread| thread.ran).collect();
        let calls = ThreadsFinding::calls(threads).into_iter();
        Self {
            count: threads.len(),
            ran: ran.map(|ran| ran.into_iter().filter(|ran| *ran).count()),
            found: ThreadsFinding::judge(threads).into(),
            calls: calls
                .map(|(call, threads)| Call { call, threads })
                .collect(),
        }
    }
}

fn as_hex<S: Serializer>(events: &EpollEvents, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(events)
}

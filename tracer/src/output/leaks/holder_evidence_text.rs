//! Why the holders of stuck sockets do nothing with them, in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::escape::push_for_terminal;
use crate::output::leaks::opening_threads_text;
use crate::plural::plural;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::stuck::why::{
    DueEvent, Duplicate, EpollFinding, HolderEvidence, ProcessCondition, ProcessEvidence,
    ThreadActivity, ThreadEvidence, ThreadsFinding,
};
use tcpclose_sys::host::holder_evidence::SAMPLE_INTERVAL;

/// The most system calls that are named.
const MAX_NAMED_CALLS: usize = 3;

/// Returns what is known of why this process does nothing with these sockets, and which of its
/// threads has opened them; `None` where nothing is, or nothing was looked for.
pub(in crate::output) fn evidence_text<'a>(
    sockets: impl IntoIterator<Item = &'a StuckSocket>,
    pid: u32,
) -> Option<String> {
    let sockets: Vec<&StuckSocket> = sockets.into_iter().collect();
    let mut parts = evidence_texts(&sockets, pid);
    parts.extend(opening_threads_text(&sockets));
    let held = sockets.iter().flat_map(|stuck| &stuck.why);
    let own = held.filter(|holder| holder.pid == pid);
    let unknown = own.map(|holder| &holder.process.unknown).next();
    if let Some(unknown) = unknown
        && !unknown.is_empty()
    {
        parts.push(format!("not known: {}", unknown.join("; ")));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Returns what the evidence of the process shows.
fn evidence_texts(sockets: &[&StuckSocket], pid: u32) -> Vec<String> {
    let held = sockets.iter().flat_map(|stuck| {
        let due = DueEvent::from_verdict(stuck.verdict);
        let own = stuck.why.iter().filter(move |holder| holder.pid == pid);
        own.map(move |holder| (due, holder))
    });
    let held: Vec<(DueEvent, &HolderEvidence)> = held.collect();
    let Some((_, first)) = held.first() else {
        return Vec::new();
    };
    let process = &*first.process;
    let mut parts = epoll_texts(&held);
    parts.extend(process_text(process));
    let is_held_up = matches!(
        process.condition,
        Some(ProcessCondition::Stopped | ProcessCondition::Traced | ProcessCondition::Frozen)
    );
    if !is_held_up {
        parts.extend(threads_on_sockets(&held).or_else(|| threads_text(process)));
    }
    parts.extend(duplicates_text(&held, process));
    parts
}

/// Returns a sentence for each way in which the sockets are in the process's epoll sets.
fn epoll_texts(held: &[(DueEvent, &HolderEvidence)]) -> Vec<String> {
    let mut counts: BTreeMap<(bool, EpollFinding), usize> = BTreeMap::new();
    for (due, holder) in held {
        if let (DueEvent::EndOfStream | DueEvent::Connection, Some(found)) = (due, holder.epoll) {
            *counts
                .entry((*due == DueEvent::Connection, found))
                .or_default() += 1;
        }
    }
    let process = held.first().map(|(_, holder)| &holder.process);
    let uses_io_uring = process.is_some_and(|process| process.uses_io_uring == Some(true));
    let one_kind = counts.len() == 1;
    let texts = counts.into_iter().map(|((listens, found), count)| {
        let text = epoll_text(found, listens, uses_io_uring);
        match (one_kind, found, listens) {
            (true, ..) | (_, EpollFinding::NoSet, _) => text,
            (false, _, true) => text,
            (false, _, false) => format!("{count} {text}"),
        }
    });
    texts.collect()
}

fn epoll_text(found: EpollFinding, listens: bool, uses_io_uring: bool) -> String {
    let mut text = match (found, listens) {
        (EpollFinding::NoSet, _) => return "the process has no epoll set".to_owned(),
        (_, true) => "the listening socket is ".to_owned(),
        (_, false) => String::new(),
    };
    text.push_str(match (found, listens) {
        (EpollFinding::NoSet | EpollFinding::InNoSet, _) => "in none of the process's epoll sets",
        (EpollFinding::NoReadEvents, true) => {
            "in an epoll set and not for EPOLLIN: a new connection wakes nobody there"
        }
        (EpollFinding::NoReadEvents, false) => {
            "in an epoll set and not for EPOLLIN or EPOLLRDHUP: the FIN wakes nobody there"
        }
        (EpollFinding::LevelTriggered, _) => {
            "in an epoll set, level-triggered: each epoll_wait() there reports it again"
        }
        (EpollFinding::EdgeDelivered, true) => {
            "in an epoll set, edge-triggered: the event was delivered, and not every connection \
             accepted then"
        }
        (EpollFinding::EdgeDelivered, false) => {
            "in an epoll set, edge-triggered: the FIN's event was delivered, and comes only once"
        }
        (EpollFinding::EdgeTriggered, _) => {
            "in an epoll set, edge-triggered: the event comes once; whether it was delivered is \
             not known"
        }
        (EpollFinding::OneshotFired, _) => {
            "in an epoll set with EPOLLONESHOT, which has fired and was not armed again"
        }
        (EpollFinding::NumberClosed, _) => {
            "in an epoll set under a descriptor that is closed, while a duplicate of it is open"
        }
    });
    if found == EpollFinding::InNoSet && uses_io_uring {
        text.push_str(" (the polls of its io_uring cannot be seen)");
    }
    text
}

fn process_text(process: &ProcessEvidence) -> Option<String> {
    let text = match process.condition? {
        ProcessCondition::Stopped => "the process is stopped (SIGCONT lets it go on)",
        ProcessCondition::Traced => match process.tracer {
            Some(tracer) => return Some(format!("a debugger, process {tracer}, has stopped it")),
            None => "a debugger has stopped it",
        },
        ProcessCondition::Frozen => "its cgroup is frozen",
        ProcessCondition::LeaderExited => "its first thread has exited",
        ProcessCondition::Ordinary => return None,
    };
    Some(text.to_owned())
}

/// Returns which threads sleep in a system call on these sockets: the first, and how many more.
fn threads_on_sockets(held: &[(DueEvent, &HolderEvidence)]) -> Option<String> {
    let mut sleeping = held
        .iter()
        .flat_map(|(_, holder)| holder.threads_on_socket());
    let (thread, call) = sleeping.next()?;
    let mut text = String::from("thread ");
    push_for_terminal(&mut text, &thread.comm);
    let name = call.name.unwrap_or("a system call");
    let fd = call.fd.unwrap_or_default();
    let _ = write!(text, " ({}) sleeps in {name}() on fd {fd}", thread.tid);
    match sleeping.count() {
        0 => {}
        more => drop(write!(text, ", and {more} more on others")),
    }
    Some(text)
}

fn threads_text(process: &ProcessEvidence) -> Option<String> {
    let threads = process.threads.as_deref()?;
    let interval = SAMPLE_INTERVAL.as_millis();
    if let [only] = threads {
        return match (ThreadsFinding::judge(threads), only.slept_in()) {
            (ThreadsFinding::AllBusy, _) => Some("its only thread is busy".to_owned()),
            (_, Some(call)) => Some(match call.name {
                Some(name) => format!("its only thread sleeps in {name}()"),
                None => format!("its only thread sleeps in system call {}", call.number),
            }),
            _ => None,
        };
    }
    let all = threads.len();
    match ThreadsFinding::judge(threads) {
        ThreadsFinding::AllInFutex => Some(format!(
            "all of its {all} threads wait in futex(), and none ran within {interval} ms"
        )),
        ThreadsFinding::NoneRan => Some(format!(
            "none of its {all} threads ran within {interval} ms ({})",
            calls_text(threads)
        )),
        ThreadsFinding::AllBusy => Some(format!("all of its {all} threads are busy")),
        ThreadsFinding::SomeRan => {
            let ran = threads.iter().filter(|thread| thread.ran == Some(true));
            Some(format!(
                "{} of its {all} threads ran within {interval} ms ({})",
                ran.count(),
                calls_text(threads)
            ))
        }
        ThreadsFinding::Unknown => None,
    }
}

fn calls_text(threads: &[ThreadEvidence]) -> String {
    let calls = ThreadsFinding::calls(threads);
    let mut parts: Vec<String> = calls
        .iter()
        .take(MAX_NAMED_CALLS)
        .map(|(name, count)| format!("{count} in {name}()"))
        .collect();
    let named: usize = calls
        .iter()
        .take(MAX_NAMED_CALLS)
        .map(|(_, count)| count)
        .sum();
    let others = threads.len() - named;
    if others > 0 {
        let blocked = |thread: &&ThreadEvidence| thread.activity == ThreadActivity::Blocked;
        parts.push(match threads.iter().filter(blocked).count() == others {
            true => format!("{others} outside of system calls"),
            false => format!("{others} elsewhere"),
        });
    }
    parts.join(", ")
}

fn duplicates_text(
    held: &[(DueEvent, &HolderEvidence)],
    process: &ProcessEvidence,
) -> Option<String> {
    let (_, first) = held.iter().find(|(_, holder)| holder.duplicate.is_some())?;
    let count = held
        .iter()
        .filter(|(_, holder)| holder.duplicate == first.duplicate);
    let count = count.count();
    let them = plural(count as u64, "it", "them");
    let parent = process.parent.map_or_else(
        || "its parent".to_owned(),
        |pid| format!("its parent, process {pid}"),
    );
    let text = match first.duplicate? {
        Duplicate::Forked => format!("it has {them} by fork() from {parent}"),
        Duplicate::Inherited => format!(
            "it runs another program than {parent}, and has inherited {them}: the descriptor is \
             not closed on exec()"
        ),
        Duplicate::YoungerThanSocket => format!(
            "the process is younger than the {}: it has inherited {them}, or they were passed on",
            plural(count as u64, "socket", "sockets")
        ),
    };
    Some(match count == held.len() {
        true => text,
        false => format!("of {count}: {text}"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::output::samples;
    use tcpclose_core::stuck::Verdict;
    use tcpclose_core::stuck::why::SystemCall;

    fn thread(tid: u32, name: &'static str, ran: bool) -> ThreadEvidence {
        ThreadEvidence {
            tid,
            comm: (*b"io\x1b[2J").into(),
            activity: ThreadActivity::InCall(SystemCall {
                name: Some(name),
                number: 0,
                fd: (name == "sendto").then_some(7),
            }),
            ran: Some(ran),
        }
    }

    fn process(threads: Vec<ThreadEvidence>) -> ProcessEvidence {
        ProcessEvidence {
            condition: Some(ProcessCondition::Ordinary),
            threads: Some(threads),
            unknown: Vec::new(),
            parent: Some(812),
            ..ProcessEvidence::unread(String::new())
        }
    }

    fn stuck(process: ProcessEvidence, epoll: Option<EpollFinding>) -> StuckSocket {
        let mut stuck = samples::stuck();
        stuck.why = vec![HolderEvidence {
            pid: 4711,
            epoll,
            registrations: Vec::new(),
            duplicate: None,
            fds: [7].into(),
            process: Arc::new(process),
        }];
        stuck
    }

    #[test]
    fn nothing_is_known_of_what_was_not_read() {
        assert_eq!(evidence_text([&samples::stuck()], 4711), None);
        let other = stuck(process(vec![]), Some(EpollFinding::NoSet));
        assert_eq!(evidence_text([&other], 9), None);
    }

    #[test]
    fn sockets_of_one_process_are_counted_by_what_its_sets_do() {
        let waits = || process(vec![thread(1, "futex", false), thread(2, "futex", false)]);
        let all = [
            stuck(waits(), Some(EpollFinding::LevelTriggered)),
            stuck(waits(), Some(EpollFinding::InNoSet)),
            stuck(waits(), Some(EpollFinding::InNoSet)),
        ];
        let text = evidence_text(&all, 4711);
        assert_eq!(
            text.as_deref(),
            Some(
                "2 in none of the process's epoll sets; 1 in an epoll set, level-triggered: each \
                 epoll_wait() there reports it again; all of its 2 threads wait in futex(), and \
                 none ran within 50 ms"
            )
        );
    }

    #[test]
    fn a_thread_on_the_socket_comes_before_what_all_threads_do() {
        let process = process(vec![thread(1, "futex", false), thread(2, "sendto", false)]);
        let text = evidence_text([&stuck(process, None)], 4711).unwrap_or_default();
        assert!(text.ends_with("(2) sleeps in sendto() on fd 7"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn calls_of_many_threads_are_counted() {
        let threads = vec![
            thread(1, "futex", false),
            thread(2, "futex", false),
            thread(3, "epoll_wait", false),
        ];
        let text = evidence_text([&stuck(process(threads), None)], 4711);
        assert_eq!(
            text.as_deref(),
            Some("none of its 3 threads ran within 50 ms (2 in futex(), 1 in epoll_wait())")
        );
    }

    #[test]
    fn what_a_stopped_process_does_is_of_no_interest() {
        let stopped = ProcessEvidence {
            condition: Some(ProcessCondition::Stopped),
            ..process(vec![thread(1, "restart_syscall", false)])
        };
        let text = evidence_text([&stuck(stopped, None)], 4711);
        let expected = "the process is stopped (SIGCONT lets it go on)";
        assert_eq!(text.as_deref(), Some(expected));
    }

    #[test]
    fn events_are_of_no_interest_while_none_is_due() {
        let mut waits = stuck(process(vec![]), Some(EpollFinding::NoReadEvents));
        waits.verdict = Verdict::HalfClosed;
        assert_eq!(evidence_text([&waits], 4711), None);
    }

    #[test]
    fn what_could_not_be_read_is_named() {
        let unread = ProcessEvidence::unread("it has exited meanwhile".to_owned());
        let text = evidence_text([&stuck(unread, None)], 4711);
        assert_eq!(text.as_deref(), Some("not known: it has exited meanwhile"));
    }
}

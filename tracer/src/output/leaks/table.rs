//! The table: a line of figures for each owner, and below it what is not done, where, and by what.

mod owner;
mod possibly_stuck;

use std::collections::{BTreeSet, HashMap};
use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use crate::output::cgroup_names::CgroupNames;
use crate::output::duration::push_with_unit;
use crate::output::escape::push_for_terminal;
use crate::output::forecast_text::push_forecast;
use crate::output::leaks::unsent;
use crate::stuck::{Owner, Report};
use owner::{push_command, push_container, push_process};
use possibly_stuck::push_perhaps;
use tcpclose_core::stuck::{AgeKnown, Leak, OwnerGroup, TopValues, Verdict};
use tcpclose_core::types::{Nanos, NetNs};

const TITLES: &str = "STUCK  OLDEST    PID COMM            DESCRIPTORS   UNIT OR CONTAINER";
/// What stands below an owner's line begins here.
const INDENT: &str = "       ";
/// Other processes that are named of those that share a socket.
const NAMED_SHARERS: usize = 3;
/// Columns for the descriptors of one socket; how many do not fit is said.
const HOLDERS_WIDTH: usize = 19;

/// How the table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeakTable {
    /// A line for each socket too.
    pub every_socket: bool,
    /// Whether to write colours.
    pub colours: bool,
}

impl LeakTable {
    /// The whole report as text, but for its [`total`]. Nothing that others chose reaches the terminal unescaped.
    #[must_use]
    pub fn write(self, report: &Report, cgroups: &mut dyn CgroupNames) -> String {
        let mut text = String::new();
        if !report.groups.is_empty() {
            text.push_str(TITLES);
            text.push('\n');
        }
        for group in &report.groups {
            self.write_group(&mut text, report, group, cgroups);
        }
        push_perhaps(&mut text, report);
        text
    }

    fn write_group(
        self,
        text: &mut String,
        report: &Report,
        group: &OwnerGroup<Owner>,
        cgroups: &mut dyn CgroupNames,
    ) {
        let mut oldest = String::new();
        push_age(&mut oldest, report, &report.leaks[group.leaks[0]]);
        let stuck = group.stuck();
        let (start, end) = if self.colours && stuck > 0 {
            ("\x1b[31m", "\x1b[0m")
        } else {
            ("", "")
        };
        match stuck {
            0 => text.push_str("    -"),
            _ => drop(write!(text, "{start}{stuck:>5}{end}")),
        }
        let _ = write!(text, " {oldest:>7} ");
        match group.owner {
            Owner::Process(pid) => match report.held.processes.get(&pid) {
                Some(process) => push_process(text, process),
                None => drop(write!(text, "{pid:>6}")),
            },
            Owner::Nobody {
                cgroup,
                netns: _,
                uid,
            } => {
                text.push_str("     -");
                if let Some(uid) = uid.filter(|_| !report.recorded) {
                    let _ = write!(text, " uid {uid}");
                }
                if let Some(name) = cgroup.and_then(|id| cgroups.name(id.get())) {
                    text.push_str(" cgroup ");
                    push_for_terminal(text, name.path.as_bytes());
                    if let Some(container) = &name.container {
                        text.push_str(", ");
                        push_container(text, container);
                    }
                }
            }
        }
        text.push('\n');
        push_verdicts(text, report, group);
        push_where(text, report, group);
        if let Owner::Process(pid) = group.owner {
            push_sharers(text, report, group, pid);
            if let Some(process) = report.held.processes.get(&pid) {
                push_command(text, process);
            }
        }
        if let Some(forecast) = report.forecasts.get(&group.owner) {
            text.push_str(INDENT);
            push_forecast(text, forecast);
            text.push('\n');
        }
        if self.every_socket {
            for leak in group.leaks.iter().map(|&at| &report.leaks[at]) {
                push_socket(text, report, leak);
            }
        }
    }
}

/// The whole report in one line; from the second look on, what has changed since the last.
#[must_use]
pub fn total(report: &Report, changed: Option<Changed>) -> String {
    let mut text = format!("{} stuck", Counted(report.stuck(), "socket"));
    match changed {
        None => {
            text.push_str(" in CLOSE_WAIT");
            if report.min_age > Nanos(0) {
                text.push_str(" for ");
                push_with_unit(&mut text, report.min_age);
                text.push_str(" or longer");
            }
        }
        Some(Changed {
            opened,
            resolved,
            since,
        }) => {
            let _ = write!(text, ", {opened} new and {resolved} resolved in ");
            push_with_unit(&mut text, since);
        }
    }
    for (count, what) in [
        (report.sending, "half-closed and still sending"),
        (report.younger, "younger or still at work"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

/// What is new in a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Sockets that were not told of before.
    pub opened: usize,
    /// Sockets that are stuck no more.
    pub resolved: usize,
    /// Since the last look.
    pub since: Nanos,
}

/// `1 socket`, `2 sockets`.
struct Counted(usize, &'static str);

impl Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{s}", self.0, self.1)
    }
}

/// `~` stands before what is estimated.
fn push_age(text: &mut String, report: &Report, leak: &Leak) {
    if leak.age.known == AgeKnown::Estimated {
        text.push('~');
    }
    push_with_unit(text, report.at - leak.age.since);
}

/// A line for each verdict; the descriptor is named where it is only one.
fn push_verdicts(text: &mut String, report: &Report, group: &OwnerGroup<Owner>) {
    for (verdict, count) in Verdict::ALL.into_iter().zip(group.verdicts) {
        if count == 0 {
            continue;
        }
        let fds = match (group.owner, &*group.leaks) {
            (Owner::Process(pid), [only]) => report.fds(&report.leaks[*only], pid),
            _ => vec![],
        };
        let unread = if verdict == Verdict::EofUnread {
            group.unread
        } else {
            0
        };
        let _ = writeln!(
            text,
            "{INDENT}{count} {}: {}",
            verdict.name(),
            verdict.explain(unread, &fds)
        );
    }
    if let Some(unsent) = unsent(group.leaks.iter().map(|&at| &report.leaks[at])) {
        let _ = writeln!(text, "{INDENT}{unsent}");
    }
    if let Owner::Nobody { .. } = group.owner {
        let why = if report.recorded {
            "whoever recorded it found no holder"
        } else if report.unseen_processes {
            "no holder was found, but not every process could be looked into"
        } else {
            "held by no process: one that is exiting, a socket of the kernel's own, or a descriptor on its way between processes"
        };
        let _ = writeln!(text, "{INDENT}{why}");
    }
}

fn push_where(text: &mut String, report: &Report, group: &OwnerGroup<Owner>) {
    let _ = write!(text, "{INDENT}local ports ");
    push_tally(text, &group.local_ports);
    text.push_str("; peers ");
    push_tally(text, &group.peers);
    text.push('\n');
    let mut elsewhere: HashMap<u32, usize> = HashMap::new();
    for &at in &group.leaks {
        let netns = report.leaks[at].socket.netns;
        if report.own.is_some() && report.own != netns {
            *elsewhere.entry(netns.map_or(0, NetNs::get)).or_default() += 1;
        }
    }
    if !elsewhere.is_empty() {
        let _ = write!(text, "{INDENT}in another network namespace: --netns ");
        push_tally(text, &elsewhere.into());
        text.push('\n');
    }
}

fn push_tally<T: Display>(text: &mut String, tally: &TopValues<T>) {
    for (at, (value, count)) in tally.most.iter().enumerate() {
        let _ = write!(text, "{}{value} ({count})", if at == 0 { "" } else { ", " });
    }
    if tally.others > 0 {
        let _ = write!(text, " and {} more", tally.others);
    }
}

/// Other holders: of the sockets themselves, and of listening sockets in whose queue some may wait as well.
fn push_sharers(text: &mut String, report: &Report, group: &OwnerGroup<Owner>, owner: u32) {
    let (mut holders, mut listeners) = (BTreeSet::new(), BTreeSet::new());
    for leak in group.leaks.iter().map(|&at| &report.leaks[at]) {
        let others = report.held.descriptors(&leak.socket);
        let others = others.map(|holder| holder.pid).filter(|&pid| pid != owner);
        match leak.verdict {
            Verdict::NotAccepted => listeners.extend(others),
            _ => holders.extend(others),
        }
    }
    for (what, others) in [
        ("also held by", holders),
        ("perhaps in the accept queue of", listeners),
    ] {
        if others.is_empty() {
            continue;
        }
        let _ = write!(text, "{INDENT}{what} ");
        for (at, pid) in others.iter().take(NAMED_SHARERS).enumerate() {
            let _ = write!(text, "{}{pid}", if at == 0 { "" } else { ", " });
            if let Some(process) = report.held.processes.get(pid) {
                text.push(' ');
                push_for_terminal(text, &process.comm);
            }
        }
        if others.len() > NAMED_SHARERS {
            let _ = write!(text, " and {} more", others.len() - NAMED_SHARERS);
        }
        text.push('\n');
    }
}

fn push_socket(text: &mut String, report: &Report, leak: &Leak) {
    let mut age = String::new();
    push_age(&mut age, report, leak);
    let mut held = String::new();
    for (at, holder) in report.held.descriptors(&leak.socket).enumerate() {
        let one = format!(
            "{}{}:{}",
            if at == 0 { "" } else { "," },
            holder.pid,
            holder.fd
        );
        if at > 0 && held.len() + one.len() > HOLDERS_WIDTH {
            let all = report.held.descriptors(&leak.socket).count();
            let _ = write!(held, "+{}", all - at);
            break;
        }
        held.push_str(&one);
    }
    let held = if held.is_empty() { "-" } else { &held };
    let (local, peer): (SocketAddr, SocketAddr) =
        (leak.socket.tuple.local(), leak.socket.tuple.peer());
    let _ = writeln!(
        text,
        "{INDENT}{held:<HOLDERS_WIDTH$} {local:<21} {peer:<21} {age:>7} {:<13} unread {} unsent {}",
        leak.verdict.name(),
        leak.socket.unread(),
        leak.socket.unsent,
        local = local.to_string(),
        peer = peer.to_string(),
    );
}

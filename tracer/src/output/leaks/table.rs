//! The table: a line of figures for each owner, and below it what is not done, where, and by what.

mod owner;
mod possibly_stuck;

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use crate::output::cgroup_names::CgroupNames;
use crate::output::duration::push_with_unit;
use crate::output::escape::push_for_terminal;
use crate::output::forecast_text::push_forecast;
use crate::output::leaks::unsent;
use owner::{push_command, push_container, push_process};
use possibly_stuck::push_possibly_stuck;
use strum::VariantArray as _;
use tcpclose_core::stuck::{
    AgeKnown, OwnerGroup, OwnerKey, OwnerUnknown, Report, StuckSocket, TopValues, Verdict,
};
use tcpclose_core::types::Nanos;

const TITLES: &str = "STUCK  OLDEST    PID COMM            DESCRIPTORS   UNIT OR CONTAINER";
/// What stands below an owner's line begins here.
const INDENT: &str = "       ";
/// Other processes that are named of those that share a socket.
const NAMED_SHARERS: usize = 3;
/// Columns for the descriptors of one socket; those that do not fit are counted.
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
    /// The whole report as text, but for its [`total`]. Nothing that others chose reaches the
    /// terminal unescaped.
    #[must_use]
    pub fn write(self, report: &Report, cgroups: &mut dyn CgroupNames) -> String {
        let mut text = String::new();
        if !report.owners.is_empty() {
            text.push_str(TITLES);
            text.push('\n');
        }
        for group in &report.owners {
            self.write_group(&mut text, report, group, cgroups);
        }
        push_possibly_stuck(&mut text, report);
        text
    }

    fn write_group(
        self,
        text: &mut String,
        report: &Report,
        group: &OwnerGroup,
        cgroups: &mut dyn CgroupNames,
    ) {
        let members = || group.sockets.iter().map(|&member| &report.sockets[member]);
        let mut oldest = String::new();
        if let Some(stuck) = members().next() {
            push_age(&mut oldest, report, stuck);
        }
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
        match (&group.process, group.owner) {
            (Some(owner), _) => push_process(text, &owner.process),
            (None, OwnerKey::Process((pid, _))) => drop(write!(text, "{pid:>6}")),
            (
                None,
                OwnerKey::Nobody {
                    cgroup,
                    netns: _,
                    uid,
                },
            ) => {
                text.push_str("     -");
                let was_searched = members().any(|stuck| was_searched(stuck.owner_unknown));
                if let Some(uid) = uid.filter(|_| was_searched) {
                    let _ = write!(text, " uid {uid}");
                }
                if let Some(name) = cgroup.and_then(|cgroup| cgroups.name(cgroup.get())) {
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
        push_verdicts(text, group, members().collect());
        push_where(text, report, group);
        if let OwnerKey::Process((pid, _)) = group.owner {
            push_sharers(text, members(), pid);
        }
        if let Some(owner) = &group.process {
            push_command(text, &owner.process);
        }
        if let Some(forecast) = &group.forecast {
            text.push_str(INDENT);
            push_forecast(text, forecast);
            text.push('\n');
        }
        if self.every_socket {
            for stuck in members() {
                push_socket(text, report, stuck);
            }
        }
    }
}

/// Returns whether it is known why a socket has no owner. A scan knows, a recording does not.
fn was_searched(unknown: Option<OwnerUnknown>) -> bool {
    matches!(
        unknown,
        Some(OwnerUnknown::NoHolder | OwnerUnknown::NotInspectable)
    )
}

/// Returns the whole report in one line; from the second on, what has changed since the one before.
#[must_use]
pub fn total(report: &Report) -> String {
    let mut text = format!("{} stuck", Counted(report.stuck().count(), "socket"));
    match &report.changes {
        None => {
            text.push_str(" in CLOSE_WAIT");
            if report.min_age > Nanos(0) {
                text.push_str(" for ");
                push_with_unit(&mut text, report.min_age);
                text.push_str(" or longer");
            }
        }
        Some(changes) => {
            let (opened, resolved) = (report.opened().count(), changes.resolved.len());
            let _ = write!(text, ", {opened} new and {resolved} resolved in ");
            push_with_unit(&mut text, changes.after);
        }
    }
    for (count, what) in [
        (report.still_sending, "half-closed and still sending"),
        (report.younger, "younger or still at work"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

/// `1 socket`, `2 sockets`.
struct Counted(usize, &'static str);

impl Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{s}", self.0, self.1)
    }
}

/// Appends the age; `~` stands before one that is estimated.
fn push_age(text: &mut String, report: &Report, stuck: &StuckSocket) {
    if stuck.age.known == AgeKnown::Estimated {
        text.push('~');
    }
    push_with_unit(text, report.at - stuck.age.since);
}

/// Appends a line for each verdict; the descriptor is named where there is only one.
fn push_verdicts(text: &mut String, group: &OwnerGroup, members: Vec<&StuckSocket>) {
    for (verdict, count) in Verdict::VARIANTS.iter().copied().zip(group.verdicts) {
        if count == 0 {
            continue;
        }
        let fds = match (group.owner, &*members) {
            (OwnerKey::Process((pid, _)), [only]) => only.fds_of(pid),
            _ => &[],
        };
        let unread = if verdict == Verdict::EofUnread {
            group.unread
        } else {
            0
        };
        let _ = writeln!(
            text,
            "{INDENT}{count} {}: {}",
            verdict,
            verdict.explain(unread, fds)
        );
    }
    if let Some(unsent) = unsent(members.iter().copied()) {
        let _ = writeln!(text, "{INDENT}{unsent}");
    }
    if let (OwnerKey::Nobody { .. }, Some(stuck)) = (group.owner, members.first()) {
        let why = match stuck.owner_unknown {
            None | Some(OwnerUnknown::Unspecified) => "whoever recorded it found no holder",
            Some(OwnerUnknown::NotInspectable) => {
                "no holder was found, but not every process could be looked into"
            }
            Some(OwnerUnknown::NoHolder) => {
                "held by no process: one that is exiting, a socket of the kernel's own, or a descriptor on its way between processes"
            }
        };
        let _ = writeln!(text, "{INDENT}{why}");
    }
}

fn push_where(text: &mut String, report: &Report, group: &OwnerGroup) {
    let _ = write!(text, "{INDENT}local ports ");
    push_top(text, &group.local_ports);
    text.push_str("; peers ");
    push_top(text, &group.peers);
    text.push('\n');
    let mut elsewhere: HashMap<u32, usize> = HashMap::new();
    for &member in &group.sockets {
        let netns = report.sockets[member].socket.netns;
        if let (Some(own), Some(netns)) = (report.own_netns, netns)
            && own != netns
        {
            *elsewhere.entry(netns.get()).or_default() += 1;
        }
    }
    if !elsewhere.is_empty() {
        let _ = write!(text, "{INDENT}in another network namespace: --netns ");
        push_top(text, &elsewhere.into());
        text.push('\n');
    }
}

fn push_top<T: Display>(text: &mut String, values: &TopValues<T>) {
    for (place, (value, count)) in values.most.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{value} ({count})");
    }
    if values.others > 0 {
        let _ = write!(text, " and {} more", values.others);
    }
}

/// Appends the other holders: of the sockets themselves, and of listening sockets in whose queue
/// some may wait as well.
fn push_sharers<'a>(text: &mut String, members: impl Iterator<Item = &'a StuckSocket>, owner: u32) {
    let (mut holders, mut listeners) = (BTreeMap::new(), BTreeMap::new());
    for stuck in members {
        let others = stuck.holders.iter().filter(|holder| holder.pid != owner);
        let others = others.map(|holder| (holder.pid, &*holder.comm));
        match stuck.verdict {
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
        for (place, (pid, comm)) in others.iter().take(NAMED_SHARERS).enumerate() {
            let _ = write!(text, "{}{pid}", if place == 0 { "" } else { ", " });
            if !comm.is_empty() {
                text.push(' ');
                push_for_terminal(text, comm);
            }
        }
        if others.len() > NAMED_SHARERS {
            let _ = write!(text, " and {} more", others.len() - NAMED_SHARERS);
        }
        text.push('\n');
    }
}

fn push_socket(text: &mut String, report: &Report, stuck: &StuckSocket) {
    let mut age = String::new();
    push_age(&mut age, report, stuck);
    let descriptors = || {
        let holders = stuck.holders.iter();
        holders.flat_map(|holder| holder.fds.iter().map(|fd| (holder.pid, *fd)))
    };
    let mut held = String::new();
    for (place, (pid, fd)) in descriptors().enumerate() {
        let one = format!("{}{pid}:{fd}", if place == 0 { "" } else { "," });
        if place > 0 && held.len() + one.len() > HOLDERS_WIDTH {
            let _ = write!(held, "+{}", descriptors().count() - place);
            break;
        }
        held.push_str(&one);
    }
    let held = if held.is_empty() { "-" } else { &held };
    let (local, peer): (SocketAddr, SocketAddr) =
        (stuck.socket.tuple.local(), stuck.socket.tuple.peer());
    let _ = writeln!(
        text,
        "{INDENT}{held:<HOLDERS_WIDTH$} {local:<21} {peer:<21} {age:>7} {:<13} unread {} unsent {}",
        stuck.verdict,
        stuck.socket.unread(),
        stuck.socket.unsent,
        local = local.to_string(),
        peer = peer.to_string(),
    );
}

//! The table: a line of figures for each owner, and below it verdicts, addresses and the command.

mod owner;
mod parts;
mod possibly_stuck;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use crate::cgroup_names::CgroupNames;
use crate::escape::push_for_terminal;
use crate::output::duration::push_with_unit;
use crate::output::forecast_text::push_forecast;
use crate::output::layout::{Cell, Style, column_starts};
use crate::output::leaks::{evidence_text, remedy_text, send_queue_text, why_text};
use crate::output::paragraph::broken_line;
use crate::plural::plural;
pub(in crate::output) use owner::location_text;
use owner::{push_command, set_process, unowned_text};
use parts::{INDENT, OwnerLine, push_cells, push_top_values};
use possibly_stuck::push_possibly_stuck;
use tcpclose_common::TcpState;
use tcpclose_core::stuck::{
    AgeCertainty, OwnerGroup, OwnerKey, OwnerUnknown, Report, STUCK_STATES, StuckSocket,
    TOP_VALUES, Verdict,
};
use tcpclose_core::summary::Ranking;
use tcpclose_core::types::{Nanos, OwnerSource};

const COLUMN_TITLES: OwnerLine<&str> = [
    "STUCK",
    " OLDEST",
    "   PID",
    "COMM",
    "DESCRIPTORS",
    "UNIT OR CONTAINER",
];
const COLUMN_STARTS: OwnerLine<usize> = column_starts([5, 7, 6, 15, 13, 0]);
/// The columns of a socket's line, the first of which is the indentation.
const SOCKET_STARTS: [usize; 7] = column_starts([6, HOLDERS_WIDTH, 21, 21, 7, 13, 0]);
/// The most other holders of a socket that are named.
const MAX_NAMED_SHARERS: usize = 3;
/// The columns for the descriptors of one socket; those that do not fit are counted.
const HOLDERS_WIDTH: usize = 19;

/// How the table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeakTable {
    /// A line for each socket too.
    pub every_socket: bool,
    /// Whether to write colours.
    pub colours: bool,
    /// The columns of the terminal: the lines below an owner's are broken at spaces to fit them.
    /// With `None` no line is broken.
    pub width: Option<u16>,
}

impl LeakTable {
    /// Returns the whole report as text, but for its [`headline`]. Nothing that others chose
    /// reaches the terminal unescaped.
    #[must_use]
    pub fn write(self, report: &Report, cgroups: &mut dyn CgroupNames) -> String {
        let mut text = String::new();
        if !report.owners.is_empty() {
            let titles = COLUMN_TITLES.map(|title| Cell::new(title.to_owned()));
            push_cells(&mut text, &titles, &COLUMN_STARTS, false);
        }
        for group in &report.owners {
            let start = text.len();
            self.write_group(&mut text, report, group, cgroups);
            if let Some(width) = self.width {
                let details = text.split_off(start);
                push_broken(&mut text, &details, width.into());
            }
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
        let mut cells: OwnerLine<Cell> = Default::default();
        let [stuck, oldest, pid, comm, ..] = &mut cells;
        match group.count.sample.stuck {
            0 => stuck.set("-"),
            count => {
                stuck.set(&count.to_string());
                stuck.style = Style::Red;
            }
        }
        stuck.align_right(5);
        if let Some(stuck) = members().next() {
            push_age(&mut oldest.text, report, stuck);
        }
        oldest.align_right(7);
        match (&group.count.process, group.count.owner) {
            (Some(owner), _) => set_process(&mut cells, &owner.process),
            (None, OwnerKey::Process((id, _))) => {
                pid.set(&id.to_string());
                pid.align_right(6);
            }
            (
                None,
                OwnerKey::Unowned {
                    cgroup,
                    netns: _,
                    uid,
                },
            ) => {
                pid.set("-");
                pid.align_right(6);
                let was_searched = members().any(|stuck| was_searched(stuck.owner_unknown));
                let uid = uid.filter(|_| was_searched);
                let name = cgroup.and_then(|cgroup| cgroups.name(cgroup.get()));
                comm.set(&unowned_text(uid, name));
            }
        }
        push_cells(text, &cells, &COLUMN_STARTS, self.colours);
        push_verdicts(text, group, members().collect());
        if let OwnerKey::Process((pid, _)) = group.count.owner
            && let Some(evidence) = evidence_text(members(), pid)
        {
            let _ = writeln!(text, "{INDENT}WHERE  {evidence}");
        }
        let mut evidence = members().flat_map(|stuck| &stuck.why);
        if let OwnerKey::Process((pid, _)) = group.count.owner
            && let Some(holder) = evidence.find(|holder| holder.pid == pid)
            && let Some(command) = holder.process.next_command(pid)
        {
            let _ = writeln!(text, "{INDENT}NEXT   {command}");
        }
        push_ports_and_peers(text, report, group);
        if let OwnerKey::Process((pid, _)) = group.count.owner {
            push_other_holders(text, members(), pid);
        }
        if let Some(owner) = &group.count.process {
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

/// Appends an owner's lines: the first as it is, as it may have colours, the others broken.
fn push_broken(text: &mut String, lines: &str, width: usize) {
    for (place, line) in lines.lines().enumerate() {
        let broken = match place {
            0 => vec![line.to_owned()],
            _ => broken_line(line, width),
        };
        for line in broken {
            text.push_str(&line);
            text.push('\n');
        }
    }
}

/// Returns whether it is known why a socket has no owner. A scan knows, a recording does not.
fn was_searched(unknown: Option<OwnerUnknown>) -> bool {
    matches!(
        unknown,
        Some(OwnerUnknown::NoHolder | OwnerUnknown::NotInspectable | OwnerUnknown::Closed)
    )
}

/// Returns the whole report in one line; from the second on, what has changed since the one before.
#[must_use]
pub fn headline(report: &Report) -> String {
    let stuck = report.stuck().count();
    let mut text = format!(
        "{stuck} {} stuck",
        plural(stuck as u64, "socket", "sockets")
    );
    match &report.changes {
        None => {
            push_states(&mut text, report);
            if report.min_age > Nanos(0) {
                text.push_str(" for ");
                push_with_unit(&mut text, report.min_age);
                text.push_str(" or longer");
            }
            let silent = report.sockets.iter();
            let silent = silent.filter(|stuck| stuck.verdict == Verdict::Silent);
            let silent = silent.count();
            if silent > 0 {
                let _ = write!(text, ", {silent} silent");
            }
        }
        Some(changes) => {
            let (opened, resolved) = (report.newly_stuck().count(), changes.resolved.len());
            let _ = write!(text, ", {opened} new and {resolved} resolved in ");
            push_with_unit(&mut text, changes.after);
        }
    }
    for (count, what) in [
        (report.still_sending, "half-closed and at work"),
        (report.younger, "younger or still transferring data"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

/// Appends the states of the stuck sockets; with several, how many are in each.
fn push_states(text: &mut String, report: &Report) {
    let count = |state| {
        let in_state = report.stuck().filter(|stuck| stuck.socket.state == state);
        (state, in_state.count())
    };
    let states = STUCK_STATES.into_iter().chain([TcpState::Established]);
    let states: Vec<_> = states.map(count).filter(|(_, count)| *count > 0).collect();
    match *states {
        [] => {}
        [(state, _)] => drop(write!(text, " in {state}")),
        _ => {
            for (place, (state, count)) in states.iter().enumerate() {
                let _ = write!(
                    text,
                    "{}{count} in {state}",
                    if place == 0 { " (" } else { ", " }
                );
            }
            text.push(')');
        }
    }
}

/// Appends the age; `~` stands before one that is estimated.
fn push_age(text: &mut String, report: &Report, stuck: &StuckSocket) {
    if stuck.age.known == AgeCertainty::Estimated {
        text.push('~');
    }
    push_with_unit(text, report.at - stuck.age.since);
}

/// Appends a line for each verdict; the descriptor is named where there is only one.
fn push_verdicts(text: &mut String, group: &OwnerGroup, members: Vec<&StuckSocket>) {
    let unknown = members.first().and_then(|stuck| stuck.owner_unknown);
    for alike in &group.verdicts {
        let fds = match (group.count.owner, &*members) {
            (OwnerKey::Process((pid, _)), [only]) => only.fds_of(pid),
            _ => &[],
        };
        let _ = write!(text, "{INDENT}WHY    {} {}", alike.count, alike.verdict);
        if alike.state != TcpState::CloseWait {
            let _ = write!(text, " in {}", alike.state);
        }
        let _ = writeln!(text, ": {}", why_text(alike, fds, unknown));
        if let Some(remedy) = remedy_text(alike, unknown) {
            let _ = writeln!(text, "{INDENT}DO     {remedy}");
        }
    }
    let through_listener = members.iter().filter(|stuck| {
        let owner = stuck.owner.as_ref();
        owner.is_some_and(|owner| owner.source == OwnerSource::Listen)
    });
    match through_listener.count() {
        0 => {}
        count => {
            let _ = writeln!(
                text,
                "{INDENT}owner of {count} found through the listening socket"
            );
        }
    }
    if group.mptcp > 0 {
        let _ = writeln!(text, "{INDENT}MPTCP connections: {}", group.mptcp);
    }
    if let Some(unsent) = send_queue_text(members.iter().copied()) {
        let _ = writeln!(text, "{INDENT}{unsent}");
    }
    if let (OwnerKey::Unowned { .. }, Some(stuck)) = (group.count.owner, members.first()) {
        let unknown = stuck.owner_unknown.unwrap_or(OwnerUnknown::Unspecified);
        let why = unknown.explain(stuck.verdict != Verdict::NotAccepted);
        let _ = writeln!(text, "{INDENT}{why}");
    }
}

fn push_ports_and_peers(text: &mut String, report: &Report, group: &OwnerGroup) {
    let _ = write!(text, "{INDENT}local ports ");
    push_top_values(text, &group.local_ports);
    text.push_str("; peers ");
    push_top_values(text, &group.peers);
    text.push('\n');
    let mut elsewhere: HashMap<u32, u64> = HashMap::new();
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
        push_top_values(text, &Ranking::from_counts(elsewhere, TOP_VALUES));
        text.push('\n');
    }
}

/// Appends the other holders: of the sockets themselves, and of listening sockets in whose queue
/// some may wait as well.
fn push_other_holders<'a>(
    text: &mut String,
    members: impl Iterator<Item = &'a StuckSocket>,
    owner: u32,
) {
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
        ("possibly in the accept queue of", listeners),
    ] {
        if others.is_empty() {
            continue;
        }
        let _ = write!(text, "{INDENT}{what} ");
        for (place, (pid, comm)) in others.iter().take(MAX_NAMED_SHARERS).enumerate() {
            let _ = write!(text, "{}{pid}", if place == 0 { "" } else { ", " });
            if !comm.is_empty() {
                text.push(' ');
                push_for_terminal(text, comm);
            }
        }
        if others.len() > MAX_NAMED_SHARERS {
            let _ = write!(text, " and {} more", others.len() - MAX_NAMED_SHARERS);
        }
        text.push('\n');
    }
}

fn push_socket(text: &mut String, report: &Report, stuck: &StuckSocket) {
    let mut age = String::new();
    push_age(&mut age, report, stuck);
    let descriptors = || {
        let holders = stuck.holders.iter();
        holders.flat_map(|holder| {
            let process = match holder.thread {
                Some(thread) => format!("{}/{thread}", holder.pid),
                None => holder.pid.to_string(),
            };
            let fds = holder.fds.iter();
            fds.map(move |fd| format!("{process}:{fd}"))
        })
    };
    let mut held = String::new();
    for (place, descriptor) in descriptors().enumerate() {
        let one = format!("{}{descriptor}", if place == 0 { "" } else { "," });
        if place > 0 && held.len() + one.len() > HOLDERS_WIDTH {
            let _ = write!(held, "+{}", descriptors().count() - place);
            break;
        }
        held.push_str(&one);
    }
    if held.is_empty() {
        held.push('-');
    }
    let tuple = &stuck.socket.tuple;
    let unread = stuck.socket.unread();
    let mut queues = format!(
        "unread {} unsent {}",
        unread.map_or_else(|| "?".into(), |bytes| bytes.to_string()),
        stuck.socket.unsent
    );
    if stuck.socket.mptcp {
        queues.push_str(" mptcp");
    }
    let cells = [
        String::new(),
        held,
        tuple.local().to_string(),
        tuple.peer().to_string(),
        age,
        stuck.verdict.to_string(),
        queues,
    ];
    let mut cells = cells.map(Cell::new);
    cells[4].align_right(7);
    push_cells(text, &cells, &SOCKET_STARTS, false);
}

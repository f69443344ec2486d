//! The table: a line for each route, and below those that are full or nearly full whose
//! connections they are, why, and what to do.

use std::fmt::Write as _;

use super::advice::what_to_do;
use super::history::{failed_text, why_with_history};
use crate::output::duration::push_with_unit;
use crate::output::layout::{Cell, Spacing, Style, column_starts};
use crate::output::paragraph::push_paragraph;
use crate::output::process_text::{push_process, push_process_at_length};
use crate::output::symbols::Symbols;
use crate::plural::plural;
use tcpclose_core::routes::{
    Fullness, NEARLY_FULL_SHARE, RouteOwner, RouteReport, RouteUsage, RoutesReport,
};
use tcpclose_core::types::NetNs;

const COLUMN_TITLES: [&str; 6] = ["ROUTE", "USED", "SHARE", "LIVE", "TIME_WAIT", "WHO"];
/// The widths of the columns after the first.
const COLUMN_WIDTHS: [usize; 5] = [11, 5, 6, 9, 0];
/// The columns to which routes are padded; what is longer moves the columns of its line.
const MAX_ROUTE_WIDTH: usize = 40;
/// The columns of a line where there is no terminal.
const DEFAULT_WIDTH: usize = 80;
/// The columns of text.
const TEXT_WIDTH: usize = 78;
/// The indent of further lines about a route.
const OTHER_LINES: &str = "         ";
/// The most routes that are listed where not all are wanted.
const MAX_ROUTES: usize = 20;

/// What one scan does not know.
const UNKNOWN_FROM_A_SCAN: &str = "Not known from a scan: the processes of ports in TIME_WAIT, \
     which end closes first, how long connections live, and failed connects. A running agent \
     (`tcpclose agent`) knows them.";

/// How the table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTable {
    /// Every route, not only the fullest ones.
    pub every_route: bool,
    /// The arrow between addresses.
    pub symbols: Symbols,
    /// The columns of the terminal, where there is one.
    pub width: Option<u16>,
    /// Whether to write colours.
    pub colours: bool,
}

/// Returns the whole report in one line.
#[must_use]
pub fn headline(report: &RoutesReport) -> String {
    let all = report.routes.len();
    let full = report.count(Fullness::Full);
    let nearly = report.count(Fullness::NearlyFull);
    let unknown = report.count(Fullness::Unknown);
    let mut text = format!("{all} {}: ", plural(all as u64, "route", "routes"));
    let share = NEARLY_FULL_SHARE * 100.0;
    let _ = match (full, nearly) {
        (0, 0) => write!(text, "none uses {share}% of its ports or more"),
        (full, 0) => write!(text, "{full} full"),
        (0, nearly) => write!(text, "{nearly} nearly full ({share}% of the ports or more)"),
        (full, nearly) => write!(
            text,
            "{full} full, {nearly} nearly full ({share}% of the ports or more)"
        ),
    };
    if unknown > 0 {
        let _ = write!(text, ", {unknown} of which it is not known");
    }
    if report.unknown_owner > 0 {
        let _ = write!(
            text,
            "; {} left out, since a scan does not show whose they are",
            report.unknown_owner
        );
    }
    text
}

impl RouteTable {
    /// Returns the whole report as text, but for its [`headline`]. Nothing that others chose
    /// reaches the terminal unescaped.
    #[must_use]
    pub fn write(self, report: &RoutesReport) -> String {
        let mut text = String::new();
        let most = if self.every_route {
            usize::MAX
        } else {
            MAX_ROUTES
        };
        let shown = &report.routes[..report.routes.len().min(most)];
        if shown.is_empty() {
            return text;
        }
        let width = shown
            .iter()
            .map(|route| route_text(&route.usage, self.symbols).chars().count());
        let width = width.max().unwrap_or(0).min(MAX_ROUTE_WIDTH);
        let [used, share, live, time_wait, who] = COLUMN_WIDTHS;
        let starts = column_starts([width, used, share, live, time_wait, who]);
        self.push_line(&mut text, COLUMN_TITLES.map(cell), &starts);
        for route in shown {
            self.push_route(&mut text, route, report.own_netns, &starts);
        }
        let left = &report.routes[shown.len()..];
        if !left.is_empty() {
            let scarce = left.iter().filter(|route| is_scarce(&route.usage)).count();
            let full = match scarce {
                0 => String::new(),
                scarce => format!(", {scarce} of them full, nearly full or unknown"),
            };
            let _ = writeln!(text, "and {} routes more{full} (--all)", left.len());
        }
        let lacks_agent =
            |route: &RouteReport| route.usage.time_wait > 0 && route.history.is_none();
        if shown.iter().any(lacks_agent) {
            push_paragraph(&mut text, "", "", UNKNOWN_FROM_A_SCAN, TEXT_WIDTH);
        }
        text
    }

    fn push_line(self, text: &mut String, mut cells: [Cell; 6], starts: &[usize; 6]) {
        // What a long route takes, the numbers behind it give back.
        let mut excess = (cells[0].width() + 1).saturating_sub(starts[1]);
        for (cell, width) in cells.iter_mut().skip(1).zip(COLUMN_WIDTHS) {
            let slack = width.saturating_sub(cell.width()).min(excess);
            cell.align_right(width - slack);
            excess -= slack;
        }
        let mut line = Vec::new();
        Spacing::new(&cells, starts).write(&cells, self.colours, &mut line);
        text.push_str(&String::from_utf8_lossy(&line));
    }

    fn push_route(
        self,
        text: &mut String,
        route: &RouteReport,
        own_netns: Option<NetNs>,
        starts: &[usize; 6],
    ) {
        let usage = &route.usage;
        let fullness = usage.fullness();
        let mut cells = [
            route_text(usage, self.symbols),
            used_text(usage),
            share_text(usage),
            usage.live.to_string(),
            usage.time_wait.to_string(),
            String::new(),
        ]
        .map(Cell::new);
        cells[2].style = match fullness {
            Fullness::Full => Style::Red,
            Fullness::NearlyFull => Style::Yellow,
            Fullness::Free | Fullness::Unknown => Style::Plain,
        };
        let details = is_scarce(usage);
        let width = self.width.map_or(DEFAULT_WIDTH, usize::from);
        let mut who = owners_text(route);
        if !details && starts[5].max(1) + who.chars().count() <= width {
            cells[5].set(&std::mem::take(&mut who));
        }
        self.push_line(text, cells, starts);
        if details {
            push_details(text, route);
        } else if !who.is_empty() {
            let _ = writeln!(text, "    {who}");
        }
        if let (Some(own), Some(netns)) = (own_netns, usage.route.netns)
            && own != netns
        {
            let _ = writeln!(text, "    in another network namespace: --netns {netns}");
        }
    }
}

fn cell(title: &str) -> Cell {
    Cell::new(title.to_owned())
}

/// Returns whether ports are scarce on a route, or may be.
fn is_scarce(usage: &RouteUsage) -> bool {
    usage.fullness() != Fullness::Free
}

/// `10.0.0.5 → 10.0.0.9:443`
pub(in crate::output) fn route_text(usage: &RouteUsage, symbols: Symbols) -> String {
    let (local, arrow, peer) = (usage.route.local, symbols.connected(), usage.route.peer);
    format!("{local} {arrow} {peer}")
}

/// The ports that connect() cannot use, of those that it may choose; `?` where a number is not
/// known.
pub(in crate::output) fn used_text(usage: &RouteUsage) -> String {
    match usage.pressure {
        Some(pressure) => match pressure.used {
            Some(used) => format!("{used}/{}", pressure.ports),
            None => format!("?/{}", pressure.ports),
        },
        None => "?".to_owned(),
    }
}

pub(in crate::output) fn share_text(usage: &RouteUsage) -> String {
    match usage.pressure.and_then(|pressure| pressure.share()) {
        Some(share) if share >= 1.0 => "FULL".to_owned(),
        // Never rounded up to what would be full.
        Some(share) => format!("{:.0}%", (share * 100.0).floor()),
        None => "?".to_owned(),
    }
}

/// `python3 12915, nginx 77 and 2 others`
pub(in crate::output) fn owners_text(route: &RouteReport) -> String {
    let mut text = String::new();
    let mut owners = route.owners.iter();
    if let Some(first) = owners.next() {
        push_process(&mut text, &first.process);
    }
    let others = owners.len() as u64 + u64::from(route.other_owners);
    if others > 0 {
        let _ = write!(text, " and {others} {}", plural(others, "other", "others"));
    }
    text
}

fn push_details(text: &mut String, route: &RouteReport) {
    let usage = &route.usage;
    let mut push = |mark: &str, words: &str| {
        push_paragraph(text, mark, OTHER_LINES, words, TEXT_WIDTH);
    };
    if usage.fullness() == Fullness::Full {
        let mut words = "connect() fails with \"Cannot assign requested address\"".to_owned();
        if let Some(next) = usage.next_free {
            words.push_str("; the next port is free in about ");
            push_with_unit(&mut words, next);
        }
        push("    NOW  ", &words);
    }
    let history = route.history.as_ref();
    if let Some(failed) = history.and_then(|history| failed_text(history, usage.at)) {
        push("    NOW  ", &failed);
    }
    for owner in &route.owners {
        let mut words = String::new();
        push_process_at_length(&mut words, &owner.process);
        words.push_str(": ");
        push_ports(&mut words, owner);
        push("    WHO  ", &words);
    }
    if route.other_owners > 0 {
        let others = u64::from(route.other_owners);
        let words = format!("{others} {} more", plural(others, "process", "processes"));
        push("    WHO  ", &words);
    }
    if route.unowned > 0 {
        let words = format!(
            "not known of {} {}",
            route.unowned,
            plural(route.unowned.into(), "connection", "connections")
        );
        push("    WHO  ", &words);
    }
    if route.unowned_minisockets > 0 && history.is_some() {
        let count = route.unowned_minisockets;
        let closed = plural(count.into(), "closed connection", "closed connections");
        push("    WHO  ", &format!("not known of {count} {closed}"));
    }
    if let Some(why) = why_with_history(route) {
        push("    WHY  ", &why);
    }
    let advice = what_to_do(usage);
    if !advice.is_empty() {
        push("    DO   ", &advice);
    }
}

/// Appends `3 connections` or `1 connection, and 199 that it has closed`.
fn push_ports(words: &mut String, owner: &RouteOwner) {
    let (live, closed) = (owner.connections, owner.minisockets);
    if live > 0 || closed == 0 {
        let _ = write!(
            words,
            "{live} {}",
            plural(live.into(), "connection", "connections")
        );
    }
    match (live, closed) {
        (_, 0) => {}
        (0, closed) => {
            let connections = plural(closed.into(), "connection", "connections");
            let _ = write!(words, "has closed {closed} {connections}");
        }
        (_, closed) => {
            let _ = write!(words, ", and {closed} that it has closed");
        }
    }
}

//! The whole of what is known about one row of a list, as text.

use std::fmt::Write as _;

use super::cells::{connection_text, waits_for};
use super::list::ListKind;
use super::view::{ResetRow, View};
use crate::cgroup_names::NoCgroups;
use crate::output::cause_text::cause_text;
use crate::output::close_tally::{AbnormalGroup, grouped};
use crate::output::close_text::{push_owner, thread_text};
use crate::output::duration::push_with_unit;
use crate::output::ladder::write_ladder;
use crate::output::leaks::LeakTable;
use crate::output::paragraph::push_paragraph;
use crate::output::routes::RouteTable;
use crate::output::symbols::Symbols;
use crate::plural::plural;
use tcpclose_core::ListedEndpoint;
use tcpclose_core::finding::Close;
use tcpclose_core::routes::RoutesReport;
use tcpclose_core::stuck::{OwnerGroup, Report, StuckSocket, by_owner};

/// The columns of text.
const TEXT_WIDTH: usize = 78;
/// The most sockets of one process that are listed.
const MAX_SOCKETS: usize = 200;

/// Returns the lines about a row of a list; empty where there is no such row any more.
pub(super) fn story(kind: ListKind, row: usize, view: &View, symbols: Symbols) -> Vec<String> {
    let mut text = String::new();
    let scan = view.scan.as_ref();
    match kind {
        ListKind::Services => {}
        ListKind::Stuck => {
            if let Some((scan, group)) =
                scan.and_then(|scan| Some((scan, scan.stuck.owners.get(row)?)))
            {
                push_stuck(&mut text, &scan.stuck, group);
            }
        }
        ListKind::Resets => {
            if let Some(row) = view.resets.get(row) {
                push_reset(&mut text, row, view, symbols);
            }
        }
        ListKind::Routes => {
            if let Some(route) = scan.and_then(|scan| scan.routes.routes.get(row)) {
                let own_netns = scan.and_then(|scan| scan.routes.own_netns);
                let report = RoutesReport {
                    own_netns,
                    routes: vec![route.clone()],
                    ..RoutesReport::default()
                };
                let table = RouteTable {
                    every_route: true,
                    symbols,
                    ..RouteTable::default()
                };
                text.push_str(&table.write(&report));
            }
        }
        ListKind::Closing => {
            if let Some(endpoint) = view.closing.0.get(row) {
                push_endpoint(&mut text, endpoint, view, symbols);
            }
        }
        ListKind::Sockets => {
            if let Some(opened) = &view.opened {
                match row.checked_sub(opened.endpoints.len()) {
                    None => push_endpoint(&mut text, &opened.endpoints[row], view, symbols),
                    Some(close) => {
                        if let Some(close) = opened.closes.get(close) {
                            push_close(&mut text, close, view, symbols);
                        }
                    }
                }
            }
        }
    }
    text.lines().map(str::to_owned).collect()
}

fn push_close(text: &mut String, close: &Close, view: &View, symbols: Symbols) {
    let mut ladder = Vec::new();
    write_ladder(&mut ladder, close, &view.clock, symbols);
    text.push_str(&String::from_utf8_lossy(&ladder));
    if let Some(cause) = close.cause.or(close.peer_cause) {
        push_paragraph(text, "DO   ", "     ", cause_text(cause).advice, TEXT_WIDTH);
    }
}

fn push_reset(text: &mut String, row: &ResetRow, view: &View, symbols: Symbols) {
    let AbnormalGroup {
        group,
        count,
        silence,
    } = &row.abnormal;
    let closes = plural(*count, "close", "closes");
    let what = format!("{} {closes}: {}", grouped(*count), group.who);
    push_paragraph(text, "", "  ", &what, TEXT_WIDTH);
    let mut how = group.how.to_string();
    if let Some(silence) = silence {
        how.push_str(&format!(" ({silence})"));
    }
    push_paragraph(text, "HOW  ", "     ", &how, TEXT_WIDTH);
    if let Some(cause) = group.cause {
        let words = cause_text(cause);
        push_paragraph(
            text,
            "WHY  ",
            "     ",
            &format!("{}.", words.what),
            TEXT_WIDTH,
        );
        push_paragraph(text, "DO   ", "     ", words.advice, TEXT_WIDTH);
    }
    if let Some(close) = &row.example {
        text.push_str("\nThe last one:\n");
        let mut ladder = Vec::new();
        write_ladder(&mut ladder, close, &view.clock, symbols);
        text.push_str(&String::from_utf8_lossy(&ladder));
    }
}

/// Appends what `tcpclose leaks --all` says of a process.
fn push_stuck(text: &mut String, report: &Report, group: &OwnerGroup) {
    let shown = group.sockets.iter().take(MAX_SOCKETS);
    let sockets: Vec<StuckSocket> = shown
        .map(|&member| report.sockets[member].clone())
        .collect();
    let of_owner = OwnerGroup {
        sockets: (0..sockets.len()).collect(),
        ..group.clone()
    };
    push_leaks(text, report, sockets, of_owner);
    let left = group.sockets.len().saturating_sub(MAX_SOCKETS);
    if left > 0 {
        let _ = writeln!(text, "    and {left} more");
    }
}

fn push_leaks(text: &mut String, report: &Report, sockets: Vec<StuckSocket>, group: OwnerGroup) {
    let report = Report {
        at: report.at,
        min_age: report.min_age,
        sockets,
        owners: vec![group],
        own_netns: report.own_netns,
        ..Report::default()
    };
    let table = LeakTable {
        every_socket: true,
        ..LeakTable::default()
    };
    text.push_str(&table.write(&report, &mut NoCgroups));
}

fn push_endpoint(text: &mut String, endpoint: &ListedEndpoint, view: &View, symbols: Symbols) {
    text.push_str(&connection_text(&endpoint.tuple, endpoint.role, symbols));
    if let Some(owner) = &endpoint.owner {
        text.push_str("  ");
        push_owner(text, owner, symbols);
        if let Some(thread) = thread_text(owner, symbols) {
            let _ = write!(text, ", connected by {thread}");
        }
    }
    let state: &str = endpoint.state.into();
    let _ = write!(text, "\n{state}");
    if let Some(since) = endpoint.since {
        text.push_str(" for ");
        push_with_unit(text, view.at - since);
    }
    match waits_for(endpoint) {
        "" => text.push('\n'),
        waits => {
            let _ = writeln!(text, ": it waits for {waits}.");
        }
    }
    let local = endpoint.tuple.local();
    let _ = writeln!(text, "local address {local}");
    if let Some(netns) = endpoint.netns {
        let _ = writeln!(text, "network namespace {netns}");
    }
    let Some(scan) = &view.scan else {
        return;
    };
    let report = &scan.stuck;
    let is_this = |stuck: &&StuckSocket| stuck.endpoint.id == endpoint.id;
    if let Some(stuck) = report.sockets.iter().find(is_this) {
        let sockets = vec![stuck.clone()];
        if let Some(group) = by_owner(&sockets).pop() {
            text.push('\n');
            push_leaks(text, report, sockets, group);
        }
    }
}

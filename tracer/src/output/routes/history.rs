//! What a running agent knows of a route, in words.

use std::fmt::Write as _;

use super::advice::why;
use crate::escape::push_for_terminal;
use crate::output::duration::push_with_unit;
use crate::plural::plural;
use tcpclose_core::routes::{RouteHistory, RouteReport};
use tcpclose_core::types::Nanos;

/// `100 connects have failed (python3 12915), the first 5.2s ago`
pub(in crate::output) fn failed_text(history: &RouteHistory, now: Nanos) -> Option<String> {
    let since = history.failing_since?;
    let mut words = format!(
        "{} {} failed",
        history.failed,
        plural(history.failed, "connect has", "connects have")
    );
    for (place, (owner, _)) in history.failed_of.iter().enumerate() {
        words.push_str(if place == 0 { " (" } else { ", " });
        push_for_terminal(&mut words, &owner.comm);
        let _ = write!(words, " {}", owner.pid);
    }
    if !history.failed_of.is_empty() {
        words.push(')');
    }
    words.push_str(", the first ");
    push_with_unit(&mut words, now - since);
    words.push_str(" ago");
    Some(words)
}

/// Returns why ports are scarce on a route ([`why`]), with what recent closes have shown.
pub(in crate::output) fn why_with_history(route: &RouteReport) -> Option<String> {
    let mut why = why(&route.usage)?;
    if let Some(history) = &route.history {
        push_history(&mut why, history);
    }
    Some(why)
}

/// Appends which end closed first of late, and how long connections live.
fn push_history(why: &mut String, history: &RouteHistory) {
    let (here, peer) = (history.closed_here, history.closed_by_peer);
    if here + peer == 0 {
        return;
    }
    let _ = write!(
        why,
        " Of the last {} connections that closed, this host closed {here} first",
        here + peer
    );
    if let Some(lifetime) = history.lifetime {
        why.push_str("; they lived ");
        push_with_unit(why, lifetime);
        why.push_str(" (median)");
    }
    why.push('.');
}

//! Why a route is full, and what to do, in words.

use std::fmt::Write as _;

use crate::output::duration::push_with_unit;
use tcpclose_core::routes::{PortSettings, RouteUsage};
use tcpclose_core::summary::{PortPressure, ReuseScope};

/// A range with as many ports can hardly be widened.
const WIDE_RANGE: usize = 60_000;
/// The range to which one may be widened.
const WIDEST_RANGE: &str = "1024 65535";

/// What takes most of the ports of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MainUse {
    /// There are none to be taken.
    NoPorts,
    TimeWait,
    Live,
    FinWait2,
}

/// Returns why ports are scarce on a route, as a sentence; `None` where it is not known whether
/// they are.
pub(in crate::output) fn why(usage: &RouteUsage) -> Option<String> {
    let (pressure, settings) = (usage.pressure?, usage.settings?);
    let ports = pressure.ports;
    let Some(mostly) = mostly(usage, &pressure) else {
        return Some(
            "how many ports connect() can take over is not known: no open connection of this \
             route shows whether the peer has TCP timestamps."
                .to_owned(),
        );
    };
    let mut text = match mostly {
        MainUse::NoPorts => "connect() has no port to choose from".to_owned(),
        MainUse::TimeWait => {
            let taken = pressure.used?.saturating_sub(usage.live + usage.fin_wait2);
            let mut text = format!(
                "{taken} of {ports} ports are in TIME_WAIT: the client closed these connections \
                 first, and each keeps its port for "
            );
            let reuse = &settings.reuse;
            match reuse.allow(&usage.route, reuse.delay) {
                Some(true) => push_with_unit(&mut text, reuse.delay),
                _ => text.push_str("60 s"),
            }
            text
        }
        MainUse::Live => format!(
            "{} of {ports} ports have connections that are open at the same time to this one \
             destination",
            usage.live
        ),
        MainUse::FinWait2 => format!(
            "{} of {ports} ports have connections that were closed here and wait for the peer's \
             FIN (FIN_WAIT2)",
            usage.fin_wait2
        ),
    };
    push_left_out(&mut text, &settings);
    text.push('.');
    Some(text)
}

/// Returns what to do about it; empty where that is not known.
pub(in crate::output) fn what_to_do(usage: &RouteUsage) -> String {
    let (Some(pressure), Some(settings)) = (usage.pressure, usage.settings) else {
        return String::new();
    };
    let mut now = Vec::new();
    let mostly = mostly(usage, &pressure);
    if mostly == Some(MainUse::TimeWait) {
        now.extend(reuse_text(usage, &settings));
    }
    if (settings.first..=settings.last).len() < WIDE_RANGE {
        now.push(format!(
            "widen net.ipv4.ip_local_port_range (is \"{} {}\"), up to \"{WIDEST_RANGE}\" with the \
             ports of servers in ip_local_reserved_ports",
            settings.first, settings.last
        ));
    }
    let then = match mostly {
        Some(MainUse::TimeWait) => {
            "keep connections open instead of one for each request: keep-alive, or a pool"
        }
        Some(MainUse::Live) => {
            "limit how many connections the program opens, or spread them over more addresses or \
             ports of the server"
        }
        Some(MainUse::FinWait2) => {
            "have the peer close its sockets (`tcpclose leaks` there); net.ipv4.tcp_fin_timeout is \
             how long this host waits"
        }
        Some(MainUse::NoPorts) => {
            "see which ports are reserved (net.ipv4.ip_local_reserved_ports) or bound (`ss -ltn`)"
        }
        None => return String::new(),
    };
    match now.is_empty() {
        true => format!("{then}."),
        false => format!("Now: {}. Then: {then}.", now.join("; or ")),
    }
}

/// Returns what takes most of the ports that are used; `None` where that is not known.
fn mostly(usage: &RouteUsage, pressure: &PortPressure) -> Option<MainUse> {
    if pressure.ports == 0 {
        return Some(MainUse::NoPorts);
    }
    let time_wait = pressure.used?.saturating_sub(usage.live + usage.fin_wait2);
    Some(match (usage.live, usage.fin_wait2) {
        (live, orphans) if time_wait >= live.max(orphans) => MainUse::TimeWait,
        (live, orphans) if live >= orphans => MainUse::Live,
        _ => MainUse::FinWait2,
    })
}

/// Returns how connect() may take over ports in TIME_WAIT that it does not now.
fn reuse_text(usage: &RouteUsage, settings: &PortSettings) -> Option<String> {
    if settings.reuse.timestamps == Some(false) {
        return Some(
            "TCP timestamps at both ends (net.ipv4.tcp_timestamps), without which connect() takes \
             over no port in TIME_WAIT"
                .to_owned(),
        );
    }
    let present = match settings.reuse.scope {
        ReuseScope::Nowhere => "0: never",
        ReuseScope::Loopback if !usage.route.is_loopback() => "2: loopback only",
        ReuseScope::Loopback | ReuseScope::Everywhere => return None,
    };
    let condition = match settings.reuse.timestamps {
        Some(true) => "",
        _ => ", if the peer has TCP timestamps",
    };
    Some(format!("net.ipv4.tcp_tw_reuse=1 (is {present}){condition}"))
}

/// Appends how many ports of the range connect() may not choose at all, where these are many.
fn push_left_out(text: &mut String, settings: &PortSettings) {
    let (ports, left_out) = (settings.ports(), settings.reserved + settings.bound);
    if left_out == 0 || left_out < ports / 10 {
        return;
    }
    let all = (settings.first..=settings.last).len();
    let _ = write!(text, "; the range has {all} (");
    let parts = [
        (settings.reserved, "reserved"),
        (settings.bound, "bound by other sockets"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    for (place, (count, what)) in parts.enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{what}: {count}");
    }
    text.push(')');
}

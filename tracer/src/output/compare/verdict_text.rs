//! Each verdict in words.

use tcpclose_core::compare::{AffectedHosts, Group, Host, Service, Verdict, VerdictKind};
use tcpclose_core::finding::ClosePath;

use crate::escape::push_for_terminal;
use crate::output::close_tally::grouped;
use crate::plural::plural;

/// Verdicts of one kind about the same programs, in words. Names of processes are escaped for the
/// terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ComparedVerdict {
    pub verdict: Verdict,
    pub count: u64,
    pub what: String,
    pub who: String,
    pub why: String,
    pub advice: &'static str,
}

impl From<&Group> for ComparedVerdict {
    fn from(group: &Group) -> Self {
        let Group { verdict, count, .. } = group;
        let (what, why, advice) = words(group);
        let connections = plural(*count, "connection", "connections");
        Self {
            verdict: *verdict,
            count: *count,
            what: format!("{} {connections}: {what}", grouped(*count)),
            who: who(group),
            why,
            advice,
        }
    }
}

/// Returns what happened, how that is proven, and what to do.
fn words(group: &Group) -> (String, String, &'static str) {
    const PATH: &str = "See what lies between A and B: a firewall that rejects or has forgotten the \
                        connection (conntrack), a proxy, NAT, a moved address.";
    const HALF_OPEN: &str = "Turn on keepalive where the connection lives on, or end it there when \
                             it was silent for long; and see what lies between A and B: a firewall \
                             or NAT that forgets connections keeps each from hearing of the other.";
    const LOST_FIN: &str = "See what drops segments between A and B: a firewall that takes the FIN \
                            for invalid, or has forgotten the connection.";
    let Verdict { kind, at } = group.verdict;
    let (here, there) = match at {
        AffectedHosts::A | AffectedHosts::Both => (Host::A, Host::B),
        AffectedHosts::B => (Host::B, Host::A),
    };
    match (kind, at) {
        (VerdictKind::ResetFromPath, AffectedHosts::Both) => (
            "A and B both received a RST that neither sent: from the path between them".to_owned(),
            "Each end was closed by a RST as if it came from the other; a socket that sends one is \
             closed by that."
                .to_owned(),
            PATH,
        ),
        (VerdictKind::ResetFromPath, _) => (
            format!("{here} received a RST that {there} never sent: from the path between them"),
            format!(
                "{there}'s socket was still there after the RST had reached {here}, and a socket \
                 that sends one is closed in the same moment; {there} lost no record in that time."
            ),
            PATH,
        ),
        (VerdictKind::HalfOpen, _) => (
            format!("{} at {here} and alive at {there} (half-open)", ended(group, here)),
            format!("neither a FIN nor a RST reached {there}, which lost no record in that time."),
            HALF_OPEN,
        ),
        (VerdictKind::FinNeverArrived, _) => (
            format!("{there}'s FIN never reached {here}"),
            format!(
                "{there} sent its FIN and had no ACK of it; {here}'s socket was there for a second \
                 and longer after that, without a FIN, and {here} lost no record in that time."
            ),
            LOST_FIN,
        ),
    }
}

/// Returns how the connections ended at one host.
fn ended(group: &Group, host: Host) -> &'static str {
    let closes = group.examples.iter().map(|pair| pair.end(host).close());
    let is_all = |path| {
        let mut closes = closes.clone();
        closes.all(|close| close.is_some_and(|close| close.path == path))
    };
    match (is_all(ClosePath::Reset), is_all(ClosePath::Timeout)) {
        (true, _) => "reset",
        (_, true) => "given up",
        _ => "ended",
    }
}

/// `python3 on A → nginx on B at 10.0.0.2:80`
fn who(group: &Group) -> String {
    let client = group
        .service
        .map_or(Host::A, |service| service.host.other());
    let mut text = String::new();
    push_end(&mut text, group, client);
    text.push_str(match group.service {
        Some(_) => " → ",
        None => " and ",
    });
    push_end(&mut text, group, client.other());
    if let Some(Service { address, .. }) = group.service {
        text.push_str(&format!(" at {address}"));
    }
    text
}

fn push_end(text: &mut String, group: &Group, host: Host) {
    match &group.processes[host.index()] {
        Some(comm) => push_for_terminal(text, comm),
        None => text.push_str("a process that is not known"),
    }
    text.push_str(" on ");
    text.push_str(host.into());
}

//! What is wrong, in words that the screen and the JSON share.

use std::fmt::Write as _;

use crate::output::cause_text::cause_text;
use crate::output::close_tally::{AbnormalGroup, CloseTally};
use crate::output::close_text::push_owner;
use crate::output::duration::push_with_unit;
use crate::output::idle_timeout_text::{idle_timeout_text, most_frequent_cause};
use crate::output::leaks::{remedy_text, why_text};
use crate::output::process_text::push_process_at_length;
use crate::output::routes::advice::what_to_do;
use crate::output::routes::history::{failed_text, why_with_history};
use crate::output::symbols::Symbols;
use crate::plural::plural;
use tcpclose_core::finding::{Close, Side};
use tcpclose_core::routes::{Fullness, RouteReport, RoutesReport};
use tcpclose_core::stuck::{AgeCertainty, OwnerGroup, OwnerKey, Report};
use tcpclose_core::summary::{FoundTimeouts, IdleTimeout, ServiceAddress, tolerance};
use tcpclose_core::types::Nanos;

/// The most verdicts about one thing; what is less bad is counted.
const MAX_VERDICTS: usize = 3;
/// The most processes that a verdict names.
const MAX_OWNERS: usize = 2;

/// What a verdict is about, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum VerdictSubject {
    /// Sockets that are stuck.
    Stuck,
    /// A route that is out of local ports, or nearly so.
    Route,
    /// Requests that ran into an idle timeout.
    IdleTimeout,
    /// Connections that closed abnormally.
    Abnormal,
    /// Events that were lost.
    Loss,
}

/// One thing that is wrong. Names of processes are escaped for the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriageVerdict {
    /// What it is about.
    pub about: VerdictSubject,
    /// How many sockets, used ports, requests, closes or lost events.
    pub count: u64,
    /// What is wrong.
    pub what: String,
    /// Whose connections these are; empty where that is not known.
    pub who: Vec<String>,
    /// Why it is so, where that is known.
    pub why: Option<String>,
    /// What to do about it, where that is known.
    pub advice: Option<String>,
    /// The command to go on with.
    pub command: String,
}

/// What was seen while tracing.
#[derive(Debug, Default)]
pub struct TracedCloses {
    /// For how long.
    pub span: Nanos,
    /// How many connections closed.
    pub closes: u64,
    /// Closes whose path is unknown: they may have been abnormal.
    pub unknown: u64,
    /// Events that were lost.
    pub lost: u64,
    /// What becomes of a summary of them.
    pub tally: CloseTally,
}

impl TracedCloses {
    /// Counts a close.
    pub fn add(&mut self, close: &Close) {
        self.closes += 1;
        self.unknown += u64::from(close.path.is_abnormal().is_none());
        self.tally.add(close);
    }
}

/// Everything that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triage {
    /// When the scans began.
    pub at: Nanos,
    /// How long the host was watched; `None` where nothing can be traced.
    pub span: Option<Nanos>,
    /// How many connections closed meanwhile.
    pub closes: Option<u64>,
    /// What is wrong, the worst first.
    pub verdicts: Vec<TriageVerdict>,
    /// What is also wrong and not among the verdicts, as sentences.
    pub more: Vec<String>,
    /// What could not be seen, as sentences.
    pub unseen: Vec<String>,
}

impl Triage {
    /// Judges two scans and what was seen while tracing; `unseen` is what they could not see.
    #[must_use]
    pub fn new(
        stuck: &Report,
        routes: &RoutesReport,
        watched: Option<&TracedCloses>,
        mut unseen: Vec<String>,
    ) -> Self {
        let (mut verdicts, mut more) = (Vec::new(), Vec::new());
        let owners = stuck
            .owners
            .iter()
            .filter(|group| group.count.sample.stuck > 0);
        let others = owners.clone().skip(MAX_VERDICTS);
        let left: u64 = others.map(|group| group.count.sample.stuck).sum();
        if left > 0 {
            let sockets = plural(left, "socket is", "sockets are");
            more.push(format!(
                "{left} {sockets} stuck of other processes: `tcpclose leaks`"
            ));
        }
        let owners = owners.take(MAX_VERDICTS);
        verdicts.extend(owners.map(|group| of_stuck(stuck, group)));

        let scarce = routes.routes.iter().filter(|route| {
            let fullness = route.usage.fullness();
            matches!(fullness, Fullness::Full | Fullness::NearlyFull)
        });
        let left = scarce.clone().count().saturating_sub(MAX_VERDICTS) as u64;
        if left > 0 {
            let routes = plural(left, "route is", "routes are");
            more.push(format!(
                "{left} more {routes} full or nearly full: `tcpclose ports`"
            ));
        }
        verdicts.extend(scarce.take(MAX_VERDICTS).map(of_route));
        let unsure = routes.count(Fullness::Unknown) as u64;
        if unsure > 0 {
            let routes = plural(unsure, "route", "routes");
            unseen.push(format!(
                "how many local ports {unsure} {routes} can still use is not known: `tcpclose ports`"
            ));
        }

        let unowned = u64::from(routes.unknown_owner_scarce);
        if unowned > 0 {
            let routes = plural(unowned, "route is", "routes are");
            unseen.push(format!(
                "{unowned} more {routes} full or nearly full; a scan does not show whose: `tcpclose ports`"
            ));
        }

        if let Some(watched) = watched {
            let FoundTimeouts { most, .. } = watched.tally.idle_timeouts();
            let symbols = watched.tally.symbols();
            let missed = most.iter().filter(|timeout| {
                timeout.missed.total() > 0 && !is_seen_by_clients(timeout, &most)
            });
            let missed = missed.take(MAX_VERDICTS);
            verdicts.extend(missed.map(|timeout| of_idle_timeout(timeout, symbols)));
            let (groups, left) = watched.tally.largest(MAX_VERDICTS);
            verdicts.extend(groups.into_iter().map(|abnormal| {
                let AbnormalGroup {
                    group,
                    count,
                    silence,
                } = abnormal;
                let words = group.cause.map(cause_text);
                let cause = group.cause.map(|cause| format!(" --cause {cause}"));
                let silence = silence.map(|silence| format!(" ({silence})"));
                TriageVerdict {
                    about: VerdictSubject::Abnormal,
                    count,
                    what: format!(
                        "{count} {} abnormally: {}{}",
                        plural(count, "connection closed", "connections closed"),
                        group.how,
                        silence.unwrap_or_default()
                    ),
                    who: vec![group.who],
                    why: words.as_ref().map(|words| format!("{}.", words.what)),
                    advice: words.map(|words| words.advice.to_owned()),
                    command: format!("tcpclose resets{}", cause.unwrap_or_default()),
                }
            }));
            if left > 0 {
                let closes = plural(left, "connection", "connections");
                more.push(format!(
                    "{left} more {closes} closed abnormally, in smaller groups: `tcpclose resets`"
                ));
            }
            if watched.unknown > 0 {
                let closes = plural(watched.unknown, "close has", "closes have");
                unseen.push(format!(
                    "{} {closes} an unknown path, and may have been abnormal",
                    watched.unknown
                ));
            }
            if watched.lost > 0 {
                verdicts.push(of_loss(watched.lost));
            }
        }
        Self {
            at: stuck.at,
            span: watched.map(|watched| watched.span),
            closes: watched.map(|watched| watched.closes),
            verdicts,
            more,
            unseen,
        }
    }

    /// Returns whether anything is wrong.
    #[must_use]
    pub fn has_found(&self) -> bool {
        self.verdicts
            .iter()
            .any(|verdict| verdict.about != VerdictSubject::Loss)
    }

    /// Returns whether everything was seen that could be wrong.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let lost = self
            .verdicts
            .iter()
            .any(|verdict| verdict.about == VerdictSubject::Loss);
        self.unseen.is_empty() && !lost
    }
}

fn of_stuck(report: &Report, group: &OwnerGroup) -> TriageVerdict {
    let count = group.count.sample.stuck;
    let mut members = group.sockets.iter().map(|&member| &report.sockets[member]);
    let first = members.next();
    let state = first.map(|stuck| stuck.socket.state);
    let is_one_state = members.all(|stuck| Some(stuck.socket.state) == state);
    let mut what = format!(
        "{count} {} stuck",
        plural(count, "socket is", "sockets are")
    );
    if let Some(state) = state.filter(|_| is_one_state) {
        let _ = write!(what, " in {}", <&str>::from(state));
    }
    let oldest = group.count.oldest;
    what.push_str(", the oldest for ");
    if oldest.known == AgeCertainty::Estimated {
        what.push('~');
    }
    push_with_unit(&mut what, report.at - oldest.since);
    let mut who = String::new();
    let command = match (&group.count.process, group.count.owner) {
        (Some(owner), OwnerKey::Process((pid, _))) => {
            push_process_at_length(&mut who, &owner.process);
            if let Some(limit) = owner.process.fd_limit {
                let open = owner.process.open_fds;
                let _ = write!(who, "; {open} of {limit} descriptors are open");
            }
            format!("tcpclose leaks --all -p {pid}")
        }
        _ => "tcpclose leaks --all".to_owned(),
    };
    let unknown = first.and_then(|stuck| stuck.owner_unknown);
    let stuck = group
        .verdicts
        .iter()
        .filter(|alike| alike.verdict.is_stuck());
    let most = stuck.max_by_key(|alike| alike.count);
    TriageVerdict {
        about: VerdictSubject::Stuck,
        count,
        what,
        who: Some(who)
            .filter(|who| !who.is_empty())
            .into_iter()
            .collect(),
        why: most.map(|alike| format!("{}.", why_text(alike, &[], unknown))),
        advice: most
            .and_then(|alike| remedy_text(alike, unknown))
            .map(|remedy| format!("{remedy}.")),
        command,
    }
}

fn of_route(route: &RouteReport) -> TriageVerdict {
    let usage = &route.usage;
    let (local, peer) = (usage.route.local, usage.route.peer);
    let used = usage
        .pressure
        .and_then(|pressure| pressure.used)
        .unwrap_or(0);
    let ports = usage.pressure.map_or(0, |pressure| pressure.ports);
    let mut what = match usage.fullness() {
        Fullness::Full => format!(
            "no local port is left from {local} to {peer} ({used} of {ports} are used): connect() \
             fails"
        ),
        _ => format!("{used} of {ports} local ports from {local} to {peer} are used"),
    };
    if let Some(next) = usage.next_free {
        what.push_str(", the next is free in about ");
        push_with_unit(&mut what, next);
    }
    let history = route.history.as_ref();
    if let Some(failed) = history.and_then(|history| failed_text(history, usage.at)) {
        let _ = write!(what, "; {failed}");
    }
    let who = route.owners.iter().take(MAX_OWNERS).map(|owner| {
        let mut text = String::new();
        push_process_at_length(&mut text, &owner.process);
        text
    });
    TriageVerdict {
        about: VerdictSubject::Route,
        count: used.into(),
        what,
        who: who.collect(),
        why: why_with_history(route),
        advice: Some(what_to_do(usage)).filter(|advice| !advice.is_empty()),
        command: format!("tcpclose ports --port {}", peer.port()),
    }
}

/// Returns whether this is the timeout of a server whose clients on this host show it, too: they
/// also show which requests were late.
fn is_seen_by_clients(timeout: &IdleTimeout, all: &[IdleTimeout]) -> bool {
    let (ServiceAddress::Listening(port), Side::Local) = (timeout.of.service, timeout.of.closed_by)
    else {
        return false;
    };
    all.iter().any(|other| {
        matches!(other.of.service, ServiceAddress::Peer(peer) if peer.port() == port.get())
            && other.of.closed_by == Side::Peer
            && other.silence.0.abs_diff(timeout.silence.0) <= tolerance(timeout.silence).0
    })
}

fn of_idle_timeout(timeout: &IdleTimeout, symbols: Symbols) -> TriageVerdict {
    let mut why = "one side gives up idle connections after ".to_owned();
    push_with_unit(&mut why, timeout.silence);
    why.push_str(" of silence, and the other keeps them for longer and still uses them.");
    let mut advice =
        "Let clients give up idle connections some seconds sooner than after ".to_owned();
    push_with_unit(&mut advice, timeout.silence);
    advice.push_str(", or let the server wait for longer than its clients do.");
    let cause = most_frequent_cause(timeout.missed);
    let cause = cause.map(|cause| format!(" --cause {cause}"));
    let owner = timeout.owner.as_ref();
    let owner = owner.map(|owner| {
        let mut text = String::new();
        push_owner(&mut text, owner, symbols);
        text
    });
    TriageVerdict {
        about: VerdictSubject::IdleTimeout,
        count: timeout.missed.total(),
        what: idle_timeout_text(timeout, symbols),
        who: owner.into_iter().collect(),
        why: Some(why),
        advice: Some(advice),
        command: format!("tcpclose resets{}", cause.unwrap_or_default()),
    }
}

fn of_loss(lost: u64) -> TriageVerdict {
    TriageVerdict {
        about: VerdictSubject::Loss,
        count: lost,
        what: format!(
            "{lost} {} lost while watching",
            plural(lost, "event was", "events were")
        ),
        who: Vec::new(),
        why: Some("closes may be missing among those above.".to_owned()),
        advice: Some("Watch again, with filters if this host is very busy.".to_owned()),
        command: "tcpclose doctor".to_owned(),
    }
}

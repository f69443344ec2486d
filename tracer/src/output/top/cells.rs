//! What stands in the rows of the lists.

use std::net::SocketAddr;

use super::service::Service;
use super::view::{ResetRow, ServiceRow, View};
use crate::escape::push_for_terminal;
use crate::output::close_tally::{AbnormalGroup, grouped};
use crate::output::close_text::{CloseSummary, push_owner};
use crate::output::duration::push_with_unit;
use crate::output::forecast_text::push_growth;
use crate::output::leaks::why_text;
use crate::output::routes::{owners_text, route_text, share_text, used_text};
use crate::output::symbols::Symbols;
use tcpclose_common::TcpState;
use tcpclose_core::ListedEndpoint;
use tcpclose_core::finding::Close;
use tcpclose_core::routes::{Fullness, RouteReport};
use tcpclose_core::stuck::{AgeCertainty, OwnerGroup, Report};
use tcpclose_core::types::{Nanos, Role, Tuple};

/// How much a cell matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    /// Something is wrong.
    Bad,
    /// Something soon will be.
    Warning,
    /// Nothing to look at.
    Dim,
}

/// A cell of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CellText {
    pub text: String,
    pub tone: Tone,
}

impl From<String> for CellText {
    fn from(text: String) -> Self {
        Self {
            text,
            tone: Tone::Plain,
        }
    }
}

impl CellText {
    fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

pub(super) fn service_cells(
    service: &Service,
    row: &ServiceRow,
    is_scanned: bool,
    is_traced: bool,
) -> Vec<CellText> {
    let name_tone = match service.is_remainder() {
        true => Tone::Dim,
        false => Tone::Plain,
    };
    let is_recent = row.abnormal > 0.0;
    let bad_if = |is_bad| if is_bad { Tone::Bad } else { Tone::Dim };
    let files = match row.files {
        Some((open, Some(limit))) => format!("{open}/{limit}"),
        Some((open, None)) => open.to_string(),
        None => "-".to_owned(),
    };
    let files_tone = match row.files {
        Some(_) if row.lacks_files() => Tone::Bad,
        Some(_) => Tone::Plain,
        None => Tone::Dim,
    };
    let ports = match row.ports {
        Some(share) if share >= 1.0 => "FULL".to_owned(),
        Some(share) => format!("{:.0}%", (share * 100.0).floor()),
        None => "-".to_owned(),
    };
    let ports_tone = match row.ports {
        Some(share) if share >= 1.0 => Tone::Bad,
        Some(_) if row.lacks_ports() => Tone::Warning,
        Some(_) => Tone::Plain,
        None => Tone::Dim,
    };
    let stuck = match is_scanned {
        true => row.stuck.to_string(),
        false => "-".to_owned(),
    };
    let unless_untraced = |text: String| match is_traced {
        true => text,
        false => "-".to_owned(),
    };
    vec![
        CellText::new(service.name(), name_tone),
        CellText::new(&*row.process, Tone::Dim),
        CellText::new(
            unless_untraced(rate(row.closes)),
            if row.closes > 0.0 {
                Tone::Plain
            } else {
                Tone::Dim
            },
        ),
        CellText::new(unless_untraced(rate(row.abnormal)), bad_if(is_recent)),
        CellText::new(
            row.cause.clone().unwrap_or_default(),
            if is_recent { Tone::Plain } else { Tone::Dim },
        ),
        CellText::new(stuck, bad_if(row.stuck > 0)),
        CellText::new(files, files_tone),
        CellText::new(ports, ports_tone),
        CellText::new(
            unless_untraced(grouped(row.abnormal_total)),
            if row.abnormal_total > 0 {
                Tone::Plain
            } else {
                Tone::Dim
            },
        ),
    ]
}

/// Returns a rate in at most 7 columns: `0`, `0.1`, `31.4`, `2,104`.
pub(super) fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        rate if rate < 0.05 => "<0.1".to_owned(),
        rate if rate < 99.95 => format!("{rate:.1}"),
        rate => grouped(rate.round() as u64),
    }
}

pub(super) fn stuck_cells(report: &Report, group: &OwnerGroup, symbols: Symbols) -> Vec<CellText> {
    let members = || group.sockets.iter().map(|&member| &report.sockets[member]);
    let count = group.count.sample.stuck;
    let mut oldest = String::new();
    if let Some(first) = members().next() {
        if first.age.known == AgeCertainty::Estimated {
            oldest.push('~');
        }
        push_with_unit(&mut oldest, report.at - first.age.since);
    }
    let (mut process, mut service, mut files) = (String::new(), String::new(), String::new());
    let mut files_tone = Tone::Dim;
    if let Some(owner) = &group.count.process {
        push_for_terminal(&mut process, &owner.process.comm);
        process.push_str(&format!(" {}", owner.process.pid));
        service.push_str(Service::from_process(&owner.process).name());
        let row = ServiceRow {
            files: Some((owner.process.open_fds, owner.process.fd_limit)),
            ..ServiceRow::default()
        };
        files_tone = if row.lacks_files() {
            Tone::Bad
        } else {
            Tone::Plain
        };
        files = match owner.process.fd_limit {
            Some(limit) => format!("{}/{limit}", owner.process.open_fds),
            None => owner.process.open_fds.to_string(),
        };
    } else {
        match members().next().and_then(|stuck| stuck.owner.as_ref()) {
            Some(owner) => push_owner(&mut process, owner, symbols),
            None => process.push_str(Service::unknown().name()),
        }
    }
    let unknown = members().next().and_then(|stuck| stuck.owner_unknown);
    let most = group.verdicts.iter().max_by_key(|alike| alike.count);
    let mut why = String::new();
    if let Some(forecast) = group
        .forecast
        .as_ref()
        .filter(|it| it.exhausted_in.is_some())
    {
        push_growth(&mut why, forecast);
        why.push_str("; ");
    }
    if let Some(alike) = most {
        why.push_str(&why_text(alike, &[], unknown));
    }
    vec![
        CellText::new(
            count.to_string(),
            if count > 0 { Tone::Bad } else { Tone::Dim },
        ),
        oldest.into(),
        process.into(),
        service.into(),
        CellText::new(files, files_tone),
        why.into(),
    ]
}

pub(super) fn reset_cells(row: &ResetRow) -> Vec<CellText> {
    let AbnormalGroup { group, count, .. } = &row.abnormal;
    vec![
        CellText::new(grouped(*count), Tone::Bad),
        group.who.clone().into(),
        group.how.to_string().into(),
    ]
}

pub(super) fn route_cells(route: &RouteReport, symbols: Symbols) -> Vec<CellText> {
    let usage = &route.usage;
    let tone = match usage.fullness() {
        Fullness::Full => Tone::Bad,
        Fullness::NearlyFull => Tone::Warning,
        Fullness::Free | Fullness::Unknown => Tone::Plain,
    };
    vec![
        route_text(usage, symbols).into(),
        used_text(usage).into(),
        CellText::new(share_text(usage), tone),
        usage.live.to_string().into(),
        usage.time_wait.to_string().into(),
        owners_text(route).into(),
    ]
}

pub(super) fn endpoint_cells(
    endpoint: &ListedEndpoint,
    now: Nanos,
    symbols: Symbols,
) -> Vec<CellText> {
    let (mut since, mut process) = (String::new(), String::new());
    match endpoint.since {
        Some(at) => push_with_unit(&mut since, now - at),
        None => since.push('?'),
    }
    if let Some(owner) = &endpoint.owner {
        push_owner(&mut process, owner, symbols);
    }
    let tone = match endpoint.state {
        TcpState::CloseWait => Tone::Warning,
        _ => Tone::Plain,
    };
    vec![
        CellText::new(<&str>::from(endpoint.state), tone),
        since.into(),
        process.into(),
        connection_text(&endpoint.tuple, endpoint.role, symbols).into(),
    ]
}

pub(super) fn close_cells(close: &Close, view: &View, symbols: Symbols) -> Vec<CellText> {
    let mut process = String::new();
    if let Some(owner) = &close.owner {
        push_owner(&mut process, owner, symbols);
    }
    let tone = match close.path.is_abnormal() {
        Some(true) => Tone::Bad,
        Some(false) | None => Tone::Dim,
    };
    let endpoint = &close.endpoint;
    vec![
        CellText::new(CloseSummary::from_close(close).to_string(), tone),
        view.clock.time_of_day(close.at).to_string().into(),
        process.into(),
        connection_text(&endpoint.tuple, endpoint.role, symbols).into(),
    ]
}

/// `→ 10.0.0.9:443`, `:443 ← 10.0.0.7:50000`
pub(super) fn connection_text(tuple: &Tuple, role: Role, symbols: Symbols) -> String {
    let (local, peer): (SocketAddr, SocketAddr) = (tuple.local(), tuple.peer());
    match role {
        Role::Client => format!("{} {peer}", symbols.connected()),
        Role::Server => format!(":{} {} {peer}", local.port(), symbols.accepted()),
        Role::Unknown => format!("{local} {} {peer}", symbols.unknown_role()),
    }
}

/// Returns what an endpoint waits for in its state.
pub(super) const fn waits_for(endpoint: &ListedEndpoint) -> &'static str {
    match endpoint.state {
        TcpState::CloseWait => "its process to close the socket",
        TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck => {
            "the peer to acknowledge its FIN"
        }
        TcpState::FinWait2 if endpoint.is_orphan => "the peer's FIN; its process has closed it",
        TcpState::FinWait2 => "the peer's FIN",
        _ => "",
    }
}

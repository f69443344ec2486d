//! The lists: which rows one has, in which order, and what stands in them.

use std::cmp::Ordering;
use std::net::SocketAddr;

use super::columns::Column;
use super::service::Service;
use super::view::{ResetRow, ServiceRow, View};
use crate::escape::push_for_terminal;
use crate::output::close_tally::{AbnormalGroup, grouped};
use crate::output::close_text::{How, push_owner};
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

/// A list that fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ListKind {
    /// Services, with what is wrong with them.
    Services,
    /// Processes with stuck sockets.
    Stuck,
    /// Groups of abnormal closes.
    Resets,
    /// Routes.
    Routes,
    /// Connections that close now.
    Closing,
    /// The sockets of one service.
    Sockets,
}

/// What services are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SortKey {
    #[default]
    Trouble,
    Closes,
    Resets,
    Stuck,
    Files,
    Ports,
    Name,
}

impl SortKey {
    const ALL: [Self; 7] = [
        Self::Trouble,
        Self::Closes,
        Self::Resets,
        Self::Stuck,
        Self::Files,
        Self::Ports,
        Self::Name,
    ];

    /// Returns the key behind this one.
    pub(super) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|key| *key == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Closes => "closes",
            Self::Resets => "resets",
            Self::Stuck => "stuck",
            Self::Files => "files",
            Self::Ports => "ports",
            Self::Name => "name",
        }
    }
}

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

const SERVICES: [Column; 9] = [
    Column::text("SERVICE", 12, 40, 0),
    Column::text("PROCESS", 10, 16, 7),
    Column::number("CLOSE/s", 7, 4),
    Column::number("RESET/s", 7, 2),
    Column::text("CAUSE", 18, 36, 3),
    Column::number("STUCK", 5, 1),
    Column::number("FILES", 10, 5),
    Column::number("PORTS", 5, 6),
    Column::number("RESETS", 7, 8),
];
const STUCK: [Column; 6] = [
    Column::number("STUCK", 5, 0),
    Column::number("OLDEST", 7, 1),
    Column::text("PROCESS", 20, 24, 0),
    Column::text("SERVICE", 14, 40, 4),
    Column::number("FILES", 11, 3),
    Column::text("WHY", 30, 90, 2),
];
const RESETS: [Column; 3] = [
    Column::number("COUNT", 7, 0),
    Column::text("WHO", 12, 70, 0),
    Column::text("HOW", 21, 34, 1),
];
const ROUTES: [Column; 6] = [
    Column::text("ROUTE", 40, 54, 0),
    Column::number("USED", 11, 3),
    Column::number("SHARE", 5, 1),
    Column::number("LIVE", 6, 4),
    Column::number("TIME_WAIT", 9, 5),
    Column::text("WHO", 14, 50, 2),
];
const CLOSING: [Column; 5] = [
    Column::text("STATE", 10, 10, 0),
    Column::number("FOR", 7, 2),
    Column::text("PROCESS", 16, 24, 3),
    Column::text("CONNECTION", 28, 70, 1),
    Column::text("WAITS FOR", 31, 60, 4),
];
const SOCKETS: [Column; 4] = [
    Column::text("STATE", 21, 34, 0),
    Column::number("SINCE", 8, 2),
    Column::text("PROCESS", 16, 24, 3),
    Column::text("CONNECTION", 28, 70, 1),
];

impl ListKind {
    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Services => &SERVICES,
            Self::Stuck => &STUCK,
            Self::Resets => &RESETS,
            Self::Routes => &ROUTES,
            Self::Closing => &CLOSING,
            Self::Sockets => &SOCKETS,
        }
    }

    /// What is shown where there is no row.
    pub(super) fn nothing(self, view: &View) -> &'static str {
        let is_scanned = view.scan.is_some();
        match self {
            Self::Services => "no connection has closed yet",
            Self::Routes if view.position.is_some() => "a recording does not show routes",
            Self::Stuck | Self::Routes if !is_scanned => "not scanned yet",
            Self::Stuck => "no socket is stuck",
            Self::Resets => "no connection has closed abnormally yet",
            Self::Routes => "no route",
            Self::Closing => "no connection is closing",
            Self::Sockets => "no socket, and no close that is still known",
        }
    }
}

/// A list of rows.
pub(super) struct List<'a> {
    pub kind: ListKind,
    view: &'a View,
    symbols: Symbols,
    /// The rows, each by its number in the view.
    pub rows: Vec<usize>,
}

impl<'a> List<'a> {
    /// Returns the rows of a list that contain a text, in their order.
    pub fn new(
        kind: ListKind,
        view: &'a View,
        sort: (SortKey, bool),
        filter: &str,
        symbols: Symbols,
    ) -> Self {
        let mut list = Self {
            kind,
            view,
            symbols,
            rows: Vec::new(),
        };
        let mut rows: Vec<usize> = (0..list.len()).collect();
        if kind == ListKind::Services {
            let services = &view.services;
            rows.sort_by(|a, b| compare(&services[*a], &services[*b], sort.0));
        }
        if sort.1 {
            rows.reverse();
        }
        if !filter.is_empty() {
            let filter = filter.to_lowercase();
            let contains = |cell: CellText| cell.text.to_lowercase().contains(&filter);
            rows.retain(|row| list.cells(*row).into_iter().any(contains));
        }
        list.rows = rows;
        list
    }

    fn len(&self) -> usize {
        let view = self.view;
        let scan = view.scan.as_ref();
        match self.kind {
            ListKind::Services => view.services.len(),
            ListKind::Stuck => scan.map_or(0, |scan| scan.stuck.owners.len()),
            ListKind::Resets => view.resets.len(),
            ListKind::Routes => scan.map_or(0, |scan| scan.routes.routes.len()),
            ListKind::Closing => view.closing.0.len(),
            ListKind::Sockets => view
                .opened
                .as_ref()
                .map_or(0, |opened| opened.endpoints.len() + opened.closes.len()),
        }
    }

    /// Returns what stays the same of a row wherever it stands.
    pub fn identity(&self, row: usize) -> String {
        let mut cells = self.cells(row).into_iter().map(|cell| cell.text);
        let mut cell = |number| cells.nth(number).unwrap_or_default();
        match self.kind {
            ListKind::Services | ListKind::Routes => cell(0),
            ListKind::Stuck => cell(2),
            ListKind::Resets => cell(1) + &cell(0),
            ListKind::Closing | ListKind::Sockets => cell(2) + &cell(0),
        }
    }

    /// Returns the cells of a row.
    pub fn cells(&self, row: usize) -> Vec<CellText> {
        let (view, symbols) = (self.view, self.symbols);
        let scan = view.scan.as_ref();
        match self.kind {
            ListKind::Services => {
                let (service, row) = &view.services[row];
                service_cells(service, row, scan.is_some())
            }
            ListKind::Stuck => {
                let Some(scan) = scan else {
                    return Vec::new();
                };
                stuck_cells(&scan.stuck, &scan.stuck.owners[row], symbols)
            }
            ListKind::Resets => reset_cells(&view.resets[row]),
            ListKind::Routes => {
                let Some(scan) = scan else {
                    return Vec::new();
                };
                route_cells(&scan.routes.routes[row], symbols)
            }
            ListKind::Closing => {
                let endpoint = &view.closing.0[row];
                let mut cells = endpoint_cells(endpoint, view.at, symbols);
                cells.push(CellText::from(waits_for(endpoint).to_owned()));
                cells
            }
            ListKind::Sockets => {
                let Some(opened) = &view.opened else {
                    return Vec::new();
                };
                match row.checked_sub(opened.endpoints.len()) {
                    None => endpoint_cells(&opened.endpoints[row], view.at, symbols),
                    Some(close) => close_cells(&opened.closes[close], view, symbols),
                }
            }
        }
    }
}

fn compare(
    (one, a): &(Service, ServiceRow),
    (other, b): &(Service, ServiceRow),
    key: SortKey,
) -> Ordering {
    let by_trouble = || b.trouble().cmp(&a.trouble());
    let by_closes = || b.closes.total_cmp(&a.closes);
    let by_key = match key {
        SortKey::Trouble => by_trouble(),
        SortKey::Closes => by_closes(),
        SortKey::Resets => b.abnormal.total_cmp(&a.abnormal),
        SortKey::Stuck => b.stuck.cmp(&a.stuck),
        SortKey::Files => b.files_share().total_cmp(&a.files_share()),
        SortKey::Ports => b.ports.unwrap_or(-1.0).total_cmp(&a.ports.unwrap_or(-1.0)),
        SortKey::Name => one.name().cmp(other.name()),
    };
    by_key
        .then_with(by_trouble)
        .then(b.abnormal_total.cmp(&a.abnormal_total))
        .then_with(by_closes)
        .then_with(|| one.cmp(other))
}

fn service_cells(service: &Service, row: &ServiceRow, is_scanned: bool) -> Vec<CellText> {
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
    vec![
        CellText::new(service.name(), name_tone),
        CellText::new(&*row.process, Tone::Dim),
        CellText::new(
            rate(row.closes),
            if row.closes > 0.0 {
                Tone::Plain
            } else {
                Tone::Dim
            },
        ),
        CellText::new(rate(row.abnormal), bad_if(is_recent)),
        CellText::new(
            row.cause.clone().unwrap_or_default(),
            if is_recent { Tone::Plain } else { Tone::Dim },
        ),
        CellText::new(stuck, bad_if(row.stuck > 0)),
        CellText::new(files, files_tone),
        CellText::new(ports, ports_tone),
        CellText::new(
            grouped(row.abnormal_total),
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

fn stuck_cells(report: &Report, group: &OwnerGroup, symbols: Symbols) -> Vec<CellText> {
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

fn reset_cells(row: &ResetRow) -> Vec<CellText> {
    let AbnormalGroup { group, count, .. } = &row.abnormal;
    vec![
        CellText::new(grouped(*count), Tone::Bad),
        group.who.clone().into(),
        group.how.to_string().into(),
    ]
}

fn route_cells(route: &RouteReport, symbols: Symbols) -> Vec<CellText> {
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

fn endpoint_cells(endpoint: &ListedEndpoint, now: Nanos, symbols: Symbols) -> Vec<CellText> {
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

fn close_cells(close: &Close, view: &View, symbols: Symbols) -> Vec<CellText> {
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
        CellText::new(How::from_close(close).to_string(), tone),
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

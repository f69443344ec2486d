//! The lists: which rows one has, and in which order.

use std::cmp::Ordering;

use super::cells::{
    CellText, close_cells, endpoint_cells, reset_cells, route_cells, service_cells, stuck_cells,
    waits_for,
};
use super::columns::Column;
use super::service::Service;
use super::view::{ServiceRow, View};
use crate::output::symbols::Symbols;

/// A list that fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ListKind {
    /// Services, with what is wrong with them.
    Services,
    /// Processes with stuck sockets.
    Stuck,
    /// Groups of abnormal closes.
    Resets,
    /// The routes by the share of their ports in use.
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
            Self::Services | Self::Stuck | Self::Routes if !is_scanned && !view.is_traced => {
                "not scanned yet"
            }
            Self::Services if !view.is_traced => "no service has stuck sockets or uses many ports",
            Self::Resets | Self::Closing | Self::Sockets if !view.is_traced => {
                "not seen: nothing is traced"
            }
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
                service_cells(service, row, scan.is_some(), view.is_traced)
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

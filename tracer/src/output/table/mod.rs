//! The terminal table of `tcpclose watch`: one line for each finished close, in 120 columns.

mod stuck;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::SocketAddr;

use tcpclose_common::TcpState;

use tcpclose_core::finding::{
    Close, ClosePath, Endpoint, Initiator, Reset, Side, TimeWait, TimeWaitEnd,
};
use tcpclose_core::types::{Nanos, OwnerSource, Role, SharedOwner};

use super::cause_text::cause_text;
use super::clock::WallClock;
use super::duration::{push_state_ms, push_with_unit};
use super::layout::{Cell, Spacing, Style, column_starts};
use super::owner_text::push_owner;
use crate::escape::push_for_terminal;

/// What the last column means, for `--help`.
pub const STATES_HELP: &str = "\
BY: who sent the first FIN or RST. SEG: the number of closing segments. LIFE: the time from ESTABLISHED to the end, \
without TIME_WAIT; on a time_wait line, the length of TIME_WAIT.
STATES: the time spent in each state, in milliseconds unless a unit is given (ES 8.36 CW .09 LA 1.2s), and the reason of \
a reset if it is known.
ES=ESTABLISHED F1=FIN_WAIT1 F2=FIN_WAIT2 CW=CLOSE_WAIT LA=LAST_ACK CL=CLOSING SS=SYN_SENT SR=SYN_RECV TW=TIME_WAIT";

/// The terminal width that a line is laid out for.
const DESIGN_WIDTH: usize = 120;

const COLUMNS: usize = 12;
const COLUMN_TITLES: [&str; COLUMNS] = [
    "TIME", "PID", "COMM", "LOCAL", "PEER", "ROLE", "PATH", "BY", "SEG", "LIFE", "STATES", "",
];
const COLUMN_STARTS: [usize; COLUMNS] = column_starts([8, 7, 10, 17, 17, 6, 9, 5, 3, 6, 0, 0]);

const TIME: usize = 0;
const PID: usize = 1;
const COMM: usize = 2;
const LOCAL: usize = 3;
const PEER: usize = 4;
const ROLE: usize = 5;
const PATH: usize = 6;
const BY: usize = 7;
const SEG: usize = 8;
const LIFE: usize = 9;
const STATES: usize = 10;
const CAUSE: usize = 11;

/// The fewest columns to which an address (without port and brackets) is cut.
const MIN_ADDRESS_WIDTH: usize = 7;
/// The longest name that needs no escapes: TASK_COMM_LEN less the NUL.
const MAX_UNESCAPED_COMM: usize = 15;
/// The fewest columns to which a value is cut that does not identify the connection.
const MIN_VALUE_WIDTH: usize = 8;

/// Formats closes as lines of the table.
#[derive(Debug)]
pub struct CloseTable {
    width: Option<usize>,
    colours: bool,
    cells: [Cell; COLUMNS],
}

impl CloseTable {
    /// Returns a table for a terminal of `width` columns, or with `None` for a pipe or file, where
    /// nothing is ever cut. A terminal of fewer than 120 columns wraps the lines that cannot be
    /// made to fit.
    #[must_use]
    pub fn new(width: Option<u16>, colours: bool) -> Self {
        Self {
            width: width.map(usize::from),
            colours,
            cells: Default::default(),
        }
    }

    /// Appends the line of titles.
    pub fn write_header(&mut self, out: &mut Vec<u8>) {
        for (cell, title) in self.cells.iter_mut().zip(COLUMN_TITLES) {
            cell.set(title);
        }
        Spacing::new(&self.cells, &COLUMN_STARTS).write(&self.cells, false, out);
    }

    /// Appends the line of one close.
    pub fn write_close(&mut self, out: &mut Vec<u8>, close: &Close, clock: &WallClock) {
        self.fill_endpoint(&close.endpoint, close.owner.as_ref(), close.at, clock);
        self.fill_close(close);
        self.write(out, &close.endpoint, close.owner.as_ref());
    }

    /// Appends the line of one TIME_WAIT that is over, with its end under BY and its duration under
    /// LIFE.
    pub fn write_time_wait(&mut self, out: &mut Vec<u8>, time_wait: &TimeWait, clock: &WallClock) {
        let TimeWait {
            at,
            endpoint,
            owner,
            dwell,
            end,
            error,
            ..
        } = time_wait;
        self.fill_endpoint(endpoint, owner.as_ref(), *at, clock);
        let cells = &mut self.cells;
        cells[PATH].set("time_wait");
        match end {
            TimeWaitEnd::Unknown => cells[BY].set_unknown(),
            end => cells[BY].set(end.into()),
        }
        cells[SEG].set_unknown();
        push_with_unit(cells[LIFE].clear(), *dwell);
        cells[STATES].clear().push_str("TW ");
        push_state_ms(&mut cells[STATES].text, *dwell);
        cells[CAUSE].clear().push('±');
        push_with_unit(&mut cells[CAUSE].text, *error);
        for column in [PATH, CAUSE] {
            cells[column].style = match end {
                TimeWaitEnd::Expired => Style::Dim,
                TimeWaitEnd::Overflow | TimeWaitEnd::Killed => Style::Yellow,
                _ => Style::Plain,
            };
        }
        self.write(out, endpoint, owner.as_ref());
    }

    /// Appends the line. An owner that was found through a listening socket is marked at its end.
    fn write(&mut self, out: &mut Vec<u8>, endpoint: &Endpoint, owner: Option<&SharedOwner>) {
        if owner.is_some_and(|owner| owner.source == OwnerSource::Listen) {
            let cause = &mut self.cells[CAUSE].text;
            let space = if cause.is_empty() { "" } else { ", " };
            let _ = write!(cause, "{space}owner listens");
        }
        let mut spacing = Spacing::new(&self.cells, &COLUMN_STARTS);
        if let Some(width) = self.width {
            self.shrink_to_width(
                &mut spacing,
                width,
                (endpoint.tuple.local(), endpoint.tuple.peer()),
            );
        }
        spacing.write(&self.cells, self.colours, out);
    }

    /// Fills the columns that identify the endpoint and its owner.
    fn fill_endpoint(
        &mut self,
        endpoint: &Endpoint,
        owner: Option<&SharedOwner>,
        at: Nanos,
        clock: &WallClock,
    ) {
        let cells = &mut self.cells;
        let _ = write!(cells[TIME].clear(), "{}", clock.time_of_day(at));
        match owner {
            Some(owner) => {
                let _ = write!(cells[PID].clear(), "{}", owner.pid);
                push_for_terminal(cells[COMM].clear(), &owner.comm);
            }
            None => {
                cells[PID].set_unknown();
                cells[COMM].set_unknown();
            }
        }
        let _ = write!(cells[LOCAL].clear(), "{}", endpoint.tuple.local());
        let _ = write!(cells[PEER].clear(), "{}", endpoint.tuple.peer());
        match endpoint.role {
            Role::Client => cells[ROLE].set("client"),
            Role::Server => cells[ROLE].set("server"),
            Role::Unknown => cells[ROLE].set_unknown(),
        }
    }

    fn fill_close(&mut self, close: &Close) {
        let cells = &mut self.cells;
        match close.path {
            ClosePath::Unknown => cells[PATH].set_unknown(),
            path => cells[PATH].set(path.into()),
        }
        match close.initiator {
            Initiator::Unknown => cells[BY].set_unknown(),
            initiator => cells[BY].set(initiator.into()),
        }
        match close.segments {
            Some(segments) => {
                let _ = write!(cells[SEG].clear(), "{segments}");
            }
            None => cells[SEG].set_unknown(),
        }
        match close.endpoint.lifetime {
            Some(lifetime) => push_with_unit(cells[LIFE].clear(), lifetime),
            None => cells[LIFE].set_unknown(),
        }
        fill_states(&mut cells[STATES], close);
        fill_cause(cells[CAUSE].clear(), close);
        if close.path.is_abnormal() == Some(true)
            && let Some(peer) = &close.endpoint.peer_owner
        {
            let text = &mut cells[CAUSE].text;
            text.push_str(if text.is_empty() { "peer " } else { ", peer " });
            push_owner(text, peer);
        }
        let style = style(close.path);
        cells[PATH].style = style;
        cells[CAUSE].style = style;
    }

    /// Shortens a line that is too long: first the space between columns, then the end of an
    /// escaped name, then the middles of the addresses, then the ends of states and cause. Where a
    /// narrow terminal has no room even so, the line stays whole.
    fn shrink_to_width(
        &mut self,
        spacing: &mut Spacing<COLUMNS>,
        width: usize,
        ends: (SocketAddr, SocketAddr),
    ) {
        let mut excess = spacing.line_width(&self.cells).saturating_sub(width);
        if excess == 0 {
            return;
        }
        let shorter_comm = self.cells[COMM].width().saturating_sub(MAX_UNESCAPED_COMM);
        let (local, peer) = (Address(ends.0), Address(ends.1));
        let room = spacing.slack() + shorter_comm + local.spare() + peer.spare();
        if width < DESIGN_WIDTH && room < excess {
            return;
        }
        excess -= spacing.close_up(excess);
        excess = excess.saturating_sub(self.cells[COMM].cut_end(MAX_UNESCAPED_COMM, excess));

        let (mut local_cut, mut peer_cut) = (0, 0);
        let (local_width, peer_width) = (self.cells[LOCAL].width(), self.cells[PEER].width());
        for _ in 0..excess.min(local.spare() + peer.spare()) {
            let local_is_longer = local_width - local_cut >= peer_width - peer_cut;
            let cut_local =
                local_cut < local.spare() && (local_is_longer || peer_cut == peer.spare());
            *(if cut_local {
                &mut local_cut
            } else {
                &mut peer_cut
            }) += 1;
        }
        local.shorten(local_cut, &mut self.cells[LOCAL]);
        peer.shorten(peer_cut, &mut self.cells[PEER]);
        excess -= local_cut + peer_cut;

        for (column, least) in [
            (STATES, MIN_VALUE_WIDTH),
            (CAUSE, MIN_VALUE_WIDTH),
            (COMM, MIN_VALUE_WIDTH),
        ] {
            excess = excess.saturating_sub(self.cells[column].cut_end(least, excess));
        }
    }
}

/// An address with its port, as a cell shows it.
struct Address(SocketAddr);

impl Address {
    fn ip(&self) -> String {
        self.0.ip().to_string()
    }

    /// Returns the number of columns that may be cut out of the address.
    fn spare(&self) -> usize {
        self.ip().len().saturating_sub(MIN_ADDRESS_WIDTH)
    }

    /// Cuts that many columns out of the address's middle; the port stays.
    fn shorten(&self, columns: usize, cell: &mut Cell) {
        if columns == 0 {
            return;
        }
        let ip = self.ip();
        let kept = ip.len().saturating_sub(columns + 1);
        let (head, tail) = (&ip[..kept.div_ceil(2)], &ip[ip.len() - kept / 2..]);
        let port = self.0.port();
        let _ = match self.0 {
            SocketAddr::V4(_) => write!(cell.clear(), "{head}…{tail}:{port}"),
            SocketAddr::V6(_) => write!(cell.clear(), "[{head}…{tail}]:{port}"),
        };
    }
}

fn fill_states(cell: &mut Cell, close: &Close) {
    if close.states.is_empty() {
        return cell.set_unknown();
    }
    let text = cell.clear();
    for (state, span) in &close.states {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(abbreviation(*state));
        text.push(' ');
        match span {
            Some(span) => push_state_ms(text, *span),
            None => text.push('-'),
        }
    }
}

/// Appends the cause of a reset, and its sender unless that is the endpoint that began to close.
fn fill_cause(text: &mut String, close: &Close) {
    let Some(Reset {
        by,
        reason,
        kernel_reason,
    }) = &close.reset
    else {
        if let Some(cause) = close.cause {
            text.push_str(cause_text(cause).short);
        }
        return;
    };
    let cause = close.cause.map(|cause| cause_text(cause).short);
    if let (None, Some(cause)) = (cause, close.peer_cause) {
        let _ = write!(text, "peer: {}", cause_text(cause).short);
        return;
    }
    text.push_str(
        cause
            .or_else(|| reason.map(Into::into))
            .or(*kernel_reason)
            .unwrap_or_default(),
    );
    let began = matches!(
        (by, close.initiator),
        (Side::Local, Initiator::Local) | (Side::Peer, Initiator::Peer)
    );
    if !began {
        let space = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{space}by {by}");
    }
}

const fn style(path: ClosePath) -> Style {
    match path {
        ClosePath::Reset => Style::Red,
        ClosePath::Timeout | ClosePath::Destroyed | ClosePath::ConnectFailed => Style::Yellow,
        ClosePath::Unknown => Style::Dim,
        ClosePath::FourWay | ClosePath::ThreeWay | ClosePath::Simultaneous => Style::Plain,
    }
}

/// Returns two letters for a state; [`STATES_HELP`] explains those that a closing connection
/// passes.
const fn abbreviation(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "ES",
        TcpState::SynSent => "SS",
        TcpState::SynRecv => "SR",
        TcpState::FinWait1 => "F1",
        TcpState::FinWait2 => "F2",
        TcpState::TimeWait => "TW",
        TcpState::Close => "CD",
        TcpState::CloseWait => "CW",
        TcpState::LastAck => "LA",
        TcpState::Listen => "LI",
        TcpState::Closing => "CL",
        TcpState::NewSynRecv => "NS",
    }
}

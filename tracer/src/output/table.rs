//! The terminal table of `tcpclose watch`: one line for each finished close, in 120 columns.

mod stuck;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::SocketAddr;

use tcpclose_common::TcpState;

use tcpclose_core::finding::{
    Close, ClosePath, Endpoint, Initiator, Loss, LossLocation, Reset, Side, TimeWait, TimeWaitEnd,
};
use tcpclose_core::types::{Nanos, Role, SharedOwner};

use super::clock::WallClock;
use super::duration::{push_state_ms, push_with_unit};
use super::escape::push_for_terminal;
use super::layout::{Cell, Gaps, Paint, starts};

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
const TITLES: [&str; COLUMNS] = [
    "TIME", "PID", "COMM", "LOCAL", "PEER", "ROLE", "PATH", "BY", "SEG", "LIFE", "STATES", "",
];
const STARTS: [usize; COLUMNS] = starts([8, 7, 10, 17, 17, 6, 9, 5, 3, 6, 0, 0]);

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
const LEAST_ADDRESS: usize = 7;
/// The longest name that needs no escapes: TASK_COMM_LEN less the NUL.
const PLAIN_COMM: usize = 15;
/// The fewest columns to which a value is cut that does not identify the connection.
const LEAST_VALUE: usize = 8;

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
        for (cell, title) in self.cells.iter_mut().zip(TITLES) {
            cell.set(title);
        }
        Gaps::new(&self.cells, &STARTS).write(&self.cells, false, out);
    }

    /// Appends the line of one close.
    pub fn write_close(&mut self, out: &mut Vec<u8>, close: &Close, clock: &WallClock) {
        self.fill_end(&close.endpoint, close.owner.as_ref(), close.at, clock);
        self.fill_close(close);
        self.write(out, &close.endpoint);
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
        self.fill_end(endpoint, owner.as_ref(), *at, clock);
        let cells = &mut self.cells;
        cells[PATH].set("time_wait");
        match end {
            TimeWaitEnd::Unknown => cells[BY].set_unknown(),
            end => cells[BY].set(end.into()),
        }
        cells[SEG].set_unknown();
        push_with_unit(cells[LIFE].start(), *dwell);
        cells[STATES].start().push_str("TW ");
        push_state_ms(&mut cells[STATES].text, *dwell);
        cells[CAUSE].start().push('±');
        push_with_unit(&mut cells[CAUSE].text, *error);
        for column in [PATH, CAUSE] {
            cells[column].paint = match end {
                TimeWaitEnd::Expired => Paint::Dim,
                TimeWaitEnd::Overflow | TimeWaitEnd::Killed => Paint::Yellow,
                _ => Paint::Plain,
            };
        }
        self.write(out, endpoint);
    }

    fn write(&mut self, out: &mut Vec<u8>, endpoint: &Endpoint) {
        let mut gaps = Gaps::new(&self.cells, &STARTS);
        if let Some(width) = self.width {
            self.fit(
                &mut gaps,
                width,
                (endpoint.tuple.local(), endpoint.tuple.peer()),
            );
        }
        gaps.write(&self.cells, self.colours, out);
    }

    /// Fills the columns that identify the endpoint and its owner.
    fn fill_end(
        &mut self,
        endpoint: &Endpoint,
        owner: Option<&SharedOwner>,
        at: Nanos,
        clock: &WallClock,
    ) {
        let cells = &mut self.cells;
        let _ = write!(cells[TIME].start(), "{}", clock.time_of_day(at));
        match owner {
            Some(owner) => {
                let _ = write!(cells[PID].start(), "{}", owner.pid);
                push_for_terminal(cells[COMM].start(), &owner.comm);
            }
            None => {
                cells[PID].set_unknown();
                cells[COMM].set_unknown();
            }
        }
        let _ = write!(cells[LOCAL].start(), "{}", endpoint.tuple.local());
        let _ = write!(cells[PEER].start(), "{}", endpoint.tuple.peer());
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
                let _ = write!(cells[SEG].start(), "{segments}");
            }
            None => cells[SEG].set_unknown(),
        }
        match close.endpoint.lifetime {
            Some(lifetime) => push_with_unit(cells[LIFE].start(), lifetime),
            None => cells[LIFE].set_unknown(),
        }
        fill_states(&mut cells[STATES], close);
        fill_cause(cells[CAUSE].start(), close);
        let paint = paint(close.path);
        cells[PATH].paint = paint;
        cells[CAUSE].paint = paint;
    }

    /// Shortens a line that is too long: first the space between columns, then the end of an
    /// escaped name, then the middles of the addresses, then the ends of states and cause. Where a
    /// narrow terminal has no room even so, the line stays whole.
    fn fit(&mut self, gaps: &mut Gaps<COLUMNS>, width: usize, ends: (SocketAddr, SocketAddr)) {
        let mut excess = gaps.line_width(&self.cells).saturating_sub(width);
        if excess == 0 {
            return;
        }
        let shorter_comm = self.cells[COMM].width().saturating_sub(PLAIN_COMM);
        let (local, peer) = (Address(ends.0), Address(ends.1));
        let room = gaps.slack() + shorter_comm + local.spare() + peer.spare();
        if width < DESIGN_WIDTH && room < excess {
            return;
        }
        excess -= gaps.close_up(excess);
        excess = excess.saturating_sub(self.cells[COMM].cut_end(PLAIN_COMM, excess));

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
            (STATES, LEAST_VALUE),
            (CAUSE, LEAST_VALUE),
            (COMM, LEAST_VALUE),
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
        self.ip().len().saturating_sub(LEAST_ADDRESS)
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
            SocketAddr::V4(_) => write!(cell.start(), "{head}…{tail}:{port}"),
            SocketAddr::V6(_) => write!(cell.start(), "[{head}…{tail}]:{port}"),
        };
    }
}

fn fill_states(cell: &mut Cell, close: &Close) {
    if close.states.is_empty() {
        return cell.set_unknown();
    }
    let text = cell.start();
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
        return;
    };
    text.push_str(
        reason
            .map(Into::into)
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

const fn paint(path: ClosePath) -> Paint {
    match path {
        ClosePath::Reset => Paint::Red,
        ClosePath::Timeout | ClosePath::Destroyed | ClosePath::ConnectFailed => Paint::Yellow,
        ClosePath::Unknown => Paint::Dim,
        ClosePath::FourWay | ClosePath::ThreeWay | ClosePath::Simultaneous => Paint::Plain,
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

/// Returns a sentence for standard error about a loss: its effect, and how to avoid it.
#[must_use]
pub fn loss_message(loss: &Loss) -> String {
    let lost = loss.lost;
    let one = lost == 1;
    let pick = |singular: &'static str, plural: &'static str| if one { singular } else { plural };
    match loss.location {
        LossLocation::Ring => format!(
            "{lost} kernel {} lost because the ring buffer was full, so closes are missing or incomplete: trace fewer \
             connections (-L, -D, -4, -6) or free up CPU time for tcpclose",
            pick("record was", "records were"),
        ),
        LossLocation::Program => format!(
            "{lost} {} of the eBPF programs {} skipped by the kernel, because an interrupt came in while they ran, so a \
             close may be incomplete: nothing can be done about it",
            pick("run", "runs"),
            pick("was", "were"),
        ),
        LossLocation::Table => format!(
            "{lost} live {} dropped because the connection table was full, so {} will be reported in part or not at \
             all: trace fewer connections (-L, -D, -4, -6)",
            pick("connection was", "connections were"),
            pick("its close", "their closes"),
        ),
        LossLocation::Output => format!(
            "{lost} {} not written because the output was too slow for so many, so {} missing from it: read it \
             faster, leave tcpclose more CPU time, or trace fewer connections (-L, -D, -4, -6)",
            pick("line was", "lines were"),
            pick("it is", "they are"),
        ),
        LossLocation::Decode => format!(
            "{lost} kernel {} not be understood, so closes are missing or incomplete: this is a bug in tcpclose, \
             please report it with the output of `tcpclose doctor`",
            pick("record could", "records could"),
        ),
        LossLocation::Recording => format!(
            "{lost} {} not recorded because the disk was too slow, so closes are missing or incomplete in the \
             recording: write it to a faster disk, or record fewer connections (-L, -D, -4, -6)",
            pick("entry was", "entries were"),
        ),
        LossLocation::Probe => format!(
            "{lost} {} not answered because a thread of tcpclose has panicked, so closes may \
             be incomplete and stuck sockets reported late: this is a bug in tcpclose, please report it with what the \
             thread has written to stderr",
            pick(
                "request for the state of sockets was",
                "requests for the state of sockets were"
            ),
        ),
    }
}

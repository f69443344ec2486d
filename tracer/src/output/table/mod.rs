//! The table of `tcpclose watch` and `tcpclose resets`: one line for each close, and further lines
//! below it where something is wrong.

mod columns;
mod states;
mod stuck;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use tcpclose_core::finding::{Close, ClosePath, Endpoint, TimeWait, TimeWaitEnd};
use tcpclose_core::types::{Nanos, Role, SharedOwner};

use super::clock::WallClock;
use super::close_text::{self, CloseSummary, Size, owner_marks, shown_comm, thread_text};
use super::duration::{push_state_ms, push_with_unit};
use super::layout::{Cell, Spacing, Style, cut_to, write_row};
use super::paragraph::push_paragraph;
use super::symbols::Symbols;
use columns::{
    BYTES, COLUMN_TITLES, COLUMNS, HOW, LIFE, LIFE_WIDTH, LOCAL, Layout, PATH, PEER, PROCESS, SEG,
    STATES, Shape, TIME,
};
pub use states::STATES_HELP;
use states::push_states;

/// The indent of further lines on a terminal that is narrower than a line of the stacked layout.
const LEAST_INDENT: usize = 2;

/// How the table looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableOptions {
    /// Whether nothing is cut and no line is broken on a terminal, as in a pipe.
    pub whole_lines: bool,
    /// Whether lines have all that is known, at any width.
    pub verbose: bool,
    /// Whether lines are coloured.
    pub colours: bool,
    /// The characters to draw with.
    pub symbols: Symbols,
}

/// Formats closes as lines of the table. Columns are always at the same place: what has no room in
/// its column stands in a line of its own. Only names of processes are cut, and nothing in a pipe.
#[derive(Debug)]
pub struct CloseTable {
    options: TableOptions,
    layout: Layout,
    cells: [Cell; COLUMNS],
}

impl CloseTable {
    /// Returns a table for a terminal of this width; with `None` for a pipe or file, where no line
    /// is broken and nothing is cut.
    #[must_use]
    pub fn new(width: Option<u16>, options: TableOptions) -> Self {
        Self {
            layout: layout(width, options),
            options,
            cells: Default::default(),
        }
    }

    /// Lays further lines out for another width. Returns whether that changes the layout.
    pub fn set_width(&mut self, width: Option<u16>) -> bool {
        let layout = layout(width, self.options);
        std::mem::replace(&mut self.layout, layout) != layout
    }

    /// Appends the line of titles, if this layout has one.
    pub fn write_header(&mut self, out: &mut Vec<u8>) {
        let is_wide = match self.layout.shape {
            Shape::Stacked => return,
            Shape::Narrow => false,
            Shape::Wide => true,
        };
        for (column, (cell, title)) in self.cells.iter_mut().zip(COLUMN_TITLES).enumerate() {
            let is_shown = is_wide || matches!(column, TIME | PROCESS | PEER | LIFE | HOW);
            cell.set(if is_shown { title } else { "" });
        }
        self.cells[LIFE].align_right(LIFE_WIDTH);
        self.write_cells(out);
    }

    /// Appends the lines of one close.
    pub fn write_close(&mut self, out: &mut Vec<u8>, close: &Close, clock: &WallClock) {
        let mut details = close_text::details(close, self.options.symbols);
        if self.options.verbose {
            let owner = close.owner.as_ref();
            let thread = owner.and_then(|owner| thread_text(owner, self.options.symbols));
            details.extend(thread.map(|thread| format!("connected by {thread}")));
        }
        self.fill_endpoint(&close.endpoint, close.owner.as_ref(), close.at, clock);
        let has_all = self.has_all();
        let cells = &mut self.cells;
        match close.endpoint.lifetime {
            Some(lifetime) => push_with_unit(cells[LIFE].clear(), lifetime),
            None => cells[LIFE].set_unknown(),
        }
        if has_all {
            match close.path {
                ClosePath::Unknown => cells[PATH].set_unknown(),
                path => cells[PATH].set(path.into()),
            }
            match close.segments {
                Some(segments) => {
                    let _ = write!(cells[SEG].clear(), "{segments}");
                }
                None => cells[SEG].set_unknown(),
            }
            fill_bytes(&mut cells[BYTES], close);
            push_states(cells[STATES].clear(), &close.states);
        }
        let how = CloseSummary::from_close(close);
        self.write(out, how, style(close.path), details, |words| {
            if close.path.is_abnormal() != Some(true) {
                words.extend(close_text::bytes(close));
                words.extend(close_text::sent_again(close));
            }
        });
    }

    /// Appends the lines of one TIME_WAIT that is over.
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
        let has_all = self.has_all();
        let cells = &mut self.cells;
        push_with_unit(cells[LIFE].clear(), *dwell);
        if has_all {
            cells[PATH].set("time_wait");
            let states = cells[STATES].clear();
            states.push_str("TW ");
            push_state_ms(states, *dwell);
            let _ = write!(states, " {}", self.options.symbols.plus_minus());
            push_with_unit(states, *error);
        }
        let (what, style) = match end {
            TimeWaitEnd::Expired => ("TIME_WAIT expired", Style::Dim),
            TimeWaitEnd::Reused => ("TIME_WAIT reused", Style::Plain),
            TimeWaitEnd::Recycled => ("TIME_WAIT recycled", Style::Plain),
            TimeWaitEnd::Killed => ("TIME_WAIT killed", Style::Yellow),
            TimeWaitEnd::Overflow => ("TIME_WAIT overflow", Style::Yellow),
            TimeWaitEnd::Unknown => ("TIME_WAIT over", Style::Dim),
        };
        let how = CloseSummary { what, why: None };
        self.write(out, how, style, Vec::new(), |_| {});
    }

    /// Returns whether the cells of the wide layout are needed.
    fn has_all(&self) -> bool {
        self.options.verbose || self.layout.shape == Shape::Wide
    }

    /// Fills the columns that identify the endpoint and its owner, and empties the others.
    fn fill_endpoint(
        &mut self,
        endpoint: &Endpoint,
        owner: Option<&SharedOwner>,
        at: Nanos,
        clock: &WallClock,
    ) {
        for cell in &mut self.cells {
            cell.clear();
        }
        self.fill_process(owner);
        let symbols = self.options.symbols;
        let arrow = match endpoint.role {
            Role::Client => symbols.connected(),
            Role::Server => symbols.accepted(),
            Role::Unknown => symbols.unknown_role(),
        };
        let (local, peer) = (endpoint.tuple.local(), endpoint.tuple.peer());
        let has_all = self.has_all();
        let cells = &mut self.cells;
        let _ = write!(cells[TIME].text, "{}", clock.time_of_day(at));
        let _ = write!(cells[PEER].text, "{arrow} {peer}");
        if has_all {
            let _ = write!(cells[LOCAL].text, "{local}");
        }
    }

    /// Fills the column of the process: `python3 7524`. A name that is too long is cut.
    fn fill_process(&mut self, owner: Option<&SharedOwner>) {
        let cell = &mut self.cells[PROCESS];
        let Some(owner) = owner else {
            return cell.set_unknown();
        };
        let symbols = self.options.symbols;
        let ((open, close), comm) = (owner_marks(owner), shown_comm(owner, symbols));
        let pid = owner.pid.to_string();
        let rest = open.len() + " ".len() + pid.len() + close.len();
        let room = match self.layout.width {
            Some(_) => self.layout.process.saturating_sub(rest),
            None => usize::MAX,
        };
        let comm = cut_to(&comm, room, symbols.cut());
        let _ = write!(cell.clear(), "{open}{comm} {pid}{close}");
    }

    /// Appends the lines. `details` are the parts of a sentence below the line; `further` adds
    /// those that verbose lines have.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        how: CloseSummary,
        style: Style,
        mut details: Vec<String>,
        further: impl FnOnce(&mut Vec<String>),
    ) {
        let mut text = how.to_string();
        if self.layout.width.is_some()
            && text.width() > self.layout.how
            && let Some(why) = how.why
        {
            text = how.what.to_owned();
            details.insert(0, why.to_owned());
        }
        let cells = &mut self.cells;
        cells[HOW].set(&text);
        cells[HOW].style = style;
        cells[PATH].style = style;
        cells[LIFE].align_right(LIFE_WIDTH);
        let shows_all = self.layout.shape == Shape::Wide;
        if shows_all && cells[STATES].width() > self.layout.states && self.layout.width.is_some() {
            details.push(std::mem::take(&mut cells[STATES].text));
        }
        if self.options.verbose && !shows_all {
            details.push(format!("local {}", cells[LOCAL].text));
            for column in [PATH, SEG, STATES] {
                let text = &cells[column].text;
                match (column, text.as_str()) {
                    (_, "" | "-") => {}
                    (SEG, "1") => details.push("1 segment".to_owned()),
                    (SEG, _) => details.push(format!("{text} segments")),
                    _ => details.push(text.clone()),
                }
            }
            further(&mut details);
        }
        if !shows_all {
            for column in [LOCAL, PATH, SEG, BYTES, STATES] {
                cells[column].clear();
            }
        }
        match self.layout.shape {
            Shape::Stacked => self.write_stacked(out, style),
            Shape::Narrow | Shape::Wide => self.write_cells(out),
        }
        if !details.is_empty() {
            let mark = self.options.symbols.detail();
            self.write_indented(out, mark, &details.join("; "), Style::Dim);
        }
    }

    /// Appends the cells as a line.
    fn write_cells(&self, out: &mut Vec<u8>) {
        let (cells, starts) = (&self.cells, &self.layout.starts);
        let colours = self.options.colours;
        match self.layout.width {
            Some(_) => write_row(cells, starts, colours, out),
            None => Spacing::new(cells, starts).write(cells, colours, out),
        }
    }

    /// Appends the cells as two lines or more, on a terminal that has no room for them in one.
    fn write_stacked(&mut self, out: &mut Vec<u8>, style: Style) {
        let process = std::mem::take(&mut self.cells[PROCESS].text);
        let how = std::mem::take(&mut self.cells[HOW].text);
        let has_room = self
            .layout
            .width
            .is_none_or(|width| width >= self.layout.starts[LIFE] + LIFE_WIDTH);
        let mut words = format!("{process}: {how}");
        if !has_room {
            let life = std::mem::take(&mut self.cells[LIFE].text);
            words = format!("{} {words}", life.trim());
        }
        self.write_cells(out);
        self.write_indented(out, "", &words, style);
    }

    /// Appends a sentence that belongs to the line above it.
    fn write_indented(&self, out: &mut Vec<u8>, mark: &str, words: &str, style: Style) {
        let has_room = self.layout.width.is_none_or(|width| {
            width >= self.layout.starts[LIFE] + LIFE_WIDTH || self.layout.shape != Shape::Stacked
        });
        let indent = match has_room {
            true => self.layout.indent(),
            false => LEAST_INDENT,
        };
        let first = format!("{:indent$}{mark}", "");
        let others = " ".repeat(first.width());
        self.write_sentence(out, &first, &others, words, style);
    }

    /// Appends a sentence in as many lines as it takes, in this style from behind `first` on.
    fn write_sentence(
        &self,
        out: &mut Vec<u8>,
        first: &str,
        others: &str,
        words: &str,
        style: Style,
    ) {
        let width = self.layout.width.unwrap_or(usize::MAX);
        let mut text = String::new();
        push_paragraph(&mut text, first, others, words, width);
        let (first, rest) = text.split_at(first.len());
        out.extend_from_slice(first.as_bytes());
        style.write(rest.trim_end_matches('\n'), self.options.colours, out);
        out.push(b'\n');
    }
}

fn layout(width: Option<u16>, options: TableOptions) -> Layout {
    let layout = Layout::new(width, options.verbose);
    match options.whole_lines {
        true => layout.with_whole_lines(),
        false => layout,
    }
}

/// Sets the bytes sent and received: `211/1.5k`.
fn fill_bytes(cell: &mut Cell, close: &Close) {
    let (sent, received) = (close.bytes.sent, close.bytes.received);
    if sent.is_none() && received.is_none() {
        return cell.set_unknown();
    }
    let short = |count: Option<u64>| match count {
        Some(count) => Size(count).to_string().replace([' ', 'B'], ""),
        None => "-".to_owned(),
    };
    let _ = write!(cell.clear(), "{}/{}", short(sent), short(received));
}

const fn style(path: ClosePath) -> Style {
    match path {
        ClosePath::Reset => Style::Red,
        ClosePath::Timeout | ClosePath::Destroyed | ClosePath::ConnectFailed => Style::Yellow,
        ClosePath::Unknown => Style::Dim,
        ClosePath::FourWay | ClosePath::ThreeWay | ClosePath::Simultaneous => Style::Plain,
    }
}

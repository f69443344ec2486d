//! Draws the screen: the state of the host in one line, the lists that there are, what is wrong,
//! the rows of one list, and the keys.

use std::fmt::Write as _;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr as _;

use super::cells::{CellText, Tone, rate};
use super::columns::place;
use super::list::ListKind;
use super::screen_state::{ScreenState, TABS};
use super::service::Service;
use super::view::View;
use crate::output::close_tally::grouped;
use crate::output::duration::push_with_unit;
use crate::output::layout::cut_to;
use crate::output::paragraph::{broken_line, push_paragraph};
use crate::output::symbols::Symbols;

/// On a screen with fewer rows there is no room for what is wrong.
const MIN_ROWS_FOR_VERDICTS: u16 = 10;
/// The most lines about what is wrong.
const MAX_VERDICTS: u16 = 3;

const HELP: &str = "\
RESET/s counts all abnormal closes: resets, timeouts, connects that failed. Rates are means of the \
last 10 s. STUCK, FILES (open descriptors of the limit) and PORTS (of the fullest route) come from \
scans.

1 to 5, Tab      the lists: services, stuck, resets, routes, closing
Up, Down, j, k   move; PgUp, PgDn, Home, End too
Enter            open a row: a service's sockets, then what is known
Esc              back; without a row open: no filter
s                sort services by the next key
r                reverse the order
/                show only rows with a text
p, Space         pause, and go on
z                count from now on
Ctrl-L           draw anew
q, Ctrl-C        end";
const REPLAY_HELP: &str = "\
Left, Right      10 s back and forth; < and > a minute
+, -             replay faster, slower";

/// How the screen looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Theme {
    /// The characters that may be drawn.
    pub symbols: Symbols,
    /// Whether there are colours: those of the terminal's own palette, on its own background.
    pub colours: bool,
}

impl Theme {
    fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        match (tone, self.colours) {
            (Tone::Plain, _) => style,
            (Tone::Bad, true) => style.fg(Color::Red),
            (Tone::Warning, true) => style.fg(Color::Yellow),
            (Tone::Bad | Tone::Warning, false) => style.add_modifier(Modifier::BOLD),
            (Tone::Dim, _) => style.add_modifier(Modifier::DIM),
        }
    }
}

const TITLES: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws all of the screen. `notice`: the last message to the user, if it is new.
pub(crate) fn draw(
    buffer: &mut Buffer,
    state: &mut ScreenState,
    view: Option<&View>,
    look: Theme,
    notice: Option<&str>,
) {
    let area = *buffer.area();
    let mut screen = Screen {
        buffer,
        look,
        area,
        row: 0,
    };
    let Some(view) = view else {
        screen.line("tcpclose top: starting", Style::new());
        return;
    };
    let width = area.width.into();
    screen.line(&headline(state.paused, view, width), TITLES);
    if area.height > 3 {
        screen.tabs(state, view);
    }
    let has_footer = area.height > 4;
    let bottom = area.height.saturating_sub(u16::from(has_footer));
    if state.help {
        screen.help(state, bottom);
    } else if state.story.is_some() {
        screen.story(state, bottom);
    } else {
        screen.verdicts(view);
        screen.list(state, view, bottom);
    }
    if has_footer {
        screen.row = bottom;
        screen.footer(state, view, notice);
    }
}

/// The characters that are drawn, from the top to the bottom.
struct Screen<'a> {
    buffer: &'a mut Buffer,
    look: Theme,
    area: Rect,
    row: u16,
}

impl Screen<'_> {
    /// Writes a text at a place, in at most so many columns.
    fn write(&mut self, column: u16, row: u16, width: u16, text: &str, style: Style) {
        if row >= self.area.height || column >= self.area.width {
            return;
        }
        let symbols = self.look.symbols;
        let shown = symbols.show(text);
        let width = width.min(self.area.width - column);
        let shown = cut_to(&shown, width.into(), symbols.cut());
        let (x, y) = (self.area.x + column, self.area.y + row);
        self.buffer.set_stringn(x, y, shown, width.into(), style);
    }

    fn line(&mut self, text: &str, style: Style) {
        self.write(0, self.row, self.area.width, text, style);
        self.row += 1;
    }

    /// The lists, or the service whose sockets are listed.
    fn tabs(&mut self, state: &ScreenState, view: &View) {
        let filter = state.prompt.as_ref().unwrap_or(&state.filter);
        let only = match filter.is_empty() {
            true => String::new(),
            false => format!("only /{filter}"),
        };
        if let Some(service) = &state.service {
            let text = format!("{}  {only}", sockets_text(service, view));
            return self.line(&text, CHOSEN);
        }
        let mut column = 0;
        for (number, (kind, name)) in (1..).zip(TABS) {
            let (count, tone) = count(kind, view);
            let mut text = match self.area.width {
                0..60 => name[..2].to_owned(),
                _ => format!("{number} {name}"),
            };
            if let Some(count) = count {
                let _ = write!(text, " {}", grouped(count));
            }
            let style = match kind == state.tab {
                true => CHOSEN,
                false => self.look.style(tone),
            };
            let width = text.width() as u16;
            self.write(column, self.row, u16::MAX, &text, style);
            column += width + 2;
        }
        self.write(column, self.row, u16::MAX, &only, TITLES);
        self.row += 1;
    }

    /// What is wrong, the worst first.
    fn verdicts(&mut self, view: &View) {
        if self.area.height < MIN_ROWS_FOR_VERDICTS {
            return;
        }
        let most = match self.area.height {
            0..20 => 1,
            20..40 => 2,
            _ => MAX_VERDICTS,
        };
        let (sentences, is_wrong) = view.sentences(most.into());
        for sentence in sentences {
            match is_wrong {
                true => self.line(&format!("! {sentence}"), self.look.style(Tone::Bad)),
                false => self.line(&sentence, self.look.style(Tone::Dim)),
            }
        }
    }

    fn list(&mut self, state: &mut ScreenState, view: &View, bottom: u16) {
        let list = state.list(view);
        let kind = list.kind;
        let columns = kind.columns();
        let placed = place(columns, self.area.width);
        if self.area.height > 2 {
            for place in &placed {
                let column = columns[place.column];
                let title = column.title;
                let gap = match column.right {
                    true => place.width.saturating_sub(title.len() as u16),
                    false => 0,
                };
                let width = place.width - gap;
                self.write(place.start + gap, self.row, width, title, TITLES);
            }
            self.row += 1;
        }
        let page = bottom.saturating_sub(self.row);
        let cursor = state.fit(&list, page.into());
        let shown = list.rows.iter().enumerate().skip(cursor.first);
        for (place, row) in shown.take(page.into()) {
            let cells = list.cells(*row);
            for placed in &placed {
                let CellText { text, tone } = &cells[placed.column];
                let is_right = columns[placed.column].right;
                self.cell(placed.start, placed.width, text, *tone, is_right);
            }
            if place == cursor.row {
                let line = Rect::new(self.area.x, self.area.y + self.row, self.area.width, 1);
                self.buffer.set_style(line, CHOSEN);
            }
            self.row += 1;
        }
        if list.rows.is_empty() && page > 0 {
            let text = match state.filter.is_empty() && state.prompt.is_none() {
                true => kind.nothing(view),
                false => "no row with this text (Esc shows all)",
            };
            let style = self.look.style(Tone::Dim);
            self.line(text, style);
        }
    }

    fn cell(&mut self, start: u16, width: u16, text: &str, tone: Tone, is_right: bool) {
        let shown = self.look.symbols.show(text);
        let gap = match is_right {
            true => width.saturating_sub(shown.width() as u16),
            false => 0,
        };
        let style = self.look.style(tone);
        self.write(start + gap, self.row, width - gap, text, style);
    }

    fn story(&mut self, state: &mut ScreenState, bottom: u16) {
        let lines: Vec<String> = match &state.story {
            Some(story) => {
                let width = self.area.width.into();
                let lines = story.lines.iter();
                lines.flat_map(|line| broken_line(line, width)).collect()
            }
            None => return,
        };
        let page = bottom.saturating_sub(self.row);
        let first = state.fit_story(lines.len(), page.into());
        for line in lines.iter().skip(first).take(page.into()) {
            self.line(line, Style::new());
        }
    }

    fn help(&mut self, state: &ScreenState, bottom: u16) {
        let mut text = String::new();
        for paragraph in HELP.split("\n\n").take(1) {
            push_paragraph(&mut text, "", "", paragraph, self.area.width.into());
        }
        text.push('\n');
        text.push_str(HELP.split("\n\n").nth(1).unwrap_or_default());
        if state.is_replay {
            text.push('\n');
            text.push_str(REPLAY_HELP);
        }
        for line in text.lines() {
            if self.row < bottom {
                self.line(line, Style::new());
            }
        }
    }

    fn footer(&mut self, state: &ScreenState, view: &View, notice: Option<&str>) {
        if let Some(typed) = &state.prompt {
            return self.line(&format!("only rows with: {typed}_"), TITLES);
        }
        if let Some(notice) = notice {
            let style = self.look.style(Tone::Warning);
            return self.line(notice, style);
        }
        let mut text = match (state.story.is_some() || state.help, state.kind()) {
            (true, _) => "Esc back  Up/Down scroll".to_owned(),
            (false, ListKind::Services) => format!(
                "Enter sockets  s sort: {}{}  / filter  p pause",
                state.sort.name(),
                if state.reversed { " reversed" } else { "" },
            ),
            (false, ListKind::Sockets) => "Enter story  Esc back  / filter  p pause".to_owned(),
            (false, _) => "Enter more  / filter  p pause".to_owned(),
        };
        if state.is_replay {
            text.push_str("  <- -> seek");
        }
        text.push_str("  ? help  q end");
        if view.forgotten > 0 {
            let _ = write!(
                text,
                "  ({} quiet services forgotten)",
                grouped(view.forgotten)
            );
        }
        let style = self.look.style(Tone::Dim);
        self.line(&text, style);
    }
}

/// `Sockets of web.service: 12 open, 40 closes known`
fn sockets_text(service: &Service, view: &View) -> String {
    let mut text = format!("Sockets of {}", service.name());
    let opened = view.opened.as_ref();
    if let Some(opened) = opened.filter(|opened| opened.service == *service) {
        let (open, closes) = (opened.total as u64, opened.closes.len() as u64);
        let _ = write!(
            text,
            ": {} open, and the last {closes} closes",
            grouped(open)
        );
    }
    text
}

/// How many rows a list has, where that is worth knowing.
fn count(kind: ListKind, view: &View) -> (Option<u64>, Tone) {
    let bad_if = |count: u64| if count > 0 { Tone::Bad } else { Tone::Plain };
    match kind {
        ListKind::Services => (None, Tone::Plain),
        ListKind::Stuck => {
            let stuck = view.stuck();
            (stuck, bad_if(stuck.unwrap_or(0)))
        }
        ListKind::Resets => {
            let all = view.resets.iter().map(|row| row.abnormal.count).sum();
            let is_now = view.abnormal > 0.0;
            let tone = if is_now { Tone::Bad } else { Tone::Plain };
            (view.is_traced.then_some(all), tone)
        }
        ListKind::Routes => {
            let scarce = view.scarce_routes() as u64;
            (view.scan.as_ref().map(|_| scarce), bad_if(scarce))
        }
        ListKind::Closing | ListKind::Sockets => {
            let closing = view.closing.1 as u64;
            (view.is_traced.then_some(closing), Tone::Plain)
        }
    }
}

/// `tcpclose top  412 open  31.0 closes/s  3.1 resets/s  lost 0  12:00:00`. What is less important
/// gives way where there is no room.
pub(super) fn headline(paused: bool, view: &View, width: usize) -> String {
    let mut place = view.clock.time_of_day(view.at).to_string();
    if let Some(position) = view.position {
        place.push_str(" +");
        push_with_unit(&mut place, position.passed);
        let _ = match position.ended {
            true => write!(place, " end"),
            false => write!(place, " x{}", position.speed),
        };
    }
    let mut parts = vec![
        (5, "tcpclose top".to_owned()),
        (0, if paused { "PAUSED" } else { "" }.to_owned()),
    ];
    if view.is_traced {
        parts.extend([
            (4, format!("{} open", grouped(view.open))),
            (1, format!("{} closes/s", rate(view.closes))),
            (0, format!("{} resets/s", rate(view.abnormal))),
            (2, format!("lost {}", grouped(view.lost))),
        ]);
    } else {
        parts.push((0, "scans only: closes not seen".to_owned()));
    }
    parts.push((3, place));
    let text = |most: u8| {
        let parts = parts
            .iter()
            .filter(|(rank, part)| *rank <= most && !part.is_empty());
        let parts: Vec<&str> = parts.map(|(_, part)| &**part).collect();
        parts.join("  ")
    };
    let fits = (0..=5).rev().map(text).find(|text| text.width() <= width);
    fits.unwrap_or_else(|| text(0))
}

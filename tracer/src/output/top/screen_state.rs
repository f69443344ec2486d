//! The state of the screen: keys go in, effects come out.

use super::list::{List, ListKind, SortKey};
use super::service::Service;
use super::story::story;
use super::view::View;
use crate::output::symbols::Symbols;

/// The rows between two places of a scrolled text that a page key jumps.
const MIN_PAGE: usize = 1;
/// The most characters of a filter.
const MAX_FILTER_LEN: usize = 64;

/// A key, as far as the screen knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    /// With the control key.
    Control(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// What somebody else has to do after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing but drawing the screen.
    Draw,
    /// Draw all of it, as something else has written on the terminal.
    DrawAll,
    /// The program ends.
    Quit,
    /// Stop the program until it is continued.
    Suspend,
    /// Look into a service, or no longer into any.
    Open(Option<Service>),
    /// Count from now on.
    Restart,
    /// Let time stand still, or no longer.
    Pause(bool),
    /// Go this many seconds forth or back in a recording.
    Seek(i64),
    /// Replay faster by this power of two, or slower.
    Speed(i8),
}

/// The place in a list: a row, and the first row on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub row: usize,
    pub first: usize,
}

/// A text that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Story {
    pub lines: Vec<String>,
    pub first: usize,
}

/// What is on the screen.
#[derive(Clone, Debug)]
pub(crate) struct ScreenState {
    pub(super) tab: ListKind,
    /// The service whose sockets are listed.
    pub(super) service: Option<Service>,
    pub(super) story: Option<Story>,
    pub(super) help: bool,
    pub(super) sort: SortKey,
    pub(super) reversed: bool,
    pub(super) filter: String,
    /// The filter that is being typed.
    pub(super) prompt: Option<String>,
    pub(super) paused: bool,
    pub(super) is_replay: bool,
    cursor: Cursor,
    /// The row that the cursor follows wherever it goes, once it was chosen.
    chosen: Option<String>,
    /// Whether the cursor was moved since the list was last on the screen.
    has_moved: bool,
    /// The place in the list to which one comes back.
    before: Cursor,
    /// The rows of a list that are on the screen.
    page: usize,
    symbols: Symbols,
}

pub(super) const TABS: [(ListKind, &str); 5] = [
    (ListKind::Services, "Services"),
    (ListKind::Stuck, "Stuck"),
    (ListKind::Resets, "Resets"),
    (ListKind::Routes, "Routes"),
    (ListKind::Closing, "Closing"),
];

impl ScreenState {
    /// Begins with a list.
    pub fn new(symbols: Symbols, is_replay: bool) -> Self {
        Self {
            tab: ListKind::Services,
            service: None,
            story: None,
            help: false,
            sort: SortKey::default(),
            reversed: false,
            filter: String::new(),
            prompt: None,
            paused: false,
            is_replay,
            cursor: Cursor::default(),
            chosen: None,
            has_moved: false,
            before: Cursor::default(),
            page: MIN_PAGE,
            symbols,
        }
    }

    /// Begins with another list.
    pub const fn beginning_with(mut self, list: ListKind) -> Self {
        self.tab = list;
        self
    }

    /// Returns whether the screen stands still. In a recording, time does instead.
    pub const fn stands_still(&self) -> bool {
        self.paused && !self.is_replay
    }

    /// Returns the list on the screen, or behind the text that is read.
    pub(super) const fn kind(&self) -> ListKind {
        match self.service {
            Some(_) => ListKind::Sockets,
            None => self.tab,
        }
    }

    pub(super) fn list<'a>(&self, view: &'a View) -> List<'a> {
        let filter = self.prompt.as_ref().unwrap_or(&self.filter);
        let sort = (self.sort, self.reversed);
        List::new(self.kind(), view, sort, filter, self.symbols)
    }

    /// Fits the place in the list to its rows, of which so many are on the screen. The cursor
    /// follows the row on which it is.
    pub(super) fn fit(&mut self, list: &List<'_>, page: usize) -> Cursor {
        self.page = page.max(MIN_PAGE);
        let rows = list.rows.len();
        let cursor = &mut self.cursor;
        if let (false, Some(chosen)) = (self.has_moved, &self.chosen) {
            let mut places = list.rows.iter().map(|row| list.identity(*row));
            if let Some(place) = places.position(|other| other == *chosen) {
                cursor.row = place;
            }
        }
        cursor.row = cursor.row.min(rows.saturating_sub(1));
        let last_first = rows.saturating_sub(self.page);
        let above = (cursor.row + 1).saturating_sub(self.page);
        cursor.first = cursor.first.clamp(above, cursor.row).min(last_first);
        if std::mem::take(&mut self.has_moved) {
            let row = list.rows.get(cursor.row).filter(|_| cursor.row > 0);
            self.chosen = row.map(|row| list.identity(*row));
        }
        *cursor
    }

    /// Fits the place in the text to its lines, and returns the first line on the screen.
    pub(super) fn fit_story(&mut self, lines: usize, page: usize) -> usize {
        self.page = page.max(MIN_PAGE);
        let last_first = lines.saturating_sub(page);
        let Some(story) = &mut self.story else {
            return 0;
        };
        story.first = story.first.min(last_first);
        story.first
    }

    /// Takes a key.
    pub fn press(&mut self, key: Key, view: Option<&View>) -> Effect {
        match key {
            Key::Control('c') => return Effect::Quit,
            Key::Control('z') => return Effect::Suspend,
            Key::Control('l') => return Effect::DrawAll,
            _ => {}
        }
        if self.prompt.is_some() {
            self.type_filter(key);
            return Effect::Draw;
        }
        if self.help {
            self.help = false;
            return match key {
                Key::Char('q') => Effect::Quit,
                _ => Effect::Draw,
            };
        }
        match key {
            Key::Char('q') => Effect::Quit,
            Key::Char('?' | 'h') => {
                self.help = true;
                Effect::Draw
            }
            Key::Char('p' | ' ') => {
                self.paused = !self.paused;
                Effect::Pause(self.paused)
            }
            Key::Char('z') => Effect::Restart,
            Key::Left if self.is_replay => Effect::Seek(-10),
            Key::Right if self.is_replay => Effect::Seek(10),
            Key::Char('<') if self.is_replay => Effect::Seek(-60),
            Key::Char('>') if self.is_replay => Effect::Seek(60),
            Key::Char('+') if self.is_replay => Effect::Speed(1),
            Key::Char('-') if self.is_replay => Effect::Speed(-1),
            Key::Char(digit @ '1'..='5') => {
                let (kind, _) = TABS[digit as usize - '1' as usize];
                self.show(kind)
            }
            Key::Tab => self.show_next(1),
            Key::BackTab => self.show_next(TABS.len() - 1),
            _ if self.story.is_some() => self.read(key),
            Key::Enter => self.enter(view),
            Key::Escape | Key::Backspace => self.go_back(),
            Key::Char('/') => {
                self.prompt = Some(self.filter.clone());
                Effect::Draw
            }
            Key::Char('s') => {
                self.sort = self.sort.next();
                self.go_to(Cursor::default());
                Effect::Draw
            }
            Key::Char('r') => {
                self.reversed = !self.reversed;
                Effect::Draw
            }
            key => {
                let row = moved(self.cursor.row, key, self.page);
                self.go_to(Cursor { row, ..self.cursor });
                Effect::Draw
            }
        }
    }

    const fn go_to(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        self.has_moved = true;
    }

    fn type_filter(&mut self, key: Key) {
        let Some(mut typed) = self.prompt.take() else {
            return;
        };
        match key {
            Key::Enter => {
                self.filter = typed;
                self.go_to(Cursor::default());
                return;
            }
            Key::Escape => return,
            Key::Backspace => drop(typed.pop()),
            Key::Control('u') => typed.clear(),
            Key::Char(character) if typed.len() < MAX_FILTER_LEN && !character.is_control() => {
                typed.push(character);
            }
            _ => {}
        }
        self.prompt = Some(typed);
    }

    fn show(&mut self, kind: ListKind) -> Effect {
        self.tab = kind;
        self.story = None;
        self.go_to(Cursor::default());
        match self.service.take() {
            Some(_) => Effect::Open(None),
            None => Effect::Draw,
        }
    }

    fn show_next(&mut self, steps: usize) -> Effect {
        let at = TABS.iter().position(|(kind, _)| *kind == self.tab);
        let (kind, _) = TABS[(at.unwrap_or(0) + steps) % TABS.len()];
        self.show(kind)
    }

    fn enter(&mut self, view: Option<&View>) -> Effect {
        let Some(view) = view else {
            return Effect::Draw;
        };
        let list = self.list(view);
        let Some(row) = list.rows.get(self.cursor.row).copied() else {
            return Effect::Draw;
        };
        if list.kind == ListKind::Services {
            let (service, _) = &view.services[row];
            self.service = Some(service.clone());
            self.before = self.cursor;
            self.filter.clear();
            self.go_to(Cursor::default());
            return Effect::Open(self.service.clone());
        }
        let lines = story(list.kind, row, view, self.symbols);
        self.story = (!lines.is_empty()).then_some(Story { lines, first: 0 });
        Effect::Draw
    }

    fn read(&mut self, key: Key) -> Effect {
        if let Key::Escape | Key::Backspace | Key::Enter = key {
            self.story = None;
        } else if let Some(story) = &mut self.story {
            story.first = moved(story.first, key, self.page);
        }
        Effect::Draw
    }

    fn go_back(&mut self) -> Effect {
        if self.service.take().is_some() {
            self.go_to(self.before);
            return Effect::Open(None);
        }
        self.filter.clear();
        Effect::Draw
    }
}

/// Returns the place to which a key moves.
fn moved(from: usize, key: Key, page: usize) -> usize {
    match key {
        Key::Up | Key::Char('k') => from.saturating_sub(1),
        Key::Down | Key::Char('j') => from.saturating_add(1),
        Key::PageUp => from.saturating_sub(page),
        Key::PageDown => from.saturating_add(page),
        Key::Home | Key::Char('g') => 0,
        Key::End | Key::Char('G') => usize::MAX - page,
        _ => from,
    }
}

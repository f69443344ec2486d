//! The same as text, for where no terminal is: a block for each interval.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::columns::place;
use super::draw::headline;
use super::list::{List, ListKind, SortKey};
use super::view::View;
use crate::output::layout::cut_to;
use crate::output::paragraph::push_paragraph;
use crate::output::symbols::Symbols;

/// The most services that are listed.
const MAX_SERVICES: usize = 10;
/// The most lines about what is wrong.
const MAX_VERDICTS: usize = 3;
/// The columns of text.
const TEXT_WIDTH: usize = 78;

/// Returns a view as text, with an empty line behind it.
pub(crate) fn block_text(view: &View, width: u16, symbols: Symbols) -> String {
    let mut text = headline(false, view, width.into());
    text.push('\n');
    let (sentences, is_wrong) = view.sentences(MAX_VERDICTS);
    for sentence in sentences {
        let mark = if is_wrong { "! " } else { "" };
        push_paragraph(&mut text, mark, "  ", &sentence, TEXT_WIDTH);
    }
    let list = List::new(
        ListKind::Services,
        view,
        (SortKey::Trouble, false),
        "",
        symbols,
    );
    let columns = ListKind::Services.columns();
    let placed = place(columns, width);
    let mut push_row = |cells: &[String]| {
        let mut line = String::new();
        for place in &placed {
            let cell = cut_to(&cells[place.column], place.width.into(), symbols.cut());
            let mut start = usize::from(place.start);
            if columns[place.column].right {
                start += usize::from(place.width).saturating_sub(cell.width());
            }
            line.push_str(&" ".repeat(start.saturating_sub(line.width())));
            line.push_str(&cell);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    let titles: Vec<String> = columns.iter().map(|it| it.title.to_owned()).collect();
    if !list.rows.is_empty() {
        push_row(&titles);
    }
    for row in list.rows.iter().take(MAX_SERVICES) {
        let cells = list.cells(*row).into_iter();
        let cells: Vec<String> = cells
            .map(|cell| symbols.show(&cell.text).into_owned())
            .collect();
        push_row(&cells);
    }
    let left = list.rows.len().saturating_sub(MAX_SERVICES);
    if left > 0 {
        let _ = writeln!(text, "and {left} more");
    }
    text.push('\n');
    symbols.show(&text).into_owned()
}

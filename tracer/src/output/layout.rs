//! One line of a table with columns that absorb overflow: a value too long for its column pushes
//! the following ones on, and the next columns with slack catch up.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The style of a cell where colours are enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Style {
    #[default]
    Plain,
    Red,
    Green,
    Yellow,
    Dim,
}

/// A value of the line. The next line reuses its buffer.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
}

impl Cell {
    pub(super) const fn new(text: String) -> Self {
        Self {
            text,
            style: Style::Plain,
        }
    }

    /// Pads the text on the left, so that it ends with a column of this width.
    pub(super) fn align_right(&mut self, width: usize) {
        let missing = width.saturating_sub(self.width());
        self.text.insert_str(0, &" ".repeat(missing));
    }

    /// Empties the cell for a new value.
    pub(super) fn clear(&mut self) -> &mut String {
        self.text.clear();
        self.style = Style::Plain;
        &mut self.text
    }

    pub(super) fn set(&mut self, text: &str) {
        self.clear().push_str(text);
    }

    /// Sets the cell to a dim `-`.
    pub(super) fn set_unknown(&mut self) {
        self.set("-");
        self.style = Style::Dim;
    }

    /// Returns the number of terminal columns that the text takes.
    pub(super) fn width(&self) -> usize {
        self.text.width()
    }
}

/// Returns the first characters of a text, with `mark` behind them, in at most `width` columns; the
/// text itself if it is not wider.
pub(super) fn cut_to(text: &str, width: usize, mark: char) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let room = width.saturating_sub(mark.width().unwrap_or(0));
    let mut used = 0;
    let end = text.char_indices().find(|(_, character)| {
        used += character.width().unwrap_or(0);
        used > room
    });
    let kept = end.map_or(text, |(at, _)| text.get(..at).unwrap_or_default());
    format!("{kept}{mark}").into()
}

/// Returns the starts of columns of these widths, with one space between them.
pub(super) const fn column_starts<const N: usize>(widths: [usize; N]) -> [usize; N] {
    let mut column_starts = [0; N];
    let mut column = 1;
    while column < N {
        column_starts[column] = column_starts[column - 1] + widths[column - 1] + 1;
        column += 1;
    }
    column_starts
}

/// The spaces before each cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spacing<const N: usize>([usize; N]);

impl<const N: usize> Spacing<N> {
    /// Positions each cell at its column's start, or one space after the cell before it. Empty
    /// cells take no room.
    pub(super) fn new(cells: &[Cell; N], column_starts: &[usize; N]) -> Self {
        let mut spacing = [0; N];
        let mut end = 0;
        for (column, cell) in cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.text.is_empty())
        {
            let start = if column == 0 {
                0
            } else {
                column_starts[column].max(end + 1)
            };
            spacing[column] = start - end;
            end = start + cell.width();
        }
        Self(spacing)
    }

    /// Appends the line.
    pub(super) fn write(&self, cells: &[Cell; N], colours: bool, out: &mut Vec<u8>) {
        for (cell, gap) in cells.iter().zip(self.0) {
            out.resize(out.len() + gap, b' ');
            cell.style.write(&cell.text, colours, out);
        }
        out.push(b'\n');
    }
}

impl Style {
    /// Appends a text in this style.
    pub(super) fn write(self, text: &str, colours: bool, out: &mut Vec<u8>) {
        let code: &[u8] = match self {
            _ if !colours => b"",
            Self::Plain => b"",
            Self::Red => b"\x1b[31m",
            Self::Green => b"\x1b[32m",
            Self::Yellow => b"\x1b[33m",
            Self::Dim => b"\x1b[2m",
        };
        out.extend_from_slice(code);
        out.extend_from_slice(text.as_bytes());
        if !code.is_empty() {
            out.extend_from_slice(b"\x1b[0m");
        }
    }
}

/// Appends a row whose cells stand at their columns' starts, always: where a cell has no room
/// behind the one before it, it stands in a line of its own. Empty cells take no room.
pub(super) fn write_row<const N: usize>(
    cells: &[Cell; N],
    column_starts: &[usize; N],
    colours: bool,
    out: &mut Vec<u8>,
) {
    let mut end = None;
    for (cell, start) in cells.iter().zip(column_starts) {
        if cell.text.is_empty() {
            continue;
        }
        let gap = match end {
            None => *start,
            Some(end) if end < *start => start - end,
            Some(_) => {
                out.push(b'\n');
                *start
            }
        };
        out.resize(out.len() + gap, b' ');
        cell.style.write(&cell.text, colours, out);
        end = Some(start + cell.width());
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTS: [usize; 4] = column_starts([4, 4, 4, 1]);

    fn cells(texts: [&str; 4]) -> [Cell; 4] {
        texts.map(|text| Cell {
            text: text.to_owned(),
            style: Style::Plain,
        })
    }

    fn line(texts: [&str; 4]) -> String {
        let cells = cells(texts);
        let mut out = Vec::new();
        Spacing::new(&cells, &STARTS).write(&cells, false, &mut out);
        String::from_utf8(out).expect("only text went in")
    }

    #[test]
    fn columns_catch_up_after_a_long_value() {
        assert_eq!(line(["ab", "cd", "ef", "g"]), "ab   cd   ef   g\n");
        assert_eq!(line(["abcdef", "cd", "ef", "g"]), "abcdef cd ef   g\n");
        assert_eq!(
            line(["abcdefghijkl", "cd", "ef", "g"]),
            "abcdefghijkl cd ef g\n"
        );
        assert_eq!(line(["ab", "cd", "ef", ""]), "ab   cd   ef\n");
    }

    #[test]
    fn width_is_counted_in_columns() {
        assert_eq!(line(["数据", "cd", "", ""]), "数据 cd\n");
        assert_eq!(line(["é", "cd", "", ""]), "é    cd\n");
    }

    #[test]
    fn columns_of_a_row_never_move() {
        let row = |texts| {
            let mut out = Vec::new();
            write_row(&cells(texts), &STARTS, false, &mut out);
            String::from_utf8(out).expect("only text went in")
        };
        assert_eq!(row(["ab", "cd", "ef", "g"]), "ab   cd   ef   g\n");
        assert_eq!(
            row(["ab", "cdefg", "hi", "j"]),
            "ab   cdefg\n          hi   j\n"
        );
        assert_eq!(row(["", "cd", "", "g"]), "     cd        g\n");
    }

    #[test]
    fn a_cut_text_is_never_wider_than_requested() {
        assert_eq!(cut_to("abcdef", 4, '…'), "abc…");
        assert_eq!(cut_to("abcdef", 6, '…'), "abcdef");
        assert_eq!(cut_to("数据库", 5, '…'), "数据…");
        assert_eq!(cut_to("数据库", 4, '+'), "数+");
        assert_eq!(cut_to("abc", 0, '…'), "…");
    }

    #[test]
    fn colours_are_written_only_on_request() {
        let mut cells = cells(["ab", "", "", ""]);
        cells[0].style = Style::Red;
        let spacing = Spacing::new(&cells, &STARTS);
        let (mut plain, mut coloured) = (Vec::new(), Vec::new());
        spacing.write(&cells, false, &mut plain);
        spacing.write(&cells, true, &mut coloured);
        assert_eq!(plain, b"ab\n");
        assert_eq!(coloured, b"\x1b[31mab\x1b[0m\n");
    }
}

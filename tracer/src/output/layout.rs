//! One line of a table with columns that absorb overflow: a value too long for its column pushes
//! the following ones on, and the next columns with slack catch up.

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

    /// Cuts up to `excess` columns off the end, down to `least` columns. Returns the number of
    /// columns cut.
    pub(super) fn cut_end(&mut self, least: usize, excess: usize) -> usize {
        let before = self.width();
        let target = before.saturating_sub(excess).max(least);
        if excess == 0 || target >= before {
            return 0;
        }
        let mut width = 0;
        let end = self.text.char_indices().find(|(_, character)| {
            width += character.width().unwrap_or(0);
            width >= target
        });
        self.text.truncate(end.map_or(0, |(at, _)| at));
        self.text.push('…');
        before - self.width()
    }
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

    /// Returns the number of terminal columns that the line takes.
    pub(super) fn line_width(&self, cells: &[Cell; N]) -> usize {
        self.0.iter().sum::<usize>() + cells.iter().map(Cell::width).sum::<usize>()
    }

    /// Returns the number of spaces that could be removed.
    pub(super) fn slack(&self) -> usize {
        self.0.iter().map(|gap| gap.saturating_sub(1)).sum()
    }

    /// Removes up to `excess` spaces, at the end of the line first. Returns the number of spaces
    /// removed.
    pub(super) fn close_up(&mut self, excess: usize) -> usize {
        let mut left = excess;
        for gap in self.0.iter_mut().rev() {
            let taken = gap.saturating_sub(1).min(left);
            *gap -= taken;
            left -= taken;
        }
        excess - left
    }

    /// Appends the line.
    pub(super) fn write(&self, cells: &[Cell; N], colours: bool, out: &mut Vec<u8>) {
        for (cell, gap) in cells.iter().zip(self.0) {
            out.resize(out.len() + gap, b' ');
            let code: &[u8] = match cell.style {
                _ if !colours => b"",
                Style::Plain => b"",
                Style::Red => b"\x1b[31m",
                Style::Green => b"\x1b[32m",
                Style::Yellow => b"\x1b[33m",
                Style::Dim => b"\x1b[2m",
            };
            out.extend_from_slice(code);
            out.extend_from_slice(cell.text.as_bytes());
            if !code.is_empty() {
                out.extend_from_slice(b"\x1b[0m");
            }
        }
        out.push(b'\n');
    }
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
    fn spaces_are_removed_from_the_right_first() {
        let cells = cells(["ab", "cd", "ef", "g"]);
        let mut spacing = Spacing::new(&cells, &STARTS);
        assert_eq!((spacing.slack(), spacing.line_width(&cells)), (6, 16));
        assert_eq!(spacing.close_up(3), 3);
        assert_eq!(spacing, Spacing([0, 3, 2, 1]));
        assert_eq!(spacing.close_up(9), 3);
        assert_eq!(spacing.line_width(&cells), 10);
    }

    #[test]
    fn a_cut_cell_is_never_wider_than_requested() {
        let cut = |text: &str, least, excess| {
            let mut cell = Cell::default();
            cell.set(text);
            let gone = cell.cut_end(least, excess);
            (cell.text, gone)
        };
        assert_eq!(cut("abcdef", 1, 2), ("abc…".to_owned(), 2));
        assert_eq!(cut("abcdef", 5, 9), ("abcd…".to_owned(), 1));
        assert_eq!(cut("abcdef", 6, 9), ("abcdef".to_owned(), 0));
        assert_eq!(cut("abcdef", 1, 0), ("abcdef".to_owned(), 0));
        assert_eq!(cut("数据库", 1, 2), ("数…".to_owned(), 3));
        assert_eq!(cut("abc", 0, 9), ("…".to_owned(), 2));
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

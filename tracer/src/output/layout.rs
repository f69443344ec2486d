//! One line of a table with columns that absorb overflow: a value too long for its column pushes
//! the following ones on, and the next columns with slack catch up.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The style of a cell where colours are enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Paint {
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
    pub(super) paint: Paint,
}

impl Cell {
    /// Empties the cell for a new value.
    pub(super) fn start(&mut self) -> &mut String {
        self.text.clear();
        self.paint = Paint::Plain;
        &mut self.text
    }

    pub(super) fn set(&mut self, text: &str) {
        self.start().push_str(text);
    }

    /// Sets the cell to a dim `-`.
    pub(super) fn set_unknown(&mut self) {
        self.set("-");
        self.paint = Paint::Dim;
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
pub(super) const fn starts<const N: usize>(widths: [usize; N]) -> [usize; N] {
    let mut starts = [0; N];
    let mut column = 1;
    while column < N {
        starts[column] = starts[column - 1] + widths[column - 1] + 1;
        column += 1;
    }
    starts
}

/// The spaces before each cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gaps<const N: usize>([usize; N]);

impl<const N: usize> Gaps<N> {
    /// Positions each cell at its column's start, or one space after the cell before it. Empty
    /// cells take no room.
    pub(super) fn new(cells: &[Cell; N], starts: &[usize; N]) -> Self {
        let mut gaps = [0; N];
        let mut end = 0;
        for (column, cell) in cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.text.is_empty())
        {
            let start = if column == 0 {
                0
            } else {
                starts[column].max(end + 1)
            };
            gaps[column] = start - end;
            end = start + cell.width();
        }
        Self(gaps)
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
            let code: &[u8] = match cell.paint {
                _ if !colours => b"",
                Paint::Plain => b"",
                Paint::Red => b"\x1b[31m",
                Paint::Green => b"\x1b[32m",
                Paint::Yellow => b"\x1b[33m",
                Paint::Dim => b"\x1b[2m",
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

    const STARTS: [usize; 4] = starts([4, 4, 4, 1]);

    fn cells(texts: [&str; 4]) -> [Cell; 4] {
        texts.map(|text| Cell {
            text: text.to_owned(),
            paint: Paint::Plain,
        })
    }

    fn line(texts: [&str; 4]) -> String {
        let cells = cells(texts);
        let mut out = Vec::new();
        Gaps::new(&cells, &STARTS).write(&cells, false, &mut out);
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
    fn room_is_made_at_the_end_first() {
        let cells = cells(["ab", "cd", "ef", "g"]);
        let mut gaps = Gaps::new(&cells, &STARTS);
        assert_eq!((gaps.slack(), gaps.line_width(&cells)), (6, 16));
        assert_eq!(gaps.close_up(3), 3);
        assert_eq!(gaps, Gaps([0, 3, 2, 1]));
        assert_eq!(gaps.close_up(9), 3);
        assert_eq!(gaps.line_width(&cells), 10);
    }

    #[test]
    fn cutting_never_leaves_more_than_asked_for() {
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
    fn colours_are_there_only_when_asked_for() {
        let mut cells = cells(["ab", "", "", ""]);
        cells[0].paint = Paint::Red;
        let gaps = Gaps::new(&cells, &STARTS);
        let (mut plain, mut coloured) = (Vec::new(), Vec::new());
        gaps.write(&cells, false, &mut plain);
        gaps.write(&cells, true, &mut coloured);
        assert_eq!(plain, b"ab\n");
        assert_eq!(coloured, b"\x1b[31mab\x1b[0m\n");
    }
}

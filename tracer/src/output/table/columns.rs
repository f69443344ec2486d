//! Where the columns of the table are, on terminals of every width and in a pipe.

use crate::output::close_text::CloseSummary;

pub(super) const COLUMNS: usize = 10;
pub(super) const COLUMN_TITLES: [&str; COLUMNS] = [
    "TIME", "PROCESS", "LOCAL", "PEER", "LIFE", "HOW", "PATH", "SEG", "BYTES", "STATES",
];

pub(super) const TIME: usize = 0;
pub(super) const PROCESS: usize = 1;
pub(super) const LOCAL: usize = 2;
pub(super) const PEER: usize = 3;
pub(super) const LIFE: usize = 4;
pub(super) const HOW: usize = 5;
pub(super) const PATH: usize = 6;
pub(super) const SEG: usize = 7;
pub(super) const BYTES: usize = 8;
pub(super) const STATES: usize = 9;

/// The least width of a terminal on which a close is one line.
const NARROW_WIDTH: usize = 80;
/// The least width of a terminal with all columns.
const WIDE_WIDTH: usize = 160;

const TIME_WIDTH: usize = 8;
pub(super) const LIFE_WIDTH: usize = 6;
const PATH_WIDTH: usize = "connect_failed".len();
const SEG_WIDTH: usize = 3;
const BYTES_WIDTH: usize = "1.5k/640M".len();
/// The space between LIFE, which is aligned to the right, and HOW.
const LIFE_GAP: usize = 2;

const PROCESS_WIDTH: Range = Range {
    least: 16,
    // A name of 15 bytes (`TASK_COMM_LEN`), and a pid of 7 digits (`PID_MAX_LIMIT`).
    most: 23,
};
const HOW_WIDTH: Range = Range {
    least: CloseSummary::WIDTH,
    most: CloseSummary::MAX_WIDTH,
};
const LOCAL_WIDTH: Range = Range {
    least: "255.255.255.255:65535".len(),
    most: MAX_ADDRESS_WIDTH,
};
/// With an arrow of three columns before the address.
const PEER_WIDTH: Range = Range {
    least: LOCAL_WIDTH.least + 3,
    most: MAX_ADDRESS_WIDTH + 3,
};
const MAX_ADDRESS_WIDTH: usize = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".len();

/// The widths that a column may have.
#[derive(Clone, Copy, Debug)]
struct Range {
    least: usize,
    most: usize,
}

impl Range {
    /// Returns a width that takes up to `offered` columns of what is left.
    fn take(self, offered: usize, left: &mut usize) -> usize {
        let more = offered.min(*left).min(self.most - self.least);
        *left -= more;
        self.least + more
    }
}

/// The kinds of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Below 80 columns: a close takes two lines.
    Stacked,
    /// From 80 columns on: a close takes one line.
    Narrow,
    /// From 160 columns on: all columns.
    Wide,
}

/// Where the columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub shape: Shape,
    /// The number of columns of the terminal; `None` where nothing is cut and no line is broken.
    pub width: Option<usize>,
    pub starts: [usize; COLUMNS],
    /// The columns of PROCESS.
    pub process: usize,
    /// The columns of HOW.
    pub how: usize,
    /// The columns of STATES.
    pub states: usize,
}

impl Layout {
    /// Returns the layout for a terminal of this width, or for a pipe. A pipe has the columns of
    /// the narrow layout; with `all_columns`, those of the wide one.
    pub fn new(width: Option<u16>, all_columns: bool) -> Self {
        let width = width.map(usize::from);
        match width {
            Some(columns) if columns < NARROW_WIDTH => Self::stacked(columns),
            Some(columns) if columns >= WIDE_WIDTH => Self::wide(columns, width),
            Some(columns) => Self::narrow(columns, width),
            None if all_columns => Self::wide(WIDE_WIDTH, None),
            None => Self::narrow(NARROW_WIDTH, None),
        }
    }

    /// Returns the layout with the same columns in which nothing is cut and no line is broken.
    pub fn with_whole_lines(self) -> Self {
        match self.shape {
            Shape::Stacked => Self::narrow(NARROW_WIDTH, None),
            Shape::Narrow | Shape::Wide => Self {
                width: None,
                ..self
            },
        }
    }

    fn stacked(columns: usize) -> Self {
        let mut starts = [0; COLUMNS];
        starts[PEER] = TIME_WIDTH + 1;
        starts[LIFE] = starts[PEER] + PEER_WIDTH.least + 1;
        Self {
            shape: Shape::Stacked,
            width: Some(columns),
            starts,
            process: columns,
            how: columns,
            states: columns,
        }
    }

    fn narrow(columns: usize, width: Option<usize>) -> Self {
        let mut left = columns - NARROW_WIDTH;
        let process = PROCESS_WIDTH.take(left, &mut left);
        let how = HOW_WIDTH.take(left, &mut left);
        let peer = PEER_WIDTH.take(left, &mut left);
        let mut starts = [0; COLUMNS];
        starts[PROCESS] = TIME_WIDTH + 1;
        starts[PEER] = starts[PROCESS] + process + 1;
        starts[LIFE] = starts[PEER] + peer + 1;
        starts[HOW] = starts[LIFE] + LIFE_WIDTH + LIFE_GAP;
        Self {
            shape: Shape::Narrow,
            width,
            starts,
            process,
            how: how + left,
            states: 0,
        }
    }

    fn wide(columns: usize, width: Option<usize>) -> Self {
        let mut left = columns - WIDE_WIDTH;
        let process = PROCESS_WIDTH.take(left, &mut left);
        let how = HOW_WIDTH.take(left, &mut left);
        let local = LOCAL_WIDTH.take(left / 2, &mut left);
        let peer = PEER_WIDTH.take(left, &mut left);
        let mut starts = [0; COLUMNS];
        starts[PROCESS] = TIME_WIDTH + 1;
        starts[LOCAL] = starts[PROCESS] + process + 1;
        starts[PEER] = starts[LOCAL] + local + 1;
        starts[LIFE] = starts[PEER] + peer + 1;
        starts[HOW] = starts[LIFE] + LIFE_WIDTH + LIFE_GAP;
        starts[PATH] = starts[HOW] + how + 1;
        starts[SEG] = starts[PATH] + PATH_WIDTH + 1;
        starts[BYTES] = starts[SEG] + SEG_WIDTH + 1;
        starts[STATES] = starts[BYTES] + BYTES_WIDTH + 1;
        Self {
            shape: Shape::Wide,
            width,
            starts,
            process,
            how,
            states: columns - starts[STATES],
        }
    }

    /// Returns the column in which lines that belong to the one above are indented.
    pub fn indent(&self) -> usize {
        TIME_WIDTH + 1
    }

    /// Returns the column in which a sentence begins that stands for the columns after PROCESS.
    pub fn sentence(&self) -> usize {
        match self.shape {
            Shape::Stacked => self.indent(),
            Shape::Narrow => self.starts[PEER],
            Shape::Wide => self.starts[LOCAL],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_fill_the_widths_that_they_are_made_for() {
        let narrow = Layout::new(Some(80), false);
        assert_eq!(narrow.starts[HOW] + narrow.how, 80);
        let wide = Layout::new(Some(160), false);
        assert_eq!(wide.starts[STATES] + wide.states, 160);
        assert!(wide.states >= "ES 8.36 F1 1.44 F2 119ms".len());
        for width in 80..400 {
            let layout = Layout::new(Some(width), false);
            let end = match layout.shape {
                Shape::Wide => layout.starts[STATES] + layout.states,
                _ => layout.starts[HOW] + layout.how,
            };
            assert_eq!(end, usize::from(width));
        }
    }

    #[test]
    fn a_wider_terminal_has_room_for_every_address() {
        let room = |width| {
            let layout = Layout::new(Some(width), false);
            let peer = layout.starts[LIFE] - layout.starts[PEER] - 1;
            let local = layout.starts[PEER].saturating_sub(layout.starts[LOCAL] + 1);
            (local, peer)
        };
        assert_eq!(room(80).1, PEER_WIDTH.least);
        assert_eq!(room(130).1, PEER_WIDTH.most);
        assert_eq!(room(230), (LOCAL_WIDTH.most, PEER_WIDTH.most));
    }
}

//! Columns that fit the width: the less important ones give way, and what is left goes to those
//! that can use it. Nothing depends on what the cells contain, so columns never move.

/// A column of a list: its heading, width and alignment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub title: &'static str,
    /// The width that it needs.
    pub least: u16,
    /// The width that it can use.
    pub most: u16,
    /// Whether its cells end at its right edge.
    pub right: bool,
    /// The columns with the highest numbers give way first; 0 never does.
    pub rank: u8,
}

impl Column {
    /// A column of text.
    pub const fn text(title: &'static str, least: u16, most: u16, rank: u8) -> Self {
        Self {
            title,
            least,
            most,
            right: false,
            rank,
        }
    }

    /// A column of numbers.
    pub const fn number(title: &'static str, width: u16, rank: u8) -> Self {
        Self {
            title,
            least: width,
            most: width,
            right: true,
            rank,
        }
    }
}

/// A column's place on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Which of the columns it is.
    pub column: usize,
    pub start: u16,
    pub width: u16,
}

/// Places the columns on a screen of this width, with a space between two.
pub(super) fn place(columns: &[Column], width: u16) -> Vec<Placed> {
    let mut ranks: Vec<u8> = columns.iter().map(|column| column.rank).collect();
    ranks.sort_unstable();
    let fits = |rank: u8| {
        let shown = columns.iter().filter(|column| column.rank <= rank);
        let needed: u16 = shown.map(|column| column.least + 1).sum();
        needed <= width + 1
    };
    let rank = ranks.into_iter().filter(|rank| fits(*rank)).max();
    let shown = (0..).zip(columns);
    let shown = shown.filter(|(_, column)| column.rank <= rank.unwrap_or(0));
    let mut widths: Vec<(usize, u16, u16)> = shown
        .map(|(number, column)| (number, column.least, column.most))
        .collect();
    let taken: u16 = widths.iter().map(|(_, least, _)| least + 1).sum();
    let mut left = (width + 1).saturating_sub(taken);
    // What is left is shared evenly.
    while left > 0 {
        let mut grown = false;
        for (_, column, most) in &mut widths {
            if left > 0 && *column < *most {
                *column += 1;
                left -= 1;
                grown = true;
            }
        }
        if !grown {
            break;
        }
    }
    let mut start = 0;
    let placed = widths.into_iter().map(|(column, taken, _)| {
        let place = Placed {
            column,
            start,
            width: taken.min(width.saturating_sub(start)),
        };
        start += taken + 1;
        place
    });
    placed.filter(|placed| placed.width > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::{Column, place};

    const COLUMNS: [Column; 3] = [
        Column::text("NAME", 6, 10, 0),
        Column::number("COUNT", 5, 1),
        Column::text("WHY", 4, 20, 2),
    ];

    fn widths(width: u16) -> Vec<(usize, u16, u16)> {
        let placed = place(&COLUMNS, width).into_iter();
        placed
            .map(|placed| (placed.column, placed.start, placed.width))
            .collect()
    }

    #[test]
    fn what_does_not_fit_gives_way_and_what_is_left_is_shared() {
        assert_eq!(widths(4), [(0, 0, 4)]);
        assert_eq!(widths(6), [(0, 0, 6)]);
        assert_eq!(widths(14), [(0, 0, 8), (1, 9, 5)]);
        assert_eq!(widths(17), [(0, 0, 6), (1, 7, 5), (2, 13, 4)]);
        assert_eq!(widths(20), [(0, 0, 8), (1, 9, 5), (2, 15, 5)]);
        assert_eq!(widths(200), [(0, 0, 10), (1, 11, 5), (2, 17, 20)]);
    }
}

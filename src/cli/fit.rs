//! Which columns of a table fit on a terminal, and how wide each may be.
//!
//! Decision file: widths in, widths out. What says least goes first; what is left too wide is cut, and says so.

/// What stands at the place where a text was cut.
const CUT: char = '…';

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// How wide its widest cell is.
    pub width: usize,
    /// The order in which columns are left out, the smallest first; `None` for one that always stays.
    pub leaves: Option<u8>,
    /// The width that it keeps when it is cut.
    pub least: usize,
}

/// The width of each column on a terminal of so many columns; 0 for one that is left out.
pub fn fit(columns: &[Column], terminal: usize, gap: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.width).collect();
    let total = |widths: &[usize]| {
        let shown = widths.iter().enumerate().filter(|(at, width)| **width > 0 || columns[*at].width == 0);
        let (count, sum) = shown.fold((0, 0), |(count, sum), (_, width)| (count + 1, sum + width));
        sum + gap * usize::saturating_sub(count, 1)
    };
    let mut order: Vec<(u8, usize)> =
        columns.iter().enumerate().filter_map(|(at, column)| Some((column.leaves?, at))).collect();
    order.sort_unstable();
    for (_, at) in order {
        if total(&widths) <= terminal {
            return widths;
        }
        // One that need only be a little shorter stays.
        let excess = total(&widths) - terminal;
        match widths[at].checked_sub(excess) {
            Some(shorter) if shorter >= columns[at].least => widths[at] = shorter,
            _ => widths[at] = 0,
        }
    }
    for (at, column) in columns.iter().enumerate().rev().filter(|(_, column)| column.leaves.is_none()) {
        let excess = total(&widths).saturating_sub(terminal);
        widths[at] = widths[at].saturating_sub(excess).max(column.least.min(widths[at]));
    }
    widths
}

/// A text in at most so many characters.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some(CUT)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn column(width: usize, leaves: Option<u8>, least: usize) -> Column {
        Column { width, leaves, least }
    }

    #[test]
    fn what_says_least_goes_first_and_the_rest_is_cut() {
        let columns = [column(10, None, 4), column(10, Some(2), 6), column(30, Some(1), 20)];
        let table = [
            (100, [10, 10, 30]),
            (54, [10, 10, 30]),
            (50, [10, 10, 26]),
            (44, [10, 10, 20]),
            (43, [10, 10, 0]),
            (20, [10, 8, 0]),
            (17, [10, 0, 0]),
            (7, [7, 0, 0]),
            (2, [4, 0, 0]),
        ];
        for (terminal, expected) in table {
            assert_eq!(fit(&columns, terminal, 2), expected, "{terminal}");
        }
    }

    #[test]
    fn a_text_is_cut_at_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("x", 0), "");
    }
}

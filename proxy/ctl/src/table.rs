use crate::output::BOLD;
use anstyle::Style;
use std::io::{self, Write};

/// What every terminal has.
const WIDTH: usize = 80;
const GAP: usize = 2;
/// What a column is not cut below.
const LEAST: usize = 8;

/// Columns for a person. What is too wide for 80 characters is cut, in the `elastic` columns, the widest first.
pub(crate) struct Table<const N: usize> {
    pub(crate) head: [&'static str; N],
    pub(crate) elastic: &'static [usize],
    /// Cells, and how the last one of them looks.
    pub(crate) rows: Vec<([String; N], Style)>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.widths();
        let head = self.head.map(str::to_owned);
        let rows = self.rows.iter().map(|(cells, style)| (cells, Style::new(), *style));
        for (cells, style, last) in std::iter::once((&head, BOLD, BOLD)).chain(rows) {
            for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
                let cell = cut(cell, width);
                if index + 1 == N {
                    writeln!(out, "{last}{cell}{last:#}")?;
                } else {
                    let gap = width + GAP - cell.chars().count();
                    write!(out, "{style}{cell}{style:#}{:gap$}", "")?;
                }
            }
        }
        Ok(())
    }

    fn widths(&self) -> [usize; N] {
        let mut widths = self.head.map(str::len);
        for (cells, _) in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut over = (widths.iter().sum::<usize>() + GAP * (N - 1)).saturating_sub(WIDTH);
        while over > 0 {
            let Some(widest) = self.elastic.iter().copied().max_by_key(|it| widths[*it]) else { break };
            if widths[widest] <= LEAST {
                break;
            }
            widths[widest] -= 1;
            over -= 1;
        }
        widths
    }
}

/// To so many characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(rows: &[[&str; 3]]) -> String {
        let rows = rows.iter().map(|cells| (cells.map(str::to_owned), Style::new())).collect();
        let table = Table { head: ["ONE", "TWO", "THREE"], elastic: &[0, 1], rows };
        let mut out = anstream::StripStream::new(Vec::new());
        table.print(&mut out).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        assert_eq!(printed(&[["a", "längst", "c"]]), "ONE  TWO     THREE\na    längst  c\n");
    }

    #[test]
    fn what_is_too_wide_is_cut_where_it_may_be() {
        let text = printed(&[[&"x".repeat(100), &"y".repeat(30), "whole"], ["a", "b", "c"]]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1].chars().count(), 80, "{text}");
        assert!(lines[1].ends_with("y  whole") && lines[1].contains("x…  y"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }
}

//! What a benchmark says: a table with the goal beside each figure.

use std::fmt::Write;

/// The figures of one subject, as one part of `docs/performance.md`.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// Headings of the columns.
    pub columns: Vec<String>,
    /// One figure each, in the order of the columns.
    pub rows: Vec<Vec<String>>,
    /// How it was measured, and what limits the figures: one sentence or two each.
    pub notes: Vec<String>,
}

impl Section {
    /// An empty section.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a note.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The section as Markdown, columns aligned so that the source reads well too.
    pub fn markdown(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|c| c.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(escape(cell).chars().count());
            }
        }
        let mut out = format!("## {}\n\n", self.title);
        line(&mut out, &widths, self.columns.iter().map(String::as_str));
        let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width.max(3))).collect();
        line(&mut out, &widths, rules.iter().map(String::as_str));
        for row in &self.rows {
            line(&mut out, &widths, row.iter().map(String::as_str));
        }
        if !self.notes.is_empty() {
            out.push('\n');
        }
        for note in &self.notes {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "- {note}");
        }
        out
    }
}

/// The word in the last column: whether a figure reaches its goal.
pub fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

fn line<'a>(out: &mut String, widths: &[usize], cells: impl Iterator<Item = &'a str>) {
    out.push('|');
    for (cell, &width) in cells.zip(widths) {
        let cell = escape(cell);
        let width = width.max(3);
        // Writing to a string cannot fail.
        let _ = write!(out, " {cell:<width$} |");
    }
    out.push('\n');
}

/// A bar inside a cell would end the cell.
fn escape(cell: &str) -> String {
    cell.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::Section;

    #[test]
    fn markdown_is_aligned_and_inert() {
        let mut section = Section::new("Title", &["a", "goal"]);
        section.row(["x|y", "1"]);
        section.note("how");
        assert_eq!(
            section.markdown(),
            "## Title\n\n| a    | goal |\n| ---- | ---- |\n| x\\|y | 1    |\n\n- how\n"
        );
    }
}

//! What reaches the terminal: text made inert, tables, colours, JSON.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args::Color;
use crate::encode::is_layout;

/// How a piece of text is shown where colours are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Headings and what a line is about.
    Strong,
    /// What is of less weight.
    Faint,
    /// All is well.
    Good,
    /// Needs a look.
    Warn,
    /// Is wrong.
    Bad,
}

impl Style {
    /// SGR parameters (ECMA-48).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
        }
    }
}

/// A piece of text with its style.
#[derive(Clone, Debug)]
pub struct Piece(pub Style, pub String);

/// Plain text.
pub fn plain(text: impl Into<String>) -> Piece {
    Piece(Style::Plain, text.into())
}

/// Widths of a table's columns.
#[derive(Clone, Debug, Default)]
pub struct Columns(Vec<usize>);

impl Columns {
    /// Widens the columns so that rows fit in.
    pub fn fit(&mut self, rows: &[Vec<Piece>]) {
        for (column, piece) in rows.iter().flat_map(|row| row.iter().enumerate()) {
            self.0.resize(self.0.len().max(column + 1), 0);
            self.0[column] = self.0[column].max(columns_of(&piece.1));
        }
    }
}

/// Where guardctl writes. Control characters never get through, whoever they come from.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    color: bool,
    /// Columns that lines are cut at; `None` where nothing is cut.
    width: Option<usize>,
    /// Whether JSON is asked for.
    pub json: bool,
}

impl std::fmt::Debug for Screen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen")
            .field("color", &self.color)
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

impl<'a> Screen<'a> {
    /// Writes to anything: no colours unless they are asked for always, nothing cut.
    pub fn new(out: &'a mut dyn Write, color: Color, json: bool) -> Self {
        Self { out, color: color == Color::Always, width: None, json }
    }

    /// Writes to standard output, given as `out`, which may be a terminal.
    pub fn stdout(out: &'a mut dyn Write, color: Color, json: bool) -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::new(out, color, json);
        }
        // https://no-color.org: set and not empty.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let color = match color {
            Color::Auto => !unwanted,
            Color::Always => true,
            Color::Never => false,
        };
        let width = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| usize::from(size.ws_col));
        Self { out, color, width: Some(if width < 40 { 80 } else { width }), json }
    }

    /// One line of plain text.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.line(&[plain(text)])
    }

    /// One line.
    pub fn line(&mut self, pieces: &[Piece]) -> io::Result<()> {
        let mut room = usize::MAX;
        self.pieces(pieces, &mut room)?;
        self.out.write_all(b"\n")
    }

    /// An empty line and a heading.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(b"\n")?;
        self.line(&[Piece(Style::Strong, text.into())])
    }

    /// Rows in aligned columns, each `indent` from the left. The last column is cut at the terminal's edge.
    pub fn table(&mut self, indent: usize, head: &[&str], rows: &[Vec<Piece>]) -> io::Result<()> {
        let mut columns = Columns::default();
        if !head.is_empty() {
            let titles = head.iter().map(|title| Piece(Style::Faint, (*title).to_owned())).collect();
            columns.fit(rows);
            self.page(&mut columns, indent, &[titles])?;
        }
        self.page(&mut columns, indent, rows)
    }

    /// More rows of a table that comes in pages: no column is narrower than on the pages before.
    pub fn page(&mut self, columns: &mut Columns, indent: usize, rows: &[Vec<Piece>]) -> io::Result<()> {
        columns.fit(rows);
        rows.iter().try_for_each(|row| self.row(indent, &columns.0, row))
    }

    /// A value as JSON.
    pub fn json<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        writeln!(self.out, "{}", inert_json(&serde_json::to_string_pretty(value)?))
    }

    /// Values as one JSON array, a line each, without holding them all.
    pub fn json_items<T: Serialize>(&mut self, first: bool, values: &[T]) -> io::Result<()> {
        for (index, value) in values.iter().enumerate() {
            let before = if first && index == 0 { "[\n" } else { ",\n" };
            write!(self.out, "{before}{}", inert_json(&serde_json::to_string(value)?))?;
        }
        Ok(())
    }

    /// A value as JSON on one line.
    pub fn json_line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        writeln!(self.out, "{}", inert_json(&serde_json::to_string(value)?))
    }

    /// The end of such an array.
    pub fn json_end(&mut self, empty: bool) -> io::Result<()> {
        self.out.write_all(if empty { b"[]\n" } else { b"\n]\n" })
    }

    /// Text that guard itself made and that is written as it is.
    pub fn verbatim(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn row(&mut self, indent: usize, widths: &[usize], row: &[Piece]) -> io::Result<()> {
        let mut room = self.width.unwrap_or(usize::MAX);
        self.pad(indent, &mut room)?;
        for (column, piece) in row.iter().enumerate() {
            self.pieces(std::slice::from_ref(piece), &mut room)?;
            if row[column + 1..].iter().any(|piece| !piece.1.is_empty()) {
                self.pad(widths[column] - columns_of(&piece.1) + 2, &mut room)?;
            }
        }
        self.out.write_all(b"\n")
    }

    fn pad(&mut self, columns: usize, room: &mut usize) -> io::Result<()> {
        *room = room.saturating_sub(columns);
        write!(self.out, "{:columns$}", "")
    }

    fn pieces(&mut self, pieces: &[Piece], room: &mut usize) -> io::Result<()> {
        for Piece(style, text) in pieces {
            let text = cut(&inert(text), *room);
            *room = room.saturating_sub(columns_of(&text));
            if self.color && *style != Style::Plain && !text.is_empty() {
                write!(self.out, "\x1b[{}m{text}\x1b[0m", style.code())?;
            } else {
                self.out.write_all(text.as_bytes())?;
            }
        }
        Ok(())
    }
}

fn columns_of(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, room: usize) -> String {
    if columns_of(text) <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    if room > 0 {
        short.push('…');
    }
    short
}

/// Text with nothing in it that moves a cursor, hides or reorders other text.
fn inert(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_layout(c) { '\u{fffd}' } else { c }).collect()
}

/// The same of text that may have several lines.
pub(super) fn inert_lines(text: &str) -> String {
    text.lines().map(inert).collect::<Vec<_>>().join("\n")
}

/// JSON whose texts hold no such characters either: JSON itself escapes only those below U+0020.
fn inert_json(json: &str) -> String {
    let (mut out, mut kept) = (String::with_capacity(json.len()), 0);
    for (at, c) in json.char_indices() {
        if c != '\n' && (c.is_control() || is_layout(c)) {
            out.push_str(&json[kept..at]);
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
            kept = at + c.len_utf8();
        }
    }
    out.push_str(&json[kept..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(
        color: Color,
        width: Option<usize>,
        write: impl Fn(&mut Screen<'_>) -> io::Result<()>,
    ) -> String {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, color, false);
        screen.width = width;
        write(&mut screen).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_moves_the_cursor() {
        let hostile = "a\x1b[2J\rb\u{9b}31m\u{202e}c\n";
        let text = shown(Color::Always, None, |screen| screen.line(&[Piece(Style::Plain, hostile.into())]));
        assert_eq!(text, "a\u{fffd}[2J\u{fffd}b\u{fffd}31m\u{fffd}c\u{fffd}\n");

        let json = shown(Color::Never, None, |screen| screen.json(&format!("{hostile}\u{e0001}\u{7f}")));
        assert!(json.trim_end().chars().all(|c| !c.is_control() && !is_layout(c)), "{json}");
        let back: String = serde_json::from_str(&json).unwrap();
        assert_eq!(back, format!("{hostile}\u{e0001}\u{7f}"));
    }

    #[test]
    fn columns_are_aligned_and_the_last_is_cut() {
        let rows =
            [vec![plain("a"), plain("é"), plain("a long reason")], vec![plain("abc"), plain("x"), plain("")]];
        let text = shown(Color::Auto, Some(20), |screen| screen.table(1, &["one", "t", "why"], &rows));
        assert_eq!(text, " one  t  why\n a    é  a long rea…\n abc  x\n");
    }

    #[test]
    fn colours_only_where_asked_for() {
        let line = |screen: &mut Screen<'_>| screen.line(&[Piece(Style::Bad, "no".into())]);
        assert_eq!(shown(Color::Always, None, line), "\x1b[31mno\x1b[0m\n");
        assert_eq!(shown(Color::Auto, None, line), "no\n");
        assert_eq!(shown(Color::Never, None, line), "no\n");
    }

    #[test]
    fn arrays_are_written_piece_by_piece() {
        let text = shown(Color::Never, None, |screen| {
            screen.json_items(true, &[1, 2])?;
            screen.json_items(false, &[3])?;
            screen.json_end(false)
        });
        assert_eq!(serde_json::from_str::<Vec<u8>>(&text).unwrap(), [1, 2, 3]);
    }
}

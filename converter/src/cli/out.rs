//! What is printed for people: text, tables, figures.

use super::failure::{Failure, IO};
use serde_json::Value;
use std::io::{ErrorKind, Write};

/// Writes to standard output what may hold names from files. A reader that has gone away ends the command quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    painted(&harmless(text))
}

/// Writes JSON to standard output. What would command the terminal is escaped, so that a reader gets it back as it was.
pub fn json(value: &Value) -> Result<(), Failure> {
    painted(&escaped(&format!("{value:#}\n")))
}

/// [`json`] on one line, of which there may be several.
pub fn json_line(value: &Value) -> Result<(), Failure> {
    painted(&escaped(&format!("{value}\n")))
}

/// JSON as text, with what commands a terminal or turns the direction of writing escaped.
pub fn escaped(json: &str) -> String {
    let mut text = String::new();
    for c in json.chars() {
        match c {
            // None of them is beyond 16 bits. Line ends are the layout's: serde escapes those of texts.
            c if commands(c) && c != '\n' => text += &format!("\\u{:04x}", c as u32),
            c => text.push(c),
        }
    }
    text
}

/// Writes to standard error.
pub fn complain(text: &str) {
    let _ = std::io::stderr().write_all(harmless(text).as_bytes());
}

/// Writes to standard output what has colours of the command's own, and nothing from a file.
pub fn painted(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| {
        if e.kind() == ErrorKind::BrokenPipe { Failure::closed() } else { Failure::new(IO, format!("standard output: {e}")) }
    })
}

/// Which side a column's text leans on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Columns under headings.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<String>>,
}

/// Whether a character would command the terminal, end a line or turn the direction of writing.
pub fn commands(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Lines of text that may hold names from files, with nothing that commands the terminal but their ends and tabs.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if commands(c) && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A name from a file, which cannot pass itself off as further lines. All that is printed is harmless otherwise.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if commands(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Characters to which a cell widens those above and below it. A longer one is whole, and stands out.
const MOST_WIDE: usize = 120;

impl Table {
    pub fn new(columns: &[(&str, Side)]) -> Self {
        Table { columns: columns.iter().map(|&(name, side)| (name.to_owned(), side)).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|c| plain(&c)).collect());
    }

    /// The table, every line indented by two.
    pub fn render(&self) -> String {
        let width = |i: usize| {
            let cells = self.rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count().min(MOST_WIDE));
            cells.chain([self.columns[i].0.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &[String]| {
            let mut line = String::from(" ");
            for (i, cell) in cells.iter().enumerate().take(widths.len()) {
                let gap = " ".repeat(widths[i].saturating_sub(cell.chars().count()));
                line += match self.columns[i].1 {
                    Side::Left => format!(" {cell}{gap} "),
                    Side::Right => format!(" {gap}{cell} "),
                }
                .as_str();
            }
            format!("{}\n", line.trim_end())
        };
        let head: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let rule: Vec<String> = widths.iter().map(|&w| "─".repeat(w)).collect();
        let mut text = line(&head) + &line(&rule);
        for row in &self.rows {
            text += &line(row);
        }
        text
    }
}

/// Aligned `label  value` lines, indented by two.
pub fn facts(facts: &[(&str, String)]) -> String {
    let facts: Vec<(&str, String)> = facts.iter().map(|(label, value)| (*label, plain(value))).collect();
    let width = facts.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    facts.iter().map(|(label, value)| format!("  {label:width$}  {value}\n")).collect()
}

/// `22828688` as `22,828,688`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// `1234567` as `1.2 MiB`.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    let mut unit = "bytes";
    for next in ["KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "bytes" { format!("{n} bytes") } else { format!("{value:.1} {unit}") }
}

/// `8363190912` as `8.36 G`.
pub fn count(n: u64) -> String {
    let value = n as f64;
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.2} k", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", value / 1e6),
        _ => format!("{:.2} G", value / 1e9),
    }
}

/// `[1, 299, 299, 3]` as `1x299x299x3`.
pub fn shape<T: ToString>(dims: impl IntoIterator<Item = T>) -> String {
    let text = dims.into_iter().map(|d| d.to_string()).collect::<Vec<_>>().join("x");
    if text.is_empty() { "scalar".into() } else { text }
}

/// A duration in milliseconds with four digits or so.
pub fn ms(ms: f64) -> String {
    match ms {
        v if v < 1.0 => format!("{:.1} µs", v * 1e3),
        v if v < 10.0 => format!("{v:.3} ms"),
        v if v < 100.0 => format!("{v:.2} ms"),
        v => format!("{v:.1} ms"),
    }
}

/// A name of at most `width` characters, its beginning cut off: what tells names apart is at their end.
pub fn tail(name: &str, width: usize) -> String {
    let n = name.chars().count();
    if n <= width {
        return name.to_owned();
    }
    format!("…{}", name.chars().skip(n + 1 - width).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_name_does_not_widen_a_table() {
        let mut table = Table::new(&[("name", Side::Left), ("n", Side::Right)]);
        table.row(["x".repeat(1 << 20), "1".into()]);
        table.row(["conv1".into(), "2".into()]);
        assert_eq!(table.render().lines().filter(|line| line.chars().count() > 200).count(), 1);
        assert!(table.render().contains(&"x".repeat(1 << 20)) && table.render().contains("conv1"));
    }

    #[test]
    fn figures() {
        assert_eq!(grouped(22_855_952), "22,855,952");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(91_000_000), "86.8 MiB");
        assert_eq!(count(8_363_190_912), "8.36 G");
        assert_eq!(shape([1, 7]), "1x7");
        assert_eq!(shape::<usize>([]), "scalar");
        assert_eq!(tail("a/long/name", 5), "…name");
    }

    #[test]
    fn columns_line_up() {
        let mut t = Table::new(&[("name", Side::Left), ("n", Side::Right)]);
        t.row(["a".into(), "10".into()]);
        t.row(["longer".into(), "7".into()]);
        assert_eq!(t.render(), "  name     n\n  ──────  ──\n  a       10\n  longer   7\n");
    }
}

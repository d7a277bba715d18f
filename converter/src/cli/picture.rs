//! Grey pictures in a terminal: coloured half blocks, or letters of growing darkness.

use std::io::IsTerminal;

/// Letters from dark to bright.
const SHADES: &[u8] = b" .:-=+*#%@";
/// The colours of level 0 and level 1.
const DARK: [f32; 3] = [24.0, 22.0, 38.0];
const BRIGHT: [f32; 3] = [255.0, 214.0, 138.0];

/// What the reader of the output can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Half blocks in any colour.
    TrueColour,
    /// Half blocks in 24 greys.
    Greys,
    /// Letters.
    Plain,
}

impl Style {
    /// What standard output can show, by what the environment says.
    pub fn detect() -> Style {
        let var = |name| std::env::var(name).unwrap_or_default();
        let (term, colour) = (var("TERM"), var("COLORTERM"));
        if !std::io::stdout().is_terminal() || !var("NO_COLOR").is_empty() || term == "dumb" || term.is_empty() {
            Style::Plain
        } else if colour == "truecolor" || colour == "24bit" || term.ends_with("-direct") || term.contains("kitty") {
            Style::TrueColour
        } else if term.contains("256color") {
            Style::Greys
        } else {
            Style::Plain
        }
    }

    /// Text in a colour, where there are any: 32 is green, 31 red, 2 dim, 1 bold.
    pub fn paint(self, code: &str, text: &str) -> String {
        if self == Style::Plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
    }
}

/// A picture of `2 * rows` by `columns` levels from 0 to 1 as `rows` lines of `columns` characters.
pub fn lines(levels: &[f32], columns: usize, style: Style) -> Vec<String> {
    let pairs = levels.chunks_exact(2 * columns);
    pairs.map(|pair| line(&pair[..columns], &pair[columns..], style)).collect()
}

fn line(upper: &[f32], lower: &[f32], style: Style) -> String {
    let mut text = String::new();
    for (&a, &b) in upper.iter().zip(lower) {
        let (a, b) = (a.clamp(0.0, 1.0), b.clamp(0.0, 1.0));
        match style {
            Style::Plain => {
                let shade = (a + b) / 2.0 * (SHADES.len() - 1) as f32;
                text.push(char::from(SHADES[shade.round() as usize]));
            }
            Style::Greys => {
                let grey = |v: f32| 232 + (v * 23.0).round() as u8;
                text += &format!("\x1b[38;5;{}m\x1b[48;5;{}m▀", grey(a), grey(b));
            }
            Style::TrueColour => {
                let ([r, g, bl], [r2, g2, b2]) = (colour(a), colour(b));
                text += &format!("\x1b[38;2;{r};{g};{bl}m\x1b[48;2;{r2};{g2};{b2}m▀");
            }
        }
    }
    if style != Style::Plain {
        text += "\x1b[0m";
    }
    text
}

fn colour(level: f32) -> [u8; 3] {
    std::array::from_fn(|i| (DARK[i] + (BRIGHT[i] - DARK[i]) * level).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_every_column() {
        let levels: Vec<f32> = (0..8 * 6).map(|i| i as f32 / 47.0).collect();
        let plain = lines(&levels, 6, Style::Plain);
        assert_eq!(plain.len(), 4);
        assert!(plain.iter().all(|l| l.chars().count() == 6));
        assert!(plain[0].starts_with('.') && plain[3].ends_with('%'));
        for style in [Style::Greys, Style::TrueColour] {
            let coloured = lines(&levels, 6, style);
            assert!(coloured.iter().all(|l| l.matches('▀').count() == 6 && l.ends_with("\x1b[0m")));
        }
    }
}

//! Names as a message can show them: one long name may serve thousands of nodes, and be in what is said of each.

/// Most characters of a name.
const MOST: usize = 300;

/// Most characters of what is said about it, which may name others.
const MOST_SAID: usize = 1000;

/// The beginning of a name.
pub(crate) fn short(name: &str) -> String {
    cut(name, MOST)
}

/// The beginning of a sentence.
pub(crate) fn short_text(text: &str) -> String {
    cut(text, MOST_SAID)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings() {
        assert_eq!(short("conv1"), "conv1");
        assert_eq!(short(&"é".repeat(300)), "é".repeat(300));
        assert_eq!(short(&"é".repeat(301)), format!("{}...", "é".repeat(300)));
        assert_eq!(short_text(&"x".repeat(2000)).len(), 1003);
    }
}

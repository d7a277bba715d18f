//! Names as a message can show them: one long name may serve thousands of nodes, and be in what is said of each.

/// Most characters of a name.
const MOST: usize = 300;

/// Most characters of what is said about it, which may name others.
const MOST_SAID: usize = 1000;

/// A name without what is in the middle: what tells it from others is at its end.
pub(crate) fn short(name: &str) -> String {
    cut(name, MOST)
}

/// A sentence without what is in the middle.
pub(crate) fn short_text(text: &str) -> String {
    cut(text, MOST_SAID)
}

/// What a node or a layer is called in what is said of it.
pub(crate) fn title(kind: &str, name: &str) -> String {
    format!("{} '{}'", short(kind), short(name))
}

fn cut(text: &str, most: usize) -> String {
    if text.char_indices().nth(most).is_none() {
        return text.into();
    }
    let beginning: String = text.chars().take(most / 2).collect();
    let mut end: Vec<char> = text.chars().rev().take(most / 2).collect();
    end.reverse();
    beginning + "..." + &String::from_iter(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_and_ends() {
        assert_eq!(short("conv1"), "conv1");
        assert_eq!(short(&"é".repeat(300)), "é".repeat(300));
        let long = format!("{}{}", "é".repeat(200), "ü".repeat(200));
        assert_eq!(short(&long), format!("{}...{}", "é".repeat(150), "ü".repeat(150)));
        assert_eq!(short_text(&"x".repeat(2000)).len(), 1003);
    }
}

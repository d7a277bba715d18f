//! Pieces of drawings.

use super::out;

/// Text for HTML, without what would command a terminal or turn the direction of writing.
pub fn esc(text: &str) -> String {
    let mut safe = String::new();
    for c in out::plain(text).chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c => safe.push(c),
        }
    }
    safe
}

/// A drawing that scales with the page.
pub fn drawing(width: f64, height: f64, label: &str, content: &str) -> String {
    format!(
        "<div class=\"wide\"><svg class=\"fit\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n{content}</svg></div>\n",
        esc(label)
    )
}

/// Something with a text that shows when the pointer is over it.
pub fn hover(title: &str, content: &str) -> String {
    format!("<g class=\"hover\"><title>{}</title>{content}</g>\n", esc(title))
}

pub fn line(class: &str, x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!("<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n")
}

pub fn circle(class: &str, x: f64, y: f64, r: f64) -> String {
    format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\"/>")
}

pub fn rect(class: &str, x: f64, y: f64, w: f64, h: f64, more: &str) -> String {
    format!("<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" {more}/>")
}

/// `anchor` is start, middle or end.
pub fn text(class: &str, x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", esc(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_file_are_text() {
        assert_eq!(esc("<script>\"&'\u{1b}"), "&lt;script&gt;&quot;&amp;&#39;\u{fffd}");
        assert!(text("ink", 0.0, 0.0, "end", "a<b").contains("a&lt;b"));
        assert!(hover("</title><script>", "").contains("&lt;/title&gt;"));
    }
}

//! Progress on standard error, if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sepal_converter::convert::{Progress, Stage};
use std::io::IsTerminal;
use std::time::Duration;

/// One line that says what is being done and how far it is.
#[derive(Debug)]
pub struct Line {
    bar: ProgressBar,
    stepping: bool,
}

impl Line {
    pub fn new() -> Self {
        let visible = std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if visible {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Line { bar, stepping: false }
    }

    /// Says what begins now.
    pub fn say(&mut self, what: &'static str) {
        self.stepping = false;
        self.bar.set_style(style("{spinner} {msg}"));
        self.bar.set_message(what);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()).progress_chars("━╸─")
}

impl Progress for Line {
    fn stage(&mut self, stage: Stage) {
        self.say(match stage {
            Stage::Import => "reading the source",
            Stage::Passes => "folding and fusing",
            Stage::Emit => "planning memory and packing weights",
            Stage::SelfCheck => "self-check: comparing with the source in f64",
        });
    }

    fn steps(&mut self, done: usize, all: usize) {
        if !self.stepping {
            self.stepping = true;
            self.bar.set_style(style("{spinner} {msg} {bar:24} {pos}/{len}"));
        }
        self.bar.set_length(all as u64);
        self.bar.set_position(done as u64);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

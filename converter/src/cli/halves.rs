//! What `sepal convert` says of weights that were to be stored as halves.

use super::out::{self, Side, Table};
use sepal_converter::emit::Rounded;

/// All of them in a line; `None` if there are none.
pub fn fact(all: &[Rounded]) -> Option<String> {
    if all.is_empty() {
        return None;
    }
    let sum = |f: fn(&Rounded) -> usize| out::grouped(all.iter().filter(|r| r.kept.is_none()).map(f).sum::<usize>() as u64);
    let kept = match all.iter().filter(|r| r.kept.is_some()).count() {
        0 => String::new(),
        n => format!("; {n} of {} steps keep f32", all.len()),
    };
    Some(format!(
        "{} weights rounded, by at most {:.1e} of each; {} so small that they lose more, {} zero{kept}",
        sum(|r| r.weights),
        all.iter().filter(|r| r.kept.is_none()).map(|r| r.relative).fold(0.0, f64::max),
        sum(|r| r.denormal),
        sum(|r| r.zero),
    ))
}

/// One by one.
pub fn table(all: &[Rounded]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("weights of", Side::Left),
        ("as", Side::Left),
        ("not zero", Side::Right),
        ("rounded by", Side::Right),
        ("denormal", Side::Right),
        ("become zero", Side::Right),
        ("", Side::Left),
    ]);
    for r in all {
        let unless_kept = |text: String| if r.kept.is_some() { String::new() } else { text };
        table.row([
            r.name.clone(),
            if r.kept.is_some() { "f32" } else { "f16" }.into(),
            out::grouped(r.weights as u64),
            unless_kept(format!("{:.1e}", r.relative)),
            unless_kept(out::grouped(r.denormal as u64)),
            unless_kept(out::grouped(r.zero as u64)),
            r.kept.unwrap_or_default().into(),
        ]);
    }
    format!("\nweights in halves\n{}", table.render())
}

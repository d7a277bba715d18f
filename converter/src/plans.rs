//! One network for several shapes of its inputs.

use crate::emit::input_layouts;
use crate::error::{Error, Result, Unsupported, request};
use crate::import::Options;
use crate::ir::Graph;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What a plan has other than the source; nothing for what stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The first extent of every input.
    pub batch: Option<usize>,
    /// Rows and columns of every input that has them.
    pub size: Option<[usize; 2]>,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = self.batch.map(|n| format!("batch={n}"));
        let size = self.size.map(|[h, w]| if h == w { format!("size={h}") } else { format!("size={h}x{w}") });
        f.write_str(&batch.into_iter().chain(size).collect::<Vec<_>>().join(","))
    }
}

/// A list of batches or of sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// Batches.
    Batch(Vec<usize>),
    /// Rows and columns.
    Size(Vec<[usize; 2]>),
}

impl std::str::FromStr for Vary {
    type Err = String;

    /// `batch=1,4` or `size=224,320x240`.
    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let extent = |d: &str| d.trim().parse().ok().filter(|&n| n > 0).ok_or(format!("{d:?}: a whole number from 1 up is needed"));
        let size = |d: &str| match d.split_once('x') {
            Some((h, w)) => Ok([extent(h)?, extent(w)?]),
            None => extent(d).map(|n| [n; 2]),
        };
        match s.split_once('=') {
            Some(("batch", list)) => Ok(Vary::Batch(list.split(',').map(extent).collect::<std::result::Result<_, _>>()?)),
            Some(("size", list)) => Ok(Vary::Size(list.split(',').map(size).collect::<std::result::Result<_, _>>()?)),
            _ => Err("batch=1,4 or size=224,320x240 is needed".into()),
        }
    }
}

/// Every batch with every size, without repetitions; what comes first varies least. Lists of the same thing are one list.
pub fn product(lists: &[Vary]) -> Vec<Wanted> {
    let mut merged: Vec<Vary> = Vec::new();
    for list in lists {
        let same = merged.iter_mut().find(|m| std::mem::discriminant(*m) == std::mem::discriminant(list));
        match (same, list) {
            (Some(Vary::Batch(all)), Vary::Batch(more)) => all.extend(more),
            (Some(Vary::Size(all)), Vary::Size(more)) => all.extend(more),
            _ => merged.push(list.clone()),
        }
    }
    let mut all = vec![Wanted::default()];
    for list in &merged {
        let each = |w: &Wanted| -> Vec<Wanted> {
            match list {
                Vary::Batch(list) => list.iter().map(|&n| Wanted { batch: Some(n), ..*w }).collect(),
                Vary::Size(list) => list.iter().map(|&s| Wanted { size: Some(s), ..*w }).collect(),
            }
        };
        all = all.iter().flat_map(each).collect();
    }
    all.retain(|w| *w != Wanted::default());
    let mut seen: Vec<Wanted> = Vec::new();
    all.retain(|w| {
        !seen.contains(w) && {
            seen.push(*w);
            true
        }
    });
    all
}

/// A network that becomes a plan.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) graph: Graph,
    /// What it was read with.
    pub(crate) import: Options,
    pub(crate) wanted: Wanted,
}

/// Reads a source for each plan; once, if there are none.
pub(crate) fn read(wanted: &[Wanted], options: &Options, import: impl Fn(&Options) -> Result<Graph>) -> Result<Vec<Planned>> {
    // What the source leaves open is the first plan's, in any that does not say.
    let open = wanted.first().copied().unwrap_or_default();
    let base = import(&Options { open, ..options.clone() })?;
    if wanted.is_empty() {
        return Ok(vec![Planned { graph: base, import: options.clone(), wanted: Wanted::default() }]);
    }
    if wanted.len() > sepal_format::limits::PLANS {
        return Err(request(format!("{} plans, and a file holds at most {}", wanted.len(), sepal_format::limits::PLANS)));
    }
    let mut plans: Vec<Planned> = Vec::new();
    for &wanted in wanted {
        let input_shapes = shapes(&base, wanted)?;
        let import_options = Options { input_shapes, ..options.clone() };
        let mut graph = import(&import_options).map_err(|e| of_plan(e, wanted))?;
        share(&base, &mut graph);
        plans.push(Planned { graph, import: import_options, wanted });
    }
    Ok(plans)
}

/// An error with the plan that it is about.
pub(crate) fn of_plan(e: Error, wanted: Wanted) -> Error {
    if wanted == Wanted::default() {
        return e;
    }
    let text = |why: String| format!("plan {wanted}: {why}");
    match e {
        Error::Invalid(why) => Error::Invalid(text(why)),
        Error::Request(why) => Error::Request(text(why)),
        Error::Verification(why) => Error::Verification(text(why)),
        Error::TooLarge(why) => Error::TooLarge(text(why)),
        Error::Inexact(why) => Error::Inexact(text(why)),
        Error::Unsupported(all) => {
            Error::Unsupported(all.into_iter().map(|u| Unsupported { what: format!("{} (plan {wanted})", u.what), ..u }).collect())
        }
        other => other,
    }
}

/// The axes of rows and columns, if there are any, by the code of a [`layout`](sepal_format::record::Io::layout); of an unknown one by
/// where the channels of a picture are.
pub fn rows_and_columns(layout: u32, shape: &[usize]) -> Option<[usize; 2]> {
    let &[_, a, _, c] = shape else { return None };
    let picture = |n: usize| matches!(n, 1 | 3 | 4);
    match layout {
        1 => Some([1, 2]),
        2 => Some([2, 3]),
        _ if picture(c) => Some([1, 2]),
        _ if picture(a) => Some([2, 3]),
        _ => None,
    }
}

/// The shapes of a network's inputs in a plan.
fn shapes(base: &Graph, wanted: Wanted) -> Result<Vec<(String, Vec<usize>)>> {
    let mut sized = wanted.size.is_none();
    let one = |(&v, layout): (&crate::ir::ValueId, u32)| {
        let mut shape = base.shape(v).to_vec();
        if let (Some([h, w]), Some([y, x])) = (wanted.size, rows_and_columns(layout, &shape)) {
            (shape[y], shape[x], sized) = (h, w, true);
        }
        if let (Some(n), Some(first)) = (wanted.batch, shape.first_mut()) {
            *first = n;
        }
        (base.values[v.0].name.clone(), shape)
    };
    let all = base.inputs.iter().zip(input_layouts(base)).map(one).collect();
    if sized { Ok(all) } else { Err(request(format!("plan {wanted}: no input is known to have rows and columns"))) }
}

/// Constants that are the same in both are kept once.
fn share(base: &Graph, graph: &mut Graph) {
    let known: HashMap<&str, &Arc<Vec<f32>>> =
        base.values.iter().filter_map(|v| Some((v.name.as_str(), v.data.as_ref()?))).collect();
    for value in &mut graph.values {
        if let (Some(data), Some(&same)) = (&mut value.data, known.get(value.name.as_str()))
            && bits_equal(data, same)
        {
            *data = same.clone();
        }
    }
}

fn bits_equal(a: &[f32], b: &[f32]) -> bool {
    let bytes = |x| bytemuck::cast_slice::<f32, u8>(x);
    bytes(a) == bytes(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_multiply() {
        let batch: Vary = "batch=1,4".parse().unwrap();
        let size: Vary = "size=224, 320x240".parse().unwrap();
        assert_eq!(size, Vary::Size(vec![[224, 224], [320, 240]]));
        let names: Vec<String> = product(&[batch.clone(), size]).iter().map(Wanted::to_string).collect();
        assert_eq!(names, ["batch=1,size=224", "batch=1,size=320x240", "batch=4,size=224", "batch=4,size=320x240"]);
        let more: Vary = "batch=2,4".parse().unwrap();
        let names: Vec<String> = product(&[batch.clone(), "size=8".parse().unwrap(), more]).iter().map(Wanted::to_string).collect();
        assert_eq!(names, ["batch=1,size=8", "batch=4,size=8", "batch=2,size=8"]);
        assert_eq!(product(&[batch.clone(), batch]).len(), 2);
        assert!(product(&[]).is_empty());
        for bad in ["", "batch", "batch=", "batch=0", "size=1x", "size=1x2x3", "rows=4"] {
            assert!(bad.parse::<Vary>().is_err(), "{bad}");
        }
    }
}

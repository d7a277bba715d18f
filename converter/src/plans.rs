//! One network for several shapes of its inputs.

use crate::emit::input_layouts;
use crate::error::{Error, Result, Unsupported, request};
use crate::import::Options;
use crate::ir::{Graph, ValueId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What a plan has other than the source; nothing for what stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The first extent of the inputs that leave it open, or of all that may have a batch.
    pub batch: Option<usize>,
    /// Rows and columns of the inputs that leave them open, or of all that have some.
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
        let input_shapes = shapes(&base, wanted, options)?;
        let all = Wanted { batch: wanted.batch.or(open.batch), size: wanted.size.or(open.size) };
        let mut graph = import(&Options { input_shapes, open: all, ..options.clone() }).map_err(|e| of_plan(e, wanted))?;
        share(&base, &mut graph);
        // Whoever reads the source again is to need no more than these: a shape may have named extents of other inputs.
        let input_shapes = graph.inputs.iter().map(|&v| (graph.values[v.0].name.clone(), graph.shape(v).to_vec())).collect();
        plans.push(Planned { graph, import: Options { input_shapes, ..options.clone() }, wanted });
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

/// An input, and how much a plan may change it.
struct Candidate {
    input: ValueId,
    /// The axes that a plan changes.
    axes: Vec<usize>,
    /// The source leaves one of them open.
    open: bool,
    /// The user gives its shape.
    named: bool,
}

/// The inputs that a plan changes. What the source leaves open goes before what it fixes, and what the user gives a shape for comes in
/// only where nothing else is: `all` are those that might. What is fixed is changed only where all of it is the same.
fn chosen(base: &Graph, wanted: Wanted, what: &str, mut all: Vec<Candidate>) -> Result<Vec<Candidate>> {
    // A list of numbers has no batch, unless the source says so.
    let tiers: [fn(&Candidate, bool) -> bool; 4] = [
        |c, _| c.open && !c.named,
        |c, list| c.open && c.named && !list,
        |c, list| !c.open && !c.named && !list,
        |c, list| c.open || !list,
    ];
    let list = |c: &Candidate| base.shape(c.input).len() < 2;
    let Some(tier) = tiers.iter().position(|may| all.iter().any(|c| may(c, list(c)))) else {
        return Err(request(format!("plan {wanted}: no input is known to have {what}")));
    };
    all.retain(|c| tiers[tier](c, list(c)));
    let extents = |c: &Candidate| c.axes.iter().map(|&a| base.shape(c.input)[a]).collect::<Vec<_>>();
    if tier > 0 && all.iter().any(|c| extents(c) != extents(&all[0])) {
        let show = |c: &Candidate| format!("{} {:?}", base.values[c.input.0].name, base.shape(c.input));
        let list = all.iter().map(show).collect::<Vec<_>>().join(", ");
        let remedy = if tier == 2 { ": give those that keep theirs a shape, with --input-shape" } else { "" };
        return Err(request(format!("plan {wanted}: no input leaves {what} open, and the inputs differ in it, {list}{remedy}")));
    }
    Ok(all)
}

/// The shapes to give for the network's inputs in a plan: the user's, and those of inputs that it changes.
fn shapes(base: &Graph, wanted: Wanted, options: &Options) -> Result<Vec<(String, Vec<usize>)>> {
    let name = |v: ValueId| &base.values[v.0].name;
    let named = |v: ValueId| options.input_shapes.iter().any(|(n, _)| n.is_empty() || n == name(v));
    let candidate = |input: ValueId, axes: Vec<usize>| {
        let open = axes.iter().any(|&axis| base.open.contains(&(input, axis)));
        Candidate { input, axes, open, named: named(input) }
    };
    let mut changed: HashMap<ValueId, Vec<usize>> = HashMap::new();
    let mut change = |all: Vec<Candidate>, extents: &[usize]| {
        for c in all {
            let shape = changed.entry(c.input).or_insert_with(|| base.shape(c.input).to_vec());
            c.axes.iter().zip(extents).for_each(|(&axis, &n)| shape[axis] = n);
        }
    };
    if let Some(n) = wanted.batch {
        let all = base.inputs.iter().filter(|v| !base.shape(**v).is_empty()).map(|&v| candidate(v, vec![0]));
        change(chosen(base, wanted, "a batch", all.collect())?, &[n]);
    }
    if let Some(size) = wanted.size {
        let pictures = base.inputs.iter().zip(input_layouts(base));
        let open = |v, axes: &[usize; 2]| axes.iter().all(|&axis| base.open.contains(&(v, axis)));
        let both_open = |v| [[1, 2], [2, 3]].into_iter().find(|axes| base.shape(v).len() == 4 && open(v, axes));
        // As where the importers close open extents: a few rows look like the channels of a picture.
        let of = |v, layout| both_open(v).filter(|_| layout == 0).or_else(|| rows_and_columns(layout, base.shape(v)));
        let axes = |(&v, layout)| of(v, layout).map(|axes| candidate(v, axes.to_vec()));
        change(chosen(base, wanted, "rows and columns", pictures.filter_map(axes).collect())?, &size);
    }
    // Without a name, a shape is that of the only input.
    let gone = |n: &String| changed.keys().any(|&v| n.is_empty() || n == name(v));
    let kept = options.input_shapes.iter().filter(|(n, _)| !gone(n));
    let kept: Vec<_> = kept.cloned().collect();
    let own = base.inputs.iter().filter_map(|v| changed.get(v).map(|shape| (name(*v).clone(), shape.clone())));
    Ok(own.chain(kept).collect())
}

/// Constants that are the same in both are kept once.
fn share(base: &Graph, graph: &mut Graph) {
    let known: HashMap<&str, &Arc<Vec<f32>>> =
        base.values.iter().filter_map(|v| Some((v.name.as_str(), v.data.as_ref()?))).collect();
    // Many names may be one constant's: no two are compared twice. What is replaced is kept, so that no other takes its place in memory.
    let mut compared: HashMap<[*const Vec<f32>; 2], (Arc<Vec<f32>>, bool)> = HashMap::new();
    for value in &mut graph.values {
        let (Some(data), Some(&same)) = (&mut value.data, known.get(value.name.as_str())) else { continue };
        let pair = [Arc::as_ptr(data), Arc::as_ptr(same)];
        if compared.entry(pair).or_insert_with(|| (data.clone(), bits_equal(data, same))).1 {
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

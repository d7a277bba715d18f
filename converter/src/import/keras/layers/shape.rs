//! Layers that move elements and do not compute.

use super::cfg::short;
use super::{Cfg, Emit, Integers, Layer, Operands};
use crate::error::Result;
use crate::ir::{Op, Places, ResizeKind, ValueId};
use serde_json::Value;

/// A layer that does nothing when the network runs, but what it makes of integers.
pub(super) struct Nothing(pub Integers);

impl Layer for Nothing {
    fn integers(&self, _: &Operands) -> Integers {
        self.0
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        e.single(inputs)
    }
}

/// `(before, after)` along each of `rank` axes: from a number, a list of numbers or a list of pairs.
fn borders(cfg: &Cfg<'_>, key: &str, rank: usize) -> Result<Vec<(usize, usize)>> {
    let count = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= 1 << 30);
    let two = |v: &Value| match v {
        Value::Array(a) if a.len() == 2 => Some((count(&a[0])?, count(&a[1])?)),
        v => count(v).map(|n| (n, n)),
    };
    let all = match cfg.get(key) {
        None => Some(vec![(1, 1); rank]),
        Some(v @ Value::Array(_)) if rank == 1 => two(v).map(|p| vec![p]),
        Some(Value::Array(a)) if a.len() == rank => a.iter().map(two).collect(),
        Some(v) => count(v).map(|n| vec![(n, n); rank]),
    };
    all.ok_or_else(|| cfg.bad(key))
}

struct Padding(Vec<(usize, usize)>);

/// `ZeroPadding1D`, `ZeroPadding2D`.
pub(super) fn padding(cfg: &Cfg<'_>, rank: usize) -> Result<Box<dyn Layer>> {
    cfg.channels_last()?;
    Ok(Box::new(Padding(borders(cfg, "padding", rank)?)))
}

impl Layer for Padding {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Kept
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.ranked(inputs, self.0.len() + 2)?;
        let mut pads = vec![(0, 0)];
        pads.extend(&self.0);
        pads.push((0, 0));
        let shape: Vec<usize> = e.shape(x).iter().zip(&pads).map(|(&d, &(b, a))| d.saturating_add(b + a)).collect();
        e.node("", Op::Pad { pads, value: 0.0 }, &[x], &shape)
    }
}

struct Cropping(Vec<(usize, usize)>);

/// `Cropping1D`, `Cropping2D`.
pub(super) fn cropping(cfg: &Cfg<'_>, rank: usize) -> Result<Box<dyn Layer>> {
    cfg.channels_last()?;
    Ok(Box::new(Cropping(borders(cfg, "cropping", rank)?)))
}

impl Layer for Cropping {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Kept
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let rank = self.0.len() + 2;
        let x = e.ranked(inputs, rank)?;
        let mut shape = e.shape(x);
        let mut start = vec![0; rank];
        for (i, &(before, after)) in self.0.iter().enumerate() {
            let left = shape[i + 1].checked_sub(before + after);
            shape[i + 1] = left.ok_or_else(|| e.invalid(format!("crops {before} + {after} of {} pixels", shape[i + 1])))?;
            start[i + 1] = before;
        }
        e.node("", Op::Slice { start, step: vec![1; rank] }, &[x], &shape)
    }
}

struct Flatten;

/// `Flatten`.
pub(super) fn flatten(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    cfg.channels_last()?;
    Ok(Box::new(Flatten))
}

impl Layer for Flatten {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Kept
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let shape = e.shape(x);
        let rest = e.check(&shape)? / shape.first().unwrap_or(&1);
        e.node("", Op::Reshape, &[x], &[shape.first().copied().unwrap_or(1), rest])
    }
}

/// Appends a reshape to extents of which at most one is -1 and then follows from the others.
pub(super) fn reshape_to(e: &mut Emit<'_>, x: ValueId, target: &[i64]) -> Result<ValueId> {
    let from = e.shape(x);
    let all = e.check(&from)?;
    let bad = || e.invalid(format!("cannot reshape {from:?} to {target:?}"));
    let known = target.iter().filter(|&&d| d != -1).try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
    let known = known.filter(|&n| n > 0).ok_or_else(bad)?;
    let open = target.iter().filter(|&&d| d == -1).count();
    if open > 1 || !all.is_multiple_of(known) || (open == 0 && all != known) {
        return Err(bad());
    }
    let shape: Vec<usize> = target.iter().map(|&d| usize::try_from(d).unwrap_or(all / known)).collect();
    e.node("", Op::Reshape, &[x], &shape)
}

struct Reshape(Vec<i64>);

/// `Reshape`.
pub(super) fn reshape(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let target = match cfg.get("target_shape") {
        Some(Value::Array(a)) => a.iter().map(|v| if v.is_null() { Some(-1) } else { v.as_i64() }).collect(),
        Some(v) => v.as_i64().map(|n| vec![n]),
        None => None,
    };
    Ok(Box::new(Reshape(target.ok_or_else(|| cfg.bad("target_shape"))?)))
}

impl Layer for Reshape {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Kept
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let mut target = vec![e.shape(x).first().map_or(1, |&n| n as i64)];
        target.extend(&self.0);
        reshape_to(e, x, &target)
    }
}

/// Appends a transposition; `perm` counts all axes.
pub(super) fn transpose(e: &mut Emit<'_>, x: ValueId, perm: Vec<usize>) -> Result<ValueId> {
    let from = e.shape(x);
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..from.len()) {
        return Err(e.invalid(format!("{perm:?} does not order the axes of {from:?}")));
    }
    let shape: Vec<usize> = perm.iter().map(|&p| from[p]).collect();
    e.node("", Op::Transpose { perm }, &[x], &shape)
}

struct Permute(Vec<usize>);

/// `Permute`; the axes of a configuration count from 1 and leave out the batch.
pub(super) fn permute(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let dims = cfg.get("dims").and_then(Value::as_array);
    let dims = dims.and_then(|a| a.iter().map(|v| v.as_u64().map(|n| n as usize)).collect::<Option<Vec<_>>>());
    let mut perm = vec![0];
    perm.extend(dims.ok_or_else(|| cfg.bad("dims"))?);
    Ok(Box::new(Permute(perm)))
}

impl Layer for Permute {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Kept
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        transpose(e, x, self.0.clone())
    }
}

struct Repeat(usize);

/// `RepeatVector`.
pub(super) fn repeat_vector(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    Ok(Box::new(Repeat(cfg.count("n")?)))
}

impl Layer for Repeat {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Kept
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.ranked(inputs, 2)?;
        let s = e.shape(x);
        let column = e.node("column", Op::Reshape, &[x], &[s[0], 1, s[1]])?;
        e.node("", Op::Broadcast, &[column], &[s[0], self.0, s[1]])
    }
}

struct Upsampling {
    rank: usize,
    factor: [usize; 2],
    bilinear: bool,
}

/// `UpSampling1D`, `UpSampling2D`.
pub(super) fn upsampling(cfg: &Cfg<'_>, rank: usize) -> Result<Box<dyn Layer>> {
    cfg.channels_last()?;
    let mode = cfg.get("interpolation").filter(|m| m.as_str() != Some("nearest"));
    let bilinear = mode.is_some_and(|m| m.as_str() == Some("bilinear"));
    match mode {
        None => {}
        Some(_) if bilinear && cfg.keras < 3 && !cfg.middles => {
            let what = "interpolation = \"bilinear\" of Keras up to 2.3, which meant two things";
            cfg.refuse(what, "load the network with TensorFlow 2.3 or later and save it again");
        }
        Some(_) if bilinear => {}
        Some(mode) => cfg.refuse(format!("interpolation = {}", short(mode)), "use \"nearest\" or \"bilinear\""),
    }
    Ok(Box::new(Upsampling { rank, factor: cfg.extents("size", rank, Some(2))?, bilinear }))
}

impl Layer for Upsampling {
    fn integers(&self, _: &Operands) -> Integers {
        // What lies between pixels is cast back to integers.
        if self.bilinear { Integers::Computed } else { Integers::Kept }
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let mut x = e.ranked(inputs, self.rank + 2)?;
        let mut s = e.shape(x);
        if self.rank == 1 {
            s.insert(1, 1);
            x = e.node("image", Op::Reshape, &[x], &s)?;
        }
        let [fy, fx] = self.factor;
        let (h, w) = (s[1].saturating_mul(fy), s[2].saturating_mul(fx));
        if self.bilinear && self.factor != [1, 1] {
            return e.node("", Op::Resize { kind: ResizeKind::Bilinear, places: Places::Middles }, &[x], &[s[0], h, w, s[3]]);
        }
        let part = if self.rank == 1 { "enlarged" } else { "" };
        let y = e.node(part, Op::Upsample { factor: self.factor }, &[x], &[s[0], h, w, s[3]])?;
        if self.rank == 2 { Ok(y) } else { e.node("", Op::Reshape, &[y], &[s[0], w, s[3]]) }
    }
}

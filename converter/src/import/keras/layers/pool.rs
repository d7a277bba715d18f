//! Pooling. One-dimensional layers run as images of one row.

use super::cfg::Padding;
use super::conv::Geometry;
use super::function::Bound;
use super::{Cfg, Emit, Layer, Operands, short};
use crate::error::Result;
use crate::import::shape::MAX_STEP;
use crate::ir::{Op, PoolKind, ReduceKind, ValueId};

struct Pool {
    geometry: Geometry,
    kind: PoolKind,
}

/// `MaxPooling1D`, `MaxPooling2D`, `AveragePooling1D`, `AveragePooling2D`. Averages do not count the padding.
pub(super) fn window(cfg: &Cfg<'_>, rank: usize) -> Result<Box<dyn Layer>> {
    cfg.channels_last()?;
    let key = if cfg.map.contains_key("pool_length") { "pool_length" } else { "pool_size" };
    let kernel = cfg.extents(key, rank, Some(2))?;
    let stride = match cfg.get("strides") {
        None => kernel,
        Some(_) => cfg.extents("strides", rank, None)?,
    };
    let geometry = Geometry { rank, kernel, stride, dilation: [1, 1], padding: cfg.padding(false)? };
    let kind = if cfg.class.starts_with("Max") { PoolKind::Max } else { PoolKind::Average };
    Ok(Box::new(Pool { geometry, kind }))
}

/// Appends `max_pool` or `average_pool` of Keras 3.
pub(super) fn function(e: &mut Emit<'_>, b: &Bound<'_>, x: ValueId, kind: PoolKind) -> Result<ValueId> {
    let rank = e.shape(x).len().wrapping_sub(2);
    if !(1..=2).contains(&rank) {
        return Err(e.unsupported(format!("pooling of {rank} axes"), "pool one or two"));
    }
    let extents = |names: &[&str], at: usize| {
        let Some(list) = b.integers(e, names, at)? else { return Ok(None) };
        let one = |n: i64| usize::try_from(n).ok().filter(|_| (1..=MAX_STEP).contains(&n));
        let found = match (rank, &list[..]) {
            (1, &[n]) => one(n).map(|n| [1, n]),
            (2, &[n]) => one(n).map(|n| [n, n]),
            (2, &[h, w]) => one(h).and_then(|h| Some([h, one(w)?])),
            _ => None,
        };
        found.map(Some).ok_or_else(|| e.invalid(format!("`{}` is {list:?}", names[0])))
    };
    let kernel = extents(&["pool_size"], 1)?.ok_or_else(|| e.invalid("is called without `pool_size`"))?;
    let stride = extents(&["strides"], 2)?.unwrap_or(kernel);
    let padding = match b.text(e, &["padding"], 3)? {
        None | Some("valid") => Padding::Valid,
        Some("same") => Padding::Same,
        Some(other) => return Err(e.invalid(format!("`padding` is {}", short(other)))),
    };
    b.channels_last(e, 4)?;
    let pool = Pool { geometry: Geometry { rank, kernel, stride, dilation: [1, 1], padding }, kind };
    pool.emit(e, &Operands::one(x))
}

impl Layer for Pool {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = self.geometry.image(e, inputs)?;
        let s = e.shape(x);
        let (window, [oh, ow]) = self.geometry.over(e, [s[1], s[2]])?;
        let part = if self.geometry.rank == 1 { "pooling" } else { "" };
        let y = e.node(part, Op::Pool { kind: self.kind, window, residual: false }, &[x], &[s[0], oh, ow, s[3]])?;
        self.geometry.back(e, y)
    }
}

struct Global {
    rank: usize,
    kind: ReduceKind,
    keep_dims: bool,
}

/// `GlobalMaxPooling1D` and its siblings.
pub(super) fn global(cfg: &Cfg<'_>, rank: usize) -> Result<Box<dyn Layer>> {
    cfg.channels_last()?;
    let kind = if cfg.class.starts_with("GlobalMax") { ReduceKind::Max } else { ReduceKind::Mean };
    Ok(Box::new(Global { rank, kind, keep_dims: cfg.flag("keepdims", false)? }))
}

impl Layer for Global {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.ranked(inputs, self.rank + 2)?;
        let s = e.shape(x);
        let mut shape = vec![s[0]];
        if self.keep_dims {
            shape.resize(self.rank + 1, 1);
        }
        shape.push(s[self.rank + 1]);
        let axes = (1..=self.rank).collect();
        e.node("", Op::Reduce { kind: self.kind, axes, keep_dims: self.keep_dims }, &[x], &shape)
    }
}

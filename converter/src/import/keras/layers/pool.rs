//! Pooling. One-dimensional layers run as images of one row.

use super::conv::Geometry;
use super::{Cfg, Emit, Layer, Operands};
use crate::error::Result;
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

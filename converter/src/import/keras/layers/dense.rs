//! `Dense`, and `Embedding`, which is a product with ones and zeros.

use super::activation::{Steps, apply, attribute, fused};
use super::numbers::Numbers;
use super::slicing::listed;
use super::{Cfg, Emit, Integers, Layer, Operand, Operands, Var};
use crate::error::Result;
use crate::ir::{Op, ValueId};

struct Dense {
    units: usize,
    bias: bool,
    activation: Steps,
}

/// `Dense`.
pub(super) fn dense(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    cfg.refuse_quantized();
    let units = cfg.count(if cfg.map.contains_key("units") { "units" } else { "output_dim" })?;
    Ok(Box::new(Dense { units, bias: cfg.flag("use_bias", true)?, activation: attribute(cfg)? }))
}

impl Layer for Dense {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn vars(&self) -> Vec<Var> {
        let mut vars = vec![Var::trained("kernel")];
        vars.extend(self.bias.then_some(Var::trained("bias")));
        vars
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let mut shape = e.shape(x);
        let (Some(last), true) = (shape.last_mut(), e.graph.shape(x).len() >= 2) else {
            return Err(e.invalid("takes at least 2 axes"));
        };
        let kernel = [std::mem::replace(last, self.units), self.units];
        let mut all = vec![x, e.weight("kernel", &kernel, &kernel)?];
        if self.bias {
            all.push(e.weight("bias", &[self.units], &[self.units])?);
        }
        let (act, rest) = fused(&self.activation);
        let y = e.node("", Op::Dense { bias: self.bias, act }, &all, &shape)?;
        apply(e, y, rest, false)
    }
}

/// Rows of a table, at places that are known.
struct Embedding {
    table: [usize; 2],
}

/// `Embedding`.
pub(super) fn embedding(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    if cfg.flag("mask_zero", false)? {
        cfg.refuse("mask_zero = true", "use mask_zero=False");
    }
    cfg.refuse_quantized();
    Ok(Box::new(Embedding { table: [cfg.count("input_dim")?, cfg.count("output_dim")?] }))
}

impl Layer for Embedding {
    fn vars(&self) -> Vec<Var> {
        vec![Var::trained("embeddings")]
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let known = match &inputs.args[..] {
            [Operand::Value(v)] => Numbers::read(v).filter(|places| !places.kind.is_float()),
            _ => None,
        };
        let Some(places) = known else {
            return Err(e.unsupported("which rows it takes is computed", "cut the graph before it with `--outputs`"));
        };
        let [rows, columns] = self.table;
        let row = |&n: &f64| (n >= 0.0 && n < rows as f64).then_some(n as i64);
        let list = places.data.iter().map(row).collect::<Option<Vec<_>>>();
        let list = list.ok_or_else(|| e.invalid(format!("takes rows that its {rows} are not")))?;
        let table = e.weight("embeddings", &self.table, &self.table)?;
        let y = listed(e, table, 0, &list)?;
        e.node("", Op::Reshape, &[y], &[&places.shape[..], &[columns]].concat())
    }
}

//! `Dense`.

use super::activation::{Steps, apply, attribute, fused};
use super::{Cfg, Emit, Integers, Layer, Operands, Var};
use crate::error::Result;
use crate::ir::{Op, ValueId};

struct Dense {
    units: usize,
    bias: bool,
    activation: Steps,
}

/// `Dense`.
pub(super) fn dense(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    if let Some(mode) = cfg.get("quantization_config").or(cfg.get("quantization_mode")) {
        cfg.refuse(format!("quantization = {}", super::cfg::short(mode)), "save the network with float weights");
    }
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

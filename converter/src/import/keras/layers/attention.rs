//! Attention: each position of a sequence takes of all positions of another one as much as it resembles them.
//!
//! ```text
//! softmax(q k^T) v,  where q, k, v are [batch, (heads,) positions, numbers]
//! ```

use super::activation::{Step, apply};
use super::emit::nothing;
use super::merge::pair;
use super::slicing::own;
use super::{Cfg, Emit, Layer, Operand, Operands, Var, short};
use crate::error::Result;
use crate::import::einsum::turned;
use crate::ir::{Act, BinaryOp, Op, ValueId};
use serde_json::Value;

/// What one of the layers may be called with besides tensors: what holds without it.
fn only(e: &Emit<'_>, inputs: &Operands, tensors: &[&str]) -> Result<()> {
    let nothing = |o: &Operand| matches!(o, Operand::Value(v) if nothing(v) || **v == Value::Bool(false));
    let tensor = |o: &Operand| matches!(o, Operand::Tensor(_));
    let wrong = |name: String| e.unsupported(format!("argument {name}"), "call it with tensors alone, without masks");
    for (name, operand) in &inputs.named {
        // Whether to train is for the caller of the whole network to say, or has been refused.
        if !nothing(operand) && name != "training" && !(tensor(operand) && tensors.contains(&name.as_str())) {
            return Err(wrong(format!("`{}`", short(name))));
        }
    }
    match inputs.args.iter().enumerate().find(|&(i, o)| !nothing(o) && (i >= tensors.len() || !tensor(o))) {
        Some((i, _)) => Err(wrong((i + 1).to_string())),
        None => Ok(()),
    }
}

/// Appends a product of two matrices for each of what comes before them.
fn product(e: &mut Emit<'_>, part: &str, a: ValueId, b: ValueId) -> Result<ValueId> {
    let (mut shape, other) = (e.shape(a), e.shape(b));
    let fits = shape.len() == other.len() && shape.len() >= 2 && {
        let axes = shape.len();
        shape[..axes - 2] == other[..axes - 2] && shape[axes - 1] == other[axes - 2]
    };
    match (shape.last_mut(), other.last()) {
        (Some(last), Some(&columns)) if fits => *last = columns,
        _ => return Err(e.invalid(format!("{shape:?} times {other:?}"))),
    }
    e.node(part, Op::Matmul, &[a, b], &shape)
}

/// Appends a transpose.
fn ordered(e: &mut Emit<'_>, part: &str, x: ValueId, perm: &[usize]) -> Result<ValueId> {
    turned(e, part, x, perm.to_vec()).map_err(|fail| own(e, fail))
}

/// `Attention`: of the first input to the third, or the second, by the second.
struct Attention {
    scale: bool,
}

/// `Attention`.
pub(super) fn attention(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    if let Some(mode) = cfg.text("score_mode")?.filter(|mode| *mode != "dot") {
        cfg.refuse(format!("score_mode = {}", short(mode)), "use score_mode=\"dot\"");
    }
    if cfg.flag("causal", false)? {
        cfg.refuse("causal = true", "attend to all positions");
    }
    Ok(Box::new(Attention { scale: cfg.flag("use_scale", false)? }))
}

impl Layer for Attention {
    fn vars(&self) -> Vec<Var> {
        self.scale.then_some(Var::trained("scale")).into_iter().collect()
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        only(e, inputs, &["query", "value", "key"])?;
        let all: Vec<ValueId> =
            inputs.args.iter().filter_map(|o| if let Operand::Tensor(made) = o { Some(made.value) } else { None }).collect();
        let (query, value, key) = match all[..] {
            [query, value] => (query, value, value),
            [query, value, key] => (query, value, key),
            _ => return Err(e.invalid(format!("takes a query, a value and a key, is called with {} tensors", all.len()))),
        };
        if let Some(other) = all.iter().map(|&v| e.shape(v)).find(|shape| shape.len() != 3) {
            return Err(e.unsupported(format!("a sequence of the shape {other:?}"), "give it three axes"));
        }
        let key = ordered(e, "key", key, &[0, 2, 1])?;
        let mut scores = product(e, "scores", query, key)?;
        if self.scale {
            let scale = e.weight("scale", &[], &[1])?;
            scores = pair(e, "scaled", BinaryOp::Mul, scores, scale)?;
        }
        let weights = apply(e, scores, &[Step::Softmax { axis: -1, log: false }], false)?;
        product(e, "", weights, value)
    }
}

/// `MultiHeadAttention`.
struct MultiHead {
    heads: usize,
    /// Numbers of a key, and of a value, in each head.
    key: usize,
    value: usize,
    /// Numbers of the result, if not as many as the query has.
    output: Option<usize>,
    bias: bool,
    /// The axes along which positions lie, if not all between the batch and the numbers.
    axes: Option<Vec<i64>>,
}

/// `MultiHeadAttention`.
pub(super) fn multi_head(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    if cfg.flag("use_gate", false)? {
        cfg.refuse("use_gate = true", "use a layer without a gate");
    }
    if let Some(window) = cfg.get("sliding_window") {
        cfg.refuse(format!("sliding_window = {}", short(window)), "attend to all positions");
    }
    let one = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let output = match cfg.get("output_shape") {
        None => None,
        Some(Value::Array(list)) => match &list[..] {
            [only] => Some(one(only).ok_or_else(|| cfg.bad("output_shape"))?),
            _ => {
                cfg.refuse("an output_shape of several axes", "use one, and Reshape");
                None
            }
        },
        Some(v) => Some(one(v).ok_or_else(|| cfg.bad("output_shape"))?),
    };
    let axes = match cfg.get("attention_axes") {
        None => None,
        Some(Value::Array(list)) => {
            Some(list.iter().map(Value::as_i64).collect::<Option<_>>().ok_or_else(|| cfg.bad("attention_axes"))?)
        }
        Some(v) => Some(vec![v.as_i64().ok_or_else(|| cfg.bad("attention_axes"))?]),
    };
    let (heads, key) = (cfg.count("num_heads")?, cfg.count("key_dim")?);
    let value = if cfg.get("value_dim").is_some() { cfg.count("value_dim")? } else { key };
    Ok(Box::new(MultiHead { heads, key, value, output, bias: cfg.flag("use_bias", true)?, axes }))
}

/// A kernel, its bias, and the part of the layer that has them.
const PARTS: [[&str; 3]; 4] = [
    ["query/kernel", "query/bias", "query_dense"],
    ["key/kernel", "key/bias", "key_dense"],
    ["value/kernel", "value/bias", "value_dense"],
    ["attention_output/kernel", "attention_output/bias", "output_dense"],
];

impl MultiHead {
    /// Appends one of [`PARTS`]: a product with a kernel of so many heads, whose axes are those of `source`.
    fn dense(&self, e: &mut Emit<'_>, part: &str, which: usize, x: ValueId, source: &[usize], to: &[usize]) -> Result<ValueId> {
        let [kernel, bias, _] = PARTS[which];
        let columns = e.check(to)?;
        let mut shape = e.shape(x);
        let Some(last) = shape.last_mut() else { return Err(e.invalid("takes sequences")) };
        let matrix = [std::mem::replace(last, columns), columns];
        let mut all = vec![x, e.weight(kernel, source, &matrix)?];
        if self.bias {
            all.push(e.weight(bias, to, &[columns])?);
        }
        e.node(part, Op::Dense { bias: self.bias, act: Act::None }, &all, &shape)
    }

    /// Appends one of the first three of [`PARTS`], by heads: its axes are the batch, `perm` of positions, heads and numbers.
    fn headed(&self, e: &mut Emit<'_>, which: usize, x: ValueId, numbers: usize, perm: &[usize; 4]) -> Result<ValueId> {
        let name = PARTS[which][2];
        let &[n, positions, depth] = &e.shape(x)[..] else { return Err(e.invalid("takes sequences")) };
        let mut y = self.dense(e, name, which, x, &[depth, self.heads, numbers], &[self.heads, numbers])?;
        if which == 0 {
            let scale = e.constant("scale", &[1], vec![(1.0 / (self.key as f64).sqrt()) as f32])?;
            y = pair(e, "scaled", BinaryOp::Mul, y, scale)?;
        }
        let y = e.node(&format!("{name}/heads"), Op::Reshape, &[y], &[n, positions, self.heads, numbers])?;
        ordered(e, &format!("{name}/turned"), y, perm)
    }
}

impl Layer for MultiHead {
    fn vars(&self) -> Vec<Var> {
        let both = |[kernel, bias, part]: [&'static str; 3]| {
            [Some(Var::trained(kernel).of(part)), self.bias.then_some(Var::trained(bias).of(part))]
        };
        PARTS.into_iter().flat_map(both).flatten().collect()
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        only(e, inputs, &["query", "value", "key"])?;
        let tensor = |name: &str, at: usize| match inputs.get(&[name], at) {
            Some(Operand::Tensor(made)) => Some(made.value),
            _ => None,
        };
        let (Some(query), Some(value)) = (tensor("query", 0), tensor("value", 1)) else {
            return Err(e.invalid("takes a query and a value"));
        };
        let key = tensor("key", 2).unwrap_or(value);
        let whole = e.shape(query);
        // All positions in one row.
        let mut rows = [query, key, value];
        for (v, part) in rows.iter_mut().zip(["query", "key", "value"]) {
            let shape = e.shape(*v);
            let [n, ref between @ .., depth] = shape[..] else { return Err(e.invalid(format!("takes sequences, not {shape:?}"))) };
            let all = || (1..=between.len() as i64).collect::<Vec<_>>();
            let named = self
                .axes
                .as_ref()
                .is_none_or(|axes| axes.iter().map(|&a| if a < 0 { a + shape.len() as i64 } else { a }).eq(all()));
            if between.is_empty() || !named {
                let what = format!("attention_axes = {:?} of {} axes", self.axes.as_deref().unwrap_or_default(), shape.len());
                return Err(e.unsupported(what, "attend to all axes between the batch and the last"));
            }
            if between.len() > 1 {
                *v = e.node(&format!("{part}/row"), Op::Reshape, &[*v], &[n, between.iter().product(), depth])?;
            }
        }
        let [query, key, value] = rows;
        let q = self.headed(e, 0, query, self.key, &[0, 2, 1, 3])?;
        let k = self.headed(e, 1, key, self.key, &[0, 2, 3, 1])?;
        let v = self.headed(e, 2, value, self.value, &[0, 2, 1, 3])?;
        let scores = product(e, "scores", q, k)?;
        let weights = apply(e, scores, &[Step::Softmax { axis: -1, log: false }], false)?;
        let y = product(e, "heads", weights, v)?;
        let y = ordered(e, "positions", y, &[0, 2, 1, 3])?;
        let shape = e.shape(y);
        let y = e.node("joined", Op::Reshape, &[y], &[shape[0], shape[1], self.heads * self.value])?;
        let units = self.output.or(whole.last().copied()).unwrap_or(1);
        let more = whole.len() > 3;
        let last = if more { "output" } else { "" };
        let y = self.dense(e, last, 3, y, &[self.heads, self.value, units], &[units])?;
        if !more {
            return Ok(y);
        }
        let to = [&whole[..whole.len() - 1], &[units]].concat();
        e.node("", Op::Reshape, &[y], &to)
    }
}

//! Products of tensors along axes: `matmul` and `einsum`, `Dot`, `EinsumDense`.

use super::activation::{Steps, apply, attribute, axis_of, fused};
use super::cfg::{EPSILON, short};
use super::derived::unit;
use super::function::Bound;
use super::merge::pair;
use super::slicing::own;
use super::{Cfg, Emit, Layer, Operands, Var};
use crate::error::Result;
use crate::import::einsum::{Equation, einsum, equation, formed, turned};
use crate::import::shape::broadcast;
use crate::ir::{Act, BinaryOp, Op, ValueId};
use serde_json::Value;

/// Appends a product of two matrices, or of many; the second may be a constant.
pub(super) fn matmul(e: &mut Emit<'_>, b: &Bound<'_>, x: ValueId) -> Result<ValueId> {
    let y = b.term(e, &["y", "x2", "b"], 1)?;
    // Of real numbers these are the same.
    let turned = [
        b.flag(e, &["transpose_a"], 2)? | b.flag(e, &["adjoint_a"], 4)?,
        b.flag(e, &["transpose_b"], 3)? | b.flag(e, &["adjoint_b"], 5)?,
    ];
    if e.graph.data(y).is_some() && (e.shape(y).len() != 2 || turned[1]) {
        return Err(e.unsupported("a product with this constant", "give it as one matrix that is not to be turned"));
    }
    let mut both = [x, y];
    for (side, turn) in both.iter_mut().zip(turned) {
        let mut shape = e.shape(*side);
        let rank = shape.len();
        if rank < 2 {
            return Err(e.unsupported(format!("a product of a tensor of the shape {shape:?}"), "Reshape it to a matrix"));
        }
        if turn {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 2, rank - 1);
            shape.swap(rank - 2, rank - 1);
            let part = format!("turned{}", side.0);
            *side = e.node(&part, Op::Transpose { perm }, &[*side], &shape)?;
        }
    }
    let shapes = both.map(|v| e.shape(v));
    let ([lead_a @ .., m, k], [lead_b @ .., kb, n]) = (&shapes[0][..], &shapes[1][..]) else {
        return Err(e.invalid("a product takes matrices"));
    };
    let wrong = || e.invalid(format!("{:?} times {:?}", shapes[0], shapes[1]));
    if k != kb {
        return Err(wrong());
    }
    if e.graph.data(both[1]).is_some() {
        return e.node("", Op::Dense { bias: false, act: Act::None }, &both, &[lead_a, &[*m, *n]].concat());
    }
    let lead = broadcast(lead_a, lead_b).map_err(|_| wrong())?;
    let mut full = [(both[0], [*m, *k]), (both[1], [*k, *n])];
    for (v, tail) in &mut full {
        let shape = [&lead[..], &tail[..]].concat();
        if e.graph.shape(*v) != shape {
            *v = e.node(&format!("repeated{}", v.0), Op::Broadcast, &[*v], &shape)?;
        }
    }
    e.node("", Op::Matmul, &full.map(|(v, _)| v), &[&lead[..], &[*m, *n]].concat())
}

/// Appends what the equation of `einsum` makes of tensors.
pub(super) fn by_equation(e: &mut Emit<'_>, b: &Bound<'_>) -> Result<ValueId> {
    let text = b.text(e, &["subscripts"], usize::MAX)?.ok_or_else(|| e.invalid("is called without an equation"))?;
    let tensors = e.tensors(&Operands { named: Vec::new(), ..b.all().clone() })?;
    einsum(e, text, tensors).map_err(|fail| own(e, fail))
}

/// `Dot`: a sum of products along one axis of each of two tensors of at most three axes.
struct Dot {
    axes: [i64; 2],
    /// Whether both are divided by their norms along these axes, and what takes the place of one of 0.
    least: Option<f32>,
}

/// `Dot`.
pub(super) fn dot(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let axes = match cfg.get("axes") {
        Some(Value::Array(list)) => match &list[..] {
            [a, b] => a.as_i64().zip(b.as_i64()),
            _ => None,
        },
        other => other.and_then(Value::as_i64).map(|axis| (axis, axis)),
    };
    let (a, b) = axes.ok_or_else(|| cfg.bad("axes"))?;
    // Keras 2 compares squares.
    let least = if cfg.keras >= 3 { EPSILON } else { 1e-6 };
    Ok(Box::new(Dot { axes: [a, b], least: cfg.flag("normalize", false)?.then_some(least) }))
}

impl Layer for Dot {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let mut both: [ValueId; 2] = e.tensors(inputs)?.try_into().map_err(|_| e.invalid("takes two inputs"))?;
        let shapes = both.map(|v| e.shape(v));
        if let Some(other) = shapes.iter().find(|shape| !(2..=3).contains(&shape.len())) {
            return Err(e.unsupported(format!("a product of a tensor of the shape {other:?}"), "Reshape it to two or three axes"));
        }
        let mut axes = [0; 2];
        for i in 0..2 {
            axes[i] = axis_of(e, self.axes[i], shapes[i].len())?;
            if axes[i] == 0 {
                return Err(e.invalid("multiplies along the batch"));
            }
            if let Some(least) = self.least {
                both[i] = unit(e, &format!("unit{i}"), both[i], &[axes[i]], least)?;
            }
        }
        // The batch is a, the sum goes along s.
        let letters = |i: usize, own: &str| {
            let mut own = own.chars();
            let one = |axis| {
                if axis == 0 {
                    Some('a')
                } else if axis == axes[i] {
                    Some('s')
                } else {
                    own.next()
                }
            };
            (0..shapes[i].len()).filter_map(one).collect::<String>()
        };
        let (x, y) = (letters(0, "b"), letters(1, "c"));
        let left = |text: &str| text.chars().filter(|c| !"as".contains(*c)).collect::<String>();
        let equation = format!("{x},{y}->a{}{}", left(&x), left(&y));
        let product = einsum(e, &equation, both.to_vec()).map_err(|fail| own(e, fail))?;
        // Of two rows it is a row of one.
        match e.shape(product)[..] {
            [n] => e.node("axis", Op::Reshape, &[product], &[n, 1]),
            _ => Ok(product),
        }
    }
}

/// `EinsumDense`: a product with a kernel, by an equation.
struct EinsumDense {
    equation: String,
    /// Extents behind the batch; those of the input are open.
    output: Vec<Option<usize>>,
    bias: String,
    activation: Steps,
}

/// `EinsumDense`.
pub(super) fn einsum_dense(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    cfg.refuse_quantized();
    let one = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
    let output = match cfg.get("output_shape") {
        Some(Value::Array(list)) => list.iter().map(one).collect(),
        other => vec![Some(other.and_then(one).ok_or_else(|| cfg.bad("output_shape"))?)],
    };
    let equation = cfg.text("equation")?.ok_or_else(|| cfg.bad("equation"))?.to_owned();
    let bias = cfg.text("bias_axes")?.unwrap_or_default().to_owned();
    Ok(Box::new(EinsumDense { equation, output, bias, activation: attribute(cfg)? }))
}

impl Layer for EinsumDense {
    fn vars(&self) -> Vec<Var> {
        let mut vars = vec![Var::trained("kernel")];
        vars.extend((!self.bias.is_empty()).then_some(Var::trained("bias")));
        vars
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let from = e.shape(x);
        let other = |e: &Emit<'_>| {
            let what = format!("equation {}", short(format_args!("{:?}", self.equation)));
            e.unsupported(what, "write the axes that are summed up first in the kernel, those of the result behind, and no others")
        };
        let kernel_rank =
            self.equation.split("->").next().and_then(|left| left.split_once(',')).map_or(0, |(_, kernel)| kernel.trim().len());
        let Equation { inputs: terms, output } =
            equation(&self.equation, &[from.len(), kernel_rank]).map_err(|fail| own(e, fail))?;
        let [own_letters, kernel_letters] = &terms[..] else { return Err(other(e)) };
        let has = |letters: &[char], c: &char| letters.contains(c);
        let distinct = |letters: &[char]| letters.iter().enumerate().all(|(i, c)| !letters[..i].contains(c));
        let rows: Vec<char> = output.iter().copied().filter(|c| has(own_letters, c)).collect();
        let (summed, columns): (Vec<char>, Vec<char>) = kernel_letters.iter().partition(|c| has(own_letters, c));
        // The kernel is a matrix as it lies in the file, and is the same for all rows.
        let matrix = *kernel_letters == [&summed[..], &columns].concat()
            && distinct(own_letters)
            && distinct(kernel_letters)
            && rows.len() + summed.len() == own_letters.len()
            && summed.iter().all(|c| !has(&output, c))
            && columns.iter().all(|c| has(&output, c))
            && !summed.is_empty();
        if !matrix {
            return Err(other(e));
        }
        let extent = |c: &char| {
            if let Some(at) = own_letters.iter().position(|own| own == c) {
                return Some(from[at]);
            }
            let behind = output.len() - output.iter().position(|own| own == c)?;
            self.output.len().checked_sub(behind).and_then(|at| self.output[at])
        };
        let extents = |letters: &[char]| {
            letters.iter().map(extent).collect::<Option<Vec<usize>>>().ok_or_else(|| e.invalid("its output has open extents"))
        };
        let (to, source) = (extents(&output)?, extents(kernel_letters)?);
        let [lines, terms, units] = [extents(&rows)?, extents(&summed)?, extents(&columns)?];
        let (k, n) = (e.check(&terms)?, e.check(&units)?);

        let order = [&rows[..], &summed].concat();
        let perm = order.iter().filter_map(|c| own_letters.iter().position(|own| own == c)).collect();
        let y = turned(e, "turned", x, perm).map_err(|fail| own(e, fail))?;
        let y = formed(e, "rows", y, &[&lines[..], &[k]].concat()).map_err(|fail| own(e, fail))?;
        let kernel = e.weight("kernel", &source, &[k, n])?;
        let (act, rest) = fused(&self.activation);
        let bias: Vec<char> = self.bias.chars().collect();
        // As the bias of the product itself where it has one for each column.
        let last = output.ends_with(&columns);
        let plain = last && (bias.is_empty() || bias == columns);
        let mut all = vec![y, kernel];
        if plain && !bias.is_empty() {
            all.push(e.weight("bias", &units, &[n])?);
        }
        let op = Op::Dense { bias: all.len() > 2, act: if plain { act } else { Act::None } };
        let direct = plain && units.len() == 1;
        let y = e.node(if direct { "" } else { "product" }, op, &all, &[&lines[..], &[n]].concat())?;
        if direct {
            return apply(e, y, rest, false);
        }
        let letters = [&rows[..], &columns].concat();
        let y = formed(e, "columns", y, &[&lines[..], &units].concat()).map_err(|fail| own(e, fail))?;
        let perm = output.iter().filter_map(|c| letters.iter().position(|own| own == c)).collect();
        let mut y = turned(e, "back", y, perm).map_err(|fail| own(e, fail))?;
        if plain {
            return apply(e, y, rest, false);
        }
        if !bias.is_empty() {
            // One for each of these letters, from the first of them on.
            let first = output.iter().position(|c| bias.contains(c)).filter(|_| bias.iter().all(|c| has(&output, c)));
            let first = first.ok_or_else(|| other(e))?;
            let own: Vec<usize> = (first..output.len()).map(|i| if bias.contains(&output[i]) { to[i] } else { 1 }).collect();
            let bias = e.weight("bias", &own, &own)?;
            y = pair(e, "bias", BinaryOp::Add, y, bias)?;
        }
        apply(e, y, &self.activation, false)
    }
}

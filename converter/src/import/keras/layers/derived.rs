//! Functions that are made of several operators: norms, moments, blocks of pixels, products and pools.

use super::activation::{Step, apply, axis_of};
use super::function::Bound;
use super::merge::pair;
use super::{Cfg, Emit, Layer, Operands, cfg, pool};
use crate::error::Result;
use crate::import::shape::broadcast;
use crate::ir::{Act, BinaryOp, Op, PoolKind, ReduceKind, Unary, ValueId};

/// What a function computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// One by the tensor, or by its root.
    Reciprocal {
        root: bool,
    },
    /// Of Keras, whose epsilon is that of the norm, or of TensorFlow, whose epsilon is that of its square.
    Unit {
        squared: bool,
    },
    /// The mean square less the mean, or its root.
    Variance {
        root: bool,
    },
    /// The logarithm of the sum of exponentials.
    LogSumExp,
    SquaredDifference,
    Matmul,
    DepthToSpace,
    SpaceToDepth,
    Pool(PoolKind),
    /// All elements in one row.
    Ravel,
}

/// The function of a name in snake case, without its module.
pub(super) fn named(name: &str, keras: u32) -> Option<Way> {
    Some(match name {
        "reciprocal" => Way::Reciprocal { root: false },
        "rsqrt" => Way::Reciprocal { root: true },
        "normalize" if keras >= 3 => Way::Unit { squared: false },
        "l2_normalize" if keras < 3 => Way::Unit { squared: true },
        "var" | "reduce_variance" => Way::Variance { root: false },
        "std" | "reduce_std" => Way::Variance { root: true },
        "logsumexp" | "reduce_logsumexp" => Way::LogSumExp,
        "squared_difference" if keras < 3 => Way::SquaredDifference,
        "matmul" => Way::Matmul,
        "depth_to_space" => Way::DepthToSpace,
        "space_to_depth" => Way::SpaceToDepth,
        "max_pool" if keras >= 3 => Way::Pool(PoolKind::Max),
        "average_pool" if keras >= 3 => Way::Pool(PoolKind::Average),
        "ravel" if keras >= 3 => Way::Ravel,
        _ => return None,
    })
}

impl Way {
    /// Whether integers stay as they are.
    pub(super) fn keeps(self) -> bool {
        matches!(self, Way::DepthToSpace | Way::SpaceToDepth | Way::Ravel)
    }

    pub(super) fn emit(self, e: &mut Emit<'_>, b: &Bound<'_>, x: ValueId) -> Result<ValueId> {
        let shape = e.shape(x);
        match self {
            Way::Reciprocal { root } => {
                let x = if root { apply(e, x, &[Step::Act(Act::Sqrt)], false)? } else { x };
                let one = e.constant("one", &[1], vec![1.0])?;
                pair(e, "", BinaryOp::Div, one, x)
            }
            Way::Unit { squared } => {
                let default = if squared || b.is_null("axis") { None } else { Some(vec![-1]) };
                let axes = axes(e, b.integers(e, &["axis"], 1)?.or(default), &shape)?;
                let epsilon = match squared {
                    true => b.number(e, &["epsilon"], 2)?.unwrap_or(1e-12).sqrt(),
                    false => b.number(e, &["epsilon"], 3)?.unwrap_or(cfg::EPSILON),
                };
                if !squared && b.integers(e, &["order"], 2)?.is_some_and(|order| order != [2]) {
                    return Err(e.unsupported("a norm of another order than 2", "use order=2"));
                }
                unit(e, x, axes, epsilon)
            }
            Way::Variance { root } => {
                let (axes, keep_dims) = reduced(e, b, &shape)?;
                let mean = reduce(e, "mean", ReduceKind::Mean, x, &axes, true)?;
                let centred = pair(e, "centred", BinaryOp::Sub, x, mean)?;
                let square = pair(e, "square", BinaryOp::Mul, centred, centred)?;
                let y = reduce(e, if root { "variance" } else { "" }, ReduceKind::Mean, square, &axes, keep_dims)?;
                if root { apply(e, y, &[Step::Act(Act::Sqrt)], true) } else { Ok(y) }
            }
            Way::LogSumExp => {
                let (axes, keep_dims) = reduced(e, b, &shape)?;
                // Less a number even where the largest is none.
                let finite = [Step::Act(Act::Clamp { lo: f32::MIN, hi: f32::MAX })];
                let most = reduce(e, "largest", ReduceKind::Max, x, &axes, true)?;
                let most = apply(e, most, &finite, false)?;
                let less = pair(e, "less", BinaryOp::Sub, x, most)?;
                let exp = apply(e, less, &[Step::Act(Act::Exp)], false)?;
                let sum = reduce(e, "sum", ReduceKind::Sum, exp, &axes, keep_dims)?;
                let log = e.shape(sum);
                let log = e.node("log", Op::Unary(Unary::Log), &[sum], &log)?;
                let to = e.shape(sum);
                let most = if keep_dims { most } else { e.node("most", Op::Reshape, &[most], &to)? };
                pair(e, "", BinaryOp::Add, log, most)
            }
            Way::SquaredDifference => {
                let y = b.term(e, &["y"], 1)?;
                let less = pair(e, "less", BinaryOp::Sub, x, y)?;
                pair(e, "", BinaryOp::Mul, less, less)
            }
            Way::Matmul => matmul(e, b, x),
            Way::DepthToSpace | Way::SpaceToDepth => {
                let layout = b.text(e, &["data_format"], 2)?;
                let size = b.integers(e, &["block_size"], 1)?;
                let (Some(&[size]), &[n, h, w, c]) = (size.as_deref(), &shape[..]) else {
                    return Err(e.invalid(format!("blocks of {size:?} of {shape:?}")));
                };
                if layout.is_some_and(|layout| !matches!(layout, "NHWC" | "channels_last")) {
                    return Err(e.unsupported("channels first", "build the network with its channels last"));
                }
                let wrong = || e.invalid(format!("blocks of {size} of {shape:?}"));
                let s = usize::try_from(size).ok().filter(|s| (1..=1 << 15).contains(s)).ok_or_else(wrong)?;
                let apart = match self {
                    Way::DepthToSpace if c.is_multiple_of(s * s) => [n, h, w, s, s, c / (s * s)],
                    Way::SpaceToDepth if h.is_multiple_of(s) && w.is_multiple_of(s) => [n, h / s, s, w / s, s, c],
                    _ => return Err(wrong()),
                };
                let perm = vec![0, 1, 3, 2, 4, 5];
                let turned: Vec<usize> = perm.iter().map(|&a| apart[a]).collect();
                let to = match self {
                    Way::DepthToSpace => [n, h * s, w * s, c / (s * s)],
                    _ => [n, h / s, w / s, c * s * s],
                };
                let y = e.node("blocks", Op::Reshape, &[x], &apart)?;
                let y = e.node("turned", Op::Transpose { perm }, &[y], &turned)?;
                e.node("", Op::Reshape, &[y], &to)
            }
            Way::Pool(kind) => pool::function(e, b, x, kind),
            Way::Ravel => {
                let all = e.check(&shape)?;
                e.node("", Op::Reshape, &[x], &[all])
            }
        }
    }
}

/// Axes, each once and in order; all of them where none is named.
fn axes(e: &Emit<'_>, list: Option<Vec<i64>>, shape: &[usize]) -> Result<Vec<usize>> {
    let list = list.unwrap_or_else(|| (0..shape.len() as i64).collect());
    let mut axes = list.into_iter().map(|a| axis_of(e, a, shape.len())).collect::<Result<Vec<_>>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// The axes of a reduction, and whether they stay.
pub(super) fn reduced(e: &Emit<'_>, b: &Bound<'_>, shape: &[usize]) -> Result<(Vec<usize>, bool)> {
    let list = b.integers(e, &["axis", "axes"], 1)?;
    Ok((axes(e, list, shape)?, b.flag(e, &["keepdims", "keep_dims"], 2)?))
}

/// Appends a reduction.
pub(super) fn reduce(
    e: &mut Emit<'_>,
    part: &str,
    kind: ReduceKind,
    x: ValueId,
    axes: &[usize],
    keep_dims: bool,
) -> Result<ValueId> {
    let shape = e.shape(x);
    let extents = shape.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { keep_dims.then_some(1) } else { Some(d) });
    let out: Vec<usize> = extents.flatten().collect();
    e.node(part, Op::Reduce { kind, axes: axes.to_vec(), keep_dims }, &[x], &out)
}

/// `x / max(sqrt(sum of squares), least)` along axes.
fn unit(e: &mut Emit<'_>, x: ValueId, axes: Vec<usize>, least: f32) -> Result<ValueId> {
    let square = pair(e, "square", BinaryOp::Mul, x, x)?;
    let sum = reduce(e, "sum", ReduceKind::Sum, square, &axes, true)?;
    let steps = [Step::Act(Act::Sqrt), Step::Act(Act::Clamp { lo: least, hi: f32::INFINITY })];
    let norm = apply(e, sum, &steps, false)?;
    pair(e, "", BinaryOp::Div, x, norm)
}

/// `UnitNormalization`: along axes, of which there may be several.
struct UnitNormalization {
    axes: Vec<i64>,
    least: f32,
}

/// `UnitNormalization`.
pub(super) fn unit_normalization(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let axes = super::norm::axes(cfg, "axis")?;
    // Keras 2 compares squares.
    Ok(Box::new(UnitNormalization { axes, least: if cfg.keras >= 3 { 1e-12 } else { 1e-6 } }))
}

impl Layer for UnitNormalization {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let axes = axes(e, Some(self.axes.clone()), e.graph.shape(x))?;
        unit(e, x, axes, self.least)
    }
}

/// Appends a product of two matrices, or of many; the second may be a constant.
fn matmul(e: &mut Emit<'_>, b: &Bound<'_>, x: ValueId) -> Result<ValueId> {
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

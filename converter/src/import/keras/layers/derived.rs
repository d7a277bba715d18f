//! Functions that are made of several operators: norms, moments, blocks of pixels, products and pools.

use super::activation::{Step, apply, axis_of};
use super::function::Bound;
use super::merge::pair;
use super::slicing::{self, own};
use super::{Cfg, Emit, Layer, Operands, cfg, pool, products};
use crate::error::Result;
use crate::import::parts::{self, MAX_PIECES};
use crate::ir::{Act, BinaryOp, Op, PoolKind, ReduceKind, ValueId};

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
    /// Each element less the one before it.
    Difference,
    /// The largest element less the smallest.
    Extent,
    /// One half times the sigmoid of the other.
    Gated,
    /// A smooth ramp of a root.
    SquarePlus,
    /// Red, green and blue to how bright they are.
    Grey,
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
        "diff" if keras >= 3 => Way::Difference,
        "ptp" if keras >= 3 => Way::Extent,
        "glu" if keras >= 3 => Way::Gated,
        "squareplus" if keras >= 3 => Way::SquarePlus,
        "rgb_to_grayscale" if keras >= 3 => Way::Grey,
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
                unit(e, "", x, &axes, epsilon)
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
                parts::log_sum_exp(e, x, &axes, keep_dims).map_err(|fail| own(e, fail))
            }
            Way::SquaredDifference => {
                let y = b.term(e, &["y"], 1)?;
                let less = pair(e, "less", BinaryOp::Sub, x, y)?;
                pair(e, "", BinaryOp::Mul, less, less)
            }
            Way::Matmul => products::matmul(e, b, x),
            Way::DepthToSpace | Way::SpaceToDepth => {
                b.channels_last(e, 2)?;
                let size = b.integers(e, &["block_size"], 1)?;
                let (Some(&[size]), &[n, h, w, c]) = (size.as_deref(), &shape[..]) else {
                    return Err(e.invalid(format!("blocks of {size:?} of {shape:?}")));
                };
                let wrong = || e.invalid(format!("blocks of {size} of {shape:?}"));
                let s = usize::try_from(size).ok().filter(|s| (1..=1 << 15).contains(s)).ok_or_else(wrong)?;
                let apart = match self {
                    Way::DepthToSpace if c.is_multiple_of(s * s) => [n, h, w, s, s, c / (s * s)],
                    Way::SpaceToDepth if h.is_multiple_of(s) && w.is_multiple_of(s) => [n, h / s, s, w / s, s, c],
                    _ => return Err(wrong()),
                };
                let to = match self {
                    Way::DepthToSpace => [n, h * s, w * s, c / (s * s)],
                    _ => [n, h / s, w / s, c * s * s],
                };
                parts::shuffled(e, x, &apart, vec![0, 1, 3, 2, 4, 5], &to).map_err(|fail| own(e, fail))
            }
            Way::Pool(kind) => pool::function(e, b, x, kind),
            Way::Difference => {
                let times = b.whole(e, &["n"], 1, 1)?;
                let axis = axis_of(e, b.whole(e, &["axis"], 2, -1)?, shape.len())?;
                if !(0..=MAX_PIECES as i64).contains(&times) || times >= shape[axis] as i64 {
                    return Err(e.unsupported(format!("{times} differences of {} elements", shape[axis]), "take fewer"));
                }
                let mut y = x;
                for i in 0..times {
                    let mut parts = parts::whole(&e.shape(y));
                    parts[axis].1 -= 1;
                    let before = slicing::part(e, &format!("{i}/before"), y, parts.clone())?;
                    parts[axis].0 = 1;
                    let after = slicing::part(e, &format!("{i}/after"), y, parts)?;
                    let part = if i + 1 == times { String::new() } else { i.to_string() };
                    y = pair(e, &part, BinaryOp::Sub, after, before)?;
                }
                Ok(y)
            }
            Way::Extent => {
                let (axes, keep_dims) = reduced(e, b, &shape)?;
                let largest = reduce(e, "largest", ReduceKind::Max, x, &axes, keep_dims)?;
                let smallest = reduce(e, "smallest", ReduceKind::Min, x, &axes, keep_dims)?;
                pair(e, "", BinaryOp::Sub, largest, smallest)
            }
            Way::Gated => {
                let axis = axis_of(e, b.whole(e, &["axis"], 1, -1)?, shape.len())?;
                let half = shape[axis] / 2;
                if half == 0 || !shape[axis].is_multiple_of(2) {
                    return Err(e.invalid(format!("{} elements have no halves", shape[axis])));
                }
                let [value, gate] = slicing::split(e, x, axis, &[half, half])?[..] else { return Err(e.invalid("has no halves")) };
                let gate = apply(e, gate, &[Step::Act(Act::Sigmoid)], false)?;
                pair(e, "", BinaryOp::Mul, value, gate)
            }
            Way::SquarePlus => {
                let smooth = b.number(e, &["b"], 1)?.unwrap_or(4.0);
                let square = pair(e, "square", BinaryOp::Mul, x, x)?;
                let root = apply(e, square, &[Step::Shift(smooth), Step::Act(Act::Sqrt)], false)?;
                let sum = pair(e, "sum", BinaryOp::Add, x, root)?;
                apply(e, sum, &[Step::Scale(0.5)], true)
            }
            Way::Grey => {
                b.channels_last(e, 1)?;
                let [lead @ .., 3] = &shape[..] else { return Err(e.invalid(format!("colours of {shape:?}"))) };
                let weights = e.constant("weights", &[3, 1], vec![0.2989, 0.587, 0.114])?;
                e.node("", Op::Dense { bias: false, act: Act::None }, &[x, weights], &[lead, &[1]].concat())
            }
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
pub(super) fn unit(e: &mut Emit<'_>, part: &str, x: ValueId, axes: &[usize], least: f32) -> Result<ValueId> {
    let square = pair(e, "square", BinaryOp::Mul, x, x)?;
    let sum = reduce(e, "sum", ReduceKind::Sum, square, axes, true)?;
    let steps = [Step::Act(Act::Sqrt), Step::Act(Act::Clamp { lo: least, hi: f32::INFINITY })];
    let norm = apply(e, sum, &steps, false)?;
    pair(e, part, BinaryOp::Div, x, norm)
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
        unit(e, "", x, &axes, self.least)
    }
}

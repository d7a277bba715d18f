//! `x * scale + shift` along the last axis, in f64.
use crate::error::{Result, invalid};
use crate::ir::{Act, BinaryOp, Graph, Node, Op, ValueId};
use crate::passes::{Report, ScaleRange};
use crate::preprocessing::KIND;

/// Most channels for which one number is spread out: it must not make a small file large.
const MOST_CHANNELS: usize = 1 << 12;

/// A variance below which a channel is as good as constant.
const TINY_VARIANCE: f32 = 1e-8;

/// One or several batch norms, scales and shifts in a row.
#[derive(Clone, Debug)]
pub(in crate::passes) struct Affine {
    pub(super) scale: Vec<f64>,
    pub(super) shift: Vec<f64>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    name: String,
    kind: String,
    /// Of a batch norm.
    range: Option<ScaleRange>,
}

impl Affine {
    /// The affine function that a node computes along the last axis, and of what.
    pub(super) fn of(g: &Graph, n: &Node) -> Result<Option<(ValueId, Affine)>> {
        let shape = g.shape(n.output);
        let Some(&channels) = shape.last() else { return Ok(None) };
        match &n.op {
            Op::BatchNorm { axis, .. } if axis + 1 == shape.len() => Ok(Some((n.inputs[0], Self::of_batch_norm(g, n)?))),
            Op::ScaleShift { act: Act::None } => {
                let [scale, shift] = [1, 2].map(|i| wide(g, n.inputs[i]));
                Ok(Some((n.inputs[0], Self::new(n, scale, shift, None))))
            }
            Op::Binary { op, act: Act::None } => {
                let (x, c, first) = match (g.data(n.inputs[0]), g.data(n.inputs[1])) {
                    (None, Some(_)) => (n.inputs[0], n.inputs[1], false),
                    (Some(_), None) => (n.inputs[1], n.inputs[0], true),
                    _ => return Ok(None),
                };
                let along_last = g.shape(c).len() <= shape.len() && g.shape(c).iter().rev().skip(1).all(|&d| d == 1);
                let mut c = wide(g, c);
                if g.shape(x) != shape || !along_last || (c.len() == 1 && channels > MOST_CHANNELS) {
                    return Ok(None);
                }
                if c.len() == 1 {
                    c = vec![c[0]; channels];
                }
                let all = |v: f64| vec![v; channels];
                let (scale, shift) = match (op, first) {
                    (BinaryOp::Add, _) => (all(1.0), c),
                    (BinaryOp::Sub, false) => (all(1.0), c.iter().map(|c| -c).collect()),
                    (BinaryOp::Sub, true) => (all(-1.0), c),
                    (BinaryOp::Mul, _) => (c, all(0.0)),
                    (BinaryOp::Div, false) => (c.iter().map(|c| 1.0 / c).collect(), all(0.0)),
                    _ => return Ok(None),
                };
                let fits = |v: &Vec<f64>| v.iter().all(|x| x.abs() <= f64::from(f32::MAX));
                let found = fits(&scale) && fits(&shift);
                Ok(found.then(|| (x, Self::new(n, scale, shift, None))))
            }
            _ => Ok(None),
        }
    }

    /// The scale and shift of a batch norm, along whatever axis.
    pub(in crate::passes) fn of_batch_norm(g: &Graph, n: &Node) -> Result<Affine> {
        let Op::BatchNorm { epsilon, .. } = n.op else { return Ok(Self::new(n, Vec::new(), Vec::new(), None)) };
        let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| wide(g, n.inputs[i]));
        let (mut scale, mut shift) = (Vec::new(), Vec::new());
        for c in 0..gamma.len() {
            let spread = variance[c] + f64::from(epsilon);
            if spread <= 0.0 || spread.is_nan() {
                return Err(invalid(format!(
                    "node '{}' ({}): channel {c} has variance {} and epsilon {epsilon}, whose sum has no inverse square root; \
                     the moving variance must not be negative",
                    n.name, n.kind, variance[c]
                )));
            }
            scale.push(gamma[c] / spread.sqrt());
            shift.push(beta[c] - mean[c] * scale[c]);
        }
        let tiny_variance = variance.iter().filter(|&&v| v < f64::from(TINY_VARIANCE)).count();
        let range = ScaleRange { tiny_variance, ..ScaleRange::of(&scale) };
        Ok(Self::new(n, scale, shift, Some(range)))
    }

    fn new(n: &Node, scale: Vec<f64>, shift: Vec<f64>, range: Option<ScaleRange>) -> Self {
        Affine { scale, shift, parts: vec![Part { name: n.name.clone(), kind: n.kind.clone(), range }] }
    }

    /// Scale and shift of a channel, of an axis that holds several sets of them.
    pub(super) fn of_channel(&self, c: usize) -> (f64, f64) {
        let c = c % self.scale.len();
        (self.scale[c], self.shift[c])
    }

    /// Applies `next` to the result.
    pub(super) fn then(&mut self, next: Affine) {
        for ((s, t), (ns, nt)) in self.scale.iter_mut().zip(&mut self.shift).zip(next.scale.iter().zip(&next.shift)) {
            *s *= ns;
            *t = *t * ns + nt;
        }
        self.parts.extend(next.parts);
    }

    /// The name of its first batch norm, or of its first part.
    pub(super) fn name(&self) -> &str {
        let norm = self.parts.iter().find(|p| p.range.is_some());
        norm.or(self.parts.first()).map_or("", |p| &p.name)
    }

    /// The names of its batch norms.
    pub(super) fn norms(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter(|p| p.range.is_some()).map(|p| p.name.as_str())
    }

    /// Records what became of it: `Ok` of the place it folded into, or `Err` of why it stands alone.
    pub(in crate::passes) fn report(&self, report: &mut Report, fate: std::result::Result<String, String>) {
        let folded = fate.is_ok();
        let (Ok(reason) | Err(reason)) = fate;
        for p in &self.parts {
            if p.kind == KIND {
                report.preprocessing = Some(if folded { Ok(reason.clone()) } else { Err(reason.clone()) });
            }
            match p.range {
                Some(range) => report.decide(&p.name, folded, reason.clone(), range),
                None if folded => report.note("fold_batch_norm", format!("{} '{}' {reason}", p.kind, p.name)),
                None => report.note("fold_batch_norm", format!("{} '{}' stands alone: {reason}", p.kind, p.name)),
            }
        }
    }

    /// The scale and the shift, rounded.
    pub(in crate::passes) fn rounded(&self) -> [Vec<f32>; 2] {
        [&self.scale, &self.shift].map(|v| v.iter().map(|&x| x as f32).collect())
    }
}

fn wide(g: &Graph, v: ValueId) -> Vec<f64> {
    g.data(v).map_or(Vec::new(), |d| d.iter().map(|&x| f64::from(x)).collect())
}

//! `x * scale + shift` along the last axis, in f64.
use crate::error::{Result, invalid};
use crate::ir::{Act, BinaryOp, Graph, Node, Op, ValueId};
use crate::names::title;
use crate::passes::{Report, ScaleRange};
use crate::preprocessing::KIND;
use std::collections::HashMap;
use std::sync::Arc;

/// Most channels for which one number is spread out: it must not make a small file large.
pub(in crate::passes) const MOST_CHANNELS: usize = 1 << 12;

/// A variance below which a channel is as good as constant.
const TINY_VARIANCE: f32 = 1e-8;

/// Elements of scales and shifts that one number each is spread to, or that follow one another, beyond the constants that there are:
/// a small file must not make many of them.
const MOST_MADE: usize = 1 << 23;

/// One or several batch norms, scales and shifts in a row.
#[derive(Clone, Debug)]
pub(in crate::passes) struct Affine {
    values: Arc<Values>,
    parts: Vec<Part>,
}

/// The same for all nodes that have the same constants.
#[derive(Debug)]
pub(in crate::passes) struct Values {
    pub(super) scale: Vec<f64>,
    pub(super) shift: Vec<f64>,
    /// Whether all scales are 1.
    pub(super) unit: bool,
    /// Whether all shifts are 0.
    pub(super) centred: bool,
    /// Of a batch norm.
    range: Option<ScaleRange>,
}

#[derive(Clone, Debug)]
struct Part {
    name: String,
    kind: String,
    /// Of a batch norm.
    range: Option<ScaleRange>,
}

/// What nodes of a kind make of the data of some inputs, of which `None` is the one that is computed.
type Key = (String, Vec<Option<*const Vec<f32>>>, usize);

/// A constant, which stays where it is.
type Kept = Arc<Vec<f32>>;

/// The affine functions of a graph's nodes. A layer that is called often has one.
pub(in crate::passes) struct Affines {
    known: HashMap<Key, (Vec<Kept>, Option<Arc<Values>>)>,
    joined: HashMap<[*const Values; 2], [Arc<Values>; 3]>,
    /// Elements that may still be made.
    left: usize,
}

impl Affines {
    pub(in crate::passes) fn new(g: &Graph) -> Self {
        Affines { known: HashMap::new(), joined: HashMap::new(), left: 2 * g.elements_of_constants() + MOST_MADE }
    }

    /// The affine function that a node computes along the last axis, and of what.
    pub(super) fn of(&mut self, g: &Graph, n: &Node) -> Result<Option<(ValueId, Affine)>> {
        let shape = g.shape(n.output);
        let Some(&channels) = shape.last() else { return Ok(None) };
        match &n.op {
            Op::BatchNorm { axis, .. } if axis + 1 == shape.len() => Ok(Some((n.inputs[0], self.of_batch_norm(g, n)?))),
            Op::ScaleShift { act: Act::None } => {
                let make = || Ok(Some(Values::new(wide(g, n.inputs[1]), wide(g, n.inputs[2]), None)));
                let found = self.find(g, n, 0, channels, make)?;
                Ok(found.map(|a| (n.inputs[0], a)))
            }
            Op::Binary { op, act: Act::None } => {
                let (x, c, first) = match (g.data(n.inputs[0]), g.data(n.inputs[1])) {
                    (None, Some(_)) => (n.inputs[0], n.inputs[1], false),
                    (Some(_), None) => (n.inputs[1], n.inputs[0], true),
                    _ => return Ok(None),
                };
                let along_last = g.shape(c).len() <= shape.len() && g.shape(c).iter().rev().skip(1).all(|&d| d == 1);
                let one = g.data(c).is_some_and(|c| c.len() == 1);
                if g.shape(x) != shape || !along_last || (one && channels > MOST_CHANNELS) || 2 * channels > self.left {
                    return Ok(None);
                }
                let make = || {
                    let mut c = wide(g, c);
                    if one {
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
                    Ok((fits(&scale) && fits(&shift)).then(|| Values::new(scale, shift, None)))
                };
                let found = self.find(g, n, usize::from(first), channels, make)?;
                Ok(found.map(|a| (x, a)))
            }
            _ => Ok(None),
        }
    }

    /// The scale and shift of a batch norm, along whatever axis.
    pub(in crate::passes) fn of_batch_norm(&mut self, g: &Graph, n: &Node) -> Result<Affine> {
        let Op::BatchNorm { epsilon, .. } = n.op else { return Ok(Affine::new(n, Arc::new(Values::new(vec![], vec![], None)))) };
        let channels = g.shape(n.inputs[1])[0];
        let make = || {
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
            Ok(Some(Values::new(scale, shift, Some(range))))
        };
        let found = self.find(g, n, 0, channels, make)?;
        found.ok_or_else(|| invalid(format!("node '{}' ({}): no batch norm", n.name, n.kind)))
    }

    /// What is known of a node whose input `computed` is no constant, or what `make` makes.
    fn find(
        &mut self,
        g: &Graph,
        n: &Node,
        computed: usize,
        channels: usize,
        make: impl FnOnce() -> Result<Option<Values>>,
    ) -> Result<Option<Affine>> {
        // One constant may be there under many names.
        let inputs = n.inputs.iter().enumerate().map(|(i, &v)| g.data(v).filter(|_| i != computed));
        let (kept, inputs) = (inputs.clone().flatten().cloned().collect(), inputs.map(|data| data.map(Arc::as_ptr)).collect());
        let key = (format!("{:?}", n.op), inputs, channels);
        let values = match self.known.get(&key) {
            Some((_, values)) => values.clone(),
            None => {
                if !self.pay(channels) {
                    return Err(invalid(format!(
                        "node '{}' ({}): the batch norms have too few constants between them for their channels: use each with \
                         constants of its own",
                        n.name, n.kind
                    )));
                }
                let values = make()?.map(Arc::new);
                self.known.insert(key, (kept, values.clone()));
                values
            }
        };
        Ok(values.map(|values| Affine::new(n, values)))
    }

    /// Takes a scale and a shift off what may be made.
    fn pay(&mut self, channels: usize) -> bool {
        let left = self.left.checked_sub(2 * channels);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// Applies `next` to the result of `first`, unless too much was made already.
    pub(super) fn join(&mut self, first: &mut Affine, next: Affine) -> std::result::Result<(), Affine> {
        let key = [Arc::as_ptr(&first.values), Arc::as_ptr(&next.values)];
        let values = match self.joined.get(&key) {
            Some([.., values]) => values.clone(),
            None => {
                let (a, b) = (&first.values, &next.values);
                if !self.pay(a.scale.len()) {
                    return Err(next);
                }
                let scale = a.scale.iter().zip(&b.scale).map(|(s, n)| s * n).collect();
                let shift = a.shift.iter().zip(b.scale.iter().zip(&b.shift)).map(|(t, (ns, nt))| t * ns + nt).collect();
                let values = Arc::new(Values::new(scale, shift, None));
                self.joined.insert(key, [a.clone(), b.clone(), values.clone()]);
                values
            }
        };
        first.values = values;
        first.parts.extend(next.parts);
        Ok(())
    }
}

impl Values {
    fn new(scale: Vec<f64>, shift: Vec<f64>, range: Option<ScaleRange>) -> Self {
        let (unit, centred) = (scale.iter().all(|&s| s == 1.0), shift.iter().all(|&t| t == 0.0));
        Values { scale, shift, unit, centred, range }
    }
}

impl Affine {
    fn new(n: &Node, values: Arc<Values>) -> Self {
        let part = Part { name: n.name.clone(), kind: n.kind.clone(), range: values.range };
        Affine { values, parts: vec![part] }
    }

    /// Its scale and shift.
    pub(in crate::passes) fn values(&self) -> &Arc<Values> {
        &self.values
    }

    /// Scale and shift of a channel, of an axis that holds several sets of them.
    pub(super) fn of_channel(&self, c: usize) -> (f64, f64) {
        let c = c % self.values.scale.len();
        (self.values.scale[c], self.values.shift[c])
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
                None if folded => report.note("fold_batch_norm", format!("{} {reason}", title(&p.kind, &p.name))),
                None => report.note("fold_batch_norm", format!("{} stands alone: {reason}", title(&p.kind, &p.name))),
            }
        }
    }

    /// The scale and the shift, rounded.
    pub(in crate::passes) fn rounded(&self) -> [Vec<f32>; 2] {
        [&self.values.scale, &self.values.shift].map(|v| v.iter().map(|&x| x as f32).collect())
    }
}

fn wide(g: &Graph, v: ValueId) -> Vec<f64> {
    g.data(v).map_or(Vec::new(), |d| d.iter().map(|&x| f64::from(x)).collect())
}

//! Weights that affines fold into: what has gathered before they are rounded.
use super::affine::Affine;
use crate::error::{Result, invalid};
use crate::ir::{Graph, Node, Op};
use crate::passes::Report;
use crate::passes::edit::Edit;
use std::sync::Arc;

/// `y = scale * (W (before * x)) + bias`, W being the weights of the source.
pub(super) struct Target {
    weights: Arc<Vec<f32>>,
    place: Place,
    before: Vec<f64>,
    scale: Vec<f64>,
    bias: Vec<f64>,
    /// The batch norms among what was taken.
    norms: Vec<String>,
}

/// Which input and which output channel an element of the weights connects.
#[derive(Clone, Copy)]
enum Place {
    /// `[.., inputs per group, outputs]`.
    OutputsLast { inputs_per_group: usize, outputs: usize, outputs_per_group: usize },
    /// `[.., outputs per group, inputs]`.
    InputsLast { outputs_per_group: usize, inputs: usize, inputs_per_group: usize },
}

impl Place {
    /// (input, output) of element `i`.
    fn of(self, i: usize) -> (usize, usize) {
        match self {
            Place::OutputsLast { inputs_per_group, outputs, outputs_per_group } => {
                let o = i % outputs;
                (o / outputs_per_group * inputs_per_group + i / outputs % inputs_per_group, o)
            }
            Place::InputsLast { outputs_per_group, inputs, inputs_per_group } => {
                let c = i % inputs;
                (c, c / inputs_per_group * outputs_per_group + i / inputs % outputs_per_group)
            }
        }
    }
}

impl Target {
    /// The weights of a convolution, transposed convolution or Dense.
    pub(super) fn new(g: &Graph, n: &Node) -> Self {
        let w = g.shape(n.inputs[1]);
        let inputs = g.shape(n.inputs[0]).last().copied().unwrap_or(1);
        let outputs = g.shape(n.output).last().copied().unwrap_or(1);
        let (place, bias) = match n.op {
            Op::Conv { groups, bias, .. } => {
                (Place::OutputsLast { inputs_per_group: w[2], outputs, outputs_per_group: outputs / groups }, bias)
            }
            Op::ConvTranspose { groups, bias, .. } => {
                (Place::InputsLast { outputs_per_group: w[2], inputs, inputs_per_group: inputs / groups }, bias)
            }
            Op::Dense { bias, .. } => (Place::OutputsLast { inputs_per_group: inputs, outputs, outputs_per_group: outputs }, bias),
            _ => (Place::OutputsLast { inputs_per_group: 1, outputs: 1, outputs_per_group: 1 }, false),
        };
        let bias = match g.data(n.inputs[n.inputs.len().min(3) - 1]) {
            Some(b) if bias => b.iter().map(|&b| f64::from(b)).collect(),
            _ => vec![0.0; outputs],
        };
        let weights = g.data(n.inputs[1]).cloned().unwrap_or_default();
        Target { weights, place, before: vec![1.0; inputs], scale: vec![1.0; outputs], bias, norms: Vec::new() }
    }

    /// Takes an affine of the result; it repeats if it has fewer channels.
    pub(super) fn behind(&mut self, a: &Affine) {
        self.norms.extend(a.norms().map(str::to_owned));
        for o in 0..self.scale.len() {
            let (scale, shift) = a.of_channel(o);
            self.scale[o] *= scale;
            self.bias[o] = self.bias[o] * scale + shift;
        }
    }

    /// Takes an affine of the input; it repeats if it has fewer channels.
    pub(super) fn before(&mut self, a: &Affine) {
        self.norms.extend(a.norms().map(str::to_owned));
        for (i, &w) in self.weights.iter().enumerate() {
            let (c, o) = self.place.of(i);
            self.bias[o] += self.scale[o] * (f64::from(w) * self.before[c]) * a.of_channel(c).1;
        }
        self.before.iter_mut().enumerate().for_each(|(c, b)| *b *= a.of_channel(c).0);
    }

    /// Gives node `i` the new weights and a bias.
    pub(super) fn write(self, e: &mut Edit, i: usize, report: &mut Report) -> Result<()> {
        let Some(n) = e.visit(i) else { return Ok(()) };
        let mut denormal = 0;
        let mut round = |x: f64| {
            let y = x as f32;
            denormal += usize::from(y.is_subnormal());
            if y.is_subnormal() { 0.0 } else { y }
        };
        let bias: Vec<f32> = self.bias.iter().map(|&b| round(b)).collect();
        let same = self.before.iter().chain(&self.scale).all(|&s| s == 1.0);
        let scaled = |(i, &w): (usize, &f32)| {
            let (c, o) = self.place.of(i);
            round(f64::from(w) * (self.before[c] * self.scale[o]))
        };
        let weights: Vec<f32> = if same { Vec::new() } else { self.weights.iter().enumerate().map(scaled).collect() };
        if let Some(bad) = weights.iter().chain(&bias).find(|x| !x.is_finite()) {
            return Err(invalid(format!(
                "node '{}' ({}): a batch norm of enormous scale folded into it gives a weight of {bad}",
                n.name, n.kind
            )));
        }
        if denormal > 0 {
            report.note("fold_batch_norm", format!("{denormal} denormal weights of {} became zero", n.title()));
        }
        report.of_folded(&self.norms, |fold| fold.denormal = denormal);
        let mut inputs = n.inputs.clone();
        if !same {
            let shape = e.shape(inputs[1]).to_vec();
            inputs[1] = e.constant(e.graph.values[inputs[1].0].name.clone(), &shape, weights);
        }
        let mut op = n.op.clone();
        if let Op::Conv { bias: has, .. } | Op::ConvTranspose { bias: has, .. } | Op::Dense { bias: has, .. } = &mut op {
            let name = if *has { e.graph.values[inputs[2].0].name.clone() } else { format!("{}/bias", n.name) };
            let bias = e.constant(name, &[bias.len()], bias);
            if std::mem::replace(has, true) {
                inputs[2] = bias;
            } else {
                inputs.insert(2, bias);
            }
            report.targets.push((bias, self.norms));
        }
        e.rewrite(i, op, inputs);
        Ok(())
    }
}

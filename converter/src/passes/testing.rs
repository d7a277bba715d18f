//! What the passes' tests share.
use crate::interp::interpret;
use crate::ir::{Act, BinaryOp, Graph, Op, Pads, ValueId, Window};
use std::sync::Arc;

/// How far a function may be off, as a share of its range, by the rounding of folded weights to f32: some 1e-7, but a hundred times as
/// much where a folded shift nearly cancels the rest, as one of 30 does in a saved case.
pub(super) const ROUNDING: f64 = 1e-5;

/// Small numbers that are exact in f32, and whose products and short sums are exact in f64.
pub(super) struct Numbers(pub(super) u32);

impl Numbers {
    pub(super) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((self.0 >> 24) as f32 - 128.0) / 32.0
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % n
    }

    pub(super) fn many(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }

    pub(super) fn constant(&mut self, g: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
        let data = self.many(shape.iter().product());
        g.constant(name, shape, Arc::new(data))
    }
}

pub(super) fn binary(op: BinaryOp, act: Act) -> Op {
    Op::Binary { op, act }
}

/// Declares the outputs.
pub(super) fn finish(mut g: Graph, outputs: &[ValueId]) -> Graph {
    g.outputs = outputs.to_vec();
    g.output_names = (0..outputs.len()).map(|i| format!("y{i}")).collect();
    g.verify().unwrap();
    g
}

/// A square window with equal strides, padding (top, left, bottom, right).
pub(super) fn window(kernel: usize, stride: usize, pads: [usize; 4]) -> Window {
    let [top, left, bottom, right] = pads;
    Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pads: Pads { top, left, bottom, right } }
}

/// A convolution with random weights, named after its output.
pub(super) fn conv(
    g: &mut Graph,
    r: &mut Numbers,
    name: &str,
    x: ValueId,
    channels: usize,
    groups: usize,
    bias: bool,
    window: Window,
) -> ValueId {
    let [n, h, w, c]: [usize; 4] = g.shape(x).try_into().unwrap();
    let p = window.pads;
    let extent =
        |d, i: usize, pad| crate::ir::verify::windowed(d, window.kernel[i], window.stride[i], window.dilation[i], pad).unwrap();
    let shape = [n, extent(h, 0, (p.top, p.bottom)), extent(w, 1, (p.left, p.right)), channels];
    let weights = r.constant(g, &format!("{name}_w"), &[window.kernel[0], window.kernel[1], c / groups, channels]);
    let mut inputs = vec![x, weights];
    if bias {
        inputs.push(r.constant(g, &format!("{name}_b"), &[channels]));
    }
    let op = Op::Conv { window, groups, bias, residual: false, pre_relu: false, act: Act::None };
    g.node(name, "Conv", op, &inputs, &shape)
}

/// A batch norm along `axis` with random parameters.
pub(super) fn batch_norm(g: &mut Graph, r: &mut Numbers, name: &str, x: ValueId, axis: usize) -> ValueId {
    let shape = g.shape(x).to_vec();
    let c = shape[axis];
    let vectors = ["gamma", "beta", "mean"].map(|what| r.constant(g, &format!("{name}_{what}"), &[c]));
    let variance = (0..c).map(|_| r.next().abs() + 0.25).collect();
    let variance = g.constant(format!("{name}_variance"), &[c], Arc::new(variance));
    let inputs = [x, vectors[0], vectors[1], vectors[2], variance];
    g.node(name, "BatchNormalization", Op::BatchNorm { axis, epsilon: 1e-3 }, &inputs, &shape)
}

/// Runs both graphs on the same numbers; the largest difference, relative to the largest output.
pub(super) fn same_function(before: &Graph, after: &Graph) -> f64 {
    let mut r = Numbers(7);
    let random = |v: &ValueId| r.many(before.shape(*v).iter().product()).into_iter().map(f64::from).collect();
    let inputs: Vec<Vec<f64>> = before.inputs.iter().map(random).collect();
    let [a, b] = [before, after].map(|g| interpret(g, &inputs, &mut |_, _| ()).unwrap());
    assert_eq!(a.len(), b.len());
    let mut worst = 0.0f64;
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.len(), b.len());
        let scale = a.iter().fold(1.0f64, |m, x| m.max(x.abs()));
        let error = a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(!error.is_nan());
        worst = worst.max(error / scale);
    }
    worst
}

/// Whether every value of the result that has an origin holds what it says; how many do.
pub(super) fn same_values(before: &Graph, after: &Graph, origins: &super::Origins) -> usize {
    let mut r = Numbers(7);
    let random = |v: &ValueId| r.many(before.shape(*v).iter().product()).into_iter().map(f64::from).collect();
    let inputs: Vec<Vec<f64>> = before.inputs.iter().map(random).collect();
    let [a, b] = [before, after].map(|g| {
        let mut all = std::collections::HashMap::new();
        let mut keep = |v, x: &[f64]| drop(all.insert(v, x.to_vec()));
        crate::interp::interpret_observed(g, inputs.clone(), &mut keep).unwrap();
        all
    });
    let mut compared = 0;
    for n in &after.nodes {
        let (Some(o), y) = (origins.get(n.output), &b[&n.output]) else { continue };
        let Some(x) = a.get(&o.value) else { continue };
        let moved = crate::interp::transpose(y, after.shape(n.output), &o.axes);
        assert_eq!(x.len(), moved.len(), "{}", o.name);
        let scale = x.iter().fold(1.0f64, |m, x| m.max(x.abs()));
        let error = x.iter().zip(&moved).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(error / scale < ROUNDING, "{} ({}): {error}\n{before}\n{after}", o.name, n.name);
        compared += 1;
    }
    compared
}

//! What the passes' tests share.
use crate::interp::{interpret, interpret_observed};
use crate::ir::{Act, BinaryOp, Graph, Op, Pads, ValueId, Window};
use std::collections::HashMap;
use std::sync::Arc;

/// How far a function may be off, as a share of its range, by the rounding of folded weights to f32. It may be farther
/// where their last places move it as far: a shift of 30 that nearly cancels the rest cannot be folded any better.
const ROUNDING: f64 = 2e-6;

/// Small numbers that are exact in f32, and whose products and short sums are exact in f64.
pub(crate) struct Numbers(pub(crate) u32);

impl Numbers {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((self.0 >> 24) as f32 - 128.0) / 32.0
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % n
    }

    pub(crate) fn many(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }

    pub(crate) fn constant(&mut self, g: &mut Graph, name: &str, shape: &[usize]) -> ValueId {
        let data = self.many(shape.iter().product());
        g.constant(name, shape, Arc::new(data))
    }
}

pub(crate) fn binary(op: BinaryOp, act: Act) -> Op {
    Op::Binary { op, act }
}

/// Declares the outputs.
pub(crate) fn finish(mut g: Graph, outputs: &[ValueId]) -> Graph {
    g.outputs = outputs.to_vec();
    g.output_names = (0..outputs.len()).map(|i| format!("y{i}")).collect();
    g.verify().unwrap();
    g
}

/// A square window with equal strides, padding (top, left, bottom, right).
pub(crate) fn window(kernel: usize, stride: usize, pads: [usize; 4]) -> Window {
    let [top, left, bottom, right] = pads;
    Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pads: Pads { top, left, bottom, right } }
}

/// A convolution with random weights, named after its output.
pub(crate) fn conv(
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
pub(crate) fn batch_norm(g: &mut Graph, r: &mut Numbers, name: &str, x: ValueId, axis: usize) -> ValueId {
    let shape = g.shape(x).to_vec();
    let c = shape[axis];
    let vectors = ["gamma", "beta", "mean"].map(|what| r.constant(g, &format!("{name}_{what}"), &[c]));
    let variance = (0..c).map(|_| r.next().abs() + 0.25).collect();
    let variance = g.constant(format!("{name}_variance"), &[c], Arc::new(variance));
    let inputs = [x, vectors[0], vectors[1], vectors[2], variance];
    g.node(name, "BatchNormalization", Op::BatchNorm { axis, epsilon: 1e-3 }, &inputs, &shape)
}

/// Runs both graphs on the same numbers; the largest difference, relative to the largest output.
pub(crate) fn same_function(before: &Graph, after: &Graph) -> f64 {
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

/// Every value of a graph, its outputs last.
struct Values(HashMap<ValueId, Vec<f64>>, Vec<Vec<f64>>);

fn values(g: &Graph, inputs: &[Vec<f64>]) -> Values {
    let mut all = HashMap::new();
    let mut keep = |v, x: &[f64]| drop(all.insert(v, x.to_vec()));
    let outputs = interpret_observed(g, inputs.to_vec(), &mut keep).unwrap();
    Values(all, outputs)
}

/// The graph, once for each of the weights that the source does not have, with that one's last place one higher.
fn with_other_last_places(before: &Graph, after: &Graph) -> Vec<Graph> {
    let known = |data: &Arc<Vec<f32>>| before.values.iter().any(|v| v.data.as_ref() == Some(data));
    let folded = (0..after.values.len()).filter(|&i| after.values[i].data.as_ref().is_some_and(|data| !known(data)));
    let moved = folded.map(|i| {
        let mut g = after.clone();
        let data = g.values[i].data.take().unwrap();
        g.values[i].data = Some(Arc::new(data.iter().map(|w| f32::from_bits(w.to_bits() + 1)).collect()));
        g
    });
    moved.collect()
}

/// Whether `got` is what is wanted but for the rounding of folded weights, whose last places `moved` it to these.
fn close<'a>(want: &[f64], got: &[f64], moved: impl Iterator<Item = &'a [f64]>) -> Result<(), f64> {
    assert_eq!(want.len(), got.len());
    let scale = want.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let off = |x: &[f64]| got.iter().zip(x).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / scale;
    let (error, unavoidable) = (off(want), moved.map(off).sum::<f64>());
    if error < ROUNDING.max(unavoidable) { Ok(()) } else { Err(error) }
}

/// Whether the outputs, and every value of the result that has an origin, hold what the source says; how many of these do.
pub(crate) fn same_values(before: &Graph, after: &Graph, origins: &super::Origins) -> usize {
    let mut r = Numbers(7);
    let random = |v: &ValueId| r.many(before.shape(*v).iter().product()).into_iter().map(f64::from).collect();
    let inputs: Vec<Vec<f64>> = before.inputs.iter().map(random).collect();
    let (Values(a, want), Values(b, got)) = (values(before, &inputs), values(after, &inputs));
    let moved: Vec<Values> = with_other_last_places(before, after).iter().map(|g| values(g, &inputs)).collect();
    assert_eq!(want.len(), got.len());
    for (i, want) in want.iter().enumerate() {
        close(want, &got[i], moved.iter().map(|m| &*m.1[i])).unwrap_or_else(|e| panic!("output {i}: {e}\n{before}\n{after}"));
    }
    let mut compared = 0;
    for n in &after.nodes {
        let Some(o) = origins.get(n.output) else { continue };
        let Some(x) = a.get(&o.value) else { continue };
        let turned = |y: &[f64]| crate::interp::transpose(y, after.shape(n.output), &o.axes);
        let moved: Vec<_> = moved.iter().map(|m| turned(&m.0[&n.output])).collect();
        close(x, &turned(&b[&n.output]), moved.iter().map(Vec::as_slice))
            .unwrap_or_else(|e| panic!("{} ({}): {e}\n{before}\n{after}", o.name, n.name));
        compared += 1;
    }
    compared
}

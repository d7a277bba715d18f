//! The slow f64 interpreter of a graph: the oracle of every pass and of the self-check.
//!
//! It knows one loop per operator and no cleverness about graphs. Only convolutions (`windowed`) are arranged so that a large
//! network takes seconds instead of minutes.
use crate::error::{Error, Result, invalid};
use crate::ir::verify::elements;
use crate::ir::{Act, BinaryOp, Graph, Node, Op, ReduceKind, Unary, ValueId};
use std::borrow::Cow;
use std::collections::HashSet;

pub(crate) mod function;
mod movement;
pub(crate) use movement::transpose;
mod windowed;

/// Most elements that tensors have at any one time: beyond that, memory and patience end (1 GB in f64).
pub(crate) const MOST_ELEMENTS: usize = 1 << 27;

/// Most work, see [`work`]: a hundred times a large network's, and some minutes.
const MOST_WORK: u64 = 1 << 40;

/// A tensor that is read: computed (f64) or constant (f32).
#[derive(Clone, Copy)]
pub(crate) struct Arg<'a> {
    shape: &'a [usize],
    data: Data<'a>,
}

#[derive(Clone, Copy)]
enum Data<'a> {
    Wide(&'a [f64]),
    Narrow(&'a [f32]),
}

impl<'a> Arg<'a> {
    /// The elements in f64.
    fn wide(&self) -> Cow<'a, [f64]> {
        match self.data {
            Data::Wide(d) => Cow::Borrowed(d),
            Data::Narrow(d) => Cow::Owned(d.iter().map(|&v| f64::from(v)).collect()),
        }
    }

    /// The elements of a constant; nothing for what is not one, which a verified graph does not have where this is asked.
    fn narrow(&self) -> &'a [f32] {
        match self.data {
            Data::Narrow(d) => d,
            Data::Wide(_) => &[],
        }
    }

    fn shape4(&self) -> [usize; 4] {
        self.shape.try_into().unwrap_or([0; 4])
    }
}

/// Computes the outputs of a graph in f64, weights widened from f32, in plain loops. `inputs` and the result are in C order.
/// `progress` is told how many nodes of how many are done.
///
/// # Errors
/// [`Error::Invalid`] when the graph does not verify or the inputs do not fit, [`Error::TooLarge`].
pub fn interpret(graph: &Graph, inputs: &[Vec<f64>], progress: &mut dyn FnMut(usize, usize)) -> Result<Vec<Vec<f64>>> {
    let mut done = 0;
    let total = graph.nodes.len();
    interpret_observed(graph, inputs.to_vec(), &mut |_, _| {
        done += 1;
        progress(done, total);
    })
}

/// [`interpret`], showing the result of every node to `observe` as it appears. Nothing is held longer than it is needed, the inputs
/// included.
///
/// # Errors
/// As [`interpret`].
pub fn interpret_observed(graph: &Graph, inputs: Vec<Vec<f64>>, observe: &mut dyn FnMut(ValueId, &[f64])) -> Result<Vec<Vec<f64>>> {
    walk(graph, inputs, &mut |v, y| observe(v, y))
}

/// [`interpret`] with every tensor between the nodes rounded to f32: how far that alone moves the outputs tells how much of an error is
/// the network's own. `inputs` are values of f32.
///
/// # Errors
/// As [`interpret`].
pub fn interpret_rounded(graph: &Graph, inputs: Vec<Vec<f64>>, progress: &mut dyn FnMut()) -> Result<Vec<Vec<f64>>> {
    walk(graph, inputs, &mut |_, y| {
        y.iter_mut().for_each(|y| *y = f64::from(*y as f32));
        progress();
    })
}

/// Evaluates node after node; `each` sees every result, and may change it.
fn walk(graph: &Graph, inputs: Vec<Vec<f64>>, each: &mut dyn FnMut(ValueId, &mut [f64])) -> Result<Vec<Vec<f64>>> {
    graph.verify().map_err(|e| invalid(format!("inconsistent network: {e}")))?;
    if inputs.len() != graph.inputs.len() {
        return Err(invalid(format!("{} inputs given, the network has {}", inputs.len(), graph.inputs.len())));
    }
    affordable(graph)?;
    let mut tensors: Vec<Option<Vec<f64>>> = vec![None; graph.values.len()];
    for (v, x) in graph.inputs.iter().zip(inputs) {
        let (name, shape) = (&graph.values[v.0].name, graph.shape(*v));
        if Some(x.len()) != elements(shape) {
            return Err(invalid(format!("input '{name}' of shape {shape:?} was given {} elements", x.len())));
        }
        tensors[v.0] = Some(x);
    }
    let last_use = last_uses(graph);
    for (i, n) in graph.nodes.iter().enumerate() {
        let args: Vec<Arg> = n.inputs.iter().map(|&v| arg(graph, &tensors, v)).collect();
        let mut y = evaluate(&n.op, &args, graph.shape(n.output));
        each(n.output, &mut y);
        tensors[n.output.0] = Some(y);
        for v in n.inputs.iter().chain([&n.output]) {
            if last_use[v.0] == i {
                tensors[v.0] = None;
            }
        }
    }
    let take = |(i, v): (usize, &ValueId)| match tensors[v.0].take_if(|_| !graph.outputs[i + 1..].contains(v)) {
        Some(y) => y,
        None => arg(graph, &tensors, *v).wide().into_owned(),
    };
    Ok(graph.outputs.iter().enumerate().map(take).collect())
}

/// The node that reads each value last; `usize::MAX` for the graph's outputs.
fn last_uses(graph: &Graph) -> Vec<usize> {
    let mut last_use = vec![0; graph.values.len()];
    for (i, n) in graph.nodes.iter().enumerate() {
        last_use[n.output.0] = i;
        n.inputs.iter().for_each(|v| last_use[v.0] = i);
    }
    graph.outputs.iter().for_each(|v| last_use[v.0] = usize::MAX);
    last_use
}

/// About how long a node takes, in multiply-adds of a convolution of many channels: half a nanosecond each. What else there is to do
/// for a pixel under a window, or for an element, takes many times as long.
pub(crate) fn work(graph: &Graph, n: &Node) -> u64 {
    let extents = |v: Option<&ValueId>| v.map_or(&[][..], |&v| graph.shape(v));
    let product = |dims: &[usize]| dims.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
    let (x, weights, out) = (extents(n.inputs.first()), extents(n.inputs.get(1)), graph.shape(n.output));
    let (read, made) = (product(x), product(out));
    let last = |dims: &[usize]| dims.last().map_or(1, |&d| d.max(1) as u64);
    let pixels = |dims: &[usize]| product(dims) / last(dims);
    let window = |dims: &[usize]| product(dims.get(..2).unwrap_or(&[]));
    // Panels of four channels.
    let panels = |channels: u64| channels.next_multiple_of(4);
    match (&n.op, weights) {
        // One channel of each group: pixel by pixel, otherwise taps of a group are gathered first.
        (Op::Conv { .. }, &[_, _, 1, c]) => pixels(out).saturating_mul(window(weights)).saturating_mul(PIXEL + 2 * c as u64),
        (Op::Conv { groups, .. }, &[_, _, cin, c]) => {
            let (groups, cin) = (*groups as u64, cin as u64);
            let each = (PIXEL + 2 * cin).saturating_add(cin.saturating_mul(panels(c as u64 / groups.max(1))));
            pixels(out).saturating_mul(groups).saturating_mul(window(weights)).saturating_mul(each)
        }
        // Each sum is one chain.
        (Op::ConvTranspose { groups, .. }, &[_, _, _, c]) => {
            let each = PIXEL.saturating_add(last(out).saturating_mul(PIXEL + 3 * (c / groups.max(&1)) as u64));
            pixels(x).saturating_mul(window(weights)).saturating_mul(each)
        }
        (Op::Dense { .. }, _) => {
            let sums = read.saturating_mul(ELEMENT + last(out)).saturating_add(made.saturating_mul(ELEMENT));
            sums.saturating_add(pixels(x).saturating_mul(ROW))
        }
        (Op::Matmul, _) => {
            let sums = read.saturating_mul(ELEMENT + last(out)).saturating_add(product(weights).saturating_mul(ELEMENT));
            sums.saturating_add(pixels(x).saturating_mul(ROW))
        }
        (Op::Pool { window, .. }, _) => {
            // Only what lies in the image.
            let taps = window.kernel.iter().zip(x.iter().skip(1)).fold(1, |n, (&k, &d)| k.min(d) as u64 * n);
            pixels(out).saturating_mul(taps.saturating_mul(PIXEL + 2 * last(out)).saturating_add(ROW))
        }
        // What the file does there takes as long.
        (Op::LayerNorm { .. }, _) => made.saturating_mul(2 * ELEMENT).saturating_add(pixels(out).saturating_mul(3 * ROW)),
        (Op::Concat { axis }, _) => {
            let runs = product(&out[..*axis]).saturating_mul(n.inputs.len() as u64);
            made.saturating_mul(2 * ELEMENT).saturating_add(runs.saturating_mul(PIXEL))
        }
        (Op::Binary { .. } | Op::PRelu, _) => {
            let repeated = n.inputs.iter().filter(|&&v| graph.shape(v) != out).count() as u64;
            made.saturating_mul(of_function(&n.op) + ELEMENT * (1 + 2 * repeated))
        }
        // Memory is waited for, unless it is the last axis.
        (Op::Reduce { .. }, _) => made.saturating_add(read).saturating_mul(2 * ELEMENT),
        (op, _) => made.saturating_add(read).saturating_mul(of_function(op)),
    }
}

/// To find where a tap lies, with divisions.
const PIXEL: u64 = 16;
/// To begin a row: memory for it, divisions.
const ROW: u64 = 64;
/// To make an element, with its index.
pub(crate) const ELEMENT: u64 = 8;

/// How long an element of a function takes in f64, roughly: sums of some tens of terms, an exponential.
fn of_function(op: &Op) -> u64 {
    match op {
        Op::Unary(Unary::Erf | Unary::Gelu) => 64 * ELEMENT,
        Op::Unary(_) | Op::Act(_) | Op::Softmax { .. } | Op::Resize { .. } | Op::Binary { op: BinaryOp::Pow, .. } => 8 * ELEMENT,
        _ => ELEMENT,
    }
}

/// How long it takes to sort lines of so many elements, of some elements in all: each comparison may wait for memory.
pub(crate) fn sorting(elements: usize, line: usize) -> u64 {
    let rounds = u64::from(line.max(1).ilog2()) + 1;
    (elements as u64).saturating_mul(rounds).saturating_mul(8 * ELEMENT)
}

/// Elements that a node takes besides its inputs and its output: operands as they are repeated or turned, constants and panels in f64.
pub(crate) fn room(graph: &Graph, n: &Node) -> usize {
    let size = |v: ValueId| elements(graph.shape(v)).unwrap_or(usize::MAX);
    let narrow =
        matches!(n.op, Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Dense { .. } | Op::BatchNorm { .. } | Op::LayerNorm { .. });
    let constants = n.inputs.iter().filter(|&&v| !narrow && graph.data(v).is_some()).map(|&v| size(v));
    let constants = constants.fold(0, usize::saturating_add);
    let more = match &n.op {
        Op::Binary { .. } | Op::PRelu => n
            .inputs
            .iter()
            .filter(|&&v| graph.shape(v) != graph.shape(n.output))
            .map(|_| size(n.output))
            .fold(0, usize::saturating_add),
        Op::Reduce { .. } => n.inputs.first().map_or(0, |&x| size(x)),
        Op::Conv { pre_relu: true, .. } => n.inputs.first().map_or(0, |&x| size(x)),
        // A panel of four channels for each group, however few these are.
        Op::Conv { groups, .. } => match graph.shape(n.inputs[1]) {
            &[h, w, cin, c] if cin > 1 => {
                [h, w, cin, *groups, (c / groups.max(&1)).next_multiple_of(4)].into_iter().fold(1usize, usize::saturating_mul)
            }
            _ => 0,
        },
        _ => 0,
    };
    constants.saturating_add(more)
}

/// Whether the tensors of a graph, as many as are needed at a time, can be had, and computed before patience ends.
///
/// # Errors
/// [`Error::TooLarge`] naming the first tensor that is too much.
pub fn affordable(graph: &Graph) -> Result<()> {
    let mut all = 0u64;
    for n in &graph.nodes {
        all = all.saturating_add(work(graph, n));
        if all > MOST_WORK {
            let (name, shape) = (&n.name, graph.shape(n.output));
            let what = format!("'{name}', whose output has the shape {shape:?}, is too much to be computed in f64");
            return Err(Error::TooLarge(what));
        }
    }
    let last_use = last_uses(graph);
    let size = |v: ValueId| elements(graph.shape(v)).unwrap_or(usize::MAX);
    let mut alive = 0usize;
    let take = |alive: usize, v: ValueId| -> Result<usize> {
        let sum = alive.saturating_add(size(v));
        let value = &graph.values[v.0];
        let small = sum <= MOST_ELEMENTS;
        small.then_some(sum).ok_or_else(|| {
            Error::TooLarge(format!("'{}' of shape {:?} is too large to be computed in f64", value.name, value.shape))
        })
    };
    for &v in &graph.inputs {
        alive = take(alive, v)?;
    }
    for (i, n) in graph.nodes.iter().enumerate() {
        alive = take(alive, n.output)?;
        if alive.saturating_add(room(graph, n)) > MOST_ELEMENTS {
            let (name, shape) = (&n.name, graph.shape(n.output));
            return Err(Error::TooLarge(format!("'{name}', whose output has the shape {shape:?}, takes too much memory in f64")));
        }
        let mut over: Vec<ValueId> = n.inputs.iter().chain([&n.output]).copied().collect();
        over.sort_unstable();
        over.dedup();
        for v in over {
            if last_use[v.0] == i && graph.data(v).is_none() {
                alive -= size(v);
            }
        }
    }
    // What is given out again, and constants, are copies.
    let mut given = HashSet::new();
    for &v in &graph.outputs {
        if !given.insert(v) || graph.data(v).is_some() {
            alive = take(alive, v)?;
        }
    }
    Ok(())
}

/// Computes a node whose inputs are all constants.
pub(crate) fn evaluate_constant(graph: &Graph, node: &Node) -> Vec<f64> {
    let args: Vec<Arg> = node.inputs.iter().map(|&v| arg(graph, &[], v)).collect();
    evaluate(&node.op, &args, graph.shape(node.output))
}

fn arg<'a>(graph: &'a Graph, tensors: &'a [Option<Vec<f64>>], v: ValueId) -> Arg<'a> {
    let data = match (graph.data(v), tensors.get(v.0)) {
        (Some(d), _) => Data::Narrow(d),
        (None, Some(Some(d))) => Data::Wide(d),
        _ => Data::Wide(&[]),
    };
    Arg { shape: graph.shape(v), data }
}

/// One operator. The graph is verified: shapes fit.
fn evaluate(op: &Op, args: &[Arg], out: &[usize]) -> Vec<f64> {
    let x = args[0];
    match op {
        Op::Conv { .. } => windowed::conv(op, args, out),
        Op::ConvTranspose { .. } => windowed::conv_transpose(op, args, out),
        Op::Pool { kind, window, residual } => {
            let mut y = windowed::pool(*kind, window, x, out);
            if *residual {
                y.iter_mut().zip(args[1].wide().iter()).for_each(|(y, r)| *y += r);
            }
            y
        }
        Op::Dense { bias, act } => dense(x, args[1], bias.then(|| args[2].narrow()), *act),
        Op::BatchNorm { axis, epsilon } => {
            let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| args[i].narrow());
            let inner: usize = x.shape[axis + 1..].iter().product();
            let channel = |i: usize| i / inner % x.shape[*axis];
            let f = |(i, &x): (usize, &f64)| {
                let c = channel(i);
                let deviation = (f64::from(variance[c]) + f64::from(*epsilon)).sqrt();
                (x - f64::from(mean[c])) / deviation * f64::from(gamma[c]) + f64::from(beta[c])
            };
            x.wide().iter().enumerate().map(f).collect()
        }
        Op::ScaleShift { act } => {
            let (scale, shift) = (args[1].wide(), args[2].wide());
            let channels = scale.len();
            let f = |(i, &x): (usize, &f64)| activate(*act, x * scale[i % channels] + shift[i % channels]);
            x.wide().iter().enumerate().map(f).collect()
        }
        Op::Act(act) => x.wide().iter().map(|&x| activate(*act, x)).collect(),
        Op::Unary(f) => x.wide().iter().map(|&x| function::unary(*f, x)).collect(),
        Op::LayerNorm { epsilon, centred } => layer_norm(x, args[1].narrow(), args[2].narrow(), *epsilon, *centred),
        Op::Matmul => matmul(x, args[1]),
        Op::PRelu => {
            let slope = movement::broadcast(&args[1].wide(), args[1].shape, out);
            x.wide().iter().zip(slope).map(|(&x, a)| if x > 0.0 { x } else { a * x }).collect()
        }
        Op::Softmax { axis, log } => softmax(x, *axis, *log),
        Op::Binary { op, act } => {
            let [a, b] = [0, 1].map(|i| {
                let wide = args[i].wide();
                if args[i].shape == out { wide } else { Cow::Owned(movement::broadcast(&wide, args[i].shape, out)) }
            });
            a.iter().zip(b.iter()).map(|(&a, &b)| activate(*act, binary(*op, a, b))).collect()
        }
        Op::Concat { axis } => {
            let inner: usize = out[axis + 1..].iter().product();
            let parts: Vec<_> = args.iter().map(|a| (a.wide(), a.shape[*axis] * inner)).collect();
            let mut y = Vec::new();
            for o in 0..out[..*axis].iter().product() {
                for (data, run) in &parts {
                    y.extend_from_slice(&data[o * run..(o + 1) * run]);
                }
            }
            y
        }
        Op::Reduce { kind, axes, .. } => reduce(*kind, axes, x),
        Op::Pad { pads, value } => movement::pad(&x.wide(), x.shape, pads, *value, out),
        Op::Reshape => x.wide().into_owned(),
        Op::Transpose { perm } => movement::transpose(&x.wide(), x.shape, perm),
        Op::Slice { start, step } => movement::slice(&x.wide(), x.shape, start, step, out),
        Op::Broadcast => movement::broadcast(&x.wide(), x.shape, out),
        Op::Upsample { factor } => movement::upsample(&x.wide(), x.shape4(), *factor),
        Op::Resize { kind, places } => windowed::resize(*kind, *places, x, out),
    }
}

/// An activation in f64, its parameters widened.
pub(crate) fn activate(act: Act, x: f64) -> f64 {
    match act {
        Act::None => x,
        Act::Clamp { .. } if x.is_nan() => x,
        Act::Clamp { lo, hi } => x.max(f64::from(lo)).min(f64::from(hi)),
        Act::Leaky(a) if x <= 0.0 => f64::from(a) * x,
        Act::Elu(a) if x <= 0.0 => f64::from(a) * x.exp_m1(),
        Act::Leaky(_) | Act::Elu(_) => x,
        Act::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
        Act::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Act::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Act::Silu => x / (1.0 + (-x).exp()),
        Act::Tanh => x.tanh(),
        Act::Exp => x.exp(),
        Act::Sqrt => x.sqrt(),
    }
}

/// A binary operator in f64.
fn binary(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Min | BinaryOp::Max if a.is_nan() || b.is_nan() => f64::NAN,
        BinaryOp::Min => a.min(b),
        BinaryOp::Max => a.max(b),
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Greater => f64::from(u8::from(a > b)),
        BinaryOp::AtLeast => f64::from(u8::from(a >= b)),
        BinaryOp::Equal => f64::from(u8::from(a == b)),
        BinaryOp::Where if b > 0.0 => a,
        BinaryOp::Where => 0.0,
    }
}

fn layer_norm(x: Arg, scale: &[f32], shift: &[f32], epsilon: f32, centred: bool) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.wide().chunks_exact(scale.len()) {
        let count = row.len() as f64;
        let mean = if centred { row.iter().sum::<f64>() / count } else { 0.0 };
        let square = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
        let deviation = (square + f64::from(epsilon)).sqrt();
        y.extend(row.iter().zip(scale.iter().zip(shift)).map(|(x, (&a, &b))| (x - mean) / deviation * f64::from(a) + f64::from(b)));
    }
    y
}

/// The last two axes are matrices.
fn matmul(a: Arg, b: Arg) -> Vec<f64> {
    let [m, k] = [2, 1].map(|back| a.shape[a.shape.len() - back]);
    let n = b.shape[b.shape.len() - 1];
    let mut y = Vec::new();
    for (a, b) in a.wide().chunks_exact(m * k).zip(b.wide().chunks_exact(k * n)) {
        for row in a.chunks_exact(k) {
            let mut sums = vec![0.0; n];
            for (x, b) in row.iter().zip(b.chunks_exact(n)) {
                sums.iter_mut().zip(b).for_each(|(s, b)| *s += x * b);
            }
            y.extend(sums);
        }
    }
    y
}

fn dense(x: Arg, weights: Arg, bias: Option<&[f32]>, act: Act) -> Vec<f64> {
    let (k, n) = (weights.shape[0], weights.shape[1]);
    let w = weights.narrow();
    let mut y = Vec::new();
    for row in x.wide().chunks_exact(k) {
        let mut sums = match bias {
            Some(b) => b.iter().map(|&b| f64::from(b)).collect(),
            None => vec![0.0; n],
        };
        for (x, w) in row.iter().zip(w.chunks_exact(n)) {
            sums.iter_mut().zip(w).for_each(|(s, &w)| *s += x * f64::from(w));
        }
        y.extend(sums.into_iter().map(|s| activate(act, s)));
    }
    y
}

fn softmax(x: Arg, axis: usize, log: bool) -> Vec<f64> {
    let (n, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>());
    let mut y = x.wide().into_owned();
    for line in (0..y.len()).filter(|i| i / inner % n == 0) {
        let at = |i: usize| line + i * inner;
        let max = (0..n).map(|i| y[at(i)]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..n).map(|i| (y[at(i)] - max).exp()).sum();
        for i in 0..n {
            let shifted = y[at(i)] - max;
            y[at(i)] = if log { shifted - sum.ln() } else { shifted.exp() / sum };
        }
    }
    y
}

fn reduce(kind: ReduceKind, axes: &[usize], x: Arg) -> Vec<f64> {
    let kept: Vec<usize> = (0..x.shape.len()).filter(|i| !axes.contains(i)).collect();
    let perm: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let count: usize = axes.iter().map(|&a| x.shape[a]).product();
    let lines = movement::transpose(&x.wide(), x.shape, &perm);
    let f = |line: &[f64]| match kind {
        ReduceKind::Sum => line.iter().sum(),
        ReduceKind::Mean => line.iter().sum::<f64>() / count as f64,
        ReduceKind::Max => line.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ReduceKind::Min => line.iter().copied().fold(f64::INFINITY, f64::min),
        ReduceKind::Product => line.iter().product(),
    };
    lines.chunks_exact(count).map(f).collect()
}

#[cfg(test)]
mod tests;

//! The readable form of a graph, one line a node. Values are numbered in the order in which they are defined or first read, so
//! that the text depends on nothing but the network.
use super::{Act, BinaryOp, Graph, Node, Op, Pads, PoolKind, ReduceKind, ResizeKind, ValueId, Window};
use std::collections::HashMap;
use std::fmt;

/// `%n` of every value that the text names.
struct Names(HashMap<ValueId, usize>);

impl Names {
    fn of(&mut self, v: ValueId) -> String {
        let n = self.0.len();
        format!("%{}", self.0.entry(v).or_insert(n))
    }
}

pub(super) fn print(g: &Graph, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut names = Names(HashMap::new());
    writeln!(f, "graph \"{}\"", g.name)?;
    for &v in &g.inputs {
        writeln!(f, "{} \"{}\" {:?} = input", names.of(v), g.values[v.0].name, g.shape(v))?;
    }
    for n in &g.nodes {
        for &v in &n.inputs {
            if g.data(v).is_some() && !names.0.contains_key(&v) {
                constant(g, v, &mut names, f)?;
            }
        }
        let inputs: Vec<String> = n.inputs.iter().map(|&v| names.of(v)).collect();
        let out = names.of(n.output);
        write!(f, "{out} \"{}\" {:?} = {}({})", g.values[n.output.0].name, g.shape(n.output), word(n), inputs.join(", "))?;
        attributes(&n.op, f)?;
        if n.name != g.values[n.output.0].name {
            write!(f, " node \"{}\"", n.name)?;
        }
        writeln!(f)?;
    }
    for (i, &v) in g.outputs.iter().enumerate() {
        if g.data(v).is_some() && !names.0.contains_key(&v) {
            constant(g, v, &mut names, f)?;
        }
        writeln!(f, "output {} \"{}\"", names.of(v), g.output_names.get(i).map_or("", |s| s))?;
    }
    Ok(())
}

fn constant(g: &Graph, v: ValueId, names: &mut Names, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let data = g.data(v).map_or(&[][..], |d| d);
    write!(f, "{} \"{}\" {:?} = constant", names.of(v), g.values[v.0].name, g.shape(v))?;
    if data.len() <= 8 { writeln!(f, " {data:?}") } else { writeln!(f) }
}

fn word(n: &Node) -> &'static str {
    match &n.op {
        Op::Conv { .. } => "conv",
        Op::ConvTranspose { .. } => "conv_transpose",
        Op::Dense { .. } => "dense",
        Op::BatchNorm { .. } => "batch_norm",
        Op::ScaleShift { .. } => "scale_shift",
        Op::Act(_) => "act",
        Op::Unary(_) => "unary",
        Op::LayerNorm { centred: true, .. } => "layer_norm",
        Op::LayerNorm { centred: false, .. } => "rms_norm",
        Op::Matmul => "matmul",
        Op::PRelu => "prelu",
        Op::Softmax { log: false, .. } => "softmax",
        Op::Softmax { log: true, .. } => "log_softmax",
        Op::Binary { op, .. } => match op {
            BinaryOp::Add => "add",
            BinaryOp::Sub => "sub",
            BinaryOp::Mul => "mul",
            BinaryOp::Div => "div",
            BinaryOp::Min => "min",
            BinaryOp::Max => "max",
            BinaryOp::Pow => "pow",
            BinaryOp::Greater => "greater",
            BinaryOp::AtLeast => "at_least",
            BinaryOp::Equal => "equal",
            BinaryOp::Where => "where",
        },
        Op::Concat { .. } => "concat",
        Op::Pool { kind: PoolKind::Max, .. } => "max_pool",
        Op::Pool { .. } => "average_pool",
        Op::Reduce { kind, .. } => match kind {
            ReduceKind::Mean => "reduce_mean",
            ReduceKind::Sum => "reduce_sum",
            ReduceKind::Max => "reduce_max",
            ReduceKind::Min => "reduce_min",
            ReduceKind::Product => "reduce_product",
        },
        Op::Pad { .. } => "pad",
        Op::Reshape => "reshape",
        Op::Transpose { .. } => "transpose",
        Op::Slice { .. } => "slice",
        Op::Broadcast => "broadcast",
        Op::Upsample { .. } => "upsample",
        Op::Resize { kind: ResizeKind::Nearest, .. } => "resize_nearest",
        Op::Resize { kind: ResizeKind::Bilinear, .. } => "resize_bilinear",
    }
}

fn attributes(op: &Op, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match op {
        Op::Conv { window: w, groups, bias, residual, pre_relu, act } => {
            window(w, f)?;
            write!(f, " groups={groups}")?;
            flags(&[("bias", *bias), ("residual", *residual), ("pre_relu", *pre_relu)], f)?;
            activation(*act, f)
        }
        Op::ConvTranspose { window: w, groups, bias, act } => {
            window(w, f)?;
            write!(f, " groups={groups}")?;
            flags(&[("bias", *bias)], f)?;
            activation(*act, f)
        }
        Op::Dense { bias, act } => {
            flags(&[("bias", *bias)], f)?;
            activation(*act, f)
        }
        Op::BatchNorm { axis, epsilon } => write!(f, " axis={axis} epsilon={epsilon:?}"),
        Op::ScaleShift { act } | Op::Binary { act, .. } => activation(*act, f),
        Op::Act(act) => write!(f, " {act:?}"),
        Op::Unary(function) => write!(f, " {function:?}"),
        Op::LayerNorm { epsilon, .. } => write!(f, " epsilon={epsilon:?}"),
        Op::Softmax { axis, .. } | Op::Concat { axis } => write!(f, " axis={axis}"),
        Op::Pool { kind, window: w, residual } => {
            window(w, f)?;
            if let PoolKind::AverageWithPad { counted } = kind {
                write!(f, " counted=")?;
                pads(counted, f)?;
            }
            flags(&[("residual", *residual)], f)
        }
        Op::Reduce { axes, keep_dims, .. } => {
            write!(f, " axes={axes:?}")?;
            flags(&[("keep_dims", *keep_dims)], f)
        }
        Op::Pad { pads, value } => write!(f, " pads={pads:?} value={value:?}"),
        Op::Transpose { perm } => write!(f, " perm={perm:?}"),
        Op::Slice { start, step } => write!(f, " start={start:?} step={step:?}"),
        Op::Upsample { factor } => write!(f, " factor={factor:?}"),
        Op::Resize { places, .. } => write!(f, " places={places:?}"),
        Op::PRelu | Op::Reshape | Op::Broadcast | Op::Matmul => Ok(()),
    }
}

fn window(w: &Window, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, " kernel={}x{}", w.kernel[0], w.kernel[1])?;
    for (what, [y, x]) in [("stride", w.stride), ("dilation", w.dilation)] {
        if [y, x] != [1, 1] {
            write!(f, " {what}={y}x{x}")?;
        }
    }
    if w.pads == Pads::default() {
        return Ok(());
    }
    write!(f, " pads=")?;
    pads(&w.pads, f)
}

fn pads(p: &Pads, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{},{},{},{}", p.top, p.left, p.bottom, p.right)
}

fn flags(all: &[(&str, bool)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    all.iter().filter(|(_, on)| *on).try_for_each(|(what, _)| write!(f, " {what}"))
}

fn activation(act: Act, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if act == Act::None { Ok(()) } else { write!(f, " act={act:?}") }
}

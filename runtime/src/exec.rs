//! One step: its record bound to memory and handed to a kernel.

use crate::arena::{Readable, cut};
use crate::{features as has, panels, pipeline};
use core::ops::Range;
use sepal_format::op::OpRef;
use sepal_format::record::*;
use sepal_format::{FormatError, FormatErrorKind, ModelView, layout, strassen};
use sepal_kernels::ops::activation::{activation, activation_in_place, prelu, prelu_in_place};
use sepal_kernels::ops::binary::{BinaryOp, binary, binary_in_place};
use sepal_kernels::ops::conv::{Conv, Take, Window, conv, conv_scratch};
use sepal_kernels::ops::copy::{Copy, copy};
use sepal_kernels::ops::depthwise::{Depthwise, depthwise};
use sepal_kernels::ops::layer_norm::{LayerNorm, layer_norm};
use sepal_kernels::ops::matmul::matmul;
use sepal_kernels::ops::pool::{PoolKind, pool};
use sepal_kernels::ops::reduce::{ReduceKind, reduce_channels, reduce_hw};
use sepal_kernels::ops::resize::{Places, ResizeKind, resize};
use sepal_kernels::ops::scale_shift::{scale_shift, scale_shift_in_place};
use sepal_kernels::ops::separable::{separable, separable_scratch};
use sepal_kernels::ops::softmax::softmax;
use sepal_kernels::ops::strassen::{strassen, strassen_scratch};
use sepal_kernels::ops::unary::{unary, unary_in_place};
use sepal_kernels::ops::winograd::{winograd, winograd_scratch};
use sepal_kernels::par::Parallel;
use sepal_kernels::{Isa, Shape, View, ViewMut};

/// Checks that each step finds its scratch: what a kernel needs is the kernel's affair, so the format cannot check it.
pub(crate) fn check_scratch(view: &ModelView) -> Result<(), FormatError> {
    let mut pipelines = view.pipelines().iter().peekable();
    for (i, step) in view.steps().iter().enumerate() {
        while pipelines.next_if(|p| p.range().end <= i).is_some() {}
        let floats = match pipelines.peek().filter(|p| p.range().contains(&i)) {
            Some(p) => pipeline::scratch(view, p, step),
            None => shapes(view, step).and_then(|(x, y)| Some(scratch(&step.op_ref()?, x, y))),
        };
        let bytes = floats.and_then(|floats| (floats as u64).checked_mul(4));
        if bytes.is_none_or(|bytes| bytes > view.plan().scratch_bytes) {
            return Err(FormatError::at(FormatErrorKind::Step, i));
        }
    }
    Ok(())
}

/// Of a step's input 0 and output.
pub(crate) fn shapes(view: &ModelView, step: &Step) -> Option<(Shape, Shape)> {
    let x = step.op_ref()?.sees(0, tensor(view, step.inputs[0])?);
    Some((shape(&x), shape(tensor(view, step.output)?)))
}

/// Floats of scratch that an operator needs for each thread, from a whole input to a whole output.
pub fn scratch(op: &OpRef, input: Shape, output: Shape) -> usize {
    operator_scratch(op, input, output) + panels::scratch(op, output)
}

/// What the operator itself needs.
fn operator_scratch(op: &OpRef, input: Shape, output: Shape) -> usize {
    match op {
        OpRef::Conv(p) if p.algorithm == 0 => conv_scratch(window(&p.window), op.takes_planes(), input, output),
        OpRef::Conv(p) if p.algorithm == strassen::CODE => strassen_scratch(input, output),
        OpRef::Conv(p) => winograd_scratch(window(&p.window), tile(p.algorithm), input, output),
        OpRef::Separable(p) => separable_scratch(window(&p.depthwise.window), input, output),
        _ => 0,
    }
}

/// Floats of scratch that an operator needs to make any part of its output that has at most `rows` rows.
pub fn scratch_by_rows(op: &OpRef, input: Shape, output: Shape, rows: usize) -> usize {
    let bordered = matches!(op, OpRef::Conv(p) if p.algorithm == 0) && operator_scratch(op, input, output) > 0;
    // Rows of an input that is cut off lie outside of it, which makes a convolution copy.
    let input = if bordered { Shape { h: 0, ..input } } else { input };
    (1..=rows.min(output.h)).map(|h| scratch(op, Shape { n: 1, ..input }, Shape { n: 1, h, ..output })).max().unwrap_or(0)
}

/// Where the elements of an input or output lie in the arena, in floats.
pub(crate) fn dense(view: &ModelView, io: &Io) -> Option<Range<usize>> {
    let t = tensor(view, io.tensor)?;
    let start = start(t);
    let s = shape(t);
    Some(start..start + s.pixels() * s.c)
}

/// Runs a step. `None` if it does not fit its memory, which verification rules out.
pub(crate) fn step(view: &ModelView, isa: Isa, par: &dyn Parallel, step: &Step, arena: &mut [f32]) -> Option<()> {
    let target = tensor(view, step.output)?;
    let tensors = (view.plan().tensor_bytes / 4) as usize;
    let (rest, data, scratch) = cut(arena, tensors, span(target)?)?;
    let out = ViewMut { data, shape: shape(target), pixel: target.pixel as usize };
    let input = |slot: usize| read(view, rest, *step.inputs.get(slot)?);
    let op = step.op_ref()?;
    let second = if *step.inputs.get(op.second())? == NONE { None } else { Some(input(op.second())?) };
    if step.flags & IN_PLACE != 0 {
        return in_place(view, isa, par, &op, second, out);
    }
    if let OpRef::Copy(p) = op {
        return copy_step(par, p, input(0)?, out);
    }
    let (x, first) = (input(0)?, tensor(view, step.inputs[0])?);
    let seen = op.sees(0, first);
    let x = View { shape: shape(&seen), pixel: seen.pixel as usize, ..x };
    let gate = if op.is_gated() { Some(input(1)?) } else { None };
    let take = take(&op, first, gate);
    apply(view, isa, par, &op, Operands { x, take, second, pad: None, out, scratch })
}

/// What an operator works on.
pub(crate) struct Operands<'a> {
    pub x: View<'a>,
    /// How a convolution takes it.
    pub take: Take<'a>,
    /// A residual, or the other operand.
    pub second: Option<View<'a>>,
    /// Rows above `x` that the first window, if there is one, begins, if not as many as the operator says: `x` may be a part of its rows.
    pub pad: Option<usize>,
    pub out: ViewMut<'a>,
    pub scratch: &'a mut [f32],
}

/// How an operator takes its input 0, which is `t` or some rows of it.
pub(crate) fn take<'a>(op: &OpRef, t: &Tensor, gate: Option<View<'a>>) -> Take<'a> {
    let [_, _, h, w] = t.dims.map(|d| d as usize);
    match gate {
        Some(gate) => Take::Gated(gate),
        None if op.takes_planes() => Take::Planes(h * w),
        None => Take::Plain,
    }
}

/// An operator that changes its input.
fn in_place(view: &ModelView, isa: Isa, par: &dyn Parallel, op: &OpRef, second: Option<View>, x: ViewMut) -> Option<()> {
    match op {
        OpRef::Binary(p) => {
            has::BINARY?;
            binary_in_place(isa, par, binary_op(p.op)?, p.act.act()?, p.swapped != 0, x, second?);
        }
        OpRef::ScaleShift(p) => {
            has::SCALE_SHIFT?;
            scale_shift_in_place(isa, par, view.floats(p.scale), view.floats(p.shift), p.act.act()?, x);
        }
        OpRef::Activation(p) => {
            has::ACTIVATION?;
            activation_in_place(isa, par, p.act.act()?, x);
        }
        OpRef::Prelu(p) => {
            has::PRELU?;
            prelu_in_place(isa, par, view.floats(p.slope), x);
        }
        OpRef::Unary(p) => {
            has::FUNCTIONS?;
            unary_in_place(isa, par, p.function.unary()?, x);
        }
        _ => return None,
    }
    Some(())
}

/// An operator from its inputs to its output: all of it, or some rows of one image.
pub(crate) fn apply(view: &ModelView, isa: Isa, par: &dyn Parallel, op: &OpRef, operands: Operands) -> Option<()> {
    let Operands { x, take, second, pad, out, scratch } = operands;
    let window = |w: &WindowRecord| {
        let w = window(w);
        Window { pad: [pad.unwrap_or(w.pad[0]), w.pad[1]], ..w }
    };
    let depthwise_args = |p: &DepthwiseParams| {
        Some(Depthwise {
            window: window(&p.window),
            weights: view.floats(p.weights),
            bias: view.floats(p.bias),
            pre_relu: p.pre_relu != 0,
            act: p.act.act()?,
        })
    };
    match op {
        OpRef::Conv(p) => {
            let args = Conv {
                window: window(&p.window),
                groups: p.groups as usize,
                weights: panels::bind(view, p.weights, p.weight_dtype)?,
                bias: view.floats(p.bias),
                take,
                act: p.act.act()?,
            };
            match p.algorithm {
                0 => {
                    has::CONV?;
                    conv(isa, par, &args, x, second, out, scratch);
                }
                strassen::CODE => {
                    has::STRASSEN?;
                    strassen(isa, par, &args, x, second, out, scratch);
                }
                code => {
                    has::WINOGRAD?;
                    winograd(isa, par, &args, tile(code), x, second, out, scratch);
                }
            }
        }
        OpRef::Depthwise(p) => {
            has::DEPTHWISE?;
            depthwise(isa, par, &depthwise_args(p)?, x, out);
        }
        OpRef::Separable(p) => {
            has::SEPARABLE?;
            let args = Conv {
                window: Window::ONE,
                groups: 1,
                weights: panels::bind(view, p.weights, p.weight_dtype)?,
                bias: view.floats(p.bias),
                take: Take::Plain,
                act: p.act.act()?,
            };
            separable(isa, par, &depthwise_args(&p.depthwise)?, &args, x, second, out, scratch);
        }
        OpRef::Pool(p) => {
            has::POOL?;
            let kind = match p.kind {
                pool_kind::MAX => PoolKind::Max,
                pool_kind::AVERAGE => PoolKind::Average,
                pool_kind::AVERAGE_WITH_PAD => PoolKind::AverageWithPad { pad_end: p.window.pad_end.map(|n| n as usize) },
                _ => return None,
            };
            pool(isa, par, kind, window(&p.window), x, second, out);
        }
        OpRef::Reduce(p) => {
            has::REDUCE?;
            let kind = match p.kind {
                reduce_kind::MEAN => ReduceKind::Mean,
                reduce_kind::SUM => ReduceKind::Sum,
                reduce_kind::MAX => ReduceKind::Max,
                reduce_kind::MIN => ReduceKind::Min,
                reduce_kind::PRODUCT => ReduceKind::Product,
                _ => return None,
            };
            let run = if p.over == 0 { reduce_hw } else { reduce_channels };
            run(isa, par, kind, x, out);
        }
        OpRef::Binary(p) => {
            has::BINARY?;
            let (a, b) = if p.swapped != 0 { (second?, x) } else { (x, second?) };
            binary(isa, par, binary_op(p.op)?, p.act.act()?, a, b, out);
        }
        OpRef::ScaleShift(p) => {
            has::SCALE_SHIFT?;
            scale_shift(isa, par, view.floats(p.scale), view.floats(p.shift), p.act.act()?, x, out);
        }
        OpRef::Activation(p) => {
            has::ACTIVATION?;
            activation(isa, par, p.act.act()?, x, out);
        }
        OpRef::Prelu(p) => {
            has::PRELU?;
            prelu(isa, par, view.floats(p.slope), x, out);
        }
        OpRef::Softmax(p) => {
            has::SOFTMAX?;
            softmax(isa, par, p.log != 0, x, out);
        }
        OpRef::Resize(p) => {
            has::RESIZE?;
            let kind = match p.kind {
                resize_kind::NEAREST => ResizeKind::Nearest,
                resize_kind::BILINEAR => ResizeKind::Bilinear,
                _ => return None,
            };
            let places = match p.places {
                resize_places::EDGES => Places::Edges,
                resize_places::MIDDLES => Places::Middles,
                resize_places::CORNERS => Places::Corners,
                _ => return None,
            };
            resize(isa, par, kind, places, x, out);
        }
        OpRef::Unary(p) => {
            has::FUNCTIONS?;
            unary(isa, par, p.function.unary()?, x, out);
        }
        OpRef::LayerNorm(p) => {
            has::LAYER_NORM?;
            let (scale, shift) = (view.floats(p.scale), view.floats(p.shift));
            layer_norm(isa, par, &LayerNorm { scale, shift, epsilon: p.epsilon, centred: p.kind == norm_kind::CENTRED }, x, out);
        }
        OpRef::Matmul(_) => {
            has::MATMUL?;
            matmul(isa, par, x, second?, out);
        }
        OpRef::Copy(_) => return None,
    }
    Some(())
}

fn copy_step(par: &dyn Parallel, p: &CopyParams, input: View, out: ViewMut) -> Option<()> {
    has::COPY?;
    let mut fill = (p.filled != 0).then_some(p.fill);
    let from = input.data.get(p.in_offset as usize..)?;
    if let Some(value) = fill {
        let lanes = layout::lanes(out.shape.c as u64, out.pixel as u64) as usize;
        if lanes < out.pixel {
            // What lies between the pixels may be another tensor's.
            out.data.chunks_mut(out.pixel).filter_map(|pixel| pixel.get_mut(..lanes)).for_each(|own| own.fill(value));
            fill = None;
        } else {
            out.data.get_mut(..p.out_offset as usize)?.fill(value);
        }
    }
    let args = Copy {
        dims: p.dims.map(|n| n as usize),
        in_strides: p.in_strides.map(|n| n as usize),
        out_strides: p.out_strides.map(|n| n as usize),
        fill,
    };
    copy(par, &args, from, out.data.get_mut(p.out_offset as usize..)?);
    Some(())
}

/// A tensor to read: in the arena outside of what the step writes, or among the weights.
fn read<'m>(view: &ModelView<'m>, rest: Readable<'m>, index: u32) -> Option<View<'m>> {
    let t = tensor(view, index)?;
    let range = span(t)?;
    let data = if t.place == place::WEIGHTS { view.weights().get(range)? } else { rest.get(range)? };
    Some(View { data, shape: shape(t), pixel: t.pixel as usize })
}

fn binary_op(code: u32) -> Option<BinaryOp> {
    Some(match code {
        binary_op::ADD => BinaryOp::Add,
        binary_op::SUB => BinaryOp::Sub,
        binary_op::MUL => BinaryOp::Mul,
        binary_op::DIV => BinaryOp::Div,
        binary_op::MIN => BinaryOp::Min,
        binary_op::MAX => BinaryOp::Max,
        binary_op::POW => BinaryOp::Pow,
        binary_op::GREATER => BinaryOp::Greater,
        binary_op::AT_LEAST => BinaryOp::AtLeast,
        binary_op::EQUAL => BinaryOp::Equal,
        binary_op::WHERE => BinaryOp::Where,
        _ => return None,
    })
}

pub(crate) fn tensor<'a>(view: &ModelView<'a>, index: u32) -> Option<&'a Tensor> {
    view.tensors().get(index as usize)
}

pub(crate) fn shape(t: &Tensor) -> Shape {
    let [n, h, w, c] = t.dims.map(|d| d as usize);
    Shape { n, h, w, c }
}

/// First float of a tensor in its place.
pub(crate) fn start(t: &Tensor) -> usize {
    (t.offset / 4) as usize
}

/// A tensor's floats in its place.
pub(crate) fn span(t: &Tensor) -> Option<Range<usize>> {
    let floats = sepal_kernels::view::span(shape(t), t.pixel as usize);
    Some(start(t)..start(t).checked_add(floats)?)
}

/// Outputs of a Winograd tile.
fn tile(code: u32) -> [usize; 2] {
    sepal_format::winograd::tile(code).map(|n| n as usize)
}

pub(crate) fn window(w: &WindowRecord) -> Window {
    Window {
        kernel: w.kernel.map(|n| n as usize),
        stride: w.stride.map(|n| n as usize),
        dilation: w.dilation.map(|n| n as usize),
        pad: w.pad.map(|n| n as usize),
    }
}

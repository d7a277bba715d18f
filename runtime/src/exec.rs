//! One step: its record bound to memory and handed to a kernel.

use crate::arena::{Readable, cut};
use core::ops::Range;
use sepal_format::op::OpRef;
use sepal_format::record::*;
use sepal_format::{FormatError, FormatErrorKind, ModelView, layout};
use sepal_kernels::ops::activation::{activation, activation_in_place, prelu, prelu_in_place};
use sepal_kernels::ops::binary::{BinaryOp, binary, binary_in_place};
use sepal_kernels::ops::conv::{Conv, Window, conv, conv_scratch};
use sepal_kernels::ops::copy::{Copy, copy};
use sepal_kernels::ops::depthwise::{Depthwise, depthwise};
use sepal_kernels::ops::pool::{PoolKind, pool};
use sepal_kernels::ops::reduce::{ReduceKind, reduce_hw};
use sepal_kernels::ops::scale_shift::{scale_shift, scale_shift_in_place};
use sepal_kernels::ops::separable::{separable, separable_scratch};
use sepal_kernels::ops::softmax::softmax;
use sepal_kernels::ops::winograd::{winograd, winograd_scratch};
use sepal_kernels::par::Parallel;
use sepal_kernels::{Isa, Shape, View, ViewMut};

/// Checks that each step finds its scratch: what a kernel needs is the kernel's affair, so the format cannot check it.
pub(crate) fn check_scratch(view: &ModelView) -> Result<(), FormatError> {
    for (i, step) in view.steps().iter().enumerate() {
        let enough = scratch(view, step).and_then(|floats| (floats as u64).checked_mul(4));
        if enough.is_none_or(|bytes| bytes > view.plan().scratch_bytes) {
            return Err(FormatError::at(FormatErrorKind::Step, i));
        }
    }
    Ok(())
}

/// Floats of scratch that a step needs for each thread.
fn scratch(view: &ModelView, step: &Step) -> Option<usize> {
    let shapes = || Some((shape(tensor(view, step.inputs[0])?), shape(tensor(view, step.output)?)));
    match step.op_ref()? {
        OpRef::Conv(p) => {
            let (x, y) = shapes()?;
            Some(match p.algorithm {
                0 => conv_scratch(window(&p.window), p.groups as usize, x, y),
                code => winograd_scratch(window(&p.window), tile(code), x, y),
            })
        }
        OpRef::Separable(p) => {
            let (x, y) = shapes()?;
            Some(separable_scratch(window(&p.depthwise.window), x, y))
        }
        _ => Some(0),
    }
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
    // A second input that is not there is a residual that is not asked for.
    let residual = || if step.inputs[1] == NONE { Some(None) } else { Some(Some(input(1)?)) };
    let in_place = step.flags & IN_PLACE != 0;
    match step.op_ref()? {
        OpRef::Conv(p) => {
            let args = Conv {
                window: window(&p.window),
                groups: p.groups as usize,
                weights: view.floats(p.weights),
                bias: view.floats(p.bias),
                act: p.act.act()?,
            };
            match p.algorithm {
                0 => conv(isa, par, &args, input(0)?, residual()?, out, scratch),
                code => winograd(isa, par, &args, tile(code), input(0)?, residual()?, out, scratch),
            }
        }
        OpRef::Depthwise(p) => depthwise(isa, par, &depthwise_args(view, p)?, input(0)?, out),
        OpRef::Separable(p) => {
            let second = Conv {
                window: Window::ONE,
                groups: 1,
                weights: view.floats(p.weights),
                bias: view.floats(p.bias),
                act: p.act.act()?,
            };
            separable(isa, par, &depthwise_args(view, &p.depthwise)?, &second, input(0)?, residual()?, out, scratch);
        }
        OpRef::Pool(p) => {
            let kind = match p.kind {
                0 => PoolKind::Max,
                1 => PoolKind::Average,
                2 => PoolKind::AverageWithPad { pad_end: p.window.pad_end.map(|n| n as usize) },
                _ => return None,
            };
            pool(isa, par, kind, window(&p.window), input(0)?, residual()?, out);
        }
        OpRef::Reduce(p) => {
            let kind = match p.kind {
                0 => ReduceKind::Mean,
                1 => ReduceKind::Sum,
                2 => ReduceKind::Max,
                _ => return None,
            };
            reduce_hw(isa, par, kind, input(0)?, out);
        }
        OpRef::Binary(p) => {
            let (op, act, swapped) = (binary_op(p.op)?, p.act.act()?, p.swapped != 0);
            if in_place {
                binary_in_place(isa, par, op, act, swapped, out, input(1)?);
            } else {
                let (a, b) = if swapped { (input(1)?, input(0)?) } else { (input(0)?, input(1)?) };
                binary(isa, par, op, act, a, b, out);
            }
        }
        OpRef::ScaleShift(p) => {
            let (scale, shift, act) = (view.floats(p.scale), view.floats(p.shift), p.act.act()?);
            if in_place {
                scale_shift_in_place(isa, par, scale, shift, act, out);
            } else {
                scale_shift(isa, par, scale, shift, act, input(0)?, out);
            }
        }
        OpRef::Activation(p) if in_place => activation_in_place(isa, par, p.act.act()?, out),
        OpRef::Activation(p) => activation(isa, par, p.act.act()?, input(0)?, out),
        OpRef::Prelu(p) if in_place => prelu_in_place(isa, par, view.floats(p.slope), out),
        OpRef::Prelu(p) => prelu(isa, par, view.floats(p.slope), input(0)?, out),
        OpRef::Softmax(p) => softmax(isa, par, p.log != 0, input(0)?, out),
        OpRef::Copy(p) => copy_step(par, p, input(0)?, out)?,
    }
    Some(())
}

fn copy_step(par: &dyn Parallel, p: &CopyParams, input: View, out: ViewMut) -> Option<()> {
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

fn depthwise_args<'a>(view: &ModelView<'a>, p: &DepthwiseParams) -> Option<Depthwise<'a>> {
    Some(Depthwise {
        window: window(&p.window),
        weights: view.floats(p.weights),
        bias: view.floats(p.bias),
        pre_relu: p.pre_relu != 0,
        act: p.act.act()?,
    })
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
        0 => BinaryOp::Add,
        1 => BinaryOp::Sub,
        2 => BinaryOp::Mul,
        3 => BinaryOp::Div,
        4 => BinaryOp::Min,
        5 => BinaryOp::Max,
        _ => return None,
    })
}

fn tensor<'a>(view: &ModelView<'a>, index: u32) -> Option<&'a Tensor> {
    view.tensors().get(index as usize)
}

fn shape(t: &Tensor) -> Shape {
    let [n, h, w, c] = t.dims.map(|d| d as usize);
    Shape { n, h, w, c }
}

/// First float of a tensor in its place.
fn start(t: &Tensor) -> usize {
    (t.offset / 4) as usize
}

/// A tensor's floats in its place.
fn span(t: &Tensor) -> Option<Range<usize>> {
    let floats = sepal_kernels::view::span(shape(t), t.pixel as usize);
    Some(start(t)..start(t).checked_add(floats)?)
}

/// Outputs of a Winograd tile.
fn tile(code: u32) -> [usize; 2] {
    sepal_format::winograd::tile(code).map(|n| n as usize)
}

fn window(w: &WindowRecord) -> Window {
    Window {
        kernel: w.kernel.map(|n| n as usize),
        stride: w.stride.map(|n| n as usize),
        dilation: w.dilation.map(|n| n as usize),
        pad: w.pad.map(|n| n as usize),
    }
}

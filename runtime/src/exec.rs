//! The step loop: binds each step's tensors to views of the arena and the weights, and calls its kernel. No arithmetic here.

use crate::arena::Cut;
use core::ops::Range;
use sepal_format::ModelView;
use sepal_format::op::OpRef;
use sepal_format::record::*;
use sepal_kernels::ops::{activation, binary, conv, copy, depthwise, pool, reduce, scale_shift, separable, softmax};
use sepal_kernels::par::Parallel;
use sepal_kernels::view::span;
use sepal_kernels::{Act, Isa, Shape, View, ViewMut};

/// Extent of a tensor.
fn shape(t: &Tensor) -> Shape {
    let [n, h, w, c] = t.dims.map(|d| d as usize);
    Shape::new(n, h, w, c)
}

/// Floats of a tensor, from the start of the arena or of the weights.
fn range(t: &Tensor) -> Range<usize> {
    let at = (t.offset / 4) as usize;
    at..at + span(shape(t), t.pixel as usize)
}

fn window(w: &WindowRecord) -> conv::Window {
    let two = |p: [u32; 2]| p.map(|v| v as usize);
    conv::Window { kernel: two(w.kernel), stride: two(w.stride), dilation: two(w.dilation), pad: two(w.pad) }
}

/// An activation; verified to be a known one.
fn act(record: &sepal_format::act::ActRecord) -> Act {
    record.act().unwrap_or_default()
}

/// Floats of scratch that each thread needs for a step; `None` if its tensors do not exist or the number is beyond all bounds.
pub(crate) fn scratch(view: &ModelView, step: &Step) -> Option<usize> {
    let tensor = |i: u32| view.tensors().get(i as usize).map(shape);
    let (input, output) = (tensor(step.inputs[0])?, tensor(step.output)?);
    Some(match step.op_ref()? {
        OpRef::Conv(p) => conv::conv_scratch(window(&p.window), p.groups as usize, input, output),
        OpRef::Separable(p) => separable::separable_scratch(window(&p.depthwise.window), input, output),
        _ => 0,
    })
}

/// One step with its views bound.
struct Bound<'a> {
    view: &'a ModelView<'a>,
    step: &'a Step,
    cut: Cut<'a>,
}

impl<'a> Bound<'a> {
    fn tensor(&self, i: u32) -> Option<&'a Tensor> {
        self.view.tensors().get(i as usize)
    }

    /// Memory and tensor of input `k`, if the step has it.
    fn data(&self, k: usize) -> Option<(&'a [f32], &'a Tensor)> {
        let t = self.tensor(*self.step.inputs.get(k)?)?;
        let r = range(t);
        let data = if t.place == place::WEIGHTS { self.view.weights().get(r)? } else { self.cut.read(r) };
        Some((data, t))
    }

    fn input(&self, k: usize) -> Option<View<'a>> {
        let (data, t) = self.data(k)?;
        Some(View::new(data, shape(t), t.pixel as usize))
    }

    fn depthwise(&self, p: &DepthwiseParams) -> depthwise::Depthwise<'a> {
        depthwise::Depthwise {
            window: window(&p.window),
            weights: self.view.floats(p.weights),
            bias: self.view.floats(p.bias),
            pre_relu: p.pre_relu != 0,
            act: act(&p.act),
        }
    }
}

/// Runs all steps. `memory` is the whole arena; what lies after the tensors is scratch.
pub(crate) fn run(view: &ModelView, isa: Isa, par: &dyn Parallel, memory: &mut [f32], done: &mut dyn FnMut(usize)) {
    let tensors = ((view.plan().tensor_bytes / 4) as usize).min(memory.len());
    let (memory, scratch) = memory.split_at_mut(tensors);
    for (i, step) in view.steps().iter().enumerate() {
        // A verified file has none of the gaps that would end a step here.
        let _ = run_step(view, isa, par, step, memory, scratch);
        done(i);
    }
}

fn run_step(view: &ModelView, isa: Isa, par: &dyn Parallel, step: &Step, memory: &mut [f32], scratch: &mut [f32]) -> Option<()> {
    let output = view.tensors().get(step.output as usize)?;
    let (target, cut) = Cut::new(memory, range(output));
    let b = Bound { view, step, cut };
    let in_place = step.flags & IN_PLACE != 0;
    let out = ViewMut::new(target, shape(output), output.pixel as usize);
    match step.op_ref()? {
        OpRef::Conv(p) => {
            let args = conv::Conv {
                window: window(&p.window),
                groups: p.groups as usize,
                weights: view.floats(p.weights),
                bias: view.floats(p.bias),
                act: act(&p.act),
            };
            conv::conv(isa, par, &args, b.input(0)?, b.input(1), out, scratch);
        }
        OpRef::Depthwise(p) => depthwise::depthwise(isa, par, &b.depthwise(p), b.input(0)?, out),
        OpRef::Separable(p) => {
            let second = conv::Conv {
                window: conv::Window::ONE,
                groups: 1,
                weights: view.floats(p.weights),
                bias: view.floats(p.bias),
                act: act(&p.act),
            };
            separable::separable(isa, par, &b.depthwise(&p.depthwise), &second, b.input(0)?, b.input(1), out, scratch);
        }
        OpRef::Pool(p) => {
            let kind = match p.kind {
                0 => pool::PoolKind::Max,
                1 => pool::PoolKind::Average,
                _ => pool::PoolKind::AverageWithPad { pad_end: p.window.pad_end.map(|v| v as usize) },
            };
            pool::pool(isa, par, kind, window(&p.window), b.input(0)?, b.input(1), out);
        }
        OpRef::Reduce(p) => {
            let kind = match p.kind {
                0 => reduce::ReduceKind::Mean,
                1 => reduce::ReduceKind::Sum,
                _ => reduce::ReduceKind::Max,
            };
            reduce::reduce_hw(isa, par, kind, b.input(0)?, out);
        }
        OpRef::Binary(p) => {
            let op = match p.op {
                0 => binary::BinaryOp::Add,
                1 => binary::BinaryOp::Sub,
                2 => binary::BinaryOp::Mul,
                3 => binary::BinaryOp::Div,
                4 => binary::BinaryOp::Min,
                _ => binary::BinaryOp::Max,
            };
            let (swapped, act) = (p.swapped != 0, act(&p.act));
            if in_place {
                binary::binary_in_place(isa, par, op, act, swapped, out, b.input(1)?);
            } else {
                let (x, y) = (b.input(0)?, b.input(1)?);
                let (x, y) = if swapped { (y, x) } else { (x, y) };
                binary::binary(isa, par, op, act, x, y, out);
            }
        }
        OpRef::ScaleShift(p) => {
            let (scale, shift, act) = (view.floats(p.scale), view.floats(p.shift), act(&p.act));
            if in_place {
                scale_shift::scale_shift_in_place(isa, par, scale, shift, act, out);
            } else {
                scale_shift::scale_shift(isa, par, scale, shift, act, b.input(0)?, out);
            }
        }
        OpRef::Activation(p) => {
            if in_place {
                activation::activation_in_place(isa, par, act(&p.act), out);
            } else {
                activation::activation(isa, par, act(&p.act), b.input(0)?, out);
            }
        }
        OpRef::Prelu(p) => {
            if in_place {
                activation::prelu_in_place(isa, par, view.floats(p.slope), out);
            } else {
                activation::prelu(isa, par, view.floats(p.slope), b.input(0)?, out);
            }
        }
        OpRef::Softmax(p) => softmax::softmax(isa, par, p.log != 0, b.input(0)?, out),
        OpRef::Copy(p) => {
            let six = |v: [u32; 6]| v.map(|n| n as usize);
            let args = copy::Copy { dims: six(p.dims), in_strides: six(p.in_strides), out_strides: six(p.out_strides), fill: None };
            if p.filled != 0 {
                // All of the target, also what lies in front of the first element that is copied.
                out.data.fill(p.fill);
            }
            let (data, _) = b.data(0)?;
            let to = out.data.get_mut(p.out_offset as usize..)?;
            copy::copy(par, &args, data.get(p.in_offset as usize..)?, to);
        }
    }
    Some(())
}

//! How much work a file asks for, from its records alone.
//!
//! The unit is about one multiply-add, or one element read or written. Each step counts what its kernel's loops can do at most:
//! more than the multiply-accumulates of the network, since it counts padded channels, border taps, and the elements of
//! steps that only move them; but never less than some part of the time that the step takes.

use crate::layout::{BLOCK, lanes};
use crate::op::OpRef;
use crate::record::*;
use crate::{strassen, winograd};

/// What it takes to read and to write an element that no cache has.
const FAR: u64 = 100;

/// Floats from pixel to pixel at which no pixel brings the next one along.
const APART: u32 = 256;

/// Fewer pixels than a band of Strassen's algorithm has.
const BAND: u64 = 256;

/// What it takes to call a step.
const CALL: u64 = 1000;

/// The code of [`BinaryParams::op`] that takes as long as many others.
const POW: u32 = 6;

/// What it takes to begin a matrix multiplication.
const TURN: u64 = 1500;

/// The work of an inference on one thread; `u64::MAX` if it is more than that holds. Threads that share a pipeline make some rows
/// twice: with T threads it is at most T times as much in all.
pub(crate) fn of(tensors: &[Tensor], steps: &[Step], pipelines: &[Pipeline]) -> u64 {
    let tensor = |t: u32| tensors.get(t as usize);
    let one = |step: &Step| -> Option<u64> {
        let (x, y) = (tensor(step.inputs[0])?, tensor(step.output)?);
        let op = step.op_ref()?;
        Some(work(&op, &op.sees(0, x), y))
    };
    let steps_work = steps.iter().map(|s| one(s).unwrap_or(u64::MAX)).fold(0, u64::saturating_add);
    // Each time that a pipeline makes a band, all its steps are called, and the rows that it keeps of a tensor may move.
    let moved = |p: &Pipeline| -> Option<u64> {
        let (last, others) = steps.get(p.range())?.split_last()?;
        let [n, h, ..] = tensor(last.output)?.dims;
        let bands = product(&[n, h.div_ceil(p.band.max(1))]);
        let kept = others.iter().filter_map(|s| tensor(s.output)).map(|t| product(&[t.rows, t.dims[2], t.pixel]));
        Some(bands.saturating_mul(kept.fold(CALL * (others.len() as u64 + 1), u64::saturating_add)))
    };
    pipelines.iter().map(|p| moved(p).unwrap_or(u64::MAX)).fold(steps_work, u64::saturating_add)
}

fn product(factors: &[u32]) -> u64 {
    factors.iter().fold(1, |n, &f| n.saturating_mul(f.into()))
}

/// Floats that an operator writes to a tensor.
fn elements(t: &Tensor) -> u64 {
    product(&t.dims[..3]).saturating_mul(lanes(t.dims[3].into(), t.pixel.into()))
}

/// A convolution by a window copies the rows under its output with their borders, once for each output row at most.
fn bordered(w: &WindowRecord, x: &Tensor, y: &Tensor) -> u64 {
    if w.kernel == [1, 1] && w.stride == [1, 1] {
        return elements(x);
    }
    let cover = |d: usize, out: u32| {
        let [kernel, stride, dilation] = [w.kernel, w.stride, w.dilation].map(|v| v.get(d).copied().map_or(0, u64::from));
        u64::from(out.saturating_sub(1)).saturating_mul(stride).saturating_add(kernel.saturating_sub(1).saturating_mul(dilation))
            + 1
    };
    let [n, h, width, _] = y.dims;
    [cover(0, 1), cover(1, width), x.dims[3].into()].into_iter().fold(product(&[n, h]), u64::saturating_mul)
}

/// What an operator does from one tensor to another.
fn work(op: &OpRef, x: &Tensor, y: &Tensor) -> u64 {
    let (read, written, pixels) = (elements(x), elements(y), product(&y.dims[..3]));
    let blocks = |c: u32| u64::from(c).next_multiple_of(BLOCK as u64);
    let own = match op {
        OpRef::Conv(p) => {
            let [tile_rows, tile_columns] = winograd::tile(p.algorithm);
            // Panels pad the channels of each group.
            let n = blocks(y.dims[3] / p.groups.max(1)).saturating_mul(p.groups.into());
            match winograd::points(p.window.kernel, p.algorithm).filter(|_| p.algorithm != 0) {
                Some([rows, columns]) => {
                    let tiles =
                        product(&[y.dims[0], y.dims[1].div_ceil(tile_rows.max(1)), y.dims[2].div_ceil(tile_columns.max(1))]);
                    let point = blocks(x.dims[3]).saturating_mul(n);
                    let transforms = (blocks(x.dims[3]) + n).saturating_mul(u64::from(rows + columns));
                    product(&[rows, columns]).saturating_mul(point.saturating_add(transforms)).saturating_mul(tiles)
                }
                None => {
                    let taps = product(&p.window.kernel).saturating_mul((x.dims[3] / p.groups.max(1)).into());
                    let rows = product(&y.dims[..2]);
                    let gated = if p.take == take::GATED { taps.saturating_mul(n).saturating_mul(rows) } else { 0 };
                    let sums = pixels.saturating_mul(n).saturating_mul(taps.max(1));
                    // Each group takes its turn for some rows at a time, however little there is to add up.
                    let turns = rows.saturating_mul(p.groups.into()).saturating_mul(TURN);
                    // Sums of panels are made for each band of pixels, by each step at least once.
                    let bands =
                        product(&[y.dims[0], (product(&y.dims[1..3]) / BAND).saturating_add(1).try_into().unwrap_or(u32::MAX)]);
                    let panels = if p.algorithm == strassen::CODE {
                        bands.saturating_mul(n).saturating_mul(taps).saturating_mul(4)
                    } else {
                        0
                    };
                    [bordered(&p.window, x, y), gated, turns, panels].into_iter().fold(sums, u64::saturating_add)
                }
            }
        }
        OpRef::Depthwise(p) => depthwise(&p.window, x, y, y.dims[3]),
        OpRef::Separable(p) => {
            let pointwise = pixels.saturating_mul(blocks(x.dims[3])).saturating_mul(blocks(y.dims[3]));
            depthwise(&p.depthwise.window, x, y, x.dims[3]).saturating_add(pointwise)
        }
        OpRef::Pool(p) => depthwise(&p.window, x, y, y.dims[3]),
        OpRef::Copy(p) => copied(p),
        OpRef::Resize(_) => written.saturating_mul(4),
        OpRef::Softmax(_) => written.saturating_mul(8),
        OpRef::Activation(_) => written.saturating_mul(8),
        OpRef::Unary(_) => written.saturating_mul(16),
        OpRef::LayerNorm(_) => read.saturating_mul(4),
        OpRef::Matmul(_) => pixels.saturating_mul(x.dims[3].into()).saturating_mul(blocks(y.dims[3])),
        OpRef::Binary(p) if p.op == POW => written.saturating_mul(64),
        OpRef::Reduce(_) if x.pixel >= APART => read.saturating_add(product(&x.dims[..3]).saturating_mul(FAR)),
        OpRef::Reduce(_) | OpRef::Binary(_) | OpRef::ScaleShift(_) | OpRef::Prelu(_) => read,
    };
    // An activation at the end, and a step's own cost.
    own.saturating_add(written.saturating_mul(8)).saturating_add(CALL)
}

/// Where elements do not follow each other, each may be far from all that was touched lately.
fn copied(p: &CopyParams) -> u64 {
    let all = product(&p.dims);
    let [.., columns] = p.dims;
    let runs = if p.in_strides[5] == 1 && p.out_strides[5] == 1 { all / u64::from(columns.max(1)) } else { all };
    all.saturating_add(runs.saturating_mul(FAR))
}

/// A window over each of `c` channels, as far as it lies on the input.
fn depthwise(w: &WindowRecord, x: &Tensor, y: &Tensor, c: u32) -> u64 {
    let taps = product(&[w.kernel[0].min(x.dims[1]), w.kernel[1].min(x.dims[2])]);
    product(&y.dims[..3]).saturating_mul(u64::from(c).next_multiple_of(BLOCK as u64)).saturating_mul(taps.max(1))
}

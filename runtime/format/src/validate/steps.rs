//! Each operator's parameters against its tensors.

use super::tensors::{Extent, Memory};
use super::{File, Result, ensure_at};
use crate::act::ActRecord;
use crate::error::{FormatError, FormatErrorKind};
use crate::layout::{ALIGN, padded};
use crate::op::{Op, OpRef};
use crate::record::*;
use crate::{strassen, winograd};

pub(super) fn check(file: &File) -> Result<()> {
    for (i, step) in file.steps.iter().enumerate() {
        ensure_at(Op::ALL.iter().any(|&op| op as u32 == step.op), FormatErrorKind::UnknownOp, i)?;
        ensure_at(file.has_name(step.name, step.name_len), FormatErrorKind::Name, i)?;
        check_step(file, step).ok_or(FormatError::at(FormatErrorKind::Step, i))?;
        let mut used = step.inputs.iter().chain([&step.output]).filter_map(|&t| file.tensors.get(t as usize));
        let rows_only_within = file.pipeline(i).is_some() || used.all(|t| t.place != place::ROWS);
        ensure_at(rows_only_within, FormatErrorKind::Step, i)?;
    }
    Ok(())
}

/// `None` unless `ok`: lets checks read as a list.
fn must(ok: bool) -> Option<()> {
    ok.then_some(())
}

/// What a step writes.
pub(super) struct Access {
    /// Whether its output is its input 0.
    pub in_place: bool,
    /// Memory that it may write to.
    pub writes: Memory,
}

/// What a verified step whose output lies in the arena writes.
pub(super) fn access(file: &File, step: &Step) -> Option<Access> {
    let out = file.tensors.get(step.output as usize)?;
    let mut writes = Memory::of(out)?;
    if let OpRef::Copy(p) = step.op_ref()? {
        writes = copied(p, &writes)?;
    }
    Some(Access { in_place: step.flags & IN_PLACE != 0, writes })
}

fn check_step(file: &File, step: &Step) -> Option<()> {
    must(step.flags & !IN_PLACE == 0 && step.reserved == [0; 3])?;
    let op = step.op_ref()?;
    let (least, most) = match op.op() {
        Op::Conv if op.is_gated() => (2, 3),
        Op::Conv | Op::Separable | Op::Pool => (1, 2),
        Op::Binary | Op::Matmul => (2, 2),
        Op::Depthwise | Op::Reduce | Op::ScaleShift | Op::Activation | Op::Prelu | Op::Softmax | Op::Copy => (1, 1),
        Op::Resize | Op::Unary | Op::LayerNorm => (1, 1),
    };
    let reads = step.inputs.iter().take_while(|&&t| t != NONE).count();
    must((least..=most).contains(&reads) && step.inputs.iter().skip(reads).all(|&t| t == NONE))?;
    let tensor = |i: u32| file.tensors.get(i as usize);
    let (first, out) = (tensor(step.inputs[0])?, tensor(step.output)?);
    must(out.place != place::WEIGHTS)?;
    if step.flags & IN_PLACE != 0 {
        must(matches!(op.op(), Op::Binary | Op::ScaleShift | Op::Activation | Op::Prelu | Op::Unary))?;
        must(first.place == place::ARENA && first.offset == out.offset && first.dims == out.dims && first.pixel == out.pixel)?;
    }
    let (x, y) = (Extent::of(&op.sees(0, first)), Extent::of(out));
    let other = |slot: usize| if slot < reads { step.inputs.get(slot).and_then(|&t| tensor(t)).map(Extent::of) } else { None };
    let second = other(op.second());
    if op.takes_planes() {
        // Planes without gaps, all of them there.
        must(first.pixel == first.dims[3] && first.place != place::ROWS)?;
    }
    if op.is_gated() {
        let gate = other(1)?;
        must(gate.padded() && gate.dims() == [x.n, 1, 1, x.c])?;
    }
    // Kernels read and write whole blocks, except that a convolution takes any input and a copy anything.
    must(second.is_none_or(|t| t.padded()))?;
    match op.op() {
        Op::Conv => must(y.padded())?,
        Op::Copy => (),
        _ => must(x.padded() && y.padded())?,
    }
    let check = Check { file, x, y };
    match op {
        OpRef::Conv(p) => check.conv(p, second),
        OpRef::Depthwise(p) => check.depthwise(p, y),
        OpRef::Separable(p) => check.separable(p, second),
        OpRef::Pool(p) => check.pool(p, second),
        OpRef::Reduce(p) => {
            must(p.kind <= 4)?;
            match p.over {
                0 => must(y.dims() == [x.n, 1, 1, x.c]),
                1 => must(y.dims() == [x.n, x.h, x.w, 1]),
                _ => None,
            }
        }
        OpRef::Binary(p) => {
            must(p.op <= 10 && p.swapped <= 1 && p.reserved == 0)?;
            act(p.act)?;
            check.binary(second?, step.flags & IN_PLACE != 0)
        }
        OpRef::ScaleShift(p) => {
            must(p.reserved == 0)?;
            act(p.act)?;
            check.same()?;
            check.channels(p.scale)?;
            check.channels(p.shift)
        }
        OpRef::Activation(p) => {
            must(p.reserved == 0)?;
            act(p.act)?;
            check.same()
        }
        OpRef::Prelu(p) => {
            check.same()?;
            check.channels(p.slope)
        }
        OpRef::Softmax(p) => {
            must(p.log <= 1 && p.reserved == 0)?;
            check.same()
        }
        OpRef::Copy(p) => check.copy(p),
        OpRef::Resize(p) => {
            must(p.kind <= 1 && p.places <= 2)?;
            must(x.n == y.n && x.c == y.c)
        }
        OpRef::Unary(p) => {
            must(p.reserved == 0 && p.function.unary().is_some())?;
            check.same()
        }
        OpRef::LayerNorm(p) => {
            must(p.kind <= 1 && !p.epsilon.is_nan())?;
            check.same()?;
            check.channels(p.scale)?;
            check.channels(p.shift)
        }
        OpRef::Matmul(p) => {
            must(p.reserved == [0; 2])?;
            let b = second?;
            must(x.dims() == [y.n, 1, y.w, x.c] && b.dims() == [y.n, 1, x.c, y.c] && y.h == 1)
        }
    }
}

fn act(a: ActRecord) -> Option<()> {
    a.act().map(|_| ())
}

/// A number of channels rounded up to whole blocks.
fn blocks(c: u64) -> Option<u64> {
    padded(usize::try_from(c).ok()?).map(|n| n as u64)
}

/// A step's input 0 and output in their file.
struct Check<'a> {
    file: &'a File<'a>,
    x: Extent,
    y: Extent,
}

impl Check<'_> {
    /// Input and output have one shape.
    fn same(&self) -> Option<()> {
        must(self.x.dims() == self.y.dims())
    }

    /// A range of weights holds exactly so many floats.
    fn floats(&self, r: Range, count: u64) -> Option<()> {
        self.panels(r, dtype::F32, count)
    }

    /// A range of weights holds exactly so many of one of the types that panels may have.
    fn panels(&self, r: Range, weight_dtype: u32, count: u64) -> Option<()> {
        let size = match weight_dtype {
            dtype::F32 => 4,
            dtype::F16 => 2,
            _ => return None,
        };
        must(r.len == count.checked_mul(size)? && r.offset.is_multiple_of(ALIGN as u64))?;
        must(r.offset.checked_add(r.len)? <= self.file.weights_len)
    }

    /// A range holds a value for each output channel.
    fn channels(&self, r: Range) -> Option<()> {
        self.floats(r, blocks(self.y.c)?)
    }

    /// A window is one, and no product of what the kernels multiply overflows.
    fn window(&self, w: &WindowRecord) -> Option<()> {
        let (x, y) = (&self.x, &self.y);
        let mut reach = [0u64; 2];
        for (d, (input, output)) in [(x.h, y.h), (x.w, y.w)].into_iter().enumerate() {
            let [kernel, stride, dilation, pad, pad_end] =
                [w.kernel, w.stride, w.dilation, w.pad, w.pad_end].map(|v| v.get(d).copied().map(u64::from));
            let (kernel, stride, dilation, pad, pad_end) = (kernel?, stride?, dilation?, pad?, pad_end?);
            must(kernel > 0 && stride > 0 && dilation > 0)?;
            let cover = output.checked_sub(1)?.checked_mul(stride)?.checked_add((kernel - 1).checked_mul(dilation)?)?;
            must(cover < i32::MAX as u64)?;
            let all = [cover, 1, kernel, stride, dilation, pad, pad_end, input];
            *reach.get_mut(d)? = all.into_iter().try_fold(0u64, u64::checked_add)?;
        }
        let widest = blocks(x.pixel.max(x.c).max(y.pixel))?.checked_add(crate::layout::BLOCK as u64)?;
        let most = reach[0].checked_mul(reach[1])?.checked_mul(x.n.max(y.n))?.checked_mul(widest)?;
        must(most <= isize::MAX as u64)
    }

    fn conv(&self, p: &ConvParams, residual: Option<Extent>) -> Option<()> {
        let (x, y, groups) = (&self.x, &self.y, u64::from(p.groups));
        act(p.act)?;
        must(groups > 0 && x.c.is_multiple_of(groups) && y.c.is_multiple_of(groups) && x.n == y.n)?;
        must(residual.is_none_or(|r| r.dims() == y.dims()))?;
        self.window(&p.window)?;
        must(p.take <= take::PLANES && p.reserved == 0 && (p.take == take::PLAIN || p.algorithm == 0))?;
        must(p.take != take::GATED || groups == 1)?;
        let mut taps = u64::from(p.window.kernel[0]).checked_mul(p.window.kernel[1].into())?;
        if p.algorithm == strassen::CODE {
            must(groups == 1 && p.window.kernel == [1, 1] && p.window.stride == [1, 1] && p.window.pad == [0, 0])?;
            must(x.padded() && p.weight_dtype == dtype::F32 && x.dims() == [y.n, y.h, y.w, x.c])?;
            strassen::halves(x.c, y.c)?;
        } else if p.algorithm != 0 {
            let [rows, columns] = winograd::points(p.window.kernel, p.algorithm)?;
            must(groups == 1 && p.window.stride == [1, 1] && p.window.dilation == [1, 1] && x.padded())?;
            taps = u64::from(rows) * u64::from(columns);
        }
        let per_group = blocks(y.c / groups)?.checked_mul(groups)?;
        self.panels(p.weights, p.weight_dtype, per_group.checked_mul(taps)?.checked_mul(x.c / groups)?)?;
        self.floats(p.bias, per_group)
    }

    /// `y` is the output of the depthwise convolution.
    fn depthwise(&self, p: &DepthwiseParams, y: Extent) -> Option<()> {
        must(p.weight_dtype == dtype::F32 && p.reserved == 0 && p.pre_relu <= 1)?;
        act(p.act)?;
        must(self.x.n == y.n && self.x.c == y.c)?;
        self.window(&p.window)?;
        let taps = u64::from(p.window.kernel[0]).checked_mul(p.window.kernel[1].into())?;
        self.floats(p.weights, blocks(y.c)?.checked_mul(taps)?)?;
        self.floats(p.bias, blocks(y.c)?)
    }

    fn separable(&self, p: &SeparableParams, residual: Option<Extent>) -> Option<()> {
        let (x, y) = (&self.x, &self.y);
        self.depthwise(&p.depthwise, Extent { c: x.c, ..*y })?;
        act(p.act)?;
        must(residual.is_none_or(|r| r.dims() == y.dims()))?;
        self.panels(p.weights, p.weight_dtype, blocks(y.c)?.checked_mul(x.c)?)?;
        self.channels(p.bias)
    }

    fn pool(&self, p: &PoolParams, residual: Option<Extent>) -> Option<()> {
        must(p.kind <= 2 && p.reserved == 0 && self.x.n == self.y.n && self.x.c == self.y.c)?;
        must(residual.is_none_or(|r| r.dims() == self.y.dims()))?;
        self.window(&p.window)
    }

    fn binary(&self, b: Extent, in_place: bool) -> Option<()> {
        let repeats = |e: &Extent| e.dims().iter().zip(self.y.dims()).all(|(&d, out)| d == out || d == 1);
        must(repeats(&self.x) && repeats(&b))?;
        must(self.x.dims() == self.y.dims() || (!in_place && b.dims() == self.y.dims()))
    }

    fn copy(&self, p: &CopyParams) -> Option<()> {
        must(p.filled <= 1 && p.dims.iter().all(|&d| d > 0))?;
        must(last_index(&p.dims, &p.in_strides, p.in_offset)? < self.x.span()?)?;
        must(reads_channels(p, self.x))?;
        must(last_index(&p.dims, &p.out_strides, p.out_offset)? < self.y.span()?)?;
        must(are_apart(&p.dims, &p.out_strides))
    }
}

/// Whether a copy reads nothing but channels, as is to be seen from each loop by itself. What lies in the lanes behind them is another
/// matter on each instruction set.
fn reads_channels(p: &CopyParams, x: Extent) -> bool {
    let within = |stride: u32| u64::from(stride).checked_rem(x.pixel).unwrap_or(0);
    let loops = p.dims.iter().zip(&p.in_strides).map(|(&d, &s)| u64::from(d).saturating_sub(1).saturating_mul(within(s)));
    x.c == x.pixel || loops.fold(within(p.in_offset), u64::saturating_add) < x.c
}

/// The largest index of nested loops.
fn last_index(dims: &[u32; 6], strides: &[u32; 6], offset: u32) -> Option<u64> {
    let ends = dims.iter().zip(strides).map(|(&d, &s)| u64::from(d).saturating_sub(1).checked_mul(s.into()));
    ends.into_iter().try_fold(u64::from(offset), |sum, end| sum.checked_add(end?))
}

/// Whether no index occurs twice, because each loop steps over all that the loops of smaller strides reach. It also bounds the
/// number of turns by the memory that they write.
fn are_apart(dims: &[u32; 6], strides: &[u32; 6]) -> bool {
    let reach_below = |stride: u32, this: usize| {
        let below = dims.iter().zip(strides).enumerate().filter(|&(i, (_, &s))| i != this && s <= stride);
        below.map(|(_, (&d, &s))| (u64::from(d) - 1) * u64::from(s)).fold(0u64, u64::saturating_add)
    };
    dims.iter().zip(strides).enumerate().all(|(i, (&d, &s))| d == 1 || u64::from(s) > reach_below(s, i))
}

/// What a copy into a tensor with this memory writes: some channels of each pixel, where that can be told.
fn copied(p: &CopyParams, target: &Memory) -> Option<Memory> {
    let pixel = target.pixel;
    let first = u64::from(p.out_offset).checked_rem(pixel)?;
    let mut lanes = 1u64;
    for (&d, &s) in p.dims.iter().zip(&p.out_strides) {
        if !u64::from(s).is_multiple_of(pixel) {
            lanes = lanes.checked_add(u64::from(d).checked_sub(1)?.checked_mul(s.into())?)?;
        }
    }
    let start = target.start.checked_add(p.out_offset.into())?;
    let end = target.start.checked_add(last_index(&p.dims, &p.out_strides, p.out_offset)?)?.checked_add(1)?;
    match (p.filled != 0, first.checked_add(lanes)? <= pixel) {
        (false, true) => Some(Memory { start, end, pixel, lanes }),
        (false, false) => Some(Memory { start, end, pixel: 0, lanes }),
        // The fill covers the tensor's own channels, the rest may come to lie behind them.
        (true, _) if first + lanes <= target.lanes => Some(*target),
        (true, _) => Some(Memory { pixel: 0, ..*target }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    /// What a copy writes, as it is added up, has each float that it writes, begins with the first and ends with the last of them.
    #[test]
    fn copies_write_from_their_first_float_to_their_last() {
        let (mut told, mut untold) = (0, 0);
        let target = |pixel, lanes, pixels: u64| Memory { start: 32, end: 32 + (pixels - 1) * pixel + lanes, pixel, lanes };
        let cases = [(16, 16, 6), (48, 48, 1), (48, 32, 6), (64, 64, 6)];
        for (pixel, lanes, pixels) in cases {
            for dims in [[1, 1, 1, 1, 1, 16], [1, 1, 1, 1, 3, 5], [1, 1, 1, 2, 3, 16], [1, 1, 1, 1, 1, 1], [1, 1, 1, 6, 1, 8]] {
                for (stride, inner, offset) in [(1, 1, 0), (1, 1, 16), (2, 1, 32), (1, 3, 48), (1, 1, 20)] {
                    let mut p = CopyParams::zeroed();
                    (p.dims, p.out_offset) = (dims, offset);
                    p.out_strides = [0, 0, 0, 3 * pixel as u32, stride * pixel as u32, inner];
                    let t = target(pixel, lanes, pixels);
                    let m = copied(&p, &t).unwrap();
                    let (mut first, mut last) = (u64::MAX, 0);
                    for (a, b, c) in (0..dims[3]).flat_map(|a| (0..dims[4]).flat_map(move |b| (0..dims[5]).map(move |c| (a, b, c))))
                    {
                        let at = offset + a * p.out_strides[3] + b * p.out_strides[4] + c * p.out_strides[5];
                        let f = t.start + u64::from(at);
                        (first, last) = (first.min(f), last.max(f));
                        assert!(m.meets(&Memory { start: f, end: f + 1, pixel, lanes: 1 }), "{f} of {p:?} in {t:?}");
                    }
                    assert_eq!((m.start, m.end - 1), (first, last), "{p:?}");
                    told += u32::from(m.pixel != 0);
                    untold += u32::from(m.pixel == 0);
                    p.filled = 1;
                    let m = copied(&p, &t).unwrap();
                    assert!((m.start, m.end) == (t.start, t.end) && (m.pixel == 0 || m.lanes == t.lanes));
                }
            }
        }
        assert!(told > 20 && untold > 5, "{told} {untold}");
    }
}

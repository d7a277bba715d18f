//! Moving elements without arithmetic: reshape between padded layouts, transpose, concat, slice, pad, repeat.
//!
//! 1. Dimensions of extent 1 go, the others are sorted so that the target is written in order, and neighbours that are one run in
//!    both source and target are merged.
//! 2. The innermost dimension is a memory copy where it is contiguous in both. Where it is contiguous in the target only and some
//!    other dimension is so in the source (a transposition, NCHW to NHWC), the two are walked in tiles that stay in the cache.
//! 3. Threads share the outermost dimension, if its parts lie in disjoint ranges of the target.

use super::activation::grain;
use crate::par::{self, Parallel};

/// Most nested loops of a [`struct@Copy`].
pub const DIMS: usize = 6;

/// `out[sum of i_d * out_strides[d]] = in[sum of i_d * in_strides[d]]` over all `i` in `dims`; strides in floats.
/// Where `fill` is given, all of `out` is set to it first.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// Extents, outermost first; unused ones are 1.
    pub dims: [usize; DIMS],
    /// Strides of the source; 0 repeats.
    pub in_strides: [usize; DIMS],
    /// Strides of the target; no two elements may meet.
    pub out_strides: [usize; DIMS],
    /// Value of the elements that are not copied to.
    pub fill: Option<f32>,
}

/// One loop.
#[derive(Clone, Copy, Debug, Default)]
struct Dim {
    extent: usize,
    from: usize,
    to: usize,
}

/// Runs a copy.
///
/// # Panics
/// If an element lies outside `input` or `out`, which a verified file rules out.
pub fn copy(par: &dyn Parallel, args: &Copy, input: &[f32], out: &mut [f32]) {
    let mut dims = [Dim::default(); DIMS];
    let mut used = 0;
    for d in 0..DIMS {
        let dim = Dim { extent: args.dims[d], from: args.in_strides[d], to: args.out_strides[d] };
        if dim.extent == 0 {
            out.fill_with_option(args.fill);
            return;
        }
        if dim.extent > 1 {
            // Kept sorted by the stride of the target, largest first; equal strides stay in order.
            let at = dims[..used].iter().position(|other| other.to < dim.to).unwrap_or(used);
            dims.copy_within(at..used, at + 1);
            dims[at] = dim;
            used += 1;
        }
    }
    // From the inside out: the inner of two loops that are one run swallows the outer.
    let mut d = used;
    while d > 1 {
        d -= 1;
        let (outer, inner) = (dims[d - 1], dims[d]);
        if outer.from == inner.extent * inner.from && outer.to == inner.extent * inner.to {
            dims[d - 1] = Dim { extent: outer.extent * inner.extent, ..inner };
            dims.copy_within(d + 1..used, d);
            used -= 1;
        }
    }
    let dims = &dims[..used];
    let last = |stride: fn(&Dim) -> usize| dims.iter().map(|d| (d.extent - 1) * stride(d)).sum::<usize>();
    assert!(last(|d| d.from) < input.len() && last(|d| d.to) < out.len(), "copy: an element lies outside its tensor");

    let Some((outer, inner)) = dims.split_first() else {
        out.fill_with_option(args.fill);
        out[0] = input[0];
        return;
    };
    let below = last(|d| d.to) - (outer.extent - 1) * outer.to;
    if below < outer.to {
        // One part of the target for each step of the outer loop.
        let work = inner.iter().map(|d| d.extent).product::<usize>();
        par::split(par, out, outer.extent, outer.to, grain(work), &mut [], 0, &|units, part, _| {
            part.fill_with_option(args.fill);
            if inner.is_empty() {
                line(&input[units.start * outer.from..], outer.from, part, outer.to, units.len());
            } else if let [dim] = inner {
                plane([Dim { extent: units.len(), ..*outer }, *dim], &input[units.start * outer.from..], part);
            } else {
                for (i, unit) in units.enumerate() {
                    walk(inner, &input[unit * outer.from..], &mut part[i * outer.to..]);
                }
            }
        });
    } else {
        out.fill_with_option(args.fill);
        walk(dims, input, out);
    }
}

/// `fill`, if there is a value.
trait FillWithOption {
    fn fill_with_option(&mut self, value: Option<f32>);
}

impl FillWithOption for [f32] {
    fn fill_with_option(&mut self, value: Option<f32>) {
        if let Some(value) = value {
            self.fill(value);
        }
    }
}

/// All loops of `dims`, at least one of them, outermost first.
fn walk(dims: &[Dim], input: &[f32], out: &mut [f32]) {
    match dims {
        [] => out[0] = input[0],
        [dim] => line(input, dim.from, out, dim.to, dim.extent),
        [outer, inner] => plane([*outer, *inner], input, out),
        [outer, inner @ ..] => {
            for i in 0..outer.extent {
                walk(inner, &input[i * outer.from..], &mut out[i * outer.to..]);
            }
        }
    }
}

/// Elements of a side of a tile.
const TILE: usize = 64;

/// Two loops.
fn plane([outer, inner]: [Dim; 2], input: &[f32], out: &mut [f32]) {
    if inner.from <= 1 || outer.from != 1 {
        for i in 0..outer.extent {
            line(&input[i * outer.from..], inner.from, &mut out[i * outer.to..], inner.to, inner.extent);
        }
        return;
    }
    // Planes of a picture to its pixels: each element of the target once, in order.
    if inner.to == 1 && outer.to == inner.extent {
        match inner.extent {
            2 => return interleave::<2>(outer.extent, inner.from, input, out),
            3 => return interleave::<3>(outer.extent, inner.from, input, out),
            4 => return interleave::<4>(outer.extent, inner.from, input, out),
            _ => (),
        }
    }
    // The source is contiguous along the outer loop: read that way, and write so little that it is still in the cache when its
    // neighbours come.
    for i in (0..outer.extent).step_by(TILE) {
        for k in (0..inner.extent).step_by(TILE) {
            for k in k..(k + TILE).min(inner.extent) {
                let (input, out) = (&input[i + k * inner.from..], &mut out[i * outer.to + k * inner.to..]);
                line(input, 1, out, outer.to, TILE.min(outer.extent - i));
            }
        }
    }
}

/// One pixel of `c` channels after the other, of planes that lie `apart`, as many as there is room for.
pub(crate) fn pixels_of_planes(planes: &[f32], apart: usize, c: usize, to: &mut [f32]) {
    let pixels = Dim { extent: to.len() / c.max(1), from: 1, to: c };
    plane([pixels, Dim { extent: c, from: apart, to: 1 }], planes, to);
}

/// `N` runs of `extent` elements, `apart` from each other, to one of `extent` groups of `N`.
fn interleave<const N: usize>(extent: usize, apart: usize, input: &[f32], out: &mut [f32]) {
    let runs: [&[f32]; N] = core::array::from_fn(|k| &input[k * apart..][..extent]);
    for (i, group) in out.as_chunks_mut::<N>().0[..extent].iter_mut().enumerate() {
        *group = core::array::from_fn(|k| runs[k][i]);
    }
}

/// One loop.
#[inline(always)]
fn line(input: &[f32], from: usize, out: &mut [f32], to: usize, extent: usize) {
    match (from, to) {
        (1, 1) => out[..extent].copy_from_slice(&input[..extent]),
        (0, 1) => out[..extent].fill(input[0]),
        (0, _) => out.iter_mut().step_by(to).take(extent).for_each(|o| *o = input[0]),
        _ => out.iter_mut().step_by(to).zip(input.iter().step_by(from)).take(extent).for_each(|(o, i)| *o = *i),
    }
}

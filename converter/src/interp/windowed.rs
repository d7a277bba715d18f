//! Convolutions and pooling. The convolution gathers the taps of four pixels, as they lie under the weights, and multiplies
//! them with panels of four output channels: sixteen sums that stay in registers. Rows of pixels are shared among threads.
use super::{Arg, activate};
use crate::ir::{Op, Places, PoolKind, ResizeKind, Window};
use std::borrow::Cow;
use std::num::NonZero;

/// Pixels of a tile and channels of a panel.
const TILE: usize = 4;

/// Work below which a second thread costs more than it brings, in multiplications.
const WORTH_A_THREAD: usize = 1 << 20;

/// Where a tap lies: the index of the input row (or column) under output `o` and tap `k`, if it is inside the input.
fn tap(o: usize, k: usize, stride: usize, dilation: usize, before: usize, extent: usize) -> Option<usize> {
    (o * stride + k * dilation).checked_sub(before).filter(|&i| i < extent)
}

/// Index of the pixel under tap (ky, kx) of output pixel `p`, counted over the whole batch.
fn pixel(p: usize, [ky, kx]: [usize; 2], w: &Window, x: [usize; 4], out: [usize; 4]) -> Option<usize> {
    let (image, oy, ox) = (p / (out[1] * out[2]), p / out[2] % out[1], p % out[2]);
    let iy = tap(oy, ky, w.stride[0], w.dilation[0], w.pads.top, x[1])?;
    let ix = tap(ox, kx, w.stride[1], w.dilation[1], w.pads.left, x[2])?;
    Some((image * x[1] + iy) * x[2] + ix)
}

fn four(shape: &[usize]) -> [usize; 4] {
    shape.try_into().unwrap_or([0; 4])
}

/// Cuts `y` into one run of whole rows of `row` elements per thread and calls `f(first row, run)` on each.
fn in_parallel(y: &mut [f64], row: usize, work: usize, f: impl Fn(usize, &mut [f64]) + Sync) {
    let most = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = most.min(work / WORTH_A_THREAD + 1);
    let rows = (y.len() / row).div_ceil(threads).next_multiple_of(TILE);
    std::thread::scope(|scope| {
        let mut runs = y.chunks_mut(rows * row).enumerate();
        let own = runs.next();
        for (i, run) in runs {
            let f = &f;
            scope.spawn(move || f(i * rows, run));
        }
        if let Some((_, run)) = own {
            f(0, run);
        }
    });
}

/// [`Op::Conv`].
pub(super) fn conv(op: &Op, args: &[Arg], out: &[usize]) -> Vec<f64> {
    let Op::Conv { window, groups, bias, residual, pre_relu, act } = op else { return Vec::new() };
    let (shape, w, ws, out) = (args[0].shape4(), args[1].narrow(), args[1].shape4(), four(out));
    let mut x = args[0].wide();
    if *pre_relu {
        x = Cow::Owned(x.iter().map(|x| x.max(0.0)).collect());
    }
    let mut y = vec![0.0; out.iter().product()];
    let work = y.len().saturating_mul(ws[0] * ws[1] * ws[2]);
    if ws[2] == 1 {
        in_parallel(&mut y, out[3], work, |first, y| depthwise(&x, shape, w, window, *groups, first, y, out));
    } else {
        let panels = pack(w, ws, *groups);
        in_parallel(&mut y, out[3], work, |first, y| grouped(&x, shape, &panels, ws, window, *groups, first, y, out));
    }
    let bias = bias.then(|| args[2].narrow());
    let residual = residual.then(|| args[args.len() - 1].wide());
    for (i, y) in y.iter_mut().enumerate() {
        let sum = *y + bias.map_or(0.0, |b| f64::from(b[i % out[3]])) + residual.as_ref().map_or(0.0, |r| r[i]);
        *y = activate(*act, sum);
    }
    y
}

/// One input channel per group: channels innermost.
fn depthwise(
    x: &[f64],
    shape: [usize; 4],
    w: &[f32],
    window: &Window,
    groups: usize,
    first: usize,
    y: &mut [f64],
    out: [usize; 4],
) {
    let (c, o) = (shape[3], out[3]);
    let multiplier = o / groups;
    for (p, y) in y.chunks_exact_mut(o).enumerate() {
        for (t, w) in w.chunks_exact(o).enumerate() {
            let at = [t / window.kernel[1], t % window.kernel[1]];
            let Some(i) = pixel(first + p, at, window, shape, out) else { continue };
            let x = &x[i * c..(i + 1) * c];
            if multiplier == 1 {
                y.iter_mut().zip(x).zip(w).for_each(|((y, x), &w)| *y += x * f64::from(w));
            } else {
                y.iter_mut().zip(w).enumerate().for_each(|(o, (y, &w))| *y += x[o / multiplier] * f64::from(w));
            }
        }
    }
}

/// Weights as `[group][panel][kh * kw * cin][4]`, zeros behind the last channel.
fn pack(w: &[f32], ws: [usize; 4], groups: usize) -> Vec<[f64; TILE]> {
    let (k, cout) = (ws[0] * ws[1] * ws[2], ws[3] / groups);
    let mut panels = Vec::with_capacity(groups * cout.div_ceil(TILE) * k);
    for g in 0..groups {
        for p in (0..cout).step_by(TILE) {
            for row in w.chunks_exact(ws[3]) {
                let at = |i: usize| if p + i < cout { f64::from(row[g * cout + p + i]) } else { 0.0 };
                panels.push(std::array::from_fn(at));
            }
        }
    }
    panels
}

fn grouped(
    x: &[f64],
    shape: [usize; 4],
    panels: &[[f64; TILE]],
    ws: [usize; 4],
    window: &Window,
    groups: usize,
    first: usize,
    y: &mut [f64],
    out: [usize; 4],
) {
    let (c, o, cin, cout) = (shape[3], out[3], ws[2], ws[3] / groups);
    let k = ws[0] * ws[1] * cin;
    let mut taps = vec![[0.0; TILE]; k];
    for (t, y) in y.chunks_mut(TILE * o).enumerate() {
        for g in 0..groups {
            taps.fill([0.0; TILE]);
            for q in 0..y.len() / o {
                for (s, taps) in taps.chunks_exact_mut(cin).enumerate() {
                    let at = [s / window.kernel[1], s % window.kernel[1]];
                    let Some(i) = pixel(first + t * TILE + q, at, window, shape, out) else { continue };
                    let x = &x[i * c + g * cin..][..cin];
                    taps.iter_mut().zip(x).for_each(|(t, &x)| t[q] = x);
                }
            }
            let own = &panels[g * cout.div_ceil(TILE) * k..];
            for (p, panel) in own.chunks_exact(k).take(cout.div_ceil(TILE)).enumerate() {
                let sums = multiply(&taps, panel);
                for (y, sums) in y.chunks_exact_mut(o).zip(sums) {
                    let y = &mut y[g * cout..(g + 1) * cout][p * TILE..];
                    y.iter_mut().zip(sums).for_each(|(y, s)| *y = s);
                }
            }
        }
    }
}

/// `sums[pixel][channel] = sum over k of taps[k][pixel] * panel[k][channel]`.
fn multiply(taps: &[[f64; TILE]], panel: &[[f64; TILE]]) -> [[f64; TILE]; TILE] {
    let mut sums = [[0.0; TILE]; TILE];
    for (x, w) in taps.iter().zip(panel) {
        for q in 0..TILE {
            for o in 0..TILE {
                sums[q][o] += x[q] * w[o];
            }
        }
    }
    sums
}

/// [`Op::ConvTranspose`]: every input pixel adds its filter to the output.
pub(super) fn conv_transpose(op: &Op, args: &[Arg], out: &[usize]) -> Vec<f64> {
    let Op::ConvTranspose { window, groups, bias, act } = op else { return Vec::new() };
    let (x, shape, w, ws, out) = (args[0].wide(), args[0].shape4(), args[1].narrow(), args[1].shape4(), four(out));
    let (c, per_group, cin) = (shape[3], ws[2], shape[3] / groups);
    let mut y = vec![0.0; out.iter().product()];
    for (p, x) in x.chunks_exact(c).enumerate() {
        let (image, iy, ix) = (p / (shape[1] * shape[2]), p / shape[2] % shape[1], p % shape[2]);
        for (t, w) in w.chunks_exact(per_group * c).enumerate() {
            let (ky, kx) = (t / window.kernel[1], t % window.kernel[1]);
            let Some(oy) = tap(iy, ky, window.stride[0], window.dilation[0], window.pads.top, out[1]) else { continue };
            let Some(ox) = tap(ix, kx, window.stride[1], window.dilation[1], window.pads.left, out[2]) else { continue };
            let y = &mut y[((image * out[1] + oy) * out[2] + ox) * out[3]..][..out[3]];
            for (o, y) in y.iter_mut().enumerate() {
                let (g, o) = (o / per_group, o % per_group);
                let w = &w[o * c + g * cin..][..cin];
                *y += x[g * cin..].iter().zip(w).map(|(x, &w)| x * f64::from(w)).sum::<f64>();
            }
        }
    }
    let bias = bias.then(|| args[2].narrow());
    for (i, y) in y.iter_mut().enumerate() {
        *y = activate(*act, *y + bias.map_or(0.0, |b| f64::from(b[i % out[3]])));
    }
    y
}

/// The taps of output `o` along an axis that lie at `first..end`, counted from where the first window begins.
fn taps(w: &Window, axis: usize, o: usize, first: usize, end: usize) -> std::ops::Range<usize> {
    let at = o * w.stride[axis];
    let tap = |edge: usize| edge.saturating_sub(at).div_ceil(w.dilation[axis]).min(w.kernel[axis]);
    tap(first)..tap(end)
}

/// [`Op::Pool`] without its residual.
pub(super) fn pool(kind: PoolKind, w: &Window, x: Arg, out: &[usize]) -> Vec<f64> {
    let (data, shape, out) = (x.wide(), x.shape4(), four(out));
    let c = shape[3];
    let empty = if kind == PoolKind::Max { f64::NEG_INFINITY } else { 0.0 };
    let mut y = vec![empty; out.iter().product()];
    for (p, y) in y.chunks_exact_mut(c).enumerate() {
        let mut inside = 0;
        // Only taps inside the image: a window may be far larger.
        let at = [p / out[2] % out[1], p % out[2]];
        let [down, across] = [0, 1].map(|i| {
            let before = [w.pads.top, w.pads.left][i];
            taps(w, i, at[i], before, before + shape[1 + i])
        });
        for (ky, kx) in down.flat_map(|ky| across.clone().map(move |kx| (ky, kx))) {
            let Some(i) = pixel(p, [ky, kx], w, shape, out) else { continue };
            inside += 1;
            for (y, &x) in y.iter_mut().zip(&data[i * c..]) {
                *y = if kind == PoolKind::Max { y.max(x) } else { *y + x };
            }
        }
        let count = match kind {
            PoolKind::Max => continue,
            PoolKind::Average => inside,
            PoolKind::AverageWithPad { counted } => {
                let pads = [(w.pads.top, counted.top, counted.bottom), (w.pads.left, counted.left, counted.right)];
                let along = |i: usize, o: usize| {
                    let (before, counted, after) = pads[i];
                    taps(w, i, o, before - counted, before + shape[1 + i] + after).len()
                };
                along(0, at[0]) * along(1, at[1])
            }
        };
        y.iter_mut().for_each(|y| *y /= count as f64);
    }
    y
}

/// [`Op::Resize`]. Where the pixels lie is computed in f32, as the kernel does: a place next to a border decides which pixel it is.
pub(super) fn resize(kind: ResizeKind, places: Places, x: Arg, out: &[usize]) -> Vec<f64> {
    let (data, [_, h, w, c], [n, rows, columns, _]) = (x.wide(), x.shape4(), four(out));
    let mut y = Vec::with_capacity(out.iter().product());
    for (image, oy, ox) in (0..n * rows * columns).map(|p| (p / (rows * columns), p / columns % rows, p % columns)) {
        let pixel = |y: usize, x: usize| &data[((image * h + y) * w + x) * c..][..c];
        if kind == ResizeKind::Nearest {
            y.extend_from_slice(pixel(places.nearest(oy, h, rows), places.nearest(ox, w, columns)));
            continue;
        }
        let ((y0, y1, dy), (x0, x1, dx)) = (places.between(oy, h, rows), places.between(ox, w, columns));
        let (dy, dx) = (f64::from(dy), f64::from(dx));
        let corners = pixel(y0, x0).iter().zip(pixel(y0, x1)).zip(pixel(y1, x0).iter().zip(pixel(y1, x1)));
        let lerp = |a: f64, b: f64, share: f64| a + (b - a) * share;
        y.extend(corners.map(|((a, b), (c, d))| lerp(lerp(*a, *b, dx), lerp(*c, *d, dx), dy)));
    }
    y
}

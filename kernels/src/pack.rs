//! Logical weights to the panels that the file holds and the kernels read.

use sepal_format::layout::{BLOCK, padded};

/// Floats of the panels of a convolution: `groups * (N/g padded to blocks) * kh * kw * C/g`; `None` on overflow.
pub fn conv_len(kernel: [usize; 2], c_per_group: usize, n: usize, groups: usize) -> Option<usize> {
    let per_group = padded(n.checked_div(groups)?)?;
    groups.checked_mul(per_group)?.checked_mul(kernel[0])?.checked_mul(kernel[1])?.checked_mul(c_per_group)
}

/// Packs `[kh][kw][C/g][N]` (output channels of group 0 first) to `[g][N/g/16][kh * kw * C/g][16]`, zeros in the padding.
///
/// # Panics
/// If the slices are not as long as the arguments say.
pub fn conv(kernel: [usize; 2], c_per_group: usize, n: usize, groups: usize, weights: &[f32], panels: &mut [f32]) {
    let k = kernel[0] * kernel[1] * c_per_group;
    let per = n / groups;
    let blocks = per.div_ceil(BLOCK);
    assert_eq!(weights.len(), k * n, "weights");
    assert_eq!(panels.len(), groups * blocks * k * BLOCK, "panels");
    for (i, panel) in panels.chunks_exact_mut((k * BLOCK).max(1)).enumerate() {
        let (g, b) = (i / blocks, i % blocks);
        let lanes = (per - b * BLOCK).min(BLOCK);
        for (row, to) in weights.chunks_exact(n).zip(panel.chunks_exact_mut(BLOCK)) {
            to[..lanes].copy_from_slice(&row[g * per + b * BLOCK..][..lanes]);
            to[lanes..].fill(0.0);
        }
    }
}

/// The `G` of each transform in [`crate::ops::winograd`], by outputs and taps: rows are points.
fn winograd_points(outputs: usize, taps: usize) -> ([[f64; 7]; 10], usize) {
    let row = |values: &[f64], divisor: f64| {
        let mut row = [0.0; 7];
        row.iter_mut().zip(values).for_each(|(to, v)| *to = v / divisor);
        row
    };
    let powers = |x: f64, divisor: f64| {
        let mut row = [0.0; 7];
        row[..taps].iter_mut().fold(1.0, |power, to| {
            *to = power / divisor;
            power * x
        });
        row
    };
    let mut g = [[0.0; 7]; 10];
    let all: &[[f64; 7]] = match (outputs, taps) {
        (1, _) => &[row(&[1.0], 1.0)],
        (2, _) => &[powers(0.0, 1.0), powers(1.0, 2.0), powers(-1.0, 2.0), row(&[0.0, 0.0, 1.0], 1.0)],
        (_, 3) => &[
            powers(0.0, 4.0),
            powers(1.0, -6.0),
            powers(-1.0, -6.0),
            powers(2.0, 24.0),
            powers(-2.0, 24.0),
            row(&[0.0, 0.0, 1.0], 1.0),
        ],
        _ => &[
            powers(0.0, 1.0),
            powers(1.0, 135.0 / 8.0),
            powers(-1.0, -135.0 / 8.0),
            powers(2.0, -405.0),
            powers(-2.0, 945.0),
            powers(0.5, -945.0 / 256.0),
            powers(-0.5, 405.0 / 256.0),
            powers(4.0, 48195.0),
            powers(-0.25, -48195.0 / 65536.0),
            row(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 1.0),
        ],
    };
    g[..all.len()].copy_from_slice(all);
    (g, all.len())
}

/// Transforms `[kh][kw][C][N]` to `[points][C][N]` for [`crate::ops::winograd`]: `G w G^T`, in f64, rounded once.
///
/// # Panics
/// If the slices are not as long as the arguments say.
pub fn winograd_weights(kernel: [usize; 2], tile: [usize; 2], c: usize, n: usize, weights: &[f32], transformed: &mut [f32]) {
    let ((gy, ay), (gx, ax)) = (winograd_points(tile[0], kernel[0]), winograd_points(tile[1], kernel[1]));
    assert_eq!(weights.len(), kernel[0] * kernel[1] * c * n, "weights");
    assert_eq!(transformed.len(), ay * ax * c * n, "transformed weights");
    for (p, point) in transformed.chunks_exact_mut((c * n).max(1)).enumerate() {
        let (gy, gx) = (&gy[p / ax], &gx[p % ax]);
        for (i, to) in point.iter_mut().enumerate() {
            let mut sum = 0.0;
            for ky in 0..kernel[0] {
                for kx in 0..kernel[1] {
                    sum += gy[ky] * gx[kx] * f64::from(weights[(ky * kernel[1] + kx) * c * n + i]);
                }
            }
            *to = sum as f32;
        }
    }
}

/// Packs weights that [`winograd_weights`] made, `[points][C][N]`, to `[points][N/16][C][16]`, zeros in the padding.
///
/// # Panics
/// If the slices are not as long as the arguments say.
pub fn winograd(points: usize, c: usize, n: usize, transformed: &[f32], panels: &mut [f32]) {
    let per = panels.len() / points.max(1);
    for (from, to) in transformed.chunks_exact((c * n).max(1)).zip(panels.chunks_exact_mut(per.max(1))) {
        conv([1, 1], c, n, 1, from, to);
    }
}

/// Packs `[C][N]` for [`crate::ops::strassen`], `[2][N/16][C of the half][16]`, zeros in the padding.
///
/// # Panics
/// If the channels have no [`halves`](sepal_format::strassen::halves), or the slices are not as long as the arguments say.
pub fn strassen(c: usize, n: usize, weights: &[f32], panels: &mut [f32]) {
    let ([k, _], half) = sepal_format::strassen::halves(c as u64, n as u64).expect("channels with halves");
    let (low, high) = weights.split_at(k as usize * n);
    let (first, second) = panels.split_at_mut((k * 2 * half) as usize);
    conv([1, 1], k as usize, n, 1, low, first);
    conv([1, 1], c - k as usize, n, 1, high, second);
}

/// Packs `[kh][kw][C]` to `[C/16][kh * kw][16]`, zeros in the padding.
///
/// # Panics
/// If the slices are not as long as the arguments say.
pub fn depthwise(kernel: [usize; 2], c: usize, weights: &[f32], panels: &mut [f32]) {
    conv(kernel, 1, c, 1, weights, panels);
}

/// Copies per-channel values `[groups][n]` to `[groups][n padded to blocks]`, zeros in the padding.
///
/// # Panics
/// If the slices are not as long as the arguments say.
pub fn channels(groups: usize, values: &[f32], padded: &mut [f32]) {
    let n = values.len() / groups;
    let per = n.next_multiple_of(BLOCK);
    assert_eq!(padded.len(), groups * per, "padded values");
    for (from, to) in values.chunks_exact(n.max(1)).zip(padded.chunks_exact_mut(per.max(1))) {
        to[..n].copy_from_slice(from);
        to[n..].fill(0.0);
    }
}

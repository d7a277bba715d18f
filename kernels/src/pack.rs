//! Logical weights to the panels that the file holds and the kernels read.

use sepal_format::layout::{BLOCK, padded};

/// Floats of the panels of a convolution: `groups * (N/g padded to blocks) * kh * kw * C/g`; `None` on overflow, and when
/// `groups` does not divide `n`.
pub fn conv_len(kernel: [usize; 2], c_per_group: usize, n: usize, groups: usize) -> Option<usize> {
    if groups == 0 || !n.is_multiple_of(groups) {
        return None;
    }
    let taps = kernel[0].checked_mul(kernel[1])?.checked_mul(c_per_group)?;
    padded(n / groups)?.checked_mul(groups)?.checked_mul(taps)
}

/// Packs `[kh][kw][C/g][N]` (output channels of group 0 first) to `[g][N/g/16][kh * kw * C/g][16]`, zeros in the padding.
///
/// # Panics
/// If `weights` is not `kh * kw * C/g * N` floats long or `panels` not [`conv_len`].
pub fn conv(kernel: [usize; 2], c_per_group: usize, n: usize, groups: usize, weights: &[f32], panels: &mut [f32]) {
    let k = kernel[0] * kernel[1] * c_per_group;
    assert_eq!(weights.len(), k * n, "pack: weights of a convolution");
    assert_eq!(Some(panels.len()), conv_len(kernel, c_per_group, n, groups), "pack: panels of a convolution");
    if k == 0 || n == 0 {
        return;
    }
    let per_group = n / groups;
    let blocks = per_group.div_ceil(BLOCK);
    for (panel, out) in panels.chunks_exact_mut(k * BLOCK).enumerate() {
        let from = panel % blocks * BLOCK;
        let width = (per_group - from).min(BLOCK);
        let from = panel / blocks * per_group + from;
        for (row, out) in weights.chunks_exact(n).zip(out.as_chunks_mut::<BLOCK>().0) {
            out[..width].copy_from_slice(&row[from..from + width]);
            out[width..].fill(0.0);
        }
    }
}

/// Packs `[kh][kw][C]` to `[C/16][kh * kw][16]`, zeros in the padding.
///
/// # Panics
/// If `weights` is not `kh * kw * C` floats long or `panels` not `kh * kw *` (C padded to blocks).
pub fn depthwise(kernel: [usize; 2], c: usize, weights: &[f32], panels: &mut [f32]) {
    // A panel lists the taps of 16 channels: a convolution from one input channel looks the same.
    conv(kernel, 1, c, 1, weights, panels);
}

/// Copies per-channel values `[groups][n]` to `[groups][n padded to blocks]`, zeros in the padding.
///
/// # Panics
/// If `groups` does not divide the length of `values`, or `padded` has another length.
pub fn channels(groups: usize, values: &[f32], padded: &mut [f32]) {
    assert!(groups > 0 && values.len().is_multiple_of(groups), "pack: values per group");
    let n = values.len() / groups;
    let to = n.next_multiple_of(BLOCK);
    assert_eq!(padded.len(), groups * to, "pack: padded values");
    if n == 0 {
        return;
    }
    for (values, padded) in values.chunks_exact(n).zip(padded.chunks_exact_mut(to)) {
        padded[..n].copy_from_slice(values);
        padded[n..].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn panels_by_index() {
        for (kernel, c, n, groups) in
            [([1, 1], 3, 20, 1), ([3, 2], 2, 33, 1), ([3, 3], 2, 34, 2), ([1, 1], 1, 5, 5), ([2, 1], 4, 48, 3)]
        {
            let k = kernel[0] * kernel[1] * c;
            let weights: Vec<f32> = (0..k * n).map(|i| i as f32 + 1.0).collect();
            let mut panels = vec![f32::NAN; conv_len(kernel, c, n, groups).unwrap()];
            conv(kernel, c, n, groups, &weights, &mut panels);
            let per = n / groups;
            let blocks = per.div_ceil(16);
            for (i, &got) in panels.iter().enumerate() {
                let (lane, row, block, group) = (i % 16, i / 16 % k, i / 16 / k % blocks, i / 16 / k / blocks);
                let o = block * 16 + lane;
                let want = if o < per { weights[row * n + group * per + o] } else { 0.0 };
                assert_eq!(got, want, "{kernel:?} {c} {n} {groups} at {i}");
            }
        }
    }

    #[test]
    fn depthwise_by_index() {
        let weights: Vec<f32> = (0..9 * 20).map(|i| i as f32 + 1.0).collect();
        let mut panels = vec![f32::NAN; 9 * 32];
        depthwise([3, 3], 20, &weights, &mut panels);
        for (i, &got) in panels.iter().enumerate() {
            let c = i / 16 / 9 * 16 + i % 16;
            assert_eq!(got, if c < 20 { weights[i / 16 % 9 * 20 + c] } else { 0.0 });
        }
    }

    #[test]
    fn channels_by_group() {
        let mut padded = [f32::NAN; 32];
        channels(2, &[1.0, 2.0, 3.0, 4.0], &mut padded);
        assert_eq!((padded[..3].to_vec(), padded[16..19].to_vec()), (vec![1.0, 2.0, 0.0], vec![3.0, 4.0, 0.0]));
        assert!(padded[3..16].iter().chain(&padded[19..]).all(|&v| v == 0.0));
    }

    #[test]
    fn lengths_do_not_overflow() {
        assert_eq!(conv_len([3, 3], 4, 33, 1), Some(48 * 36));
        assert_eq!(conv_len([usize::MAX, 2], 1, 1, 1), None);
        assert_eq!(conv_len([1, 1], usize::MAX / 8, 1, 1), None);
        assert_eq!(conv_len([1, 1], 1, usize::MAX, 1), None);
        assert_eq!(conv_len([1, 1], 1, 7, 2), None);
        assert_eq!(conv_len([1, 1], 1, 7, 0), None);
    }
}

//! Logical weights to the panels that the file holds and the kernels read.

/// Floats of the panels of a convolution: `groups * (N/g padded to blocks) * kh * kw * C/g`; `None` on overflow.
pub fn conv_len(_kernel: [usize; 2], _c_per_group: usize, _n: usize, _groups: usize) -> Option<usize> {
    todo!()
}

/// Packs `[kh][kw][C/g][N]` (output channels of group 0 first) to `[g][N/g/16][kh * kw * C/g][16]`, zeros in the padding.
pub fn conv(_kernel: [usize; 2], _c_per_group: usize, _n: usize, _groups: usize, _weights: &[f32], _panels: &mut [f32]) {
    todo!()
}

/// Packs `[kh][kw][C]` to `[C/16][kh * kw][16]`, zeros in the padding.
pub fn depthwise(_kernel: [usize; 2], _c: usize, _weights: &[f32], _panels: &mut [f32]) {
    todo!()
}

/// Copies per-channel values `[groups][n]` to `[groups][n padded to blocks]`, zeros in the padding.
pub fn channels(_groups: usize, _values: &[f32], _padded: &mut [f32]) {
    todo!()
}

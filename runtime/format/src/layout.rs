//! Sizes and paddings that the file, the packer and the kernels share.

/// Channels in a block. Weights come in panels of this many output channels and every tensor that a kernel writes has a
/// pixel stride that is a multiple of it, so that no kernel needs tail code and one file serves every vector width.
pub const BLOCK: usize = 16;

/// Alignment in bytes of the arena, of each tensor in it and of each weight range.
pub const ALIGN: usize = 64;

/// `n` rounded up to a multiple of [`BLOCK`]; `None` on overflow.
pub const fn padded(n: usize) -> Option<usize> {
    match n.checked_add(BLOCK - 1) {
        Some(m) => Some(m / BLOCK * BLOCK),
        None => None,
    }
}

/// Floats between neighbouring pixels of a tensor with `c` channels: padded to blocks, plus one block where the stride
/// would be a multiple of 1024 bytes, since then the rows of a tile fall into one set of the L1 cache.
pub const fn pixel_stride(c: usize) -> Option<usize> {
    match padded(c) {
        Some(p) if p.is_multiple_of(256) => p.checked_add(BLOCK),
        other => other,
    }
}

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

/// Floats from the first channel of the first pixel of a tensor to the end of its last pixel's last block (or last channel,
/// when `pixel` is not a multiple of [`BLOCK`]); `None` on overflow.
pub const fn span(pixels: u64, c: u64, pixel: u64) -> Option<u64> {
    if pixels == 0 {
        return Some(0);
    }
    match (pixels - 1).checked_mul(pixel) {
        Some(floats) => floats.checked_add(lanes(c, pixel)),
        None => None,
    }
}

/// Channels of a pixel that an operator may write: whole blocks, or just the channels where `pixel` is not a multiple of
/// [`BLOCK`].
pub const fn lanes(c: u64, pixel: u64) -> u64 {
    if pixel.is_multiple_of(BLOCK as u64) { c.next_multiple_of(BLOCK as u64) } else { c }
}

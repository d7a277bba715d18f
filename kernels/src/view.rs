//! NHWC tensors in somebody else's memory.

use sepal_format::layout::BLOCK;

/// Logical extent of a tensor: batch, height, width, channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Shape {
    /// Images.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Shape {
    /// A shape from its four extents.
    pub const fn new(n: usize, h: usize, w: usize, c: usize) -> Self {
        Shape { n, h, w, c }
    }
    /// Pixels in all images.
    pub const fn pixels(&self) -> usize {
        self.n * self.h * self.w
    }
}

/// A tensor to read. Element (n, y, x, c) is `data[((n * h + y) * w + x) * pixel + c]`.
///
/// Unless an operator says otherwise `pixel` is a multiple of [`BLOCK`] with room for whole blocks, and the lanes past
/// the last channel hold unspecified values that no result depends on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// At least [`span`] floats.
    pub data: &'a [f32],
    /// Logical extent.
    pub shape: Shape,
    /// Floats between neighbouring pixels.
    pub pixel: usize,
}

/// A tensor to write, laid out as [`View`]. Operators may write any value to the lanes between the last channel and the
/// next multiple of [`BLOCK`], and nothing beyond those.
#[derive(Debug)]
pub struct ViewMut<'a> {
    /// At least [`span`] floats.
    pub data: &'a mut [f32],
    /// Logical extent.
    pub shape: Shape,
    /// Floats between neighbouring pixels.
    pub pixel: usize,
}

/// Floats from the first channel of the first pixel to the end of the last pixel's last block (or last channel, when
/// `pixel` is not a multiple of [`BLOCK`]).
pub const fn span(shape: Shape, pixel: usize) -> usize {
    let pixels = shape.pixels();
    if pixels == 0 {
        return 0;
    }
    let last = if pixel.is_multiple_of(BLOCK) { shape.c.next_multiple_of(BLOCK) } else { shape.c };
    (pixels - 1) * pixel + last
}

impl<'a> View<'a> {
    /// A view whose memory is long enough.
    ///
    /// # Panics
    /// If `data` is shorter than [`span`], which a verified file rules out.
    pub fn new(data: &'a [f32], shape: Shape, pixel: usize) -> Self {
        assert!(pixel >= shape.c && data.len() >= span(shape, pixel), "view too short");
        View { data, shape, pixel }
    }
}

impl<'a> ViewMut<'a> {
    /// A view whose memory is long enough.
    ///
    /// # Panics
    /// If `data` is shorter than [`span`], which a verified file rules out.
    pub fn new(data: &'a mut [f32], shape: Shape, pixel: usize) -> Self {
        assert!(pixel >= shape.c && data.len() >= span(shape, pixel), "view too short");
        ViewMut { data, shape, pixel }
    }
}

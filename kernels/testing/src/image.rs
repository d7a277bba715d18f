//! Images with hostile padding.

use crate::Rng;
use sepal_format::layout::BLOCK;
use sepal_kernels::{Shape, View, ViewMut, view::span};
use std::fmt::Debug;

/// Fills pad lanes: a NaN, so that a result that depends on one shows.
const PAD: f32 = f32::NAN;
/// Fills what lies between the pixels: must never change.
const GAP: f32 = 12345.0;

/// A tensor that owns its memory, which is exactly as long as its view must be.
#[derive(Clone, Debug)]
pub struct Image {
    /// Pixels of whole blocks and what lies between them.
    pub data: Vec<f32>,
    /// Logical extent.
    pub shape: Shape,
    /// Floats between neighbouring pixels.
    pub pixel: usize,
}

impl Image {
    /// Zeros, with `gap` floats (a multiple of the block) between pixels.
    pub fn new(n: usize, h: usize, w: usize, c: usize, gap: usize) -> Image {
        Self::of(Shape::new(n, h, w, c), gap)
    }

    /// [`new`](Image::new) of a shape.
    pub fn of(shape: Shape, gap: usize) -> Image {
        let pixel = shape.c.next_multiple_of(BLOCK) + gap;
        let data = (0..span(shape, pixel))
            .map(|i| match i % pixel {
                l if l < shape.c => 0.0,
                l if l < shape.c.next_multiple_of(BLOCK) => PAD,
                _ => GAP,
            })
            .collect();
        Image { data, shape, pixel }
    }

    /// Multiples of 1/64 with much rounding in their products, some zeros of both signs.
    pub fn random(n: usize, h: usize, w: usize, c: usize, gap: usize, seed: u64) -> Image {
        let mut image = Self::new(n, h, w, c, gap);
        let mut rng = Rng(seed);
        let logical = |i: usize| i % image.pixel < c;
        for i in (0..image.data.len()).filter(|&i| logical(i)).collect::<Vec<_>>() {
            image.data[i] = rng.value();
        }
        image
    }

    /// The same elements with nothing between pixels, as a caller's picture of three channels has them.
    pub fn tight(&self) -> Image {
        let c = self.shape.c;
        Image { data: self.data.chunks(self.pixel).flat_map(|p| p[..c].to_vec()).collect(), pixel: c, ..*self }
    }

    /// The same elements as NCHW has them, without gaps.
    pub fn planes(&self) -> Vec<f32> {
        let Shape { n, h, w, c } = self.shape;
        let plane = h * w;
        (0..n * c * plane).map(|i| self.get(i / plane / c, 0, i % plane, i / plane % c)).collect()
    }

    /// To read.
    pub fn view(&self) -> View<'_> {
        View::new(&self.data, self.shape, self.pixel)
    }

    /// To write.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        ViewMut::new(&mut self.data, self.shape, self.pixel)
    }

    fn at(&self, n: usize, y: usize, x: usize, c: usize) -> usize {
        ((n * self.shape.h + y) * self.shape.w + x) * self.pixel + c
    }

    /// An element.
    pub fn get(&self, n: usize, y: usize, x: usize, c: usize) -> f32 {
        self.data[self.at(n, y, x, c)]
    }

    /// Writes an element.
    pub fn set(&mut self, n: usize, y: usize, x: usize, c: usize, v: f32) {
        let i = self.at(n, y, x, c);
        self.data[i] = v;
    }

    /// A copy with `f` of every element.
    pub fn map(&self, f: impl Fn(f32) -> f32) -> Image {
        self.map_channels(|v, _| f(v))
    }

    /// A copy with `f` of every element and its channel.
    pub fn map_channels(&self, f: impl Fn(f32, usize) -> f32) -> Image {
        let mut out = self.clone();
        for (i, v) in out.data.iter_mut().enumerate().filter(|(i, _)| i % self.pixel < self.shape.c) {
            *v = f(*v, i % self.pixel);
        }
        out
    }

    /// Panics if something was written between the pixels.
    pub fn assert_gaps_untouched(&self) {
        let padded = self.shape.c.next_multiple_of(BLOCK);
        let hit = self.data.iter().enumerate().find(|(i, v)| i % self.pixel >= padded && **v != GAP);
        assert!(hit.is_none(), "written between the pixels: {hit:?} of {:?}", self.shape);
    }
}

/// Equality to the bit of the logical elements, any NaN equal to any other.
pub fn assert_same(got: &Image, want: &Image, what: impl Debug) {
    assert_eq!(got.shape, want.shape);
    let Shape { n, h, w, c } = got.shape;
    for (n, y, x, c) in (0..n).flat_map(|n| (0..h).flat_map(move |y| (0..w).flat_map(move |x| (0..c).map(move |c| (n, y, x, c))))) {
        let (g, e) = (got.get(n, y, x, c), want.get(n, y, x, c));
        let same = g.to_bits() == e.to_bits() || (g.is_nan() && e.is_nan());
        assert!(same, "({n}, {y}, {x}, {c}): {g:e} instead of {e:e}: {what:?}");
    }
}

//! What the tests of the kernels share: images with hostile padding, a pool of threads, the loop over instruction sets.

use sepal_format::layout::BLOCK;
use sepal_kernels::ops::conv::Window;
use sepal_kernels::par::Parallel;
use sepal_kernels::{Isa, Shape, View, ViewMut, view::span};
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

/// A small generator (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Mostly in -2..2 with all bits of the mantissa in use, sometimes a zero of either sign.
    pub fn value(&mut self) -> f32 {
        match self.bits() {
            b if b.is_multiple_of(17) => 0.0,
            b if b.is_multiple_of(19) => -0.0,
            b => (b >> 40) as f32 / (1u64 << 22) as f32 - 2.0,
        }
    }

    /// So many [`value`](Rng::value)s.
    pub fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value()).collect()
    }
}

/// So many parts, each on a thread of its own.
pub struct Threads(pub usize);

impl Parallel for Threads {
    fn parts(&self) -> usize {
        self.0
    }
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        if self.0 == 1 {
            return (0..parts).for_each(job);
        }
        std::thread::scope(|scope| {
            for i in 0..parts {
                scope.spawn(move || job(i));
            }
        });
    }
}

/// Rows and columns of the output of a window over an input of `size`; 0 where it does not fit.
pub fn outputs(window: &Window, size: [usize; 2], pad_end: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|d| {
        let covered = (window.kernel[d] - 1) * window.dilation[d] + 1;
        (size[d] + window.pad[d] + pad_end[d]).checked_sub(covered).map_or(0, |rest| rest / window.stride[d] + 1)
    })
}

/// Calls `f` with every instruction set of this CPU.
pub fn each_isa(mut f: impl FnMut(Isa)) {
    for name in Isa::NAMES {
        match Isa::by_name(name) {
            Some(isa) => f(isa),
            None => println!("SKIPPED: this CPU has no {name}"),
        }
    }
}

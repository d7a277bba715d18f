//! Operators with weights in halves give the bits that they give with the same weights in f32.

use half::f16;
use sepal_format::layout::BLOCK;
use sepal_format::winograd::TILES;
use sepal_kernels::ops::conv::{Conv, Take, Window, conv, conv_scratch, conv_widened};
use sepal_kernels::ops::depthwise::Depthwise;
use sepal_kernels::ops::panels::{Panels, widened};
use sepal_kernels::ops::separable::{separable, separable_scratch};
use sepal_kernels::ops::winograd::{points, winograd, winograd_scratch};
use sepal_kernels::par::Parallel;
use sepal_kernels::{Act, Isa, Shape, View, ViewMut};
use sepal_testing::{Image, Rng, Threads, assert_same, each_isa};

/// Weights in both forms: ordinary ones, with denormals, zeros and the largest among them.
fn weights(len: usize) -> (Vec<u16>, Vec<f32>) {
    let mut rng = Rng(7);
    let half = |bits: u64| match bits % 23 {
        0 => bits as u16 >> 6 & 0x83ff,
        1 => [0, 0x8000, 0x7bff, 0xfbff, 1, 0x8001][bits as usize / 23 % 6],
        _ => f16::from_f32((bits >> 40) as f32 / (1u64 << 24) as f32 - 0.5).to_bits(),
    };
    let halves: Vec<u16> = (0..len).map(|_| half(rng.bits() >> 8)).collect();
    let floats = halves.iter().map(|&h| f16::from_bits(h).to_f32()).collect();
    (halves, floats)
}

/// An operator by its panels, input, residual, output and scratch.
type Operator<'a> = &'a dyn Fn(Isa, &dyn Parallel, Panels, View, Option<View>, ViewMut, &mut [f32]);

/// Runs an operator with panels in both forms, on every instruction set. `scratch` is what f32 needs, `wide` what halves add.
fn check(what: &str, len: usize, x: &Image, out: Shape, scratch: usize, wide: usize, operator: Operator) {
    let (halves, floats) = weights(len);
    let residual = Image::random(out.n, out.h, out.w, out.c, 16, 5);
    each_isa(|isa| {
        let mut want = Image::of(out, 16);
        let mut memory = vec![f32::NAN; scratch];
        operator(isa, &Threads(1), Panels::F32(&floats), x.view(), Some(residual.view()), want.view_mut(), &mut memory);
        for parts in [1, 2, 4] {
            let mut got = Image::of(out, 16);
            let mut memory = vec![f32::NAN; parts * (scratch + wide)];
            let threads = Threads(parts);
            operator(isa, &threads, Panels::F16(&halves), x.view(), Some(residual.view()), got.view_mut(), &mut memory);
            assert_same(&got, &want, (isa, parts, what));
            got.assert_gaps_untouched();
        }
    });
}

fn check_conv(size: [usize; 2], c: usize, o: usize, groups: usize, window: Window, act: Act) {
    let extent = |d: usize| (size[d] + 2 * window.pad[d] - window.kernel[d]) / window.stride[d] + 1;
    let x = Image::random(2, size[0], size[1], c, 0, 3);
    let out = Shape::new(2, extent(0), extent(1), o);
    let bias = Rng(2).values((o / groups).next_multiple_of(BLOCK) * groups);
    let len = bias.len() * window.kernel[0] * window.kernel[1] * c / groups;
    let scratch = conv_scratch(window, false, x.shape, out);
    let what = std::format!("{size:?} {c} -> {o}, {groups} groups, {window:?}");
    check(&what, len, &x, out, scratch, conv_widened(window, groups, out, len), &|isa, par, weights, x, residual, out, scratch| {
        conv(isa, par, &Conv { window, groups, weights, bias: &bias, take: Take::Plain, act }, x, residual, out, scratch);
    });
}

fn window(kernel: [usize; 2], stride: usize, pad: usize) -> Window {
    Window { kernel, stride: [stride; 2], dilation: [1, 1], pad: [pad; 2] }
}

#[test]
fn pointwise() {
    for (c, o) in [(1, 1), (3, 17), (16, 64), (24, 72), (33, 130), (130, 7), (600, 300)] {
        for size in [[1, 2], [5, 7], [9, 13]] {
            check_conv(size, c, o, 1, window([1, 1], 1, 0), Act::RELU);
        }
    }
    check_conv([12, 20], 513, 200, 1, window([1, 1], 1, 0), Act::HardSwish);
}

#[test]
fn windows_and_groups() {
    for (kernel, stride, pad) in [([3, 3], 1, 1), ([3, 3], 2, 1), ([3, 3], 1, 0), ([1, 7], 1, 3), ([5, 5], 2, 2)] {
        for groups in [1, 2, 6] {
            check_conv([9, 8], 18, 66, groups, window(kernel, stride, pad), Act::Silu);
        }
    }
    check_conv([6, 5], 70, 160, 1, window([3, 3], 1, 1), Act::None);
}

#[test]
fn fully_connected() {
    for (c, o) in [(1, 1usize), (100, 7), (64, 130), (33, 257), (1100, 90)] {
        let bias = Rng(2).values(o.next_multiple_of(BLOCK));
        let x = Image::random(1, 1, 1, c, 0, 3);
        let act = Act::Clamp { lo: -1.0, hi: 2.0 };
        check("fully connected", bias.len() * c, &x, Shape::new(1, 1, 1, o), 0, 0, &|isa, par, weights, x, r, out, scratch| {
            conv(
                isa,
                par,
                &Conv { window: Window::ONE, groups: 1, weights, bias: &bias, take: Take::Plain, act },
                x,
                r,
                out,
                scratch,
            );
        });
    }
}

#[test]
fn the_second_half_of_a_separable() {
    for (c, o) in [(1, 1), (24, 40), (33, 7), (256, 100)] {
        let window = window([3, 3], 1, 1);
        let x = Image::random(1, 9, 7, c, 0, 3);
        let out = Shape::new(1, 9, 7, o);
        let (dw, db) = (Rng(1).values(9 * c.next_multiple_of(BLOCK)), Rng(2).values(c.next_multiple_of(BLOCK)));
        let bias = Rng(4).values(o.next_multiple_of(BLOCK));
        let first = Depthwise { window, weights: &dw, bias: &db, pre_relu: false, act: Act::RELU };
        let scratch = separable_scratch(window, x.shape, out);
        let wide = widened(bias.len() * c, o);
        check("separable", bias.len() * c, &x, out, scratch, wide, &|isa, par, weights, x, residual, out, scratch| {
            let second = Conv { window: Window::ONE, groups: 1, weights, bias: &bias, take: Take::Plain, act: Act::Silu };
            separable(isa, par, &first, &second, x, residual, out, scratch);
        });
    }
}

#[test]
fn every_winograd_tile() {
    for (kernel, tile) in TILES.map(|(kernel, tile)| (kernel.map(|k| k as usize), tile.map(|t| t as usize))) {
        for (c, o) in [(20, 24), (40, 90)] {
            let window = Window { kernel, stride: [1, 1], dilation: [1, 1], pad: kernel.map(|k| k / 2) };
            let x = Image::random(2, 9, 14, c, 0, 3);
            let out = Shape::new(2, 9, 14, o);
            let bias = Rng(4).values(o.next_multiple_of(BLOCK));
            let matrices: usize = points(&window, tile).iter().product();
            let scratch = winograd_scratch(window, tile, x.shape, out);
            let what = std::format!("{kernel:?} by {tile:?}");
            let wide = widened(bias.len() * c, o);
            check(&what, matrices * bias.len() * c, &x, out, scratch, wide, &|isa, par, weights, x, r, out, scratch| {
                let args = Conv { window, groups: 1, weights, bias: &bias, take: Take::Plain, act: Act::RELU };
                winograd(isa, par, &args, tile, x, r, out, scratch);
            });
        }
    }
}

#[test]
fn any_bits_are_welcome() {
    let (c, o) = (40usize, 70usize);
    let halves: Vec<u16> =
        Rng(1).values(c * o.next_multiple_of(BLOCK)).iter().map(|v| (v.to_bits() >> 3) as u16 | 0x7c00).collect();
    let x = Image::random(1, 3, 3, c, 0, 3);
    let bias = vec![0.0; o.next_multiple_of(BLOCK)];
    each_isa(|isa| {
        let mut out = Image::new(1, 3, 3, o, 0);
        let mut scratch = vec![0.0; widened(halves.len(), o)];
        let args =
            Conv { window: Window::ONE, groups: 1, weights: Panels::F16(&halves), bias: &bias, take: Take::Plain, act: Act::None };
        conv(isa, &Threads(1), &args, x.view(), None, out.view_mut(), &mut scratch);
        assert!((0..o).all(|i| !out.get(0, 1, 1, i).is_finite()), "{isa:?}");
    });
}

#[test]
fn scratch_holds_some_panels() {
    assert_eq!(widened(0, 0), 0);
    assert_eq!(widened(64 * 48, 48), 64 * 48, "small matrices as a whole");
    assert_eq!(widened(4608 * 512, 512), 4608 * 64, "of large ones what the widest tile needs");
}

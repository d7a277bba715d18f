use sepal_format::layout::BLOCK;
use sepal_format::winograd::TILES;
use sepal_kernels::ops::conv::{Conv, Take, Window};
use sepal_kernels::ops::panels::Panels;
use sepal_kernels::ops::winograd::{Tile, exists, points, winograd, winograd_scratch};
use sepal_kernels::{Act, pack, reference};
use sepal_testing::{Image, Rng, Threads, assert_same, each_isa, outputs};

/// Every kernel and tile there is.
fn all() -> impl Iterator<Item = ([usize; 2], Tile)> {
    TILES.iter().map(|(kernel, tile)| (kernel.map(|n| n as usize), tile.map(|n| n as usize)))
}

#[derive(Clone, Copy, Debug)]
struct Case {
    kernel: [usize; 2],
    tile: Tile,
    n: usize,
    size: [usize; 2],
    c: usize,
    o: usize,
    pad: [usize; 2],
    pad_end: [usize; 2],
    residual: bool,
    act: Act,
    gap: usize,
}

impl Case {
    fn same(kernel: [usize; 2], tile: Tile) -> Case {
        let pad = kernel.map(|k| k / 2);
        Case { kernel, tile, n: 1, size: [9, 7], c: 20, o: 24, pad, pad_end: pad, residual: false, act: Act::None, gap: 0 }
    }
}

fn check(case: Case) {
    let Case { kernel, tile, n, size, c, o, residual, act, gap, .. } = case;
    let window = Window { kernel, stride: [1, 1], dilation: [1, 1], pad: case.pad };
    let [h, w] = outputs(&window, size, case.pad_end);
    if h * w == 0 {
        return;
    }
    assert!(exists(&window, tile));
    let input = Image::random(n, size[0], size[1], c, gap, 3);
    let (weights, bias) = (Rng(1).values(kernel[0] * kernel[1] * c * o), Rng(2).values(o));
    let extra = Image::random(n, h, w, o, gap, 5);
    let extra = residual.then(|| extra.view());
    let [ay, ax] = points(&window, tile);
    let mut transformed = vec![f32::NAN; ay * ax * c * o];
    pack::winograd_weights(kernel, tile, c, o, &weights, &mut transformed);
    let mut want = Image::new(n, h, w, o, gap);
    reference::winograd::winograd(window, tile, &transformed, &bias, act, input.view(), extra, want.view_mut());
    // The same convolution without tricks.
    let mut direct = Image::new(n, h, w, o, gap);
    reference::conv::conv(window, 1, &weights, &bias, act, input.view(), extra, direct.view_mut());
    let range = direct.data.iter().filter(|v| v.is_finite() && **v != 12345.0).fold(1.0f32, |m, v| m.max(v.abs()));
    for y in 0..h {
        for x in 0..w {
            let (a, b) = (want.get(n - 1, y, x, o - 1), direct.get(n - 1, y, x, o - 1));
            assert!((a - b).abs() <= 2e-5 * range, "{a} is not {b}: {case:?}");
        }
    }

    let mut panels = vec![f32::NAN; ay * ax * c * o.next_multiple_of(BLOCK)];
    pack::winograd(ay * ax, c, o, &transformed, &mut panels);
    let mut padded = vec![0.0; o.next_multiple_of(BLOCK)];
    pack::channels(1, &bias, &mut padded);
    let args = Conv { window, groups: 1, weights: Panels::F32(&panels), bias: &padded, take: Take::Plain, act };
    each_isa(|isa| {
        for parts in [1, 2, 3, 4, 7] {
            let mut scratch = vec![f32::NAN; parts * winograd_scratch(window, tile, input.shape, want.shape)];
            let mut got = Image::new(n, h, w, o, gap);
            winograd(isa, &Threads(parts), &args, tile, input.view(), extra, got.view_mut(), &mut scratch);
            assert_same(&got, &want, (isa, parts, case));
            got.assert_gaps_untouched();
        }
    });
}

#[test]
fn every_window_and_tile() {
    for (kernel, tile) in all() {
        check(Case::same(kernel, tile));
        check(Case { n: 4, residual: true, act: Act::RELU, gap: 16, ..Case::same(kernel, tile) });
        check(Case { c: 3, o: 5, residual: true, act: Act::Silu, ..Case::same(kernel, tile) });
    }
}

#[test]
fn sizes_around_the_tile() {
    for (kernel, tile) in all() {
        for size in [[1, 1], [1, 8], [8, 1], [4, 4], [5, 5], [3, 12], [13, 6]] {
            check(Case { size, ..Case::same(kernel, tile) });
        }
    }
}

#[test]
fn borders() {
    for (kernel, tile) in all() {
        for (pad, pad_end) in [([0, 0], [0, 0]), ([2, 0], [0, 3]), ([0, 3], [1, 0]), ([5, 5], [5, 5])] {
            check(Case { pad, pad_end, ..Case::same(kernel, tile) });
        }
    }
}

#[test]
fn several_blocks_and_chunks() {
    check(Case { size: [30, 41], c: 40, o: 33, ..Case::same([3, 3], [4, 4]) });
    check(Case { size: [40, 31], c: 33, o: 16, ..Case::same([3, 3], [2, 2]) });
    check(Case { size: [5, 6], c: 530, o: 20, ..Case::same([3, 3], [4, 4]) });
    check(Case { size: [3, 9], c: 1030, o: 17, ..Case::same([1, 7], [1, 4]) });
}

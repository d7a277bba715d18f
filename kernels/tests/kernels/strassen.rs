use sepal_format::layout::BLOCK;
use sepal_kernels::ops::conv::{Conv, Take, Window};
use sepal_kernels::ops::panels::Panels;
use sepal_kernels::ops::strassen::{strassen, strassen_scratch};
use sepal_kernels::{Act, pack, reference};
use sepal_testing::{Image, Rng, Threads, assert_same, each_isa};

#[derive(Clone, Copy, Debug)]
struct Case {
    n: usize,
    size: [usize; 2],
    c: usize,
    o: usize,
    residual: bool,
    act: Act,
    gap: usize,
}

/// Odd in all that may be.
const CASE: Case = Case { n: 1, size: [5, 7], c: 72, o: 60, residual: false, act: Act::None, gap: 0 };

fn check(case: Case) {
    let Case { n, size: [h, w], c, o, residual, act, gap } = case;
    let input = Image::random(n, h, w, c, gap, 3);
    let (weights, bias) = (Rng(1).values(c * o), Rng(2).values(o));
    let extra = Image::random(n, h, w, o, gap, 5);
    let extra = residual.then(|| extra.view());
    let mut want = Image::new(n, h, w, o, gap);
    reference::strassen::strassen(&weights, &bias, act, input.view(), extra, want.view_mut());
    // The same convolution without tricks.
    let mut direct = Image::new(n, h, w, o, gap);
    reference::conv::conv(Window::ONE, 1, &weights, &bias, act, input.view(), extra, direct.view_mut());
    let mut range = 1f32;
    let mut worst = 0f32;
    for (image, y, x, channel) in
        (0..n).flat_map(|i| (0..h).flat_map(move |y| (0..w).flat_map(move |x| (0..o).map(move |c| (i, y, x, c)))))
    {
        let (a, b) = (want.get(image, y, x, channel), direct.get(image, y, x, channel));
        range = range.max(b.abs());
        worst = worst.max((a - b).abs());
    }
    assert!(worst <= 2e-6 * range, "{worst} of {range}: {case:?}");

    let mut panels = vec![f32::NAN; c * o.next_multiple_of(BLOCK)];
    pack::strassen(c, o, &weights, &mut panels);
    let mut padded = vec![0.0; o.next_multiple_of(BLOCK)];
    pack::channels(1, &bias, &mut padded);
    let args = Conv { window: Window::ONE, groups: 1, weights: Panels::F32(&panels), bias: &padded, take: Take::Plain, act };
    each_isa(|isa| {
        for parts in [1, 2, 4] {
            let mut scratch = vec![f32::NAN; parts * strassen_scratch(input.shape, want.shape)];
            let mut got = Image::new(n, h, w, o, gap);
            strassen(isa, &Threads(parts), &args, input.view(), extra, got.view_mut(), &mut scratch);
            assert_same(&got, &want, (isa, parts, case));
            got.assert_gaps_untouched();
        }
    });
}

#[test]
fn residuals_activations_and_gaps() {
    for act in [Act::None, Act::RELU, Act::Silu] {
        for residual in [false, true] {
            check(Case { residual, act, ..CASE });
            check(Case { n: 4, residual, act, gap: 16, ..CASE });
        }
    }
}

#[test]
fn any_number_of_pixels() {
    for size in [[1, 1], [1, 2], [1, 3], [2, 2], [11, 1], [3, 4], [5, 5], [7, 12]] {
        check(Case { size, ..CASE });
        check(Case { n: 3, size, residual: true, ..CASE });
    }
}

#[test]
fn channels_around_the_halves() {
    for (c, o) in [(17, 17), (31, 32), (32, 32), (33, 17), (48, 64), (49, 90), (64, 256), (80, 160), (97, 310)] {
        check(Case { c, o, residual: true, act: Act::RELU, ..CASE });
    }
}

#[test]
fn several_bands_and_chunks() {
    check(Case { size: [30, 41], c: 40, o: 50, ..CASE });
    check(Case { size: [2, 3], c: 1090, o: 25, ..CASE });
    check(Case { size: [3, 3], c: 2100, o: 17, residual: true, ..CASE });
}

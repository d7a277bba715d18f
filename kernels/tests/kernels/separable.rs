use sepal_format::layout::BLOCK;
use sepal_kernels::ops::conv::{Conv, Take, Window};
use sepal_kernels::ops::depthwise::Depthwise;
use sepal_kernels::ops::panels::Panels;
use sepal_kernels::ops::separable::{separable, separable_scratch};
use sepal_kernels::{Act, pack, reference};
use sepal_testing::{Image, Rng, Threads, assert_same, each_isa, outputs};

fn check(n: usize, size: [usize; 2], c: usize, o: usize, window: Window, pre_relu: bool, residual: bool) {
    let [h, w] = outputs(&window, size, window.pad);
    let input = Image::random(n, size[0], size[1], c, 0, 3);
    let taps = window.kernel[0] * window.kernel[1];
    let (dw, db) = (Rng(1).values(taps * c), Rng(2).values(c));
    let (pw, pb) = (Rng(4).values(c * o), Rng(5).values(o));
    let extra = Image::random(n, h, w, o, 16, 9);
    let extra = residual.then(|| extra.view());
    let mut middle = Image::new(n, h, w, c, 0);
    reference::depthwise::depthwise(window, &dw, &db, pre_relu, Act::RELU, input.view(), middle.view_mut());
    let mut want = Image::new(n, h, w, o, 16);
    reference::conv::conv(Window::ONE, 1, &pw, &pb, Act::Silu, middle.view(), extra, want.view_mut());

    let mut dw_panels = vec![0.0; c.next_multiple_of(BLOCK) * taps];
    pack::depthwise(window.kernel, c, &dw, &mut dw_panels);
    let mut dw_bias = vec![0.0; c.next_multiple_of(BLOCK)];
    pack::channels(1, &db, &mut dw_bias);
    let mut panels = vec![0.0; pack::conv_len([1, 1], c, o, 1).unwrap()];
    pack::conv([1, 1], c, o, 1, &pw, &mut panels);
    let mut bias = vec![0.0; o.next_multiple_of(BLOCK)];
    pack::channels(1, &pb, &mut bias);
    let first = Depthwise { window, weights: &dw_panels, bias: &dw_bias, pre_relu, act: Act::RELU };
    let second =
        Conv { window: Window::ONE, groups: 1, weights: Panels::F32(&panels), bias: &bias, take: Take::Plain, act: Act::Silu };
    each_isa(|isa| {
        for parts in [1, 2, 3, 4, 7] {
            let mut scratch = vec![f32::NAN; parts * separable_scratch(window, input.shape, want.shape)];
            let mut got = Image::new(n, h, w, o, 16);
            separable(isa, &Threads(parts), &first, &second, input.view(), extra, got.view_mut(), &mut scratch);
            assert_same(&got, &want, (isa, parts, n, size, c, o, window));
            got.assert_gaps_untouched();
        }
    });
}

#[test]
fn equals_its_two_halves() {
    for (c, o) in [(1, 1), (16, 16), (24, 40), (33, 7), (256, 20)] {
        for (k, stride) in [(3, 1), (3, 2), (5, 1)] {
            let window = Window { kernel: [k, k], stride: [stride; 2], dilation: [1, 1], pad: [k / 2; 2] };
            check(1, [9, 7], c, o, window, false, false);
            check(2, [6, 5], c, o, window, true, true);
        }
    }
    let window = Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad: [1, 1] };
    check(1, [1, 1], 20, 20, window, true, false);
    check(1, [60, 50], 130, 3, window, true, true);
}

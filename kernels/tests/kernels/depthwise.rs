use proptest::prelude::*;
use sepal_format::layout::BLOCK;
use sepal_kernels::ops::conv::Window;
use sepal_kernels::ops::depthwise::{Depthwise, depthwise};
use sepal_kernels::{Act, reference};
use sepal_testing::{Image, Rng, Threads, assert_same, each_isa, outputs};

/// `[taps][C]` to `[C/16][taps][16]`; NaN in the padding, which nothing may depend on.
fn pack(taps: usize, c: usize, weights: &[f32]) -> Vec<f32> {
    let mut panels = vec![f32::NAN; c.next_multiple_of(BLOCK) * taps];
    for t in 0..taps {
        for i in 0..c {
            panels[(i / BLOCK * taps + t) * BLOCK + i % BLOCK] = weights[t * c + i];
        }
    }
    panels
}

#[derive(Clone, Debug)]
struct Case {
    n: usize,
    size: [usize; 2],
    c: usize,
    window: Window,
    pad_end: [usize; 2],
    pre_relu: bool,
    act: Act,
    gaps: [usize; 2],
}

const BASE: Case = Case {
    n: 1,
    size: [9, 11],
    c: 16,
    window: Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad: [1, 1] },
    pad_end: [1, 1],
    pre_relu: false,
    act: Act::None,
    gaps: [0, 0],
};

fn check(case: &Case) {
    let Case { n, size, c, window, pad_end, pre_relu, act, gaps } = case.clone();
    let [h, w] = outputs(&window, size, pad_end);
    if h * w == 0 {
        return;
    }
    let input = Image::random(n, size[0], size[1], c, gaps[0], 7);
    let taps = window.kernel[0] * window.kernel[1];
    let (weights, bias) = (Rng(1).values(taps * c), Rng(2).values(c));
    let mut want = Image::new(n, h, w, c, gaps[1]);
    reference::depthwise::depthwise(window, &weights, &bias, pre_relu, act, input.view(), want.view_mut());
    let (weights, bias) = (pack(taps, c, &weights), pack(1, c, &bias));
    let args = Depthwise { window, weights: &weights, bias: &bias, pre_relu, act };
    each_isa(|isa| {
        for parts in [1, 2, 4] {
            let mut got = Image::new(n, h, w, c, gaps[1]);
            depthwise(isa, &Threads(parts), &args, input.view(), got.view_mut());
            assert_same(&got, &want, (isa, parts, case));
            got.assert_gaps_untouched();
        }
    });
}

#[test]
fn channels_kernels_and_strides() {
    for c in [1, 3, 15, 16, 17, 33] {
        for (kernel, pad) in [([3, 3], [1, 1]), ([5, 5], [2, 2]), ([1, 1], [0, 0]), ([7, 7], [3, 3]), ([3, 5], [1, 2])] {
            for stride in [[1, 1], [2, 2], [3, 3], [1, 2]] {
                let window = Window { kernel, stride, dilation: [1, 1], pad };
                check(&Case { c, window, pad_end: pad, ..BASE });
                check(&Case { c, window, pad_end: pad, pre_relu: true, gaps: [16, 32], ..BASE });
            }
        }
    }
}

#[test]
fn widths_of_every_tile() {
    for w in 1..=24 {
        for k in [3, 5] {
            for stride in [1, 2] {
                let window = Window { kernel: [k, k], stride: [stride; 2], dilation: [1, 1], pad: [k / 2; 2] };
                check(&Case { size: [3, w], c: 17, window, pad_end: [k / 2; 2], act: Act::RELU, ..BASE });
            }
        }
    }
}

#[test]
fn borders() {
    for k in [3, 5] {
        for size in [[1, 1], [1, 9], [9, 1], [2, 2]] {
            for stride in [1, 2] {
                for (pad, pad_end) in [([0, 0], [1, 1]), ([1, 2], [2, 0]), ([k, k], [k, k]), ([k - 1; 2], [0, 3])] {
                    let window = Window { kernel: [k, k], stride: [stride; 2], dilation: [1, 1], pad };
                    check(&Case { n: 4, size, window, pad_end, ..BASE });
                }
            }
        }
    }
}

#[test]
fn dilation_and_activations() {
    for act in [Act::Clamp { lo: 0.0, hi: 6.0 }, Act::Silu, Act::HardSwish, Act::Leaky(0.2), Act::Tanh] {
        let window = Window { kernel: [3, 3], stride: [1, 1], dilation: [2, 2], pad: [2, 2] };
        check(&Case { n: 2, c: 33, window, pad_end: [2, 2], act, gaps: [0, 16], ..BASE });
        check(&Case { n: 2, c: 33, act, gaps: [16, 0], pre_relu: true, ..BASE });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(
        n in 1..3usize, h in 1..12usize, w in 1..20usize, c in 1..40usize, k in prop::array::uniform2(1..6usize), square in any::<bool>(),
        stride in prop::array::uniform2(1..4usize), dilation in prop::array::uniform2(1..3usize),
        pad in prop::array::uniform2(0..5usize), pad_end in prop::array::uniform2(0..5usize), pre_relu in any::<bool>(), gap in 0..2usize,
    ) {
        let window = if square {
            let (k, s) = ([3, 5][k[0] % 2], 1 + stride[0] % 2);
            Window { kernel: [k, k], stride: [s, s], dilation: [1, 1], pad }
        } else {
            Window { kernel: k, stride, dilation, pad }
        };
        check(&Case { n, size: [h, w], c, window, pad_end, pre_relu, act: Act::RELU, gaps: [16 * gap, 16 - 16 * gap] });
    }
}

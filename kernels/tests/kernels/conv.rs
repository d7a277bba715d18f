use proptest::prelude::*;
use sepal_format::layout::BLOCK;
use sepal_kernels::ops::conv::{Conv, Take, Window, conv, conv_scratch};
use sepal_kernels::ops::panels::{Panels, widened};
use sepal_kernels::{Act, View, pack, reference};
use sepal_testing::{Image, Rng, Threads, assert_same, each_isa, one_of, outputs};

#[derive(Clone, Debug)]
struct Case {
    n: usize,
    size: [usize; 2],
    c: usize,
    o: usize,
    groups: usize,
    window: Window,
    pad_end: [usize; 2],
    residual: bool,
    act: Act,
    gap: usize,
    form: Form,
}

/// How the input is given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Plain,
    Gated,
    Planes,
}

const BASE: Case = Case {
    n: 1,
    size: [7, 6],
    c: 5,
    o: 17,
    groups: 1,
    window: Window::ONE,
    pad_end: [0, 0],
    residual: false,
    act: Act::None,
    gap: 0,
    form: Form::Plain,
};

fn window(kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2], pad: [usize; 2]) -> Window {
    Window { kernel, stride, dilation, pad }
}

fn check(case: &Case) {
    let Case { n, size, c, o, groups, window, pad_end, residual, act, gap, form } = case.clone();
    let [h, w] = outputs(&window, size, pad_end);
    if h * w == 0 {
        return;
    }
    let input = Image::random(n, size[0], size[1], c, gap, 3);
    let tight = input.tight();
    let k = window.kernel[0] * window.kernel[1] * c / groups;
    let (weights, bias) = (Rng(1).values(k * o), Rng(2).values(o));
    let extra = Image::random(n, h, w, o, gap, 5);
    let extra = residual.then(|| extra.view());
    let mut want = Image::new(n, h, w, o, gap);
    let gate = Image::random(n, 1, 1, c, gap, 7);
    if form == Form::Gated {
        for image in 0..n {
            // The weights by the image's gate, rounded.
            let gated: Vec<f32> = weights.iter().enumerate().map(|(i, w)| gate.get(image, 0, 0, i / o % c) * w).collect();
            let mut all = Image::new(n, h, w, o, gap);
            reference::conv::conv(window, groups, &gated, &bias, act, input.view(), extra, all.view_mut());
            for pixel in image * h * w..(image + 1) * h * w {
                (0..o).for_each(|i| want.set(0, 0, pixel, i, all.get(0, 0, pixel, i)));
            }
        }
    } else {
        reference::conv::conv(window, groups, &weights, &bias, act, input.view(), extra, want.view_mut());
    }
    let planes = input.planes();
    let of_planes = View { data: &planes, shape: input.shape, pixel: 1 };
    let (views, take) = match form {
        Form::Plain => (vec![input.view(), tight.view()], Take::Plain),
        Form::Gated => (vec![input.view(), tight.view()], Take::Gated(gate.view())),
        Form::Planes => (vec![of_planes], Take::Planes(size[0] * size[1])),
    };
    let mut panels = vec![f32::NAN; pack::conv_len(window.kernel, c / groups, o, groups).unwrap()];
    pack::conv(window.kernel, c / groups, o, groups, &weights, &mut panels);
    let mut padded = vec![0.0; (o / groups).next_multiple_of(BLOCK) * groups];
    pack::channels(groups, &bias, &mut padded);
    let args = Conv { window, groups, weights: Panels::F32(&panels), bias: &padded, take, act };
    each_isa(|isa| {
        for parts in [1, 2, 4] {
            let wide = if form == Form::Gated { widened(panels.len(), o) } else { 0 };
            let floats = conv_scratch(window, form == Form::Planes, input.shape, want.shape) + wide;
            let mut scratch = vec![f32::NAN; parts * floats];
            for &view in &views {
                let mut got = Image::new(n, h, w, o, gap);
                conv(isa, &Threads(parts), &args, view, extra, got.view_mut(), &mut scratch);
                assert_same(&got, &want, (isa, parts, case));
                got.assert_gaps_untouched();
            }
        }
    });
}

#[test]
fn pointwise_channels_and_pixels() {
    for c in [1, 3, 15, 16, 17, 24, 33] {
        for o in [1, 7, 8, 9, 16, 24, 33, 64, 72, 130] {
            check(&Case { c, o, ..BASE });
        }
    }
    for w in (1..=14).chain([31, 47, 97]) {
        check(&Case { size: [1, w], c: 19, o: 40, residual: true, act: Act::RELU, ..BASE });
    }
}

#[test]
fn fully_connected_layers() {
    for (c, o) in [(1, 1), (100, 7), (64, 130), (33, 257)] {
        for residual in [false, true] {
            check(&Case { size: [1, 1], c, o, residual, act: Act::Clamp { lo: -1.0, hi: 2.0 }, ..BASE });
        }
    }
}

#[test]
fn windows() {
    for (kernel, pad) in
        [([3, 3], [1, 1]), ([1, 7], [0, 3]), ([7, 1], [3, 0]), ([5, 5], [2, 2]), ([2, 2], [0, 0]), ([3, 3], [0, 0])]
    {
        for stride in [[1, 1], [2, 2], [3, 1]] {
            for dilation in [[1, 1], [2, 2], [1, 3]] {
                for (n, gap) in [(1, 0), (4, 16)] {
                    let window = window(kernel, stride, dilation, pad);
                    check(&Case { n, window, pad_end: pad, gap, size: [9, 8], ..BASE });
                }
            }
        }
    }
}

#[test]
fn few_channels() {
    let mut cases = Vec::new();
    for c in 1..=5 {
        for (size, kernel) in [([9, 8], [3, 3]), ([8, 23], [1, 5]), ([11, 12], [7, 7]), ([6, 7], [2, 1]), ([3, 160], [3, 6])] {
            for (stride, dilation) in [([1, 1], [1, 1]), ([2, 2], [1, 1]), ([1, 3], [2, 2])] {
                for (pad, pad_end) in [([0, 0], [0, 0]), ([0, 0], [1, 1]), ([1, 1], [1, 1]), ([4, 9], [3, 9])] {
                    for (n, gap) in [(1, 0), (2, 16)] {
                        let window = window(kernel, stride, dilation, pad);
                        cases.push(Case { n, size, c, o: 20, window, pad_end, gap, residual: n == 2, act: Act::RELU, ..BASE });
                    }
                }
            }
        }
    }
    cases.iter().step_by(one_of()).for_each(check);
}

#[test]
fn groups_from_one_to_all() {
    for (c, o) in [(30, 30), (30, 60), (32, 64)] {
        for groups in [1, 2, 3, 5, 6, 15, 30, 32].into_iter().filter(|g| c % g == 0 && o % g == 0) {
            for (kernel, pad) in [([1, 1], [0, 0]), ([3, 3], [1, 1])] {
                let window = window(kernel, [1, 1], [1, 1], pad);
                check(&Case { c, o, groups, window, pad_end: pad, residual: groups % 2 == 0, act: Act::Silu, ..BASE });
            }
        }
    }
}

#[test]
fn one_pixel_and_borders() {
    for size in [[1, 1], [1, 9], [9, 1]] {
        for pads in [([1, 1], [1, 1]), ([2, 0], [0, 2]), ([5, 5], [5, 5])] {
            let window = window([3, 3], [1, 1], [1, 1], pads.0);
            check(&Case { size, window, pad_end: pads.1, act: Act::HardSwish, ..BASE });
        }
    }
    // More rows than a block of scratch holds.
    let window = window([3, 3], [2, 2], [1, 1], [1, 1]);
    check(&Case { size: [40, 60], c: 100, o: 3, window, pad_end: [1, 1], ..BASE });
}

#[test]
fn sums_of_several_chunks() {
    for c in [511, 512, 513, 1024, 1600] {
        check(&Case { size: [2, 3], c, o: 20, residual: true, ..BASE });
    }
    let window = window([3, 3], [1, 1], [1, 1], [1, 1]);
    check(&Case { size: [4, 5], c: 200, o: 9, window, pad_end: [1, 1], ..BASE });
    check(&Case { size: [1, 1], c: 1100, o: 70, ..BASE });
}

#[test]
fn many_pixels_cross_blocks() {
    check(&Case { n: 2, size: [30, 41], c: 300, o: 18, ..BASE });
}

#[test]
fn gated() {
    for (n, c, o) in [(1, 1, 1), (1, 16, 16), (4, 33, 24), (2, 5, 130)] {
        for residual in [false, true] {
            check(&Case { n, c, o, residual, form: Form::Gated, act: Act::Silu, ..BASE });
        }
    }
    check(&Case { size: [1, 1], n: 2, c: 40, o: 70, form: Form::Gated, ..BASE });
    // More panels than go together, sums of several chunks.
    check(&Case { size: [3, 5], c: 600, o: 150, form: Form::Gated, ..BASE });
    let window = window([3, 3], [2, 1], [1, 2], [1, 2]);
    check(&Case { n: 2, size: [9, 8], c: 7, window, pad_end: [1, 2], form: Form::Gated, ..BASE });
}

#[test]
fn planes() {
    for c in 1..=6 {
        for (kernel, pad) in [([1, 1], [0, 0]), ([3, 3], [1, 1]), ([3, 3], [0, 0]), ([5, 2], [4, 3])] {
            for (n, size) in [(1, [9, 8]), (4, [7, 30]), (1, [1, 1])] {
                let window = window(kernel, [2, 2], [1, 1], pad);
                check(&Case { n, size, c, window, pad_end: pad, residual: n == 4, form: Form::Planes, ..BASE });
            }
        }
    }
    let window = window([3, 3], [1, 1], [1, 1], [1, 1]);
    check(&Case { c: 12, o: 8, groups: 4, window, pad_end: [1, 1], form: Form::Planes, ..BASE });
    check(&Case { size: [1, 1], n: 2, c: 40, o: 70, form: Form::Planes, ..BASE });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_shape(
        n in 1usize..3, h in 1usize..9, w in 1usize..9, c in 1usize..20, o in 1usize..40, groups in 1usize..5,
        kernel in [1usize..5, 1usize..5], stride in [1usize..4, 1usize..4], dilation in [1usize..3, 1usize..3],
        pad in [0usize..4, 0usize..4], pad_end in [0usize..4, 0usize..4], residual: bool, gap in 0usize..2,
        form in prop_oneof![2 => Just(Form::Plain), 1 => Just(Form::Gated), 1 => Just(Form::Planes)],
    ) {
        let window = Window { kernel, stride, dilation, pad };
        let groups = if form == Form::Gated { 1 } else { groups };
        check(&Case { n, size: [h, w], c: c * groups, o: o * groups, groups, window, pad_end, residual, act: Act::RELU, gap: gap * BLOCK, form });
    }
}

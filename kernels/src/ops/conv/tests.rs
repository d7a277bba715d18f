use super::{Conv, Window, conv, conv_scratch};
use crate::ops::testing::{Image, Rng, Threads, assert_same, each_isa};
use crate::{Act, pack, reference};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// One convolution with random data.
#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    /// Rows and columns of the output.
    out: [usize; 2],
    /// Input and output channels of a group.
    channels: [usize; 2],
    groups: usize,
    window: Window,
    /// Rows and columns below and to the right; may cut off what no window needs.
    pad_end: [usize; 2],
    /// Rows and columns of the input that no window reaches.
    spare: [usize; 2],
    residual: bool,
    act: Act,
    /// Floats between pixels of the input beyond the padded ones, or none at all.
    gap: Option<usize>,
}

const ONE: Case = Case {
    batch: 1,
    out: [1, 1],
    channels: [1, 1],
    groups: 1,
    window: Window::ONE,
    pad_end: [0, 0],
    spare: [0, 0],
    residual: false,
    act: Act::None,
    gap: Some(0),
};

impl Case {
    fn pointwise(pixels: usize, c: usize, n: usize) -> Case {
        Case { out: [1, pixels], channels: [c, n], ..ONE }
    }

    fn square(kernel: [usize; 2], stride: usize, pad: usize, side: usize, c: usize, n: usize) -> Case {
        let window = Window { kernel, stride: [stride; 2], dilation: [1, 1], pad: [pad; 2] };
        Case { out: [side; 2], channels: [c, n], window, pad_end: [pad; 2], ..ONE }
    }

    /// Input rows, columns; `None` when the padding alone would do.
    fn input(&self) -> Option<[usize; 2]> {
        let Window { kernel, stride, dilation, pad } = self.window;
        let mut input = [0; 2];
        for i in 0..2 {
            let covered = (self.out[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1;
            input[i] = (covered + self.spare[i]).checked_sub(pad[i] + self.pad_end[i]).filter(|&n| n > 0)?;
        }
        Some(input)
    }

    fn check(&self) {
        let Some([h, w]) = self.input() else { return };
        let ([c, n], g) = (self.channels.map(|c| c * self.groups), self.groups);
        let [out_h, out_w] = self.out;
        let mut rng = Rng(7);
        let mut input = Image::random(self.batch, h, w, c, self.gap.unwrap_or(0), 1);
        if self.gap.is_none() {
            input = dense(&input);
        }
        let residual = self.residual.then(|| Image::random(self.batch, out_h, out_w, n, 16, 2));
        let kernel = self.window.kernel;
        let weights = rng.values(kernel[0] * kernel[1] * self.channels[0] * n);
        let bias = rng.values(n);
        let view = || residual.as_ref().map(Image::view);
        let mut want = Image::new(self.batch, out_h, out_w, n, 0);
        reference::conv::conv(self.window, g, &weights, &bias, self.act, input.view(), view(), want.view_mut());

        let mut panels = vec![f32::NAN; pack::conv_len(kernel, self.channels[0], n, g).unwrap()];
        pack::conv(kernel, self.channels[0], n, g, &weights, &mut panels);
        let mut padded = vec![f32::NAN; g * self.channels[1].next_multiple_of(16)];
        pack::channels(g, &bias, &mut padded);
        let args = Conv { window: self.window, groups: g, weights: &panels, bias: &padded, act: self.act };
        each_isa(|isa| {
            for parts in [1, 2, 4] {
                let mut got = Image::new(self.batch, out_h, out_w, n, 32);
                let mut scratch = vec![f32::NAN; parts * conv_scratch(self.window, g, input.shape, got.shape)];
                conv(isa, &Threads(parts), &args, input.view(), view(), got.view_mut(), &mut scratch);
                assert_same(&got, &want, (isa, parts, self));
                got.assert_gaps_untouched();
            }
        });
    }
}

/// The same image without lanes between the last channel and the next pixel.
fn dense(image: &Image) -> Image {
    let (c, shape) = (image.shape.c, image.shape);
    let data: Vec<f32> = image.data.chunks(image.pixel).flat_map(|p| p[..c].to_vec()).collect();
    Image { data, shape, pixel: c }
}

#[test]
fn pointwise_at_the_seams() {
    for pixels in [1, 2, 3, 5, 6, 7, 11, 12, 13, 23] {
        for (c, n) in
            [(1, 1), (3, 15), (15, 16), (16, 17), (17, 24), (24, 33), (33, 3), (5, 40), (4, 56), (8, 64), (7, 72), (2, 200)]
        {
            Case::pointwise(pixels, c, n).check();
        }
    }
}

#[test]
fn pointwise_strides_batches_residuals() {
    for stride in [1, 2, 3] {
        for (batch, residual) in [(1, true), (4, false)] {
            let case = Case::square([1, 1], stride, 0, 5, 17, 24);
            Case { batch, residual, spare: [0, 1], gap: Some(16), ..case.clone() }.check();
            Case { batch, residual, gap: None, ..case }.check();
        }
    }
}

#[test]
fn fully_connected() {
    for (batch, c, n) in [(1, 33, 1000), (1, 100, 10), (4, 40, 129), (3, 300, 64), (1, 64, 2048), (13, 16, 512)] {
        Case { batch, ..Case::pointwise(1, c, n) }.check();
    }
}

#[test]
fn many_pixels() {
    // Several blocks of pixels, several parts of them.
    Case { act: Act::RELU, ..Case::pointwise(1500, 96, 24) }.check();
    Case { act: Act::Silu, residual: true, ..Case::pointwise(500, 30, 100) }.check();
}

#[test]
fn kernels_strides_paddings() {
    for kernel in [[3, 3], [1, 7], [7, 1], [5, 5], [2, 3]] {
        for stride in [1, 2, 3] {
            for pad in [0, 1, 2] {
                for (c, n, gap) in [(3, 17, None), (3, 8, Some(0)), (16, 16, Some(0)), (17, 24, Some(16)), (16, 40, Some(16))] {
                    Case { gap, ..Case::square(kernel, stride, pad, 4, c, n) }.check();
                }
            }
        }
    }
}

#[test]
fn uneven_padding_and_spare_input() {
    let base = Case::square([3, 3], 2, 0, 6, 5, 24);
    Case { pad_end: [1, 1], ..base.clone() }.check();
    Case { pad_end: [0, 1], spare: [3, 0], ..base.clone() }.check();
    Case { spare: [2, 5], batch: 4, ..base.clone() }.check();
    // Windows that lie outside altogether.
    let window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [2, 3] };
    Case { window, pad_end: [2, 3], out: [7, 8], batch: 2, ..base }.check();
}

#[test]
fn dilation() {
    for (c, n) in [(3, 16), (16, 24), (20, 5)] {
        for pad in [0, 2] {
            let window = Window { kernel: [3, 3], stride: [1, 1], dilation: [2, 2], pad: [pad; 2] };
            let case = Case { out: [5, 6], channels: [c, n], window, pad_end: [pad; 2], ..ONE };
            case.check();
            Case { window: Window { dilation: [2, 1], stride: [2, 1], ..window }, batch: 4, ..case }.check();
        }
    }
}

#[test]
fn groups() {
    for groups in [2, 3, 5, 16] {
        for (c, n) in [(1, 1), (1, 2), (3, 5), (4, 16), (8, 24), (16, 33), (2, 70)] {
            let case = Case { groups, ..Case::square([3, 3], 1, 1, 3, c, n) };
            Case { residual: true, act: Act::RELU, ..case.clone() }.check();
            Case { act: Act::HardSwish, residual: true, ..case }.check();
            Case { groups, batch: 4, act: Act::Clamp { lo: -1.0, hi: 0.5 }, ..Case::pointwise(1, c, n) }.check();
        }
    }
}

#[test]
fn activations() {
    for act in [Act::RELU, Act::Clamp { lo: 0.0, hi: 6.0 }, Act::Leaky(0.2), Act::HardSwish, Act::Sigmoid, Act::Silu, Act::Tanh] {
        for residual in [false, true] {
            Case { act, residual, ..Case::square([3, 3], 1, 1, 7, 8, 24) }.check();
            Case { act, residual, ..Case::pointwise(130, 20, 72) }.check();
        }
    }
}

#[test]
fn rows_in_several_blocks() {
    // More input than the scratch of one block holds.
    Case { act: Act::RELU, ..Case::square([3, 3], 1, 1, 40, 70, 8) }.check();
    Case { batch: 2, ..Case::square([3, 3], 2, 1, 30, 80, 8) }.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "x86_64") { 150 } else { 30 }))]
    #[test]
    fn any_shape(
        (batch, out, channels, groups) in (1..3usize, [1..9usize, 1..9], [1..40usize, 1..80], prop_oneof![4 => Just(1usize), 1 => 2..5usize]),
        (kernel, stride, dilation) in ([1..5usize, 1..5], [1..4usize, 1..4], [1..3usize, 1..3]),
        (pad, pad_end, spare) in ([0..3usize, 0..3], [0..3usize, 0..3], [0..3usize, 0..3]),
        residual: bool,
        act in prop_oneof![Just(Act::None), Just(Act::RELU), Just(Act::Silu)],
        gap in prop_oneof![Just(None), Just(Some(0)), Just(Some(16))],
    ) {
        let window = Window { kernel, stride, dilation, pad };
        Case { batch, out, channels, groups, window, pad_end, spare, residual, act, gap }.check();
    }
}

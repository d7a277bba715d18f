//! Pointwise, dense and separable convolutions of well-known networks, one thread, on every instruction set but scalar.
//!
//! ids: `f32.{kind}.k{kernel}s{stride}.{out}x{out}x{in channels}-{out channels}.{isa}`; an element is a multiplication or an
//! addition, so that throughput reads as FLOP/s. `cargo bench -p sepal-benches --bench conv -- f32.dense` runs one kind.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use sepal_kernels::ops::conv::{Conv, Window, conv, conv_scratch};
use sepal_kernels::ops::depthwise::Depthwise;
use sepal_kernels::ops::panels::Panels;
use sepal_kernels::ops::separable::{separable, separable_scratch};
use sepal_kernels::par::Serial;
use sepal_kernels::{Act, Isa, Shape, View, ViewMut, view::span};
use std::hint::black_box;
use std::time::Duration;

#[derive(Clone, Copy)]
enum Kind {
    /// A 1x1 window; with one pixel, a fully connected layer.
    Pointwise,
    /// A larger window over all channels.
    Dense,
    /// A depthwise convolution and a pointwise one in one step.
    Separable,
}
use Kind::{Dense, Pointwise, Separable};

/// Height and width of the input, input channels, output channels, kernel, stride, padding.
type Case = (Kind, usize, usize, usize, usize, usize, usize);

const CASES: [Case; 33] = [
    // Xception.
    (Pointwise, 147, 64, 128, 1, 1, 0),
    (Pointwise, 74, 128, 256, 1, 1, 0),
    (Pointwise, 37, 256, 728, 1, 1, 0),
    (Pointwise, 19, 728, 728, 1, 1, 0),
    (Pointwise, 10, 1024, 1536, 1, 1, 0),
    (Pointwise, 10, 1536, 2048, 1, 1, 0),
    (Pointwise, 1, 2048, 1000, 1, 1, 0),
    // MobileNetV2 and V3, EfficientNet.
    (Pointwise, 112, 32, 16, 1, 1, 0),
    (Pointwise, 56, 24, 144, 1, 1, 0),
    (Pointwise, 56, 144, 24, 1, 1, 0),
    (Pointwise, 28, 40, 120, 1, 1, 0),
    (Pointwise, 28, 120, 40, 1, 1, 0),
    (Pointwise, 14, 384, 64, 1, 1, 0),
    (Pointwise, 14, 96, 576, 1, 1, 0),
    (Pointwise, 7, 960, 160, 1, 1, 0),
    (Pointwise, 7, 320, 1280, 1, 1, 0),
    // First layers.
    (Dense, 224, 3, 32, 3, 2, 1),
    (Dense, 299, 3, 32, 3, 2, 0),
    (Dense, 224, 3, 64, 7, 2, 3),
    // Xception's second, ResNet, Inception.
    (Dense, 149, 32, 64, 3, 1, 0),
    (Dense, 56, 64, 64, 3, 1, 1),
    (Dense, 28, 128, 128, 3, 1, 1),
    (Dense, 14, 256, 256, 3, 1, 1),
    (Dense, 7, 512, 512, 3, 1, 1),
    (Dense, 17, 160, 192, 7, 1, 3),
    // Xception.
    (Separable, 147, 64, 128, 3, 1, 1),
    (Separable, 74, 256, 256, 3, 1, 1),
    (Separable, 37, 728, 728, 3, 1, 1),
    (Separable, 19, 728, 728, 3, 1, 1),
    (Separable, 10, 1536, 2048, 3, 1, 1),
    // MobileNet.
    (Separable, 112, 32, 64, 3, 1, 1),
    (Separable, 56, 128, 128, 3, 2, 1),
    (Separable, 14, 512, 512, 3, 1, 1),
];

/// As the converter lays tensors out; images of three channels come without gaps.
fn pixel(c: usize) -> usize {
    let padded = c.next_multiple_of(16);
    match c {
        3 => 3,
        _ if padded.is_multiple_of(256) => padded + 16,
        _ => padded,
    }
}

fn case(group: &mut BenchmarkGroup<WallTime>, isa: Isa, (kind, size, c, n, k, s, pad): Case) {
    let side = (size + 2 * pad - k) / s + 1;
    let (input, output) = (Shape::new(1, size, size, c), Shape::new(1, side, side, n));
    let x = vec![0.5f32; span(input, pixel(c))];
    let mut y = vec![0.0; span(output, pixel(n))];
    let window = Window { kernel: [k, k], stride: [s, s], dilation: [1, 1], pad: [pad, pad] };
    let taps = vec![0.1; c.next_multiple_of(16) * k * k];
    let zeros = vec![0.0; c.max(n).next_multiple_of(16)];
    let depth = if matches!(kind, Separable) { c } else { k * k * c };
    let panels = vec![0.1; n.next_multiple_of(16) * depth];
    let weights = panels.as_slice();
    let first = Depthwise { window, weights: &taps, bias: &zeros[..c.next_multiple_of(16)], pre_relu: false, act: Act::None };
    let bias = &zeros[..n.next_multiple_of(16)];
    let (name, flop) = match kind {
        Pointwise => ("pointwise", depth * n),
        Dense => ("dense", depth * n),
        Separable => ("separable", k * k * c + depth * n),
    };
    group.throughput(Throughput::Elements((2 * output.pixels() * flop) as u64));
    group.bench_function(format!("f32.{name}.k{k}s{s}.{side}x{side}x{c}-{n}.{}", isa.name()), |b| match kind {
        Pointwise | Dense => {
            let args = Conv { window, groups: 1, weights: Panels::F32(weights), bias, act: Act::RELU };
            let mut scratch = vec![0.0; conv_scratch(window, 1, input, output)];
            b.iter(|| {
                let (x, y) = (View::new(black_box(&x), input, pixel(c)), ViewMut::new(&mut y, output, pixel(n)));
                conv(isa, &Serial, &args, x, None, y, &mut scratch);
            });
        }
        Separable => {
            let second = Conv { window: Window::ONE, groups: 1, weights: Panels::F32(weights), bias, act: Act::RELU };
            let mut scratch = vec![0.0; separable_scratch(window, input, output)];
            b.iter(|| {
                let (x, y) = (View::new(black_box(&x), input, pixel(c)), ViewMut::new(&mut y, output, pixel(n)));
                separable(isa, &Serial, &first, &second, x, None, y, &mut scratch);
            });
        }
    });
}

fn cases(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv");
    group.sample_size(20).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(300));
    for isa in Isa::available().filter(|isa| isa.name() != "scalar") {
        for layer in CASES {
            case(&mut group, isa, layer);
        }
    }
    group.finish();
}

criterion_group!(benches, cases);
criterion_main!(benches);

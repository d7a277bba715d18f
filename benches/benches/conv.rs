//! Convolutions of well-known networks that are not depthwise, one thread, on every instruction set.
//!
//! ids: `f32.conv.k{kernel}s{stride}.{out}x{out}x{in channels}-{out channels}.{isa}`; an element is a floating-point operation,
//! so that throughput reads as FLOP/s.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sepal_kernels::ops::conv::{Conv, Window, conv, conv_scratch};
use sepal_kernels::par::Serial;
use sepal_kernels::{Act, Isa, Shape, View, ViewMut, view::span};
use std::hint::black_box;

/// Height and width of the input, input channels, output channels, kernel, stride, padding.
const LAYERS: [(usize, usize, usize, usize, usize, usize); 25] = [
    (19, 728, 728, 1, 1, 0),
    (147, 64, 128, 1, 1, 0),
    (74, 128, 256, 1, 1, 0),
    (37, 256, 728, 1, 1, 0),
    (10, 1024, 1536, 1, 1, 0),
    (10, 1536, 2048, 1, 1, 0),
    (112, 32, 16, 1, 1, 0),
    (56, 24, 144, 1, 1, 0),
    (56, 144, 24, 1, 1, 0),
    (28, 40, 120, 1, 1, 0),
    (28, 120, 40, 1, 1, 0),
    (14, 384, 64, 1, 1, 0),
    (14, 96, 576, 1, 1, 0),
    (7, 960, 160, 1, 1, 0),
    (7, 320, 1280, 1, 1, 0),
    (1, 2048, 1000, 1, 1, 0),
    (224, 3, 32, 3, 2, 1),
    (299, 3, 32, 3, 2, 0),
    (224, 3, 64, 7, 2, 3),
    (147, 32, 64, 3, 1, 0),
    (56, 64, 64, 3, 1, 1),
    (28, 128, 128, 3, 1, 1),
    (14, 256, 256, 3, 1, 1),
    (7, 512, 512, 3, 1, 1),
    (17, 160, 192, 7, 1, 3),
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

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv");
    group
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(300));
    for isa in Isa::available().filter(|isa| isa.name() != "scalar") {
        for (size, c, n, k, s, pad) in LAYERS {
            let side = (size + 2 * pad - k) / s + 1;
            let (input, output) = (Shape::new(1, size, size, c), Shape::new(1, side, side, n));
            let x = vec![0.5f32; span(input, pixel(c))];
            let mut y = vec![0.0; span(output, pixel(n))];
            let weights = vec![0.1; n.next_multiple_of(16) * k * k * c];
            let bias = vec![0.0; n.next_multiple_of(16)];
            let window = Window { kernel: [k, k], stride: [s, s], dilation: [1, 1], pad: [pad, pad] };
            let args = Conv { window, groups: 1, weights: &weights, bias: &bias, act: Act::RELU };
            let mut scratch = vec![0.0; conv_scratch(window, 1, input, output)];
            group.throughput(Throughput::Elements((2 * output.pixels() * n * c * k * k) as u64));
            group.bench_function(format!("f32.conv.k{k}s{s}.{side}x{side}x{c}-{n}.{}", isa.name()), |b| {
                b.iter(|| {
                    let (x, y) = (View::new(black_box(&x), input, pixel(c)), ViewMut::new(&mut y, output, pixel(n)));
                    conv(isa, &Serial, &args, x, None, y, &mut scratch);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, layers);
criterion_main!(benches);

//! Depthwise convolutions of well-known networks, one thread, on every instruction set.
//!
//! ids: `f32.depthwise.k{kernel}s{stride}.{height}x{width}x{channels}.{isa}`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sepal_kernels::ops::conv::Window;
use sepal_kernels::ops::depthwise::{Depthwise, depthwise};
use sepal_kernels::par::Serial;
use sepal_kernels::{Act, Isa, Shape, View, ViewMut, view::span};
use std::hint::black_box;

/// Height and width of the input, channels, kernel, stride.
const LAYERS: [(usize, usize, usize, usize); 16] = [
    (147, 64, 3, 1),
    (147, 128, 3, 1),
    (74, 256, 3, 1),
    (37, 728, 3, 1),
    (19, 728, 3, 1),
    (10, 1536, 3, 1),
    (112, 32, 3, 1),
    (112, 96, 3, 2),
    (56, 144, 3, 1),
    (28, 192, 3, 1),
    (14, 576, 3, 1),
    (7, 960, 3, 1),
    (28, 120, 5, 1),
    (14, 672, 5, 1),
    (14, 672, 5, 2),
    (56, 96, 7, 1),
];

fn pixel(c: usize) -> usize {
    let padded = c.next_multiple_of(16);
    if padded.is_multiple_of(256) { padded + 16 } else { padded }
}

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("depthwise");
    group
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(300));
    for isa in Isa::available().filter(|isa| isa.name() != "scalar") {
        for (size, c, k, s) in LAYERS {
            let (input, output) = (Shape::new(1, size, size, c), Shape::new(1, size.div_ceil(s), size.div_ceil(s), c));
            // What TensorFlow calls "same".
            let pad = ((output.h - 1) * s + k - size) / 2;
            let pixel = pixel(c);
            let x = vec![0.5f32; span(input, pixel)];
            let mut y = vec![0.0; span(output, pixel)];
            let weights = vec![0.1; c.next_multiple_of(16) * k * k];
            let bias = vec![0.0; c.next_multiple_of(16)];
            let window = Window { kernel: [k, k], stride: [s, s], dilation: [1, 1], pad: [pad, pad] };
            let args = Depthwise { window, weights: &weights, bias: &bias, pre_relu: false, act: Act::RELU };
            group.throughput(Throughput::Elements((output.pixels() * c * k * k) as u64));
            group.bench_function(format!("f32.depthwise.k{k}s{s}.{size}x{size}x{c}.{}", isa.name()), |b| {
                b.iter(|| {
                    depthwise(isa, &Serial, &args, View::new(black_box(&x), input, pixel), ViewMut::new(&mut y, output, pixel));
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, layers);
criterion_main!(benches);

//! Every kernel on layers of well-known networks, one thread, on every instruction set but scalar: the table that the tests check.
//!
//! ids: `f32.{kind}.k{kernel}s{stride}.{size}x{size}x{in channels}-{out channels}.{isa}`; throughput reads as FLOP/s, of what does
//! not multiply as elements/s. `cargo bench -p sepal-benches -- f32.dense` runs one kind.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sepal_kernels::Isa;
use sepal_kernels::par::Serial;
use sepal_testing::cases::CASES;
use sepal_testing::layer::Layer;
use std::hint::black_box;
use std::time::Duration;

fn kernels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kernels");
    group.sample_size(20).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(300));
    for isa in Isa::available().filter(|isa| isa.name() != "scalar") {
        for case in CASES {
            group.throughput(Throughput::Elements(case.operations() as u64));
            // Made for what is really run: a filter leaves out most.
            let mut layer = None;
            group.bench_function(format!("{}.{}", case.name(), isa.name()), |b| {
                let (layer, out, scratch) = layer.get_or_insert_with(|| {
                    let layer = Layer::new(*case);
                    let (out, scratch) = (layer.output(), layer.scratch(1));
                    (layer, out, scratch)
                });
                b.iter(|| black_box(&*layer).run(isa, &Serial, out, scratch));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);

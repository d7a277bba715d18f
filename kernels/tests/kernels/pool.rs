use proptest::prelude::*;
use sepal_kernels::ops::conv::Window;
use sepal_kernels::ops::pool::{PoolKind, pool};
use sepal_kernels::{Shape, reference};
use sepal_testing::{Image, Threads, assert_same, each_isa, outputs};

fn check(kind: PoolKind, size: Shape, window: Window, pad_end: [usize; 2], residual: bool, gaps: [usize; 2]) {
    let [h, w] = outputs(&window, [size.h, size.w], pad_end);
    let out = Shape { h, w, ..size };
    if out.pixels() == 0 {
        return;
    }
    let x = Image::random(size.n, size.h, size.w, size.c, gaps[0], 1);
    let r = Image::random(out.n, out.h, out.w, out.c, gaps[1], 2);
    let residual = residual.then(|| r.view());
    let mut want = Image::of(out, 0);
    reference::pool::pool(kind, window, x.view(), residual, want.view_mut());
    each_isa(|isa| {
        for parts in [1, 2, 4] {
            let mut got = Image::of(out, gaps[1]);
            pool(isa, &Threads(parts), kind, window, x.view(), residual, got.view_mut());
            assert_same(&got, &want, (isa, parts, kind, size, window, pad_end));
            got.assert_gaps_untouched();
        }
    });
}

#[test]
fn usual_windows() {
    for c in [1, 3, 15, 16, 17, 33] {
        for (k, s, pad, pad_end) in
            [(3, 2, 0, 1), (3, 2, 1, 1), (2, 2, 0, 0), (3, 1, 1, 1), (7, 7, 0, 0), (5, 3, 2, 1), (2, 1, 0, 1)]
        {
            let window = Window { kernel: [k, k], stride: [s, s], dilation: [1, 1], pad: [pad, pad] };
            for kind in [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPad { pad_end: [pad_end; 2] }] {
                check(kind, Shape::new(2, 9, 11, c), window, [pad_end; 2], c % 2 == 0, [0, 16]);
                check(kind, Shape::new(1, 1, 1, c), window, [pad_end; 2], c % 2 == 1, [16, 0]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(
        n in 1..3usize, h in 1..10usize, w in 1..10usize, c in 1..40usize, kernel in prop::array::uniform2(1..5usize),
        stride in prop::array::uniform2(1..4usize), dilation in prop::array::uniform2(1..3usize), pad in prop::array::uniform2(0..5usize),
        pad_end in prop::array::uniform2(0..5usize), kind in 0..3usize, residual in any::<bool>(),
    ) {
        let kind = [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPad { pad_end }][kind];
        check(kind, Shape::new(n, h, w, c), Window { kernel, stride, dilation, pad }, pad_end, residual, [0, 0]);
    }
}

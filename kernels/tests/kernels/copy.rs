use proptest::prelude::*;
use sepal_kernels::ops::copy::{Copy, DIMS, copy};
use sepal_kernels::reference;
use sepal_testing::{Rng, Threads};

fn check(args: &Copy) {
    let len = |strides: &[usize; DIMS]| 1 + (0..DIMS).map(|d| args.dims[d].saturating_sub(1) * strides[d]).sum::<usize>();
    let input = Rng(1).values(len(&args.in_strides));
    // A few floats more than needed: they are filled, or stay.
    let blank = vec![77.0f32; len(&args.out_strides) + 5];
    let mut want = blank.clone();
    reference::copy::copy(args, &input, &mut want);
    for parts in [1, 2, 4] {
        let mut got = blank.clone();
        copy(&Threads(parts), args, &input, &mut got);
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&want), "{args:?} in {parts} parts");
    }
}

#[test]
fn usual_copies() {
    let base = Copy { dims: [1; DIMS], in_strides: [0; DIMS], out_strides: [0; DIMS], fill: None };
    check(&base);
    // NCHW to NHWC in pixels of 16, and back.
    for (n, c, hw) in [(1usize, 3usize, 299usize * 7), (2, 3, 100), (1, 2, 33), (2, 4, 65), (1, 4, 1), (4, 130, 70), (1, 1, 9)] {
        let (p, nchw) = (c.div_ceil(16) * 16, [c * hw, hw, 1]);
        let pixels = [hw * p, 1, p];
        let strides = |s: [usize; 3]| [0, 0, 0, s[0], s[1], s[2]];
        let dims = [1, 1, 1, n, c, hw];
        check(&Copy { dims, in_strides: strides(nchw), out_strides: strides(pixels), fill: Some(0.0) });
        check(&Copy { dims, in_strides: strides(pixels), out_strides: strides(nchw), fill: None });
    }
    // A block of channels into a wider tensor (concatenation), padding of an image, nearest upsampling, a plain copy.
    check(&Copy { dims: [1, 1, 1, 1, 500, 24], in_strides: [0, 0, 0, 0, 32, 1], out_strides: [0, 0, 0, 0, 64, 1], ..base });
    check(&Copy {
        dims: [1, 1, 1, 5, 7, 16],
        in_strides: [0, 0, 0, 112, 16, 1],
        out_strides: [0, 0, 0, 144, 16, 1],
        fill: Some(-1.0),
    });
    check(&Copy { dims: [1, 5, 2, 7, 2, 16], in_strides: [0, 112, 0, 16, 0, 1], out_strides: [0, 448, 224, 32, 16, 1], ..base });
    check(&Copy { dims: [1, 2, 3, 4, 5, 6], in_strides: [0, 360, 120, 30, 6, 1], out_strides: [0, 360, 120, 30, 6, 1], ..base });
    check(&Copy { dims: [1, 2, 0, 4, 5, 6], in_strides: [1; DIMS], out_strides: [1; DIMS], fill: Some(3.0) });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_permutation(dims in prop::array::uniform6(1..6usize), order in Just([0usize, 1, 2, 3, 4, 5]).prop_shuffle(),
        repeat in prop::array::uniform6(0..6usize), pad in 0..3usize, fill in prop::option::of(-1f32..1.0)) {
        let (mut in_strides, mut out_strides) = ([0; DIMS], [0; DIMS]);
        let (mut from, mut to) = (1, 1);
        for d in (0..DIMS).rev() {
            in_strides[d] = if repeat[d] == 0 { 0 } else { from };
            from *= dims[d];
            out_strides[order[d]] = to;
            to = to * dims[order[d]] + pad;
        }
        check(&Copy { dims, in_strides, out_strides, fill });
    }
}

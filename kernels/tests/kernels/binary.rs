use proptest::prelude::*;
use sepal_kernels::ops::binary::{BinaryOp, binary, binary_in_place};
use sepal_kernels::{Act, Shape, reference};
use sepal_testing::{Image, Threads, assert_same, each_isa};

const OPS: [BinaryOp; 11] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Min,
    BinaryOp::Max,
    BinaryOp::Pow,
    BinaryOp::Greater,
    BinaryOp::AtLeast,
    BinaryOp::Equal,
    BinaryOp::Where,
];

fn check(op: BinaryOp, act: Act, out: Shape, b: Shape, gaps: [usize; 3]) {
    let random = |s: Shape, gap, seed| Image::random(s.n, s.h, s.w, s.c, gap, seed);
    let (full, part) = (random(out, gaps[0], 1), random(b, gaps[1], 2));
    for swapped in [false, true] {
        let (a, b) = if swapped { (&part, &full) } else { (&full, &part) };
        let mut want = Image::of(out, 0);
        reference::binary::binary(op, act, a.view(), b.view(), want.view_mut());
        each_isa(|isa| {
            for parts in [1, 2, 4] {
                let mut got = Image::of(out, gaps[2]);
                binary(isa, &Threads(parts), op, act, a.view(), b.view(), got.view_mut());
                assert_same(&got, &want, (isa, parts, op, act, out, part.shape, swapped));
                got.assert_gaps_untouched();
                let mut got = full.clone();
                binary_in_place(isa, &Threads(parts), op, act, swapped, got.view_mut(), part.view());
                assert_same(&got, &want, (isa, parts, op, act, out, part.shape, swapped, "in place"));
                got.assert_gaps_untouched();
            }
        });
    }
}

#[test]
fn every_op_and_repetition() {
    for c in [1, 3, 15, 16, 17, 33] {
        let out = Shape::new(2, 5, 7, c);
        for op in OPS {
            for bits in 0..16 {
                let e = |bit: usize, extent| if bits >> bit & 1 == 1 { 1 } else { extent };
                let b = Shape::new(e(0, out.n), e(1, out.h), e(2, out.w), e(3, c));
                check(op, Act::None, out, b, [0, 0, 0]);
            }
        }
    }
}

#[test]
fn comparisons_know_nan() {
    let of = |v: f32| Image::new(1, 1, 1, 1, 0).map(|_| v);
    let values = [f32::NAN, f32::NEG_INFINITY, -1.0, -0.0, 0.0, 1e-45, 1.0, f32::INFINITY];
    for (a, b) in values.iter().flat_map(|&a| values.map(|b| (a, b))) {
        for (op, want) in [(BinaryOp::Greater, a > b), (BinaryOp::AtLeast, a >= b), (BinaryOp::Equal, a == b)] {
            each_isa(|isa| {
                let mut got = Image::new(1, 1, 1, 1, 0);
                binary(isa, &Threads(1), op, Act::None, of(a).view(), of(b).view(), got.view_mut());
                assert_eq!(got.get(0, 0, 0, 0), f32::from(u8::from(want)), "{isa:?} {op:?} {a} {b}");
            });
        }
    }
}

/// NaN on either side is the result; nothing else is.
#[test]
fn the_smaller_and_the_larger_of_what_is_no_number() {
    let of = |v: f32| {
        let mut image = Image::new(1, 1, 1, 1, 0);
        image.set(0, 0, 0, 0, v);
        image
    };
    let values = [f32::NAN, f32::NEG_INFINITY, -1.0, 0.0, 2.0, f32::MAX, f32::INFINITY];
    for (a, b) in values.iter().flat_map(|&a| values.map(|b| (a, b))) {
        let nan = a.is_nan() || b.is_nan();
        for (op, want) in [(BinaryOp::Min, a.min(b)), (BinaryOp::Max, a.max(b))] {
            each_isa(|isa| {
                let mut got = Image::new(1, 1, 1, 1, 0);
                binary(isa, &Threads(1), op, Act::None, of(a).view(), of(b).view(), got.view_mut());
                let got = got.get(0, 0, 0, 0);
                assert!(if nan { got.is_nan() } else { got == want }, "{isa:?} {op:?} {a} {b}: {got}");
            });
        }
    }
}

#[test]
fn long_runs_and_activations() {
    let out = Shape::new(4, 13, 11, 48);
    for act in [Act::RELU, Act::HardSigmoid { alpha: 0.2, beta: 0.5 }, Act::Sigmoid] {
        check(BinaryOp::Add, act, out, out, [0, 0, 0]);
        check(BinaryOp::Mul, act, out, Shape::new(4, 1, 1, 48), [0, 0, 0]);
        check(BinaryOp::Sub, act, out, Shape::new(1, 1, 1, 1), [16, 0, 0]);
    }
}

#[test]
fn a_thread_gets_a_single_pixel() {
    // Pixels so wide that each is a part of its own, and operands whose pixels lie differently far apart.
    for (out, b_gap) in [(Shape::new(1, 1, 2, 2064), 48), (Shape::new(1, 4, 4, 256), 16), (Shape::new(4, 1, 1, 2064), 16)] {
        for op in OPS {
            check(op, Act::None, out, out, [0, b_gap, 0]);
            check(op, Act::None, out, out, [b_gap, 0, 16]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape(n in 1..3usize, h in 1..6usize, w in 1..9usize, c in 1..40usize, bits in 0..16usize, op in 0..OPS.len(), gaps in prop::array::uniform3(0..2usize)) {
        let e = |bit: usize, extent| if bits >> bit & 1 == 1 { 1 } else { extent };
        check(OPS[op], Act::None, Shape::new(n, h, w, c), Shape::new(e(0, n), e(1, h), e(2, w), e(3, c)), gaps.map(|g| g * 16));
    }
}

use sepal_format::layout::BLOCK;
use sepal_kernels::ops::scale_shift::{scale_shift, scale_shift_in_place};
use sepal_kernels::{Act, reference};
use sepal_testing::{Image, Rng, Threads, assert_same, each_isa};

#[test]
fn both_forms() {
    for (n, h, w, c) in [(1, 1, 1, 1), (4, 3, 5, 15), (1, 7, 9, 16), (2, 6, 6, 33)] {
        for act in [Act::None, Act::RELU, Act::Silu] {
            for gap in [0, 16] {
                let x = Image::random(n, h, w, c, gap, 3);
                let (mut scale, mut shift) = (Rng(4).values(c), Rng(5).values(c));
                let mut want = Image::new(n, h, w, c, 0);
                reference::scale_shift::scale_shift(&scale, &shift, act, x.view(), want.view_mut());
                scale.resize(c.next_multiple_of(BLOCK), f32::NAN);
                shift.resize(c.next_multiple_of(BLOCK), f32::NAN);
                each_isa(|isa| {
                    for parts in [1, 2, 4] {
                        let mut got = Image::new(n, h, w, c, 16 - gap);
                        scale_shift(isa, &Threads(parts), &scale, &shift, act, x.view(), got.view_mut());
                        assert_same(&got, &want, (isa, parts, act));
                        got.assert_gaps_untouched();
                        let mut got = x.clone();
                        scale_shift_in_place(isa, &Threads(parts), &scale, &shift, act, got.view_mut());
                        assert_same(&got, &want, (isa, parts, act));
                        got.assert_gaps_untouched();
                    }
                });
            }
        }
    }
}

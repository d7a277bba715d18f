use sepal_kernels::ops::matmul::matmul;
use sepal_kernels::reference;
use sepal_testing::{Image, Threads, assert_same, each_isa};

#[test]
fn every_isa_agrees_with_the_reference() {
    for (n, m, k, c) in [(1, 1, 1, 1), (1, 5, 3, 17), (3, 4, 16, 16), (2, 9, 33, 40), (4, 3, 2, 100)] {
        let (a, b) = (Image::random(n, 1, m, k, 16, 1), Image::random(n, 1, k, c, 32, 2));
        let mut want = Image::new(n, 1, m, c, 0);
        reference::matmul::matmul(a.view(), b.view(), want.view_mut());
        each_isa(|isa| {
            for parts in [1, 2, 4] {
                let mut got = Image::new(n, 1, m, c, 16);
                matmul(isa, &Threads(parts), a.view(), b.view(), got.view_mut());
                assert_same(&got, &want, (isa, parts, n, m, k, c));
                got.assert_gaps_untouched();
            }
        });
    }
}

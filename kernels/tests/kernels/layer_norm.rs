use sepal_kernels::Isa;
use sepal_kernels::ops::layer_norm::{LayerNorm, layer_norm};
use sepal_kernels::reference;
use sepal_testing::{Image, Rng, Threads, assert_same, each_isa};

#[test]
fn every_isa_agrees_with_the_reference() {
    for c in [1usize, 3, 15, 16, 17, 40, 130, 4096, 4099, 9001] {
        let (scale, shift) = (Rng(1).values(c.next_multiple_of(16)), Rng(2).values(c.next_multiple_of(16)));
        let x = Image::random(2, 3, 5, c, 16, 3);
        for centred in [true, false] {
            let args = LayerNorm { scale: &scale, shift: &shift, epsilon: 1e-6, centred };
            let mut want = Image::new(2, 3, 5, c, 0);
            reference::layer_norm::layer_norm(&args, x.view(), want.view_mut());
            each_isa(|isa| {
                for parts in [1, 4] {
                    let mut got = Image::new(2, 3, 5, c, 32);
                    layer_norm(isa, &Threads(parts), &args, x.view(), got.view_mut());
                    assert_same(&got, &want, (isa, parts, centred));
                    got.assert_gaps_untouched();
                }
            });
        }
    }
}

#[test]
fn against_f64() {
    let c = 100;
    let (scale, shift) = (Rng(1).values(112), Rng(2).values(112));
    // Far from zero, where a variance as a difference of squares would be lost.
    let x = Image::random(1, 1, 1, c, 0, 4).map(|v| v + 100.0);
    let args = LayerNorm { scale: &scale, shift: &shift, epsilon: 1e-5, centred: true };
    let mut y = Image::new(1, 1, 1, c, 0);
    layer_norm(Isa::detect(), &Threads(1), &args, x.view(), y.view_mut());
    let value = |i: usize| f64::from(x.get(0, 0, 0, i));
    let mean = (0..c).map(value).sum::<f64>() / c as f64;
    let variance = (0..c).map(|i| (value(i) - mean).powi(2)).sum::<f64>() / c as f64;
    for i in 0..c {
        let want = (value(i) - mean) / (variance + 1e-5).sqrt() * f64::from(scale[i]) + f64::from(shift[i]);
        assert!((f64::from(y.get(0, 0, 0, i)) - want).abs() < 1e-4, "{i}");
    }
}

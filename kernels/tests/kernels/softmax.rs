use sepal_kernels::ops::softmax::{ln, softmax};
use sepal_kernels::{Isa, reference};
use sepal_testing::{Image, Threads, assert_same, each_isa};

#[test]
fn both_forms() {
    for c in [1, 2, 3, 15, 16, 17, 33, 1000] {
        for (n, h, w, gaps) in [(1, 1, 1, [0, 0]), (4, 3, 5, [16, 32])] {
            for scale in [1.0, 60.0] {
                let x = Image::random(n, h, w, c, gaps[0], 9).map(|v| v * scale);
                for log in [false, true] {
                    let mut want = Image::new(n, h, w, c, 0);
                    reference::softmax::softmax(log, x.view(), want.view_mut());
                    each_isa(|isa| {
                        for parts in [1, 2, 4] {
                            let mut got = Image::new(n, h, w, c, gaps[1]);
                            softmax(isa, &Threads(parts), log, x.view(), got.view_mut());
                            assert_same(&got, &want, (isa, parts, log));
                            got.assert_gaps_untouched();
                        }
                    });
                }
            }
        }
    }
}

#[test]
fn against_f64() {
    let x = Image::random(1, 1, 1, 1000, 0, 5).map(|v| v * 10.0);
    let sum: f64 = (0..1000).map(|c| (x.get(0, 0, 0, c) as f64).exp()).sum();
    let (mut soft, mut log) = (Image::new(1, 1, 1, 1000, 0), Image::new(1, 1, 1, 1000, 0));
    softmax(Isa::detect(), &Threads(1), false, x.view(), soft.view_mut());
    softmax(Isa::detect(), &Threads(1), true, x.view(), log.view_mut());
    for c in 0..1000 {
        let exact = (x.get(0, 0, 0, c) as f64).exp() / sum;
        assert!((soft.get(0, 0, 0, c) as f64 / exact - 1.0).abs() < 3e-6);
        assert!((log.get(0, 0, 0, c) as f64 - exact.ln()).abs() < 5e-6);
    }
}

#[test]
fn masked_logits() {
    let mut x = Image::new(1, 1, 1, 3, 0);
    x.set(0, 0, 0, 1, f32::NEG_INFINITY);
    let mut y = Image::new(1, 1, 1, 3, 0);
    softmax(Isa::detect(), &Threads(1), false, x.view(), y.view_mut());
    assert_eq!([y.get(0, 0, 0, 0), y.get(0, 0, 0, 1), y.get(0, 0, 0, 2)], [0.5, 0.0, 0.5]);
}

#[test]
fn logarithm_is_correctly_rounded() {
    for i in 0..100_000u32 {
        let x = 1.0 + i as f32 * 0.37;
        assert_eq!(ln(x), (x as f64).ln() as f32, "{x}");
    }
    assert!(ln(f32::NAN).is_nan());
}

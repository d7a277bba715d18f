use sepal_kernels::Isa;
use sepal_kernels::ops::reduce::{ReduceKind, reduce_channels, reduce_hw};
use sepal_kernels::reference;
use sepal_testing::{Image, Threads, assert_same, each_isa};

const ALL: [ReduceKind; 5] = [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min, ReduceKind::Product];

#[test]
fn over_channels() {
    // Runs are of 4,096.
    for c in [1, 3, 15, 16, 17, 33, 130, 4095, 4096, 4099, 8192, 9001] {
        let x = Image::random(2, 3, 5, c, 16, 1);
        for kind in ALL {
            let mut want = Image::new(2, 3, 5, 1, 0);
            reference::reduce::reduce_channels(kind, x.view(), want.view_mut());
            each_isa(|isa| {
                for parts in [1, 4] {
                    let mut got = Image::new(2, 3, 5, 1, 16);
                    reduce_channels(isa, &Threads(parts), kind, x.view(), got.view_mut());
                    assert_same(&got, &want, (isa, parts, kind));
                    got.assert_gaps_untouched();
                }
            });
        }
    }
}

#[test]
fn all_kinds() {
    for (h, w) in [(1, 1), (1, 5), (7, 7), (33, 40)] {
        for c in [1, 3, 15, 16, 17, 33, 130, 272] {
            for (n, gaps) in [(1, [0, 0]), (4, [16, 32])] {
                let x = Image::random(n, h, w, c, gaps[0], 1);
                for kind in ALL {
                    let mut want = Image::new(n, 1, 1, c, 0);
                    reference::reduce::reduce_hw(kind, x.view(), want.view_mut());
                    each_isa(|isa| {
                        for parts in [1, 2, 4] {
                            let mut got = Image::new(n, 1, 1, c, gaps[1]);
                            reduce_hw(isa, &Threads(parts), kind, x.view(), got.view_mut());
                            assert_same(&got, &want, (isa, parts, kind, h, w));
                            got.assert_gaps_untouched();
                        }
                    });
                }
            }
        }
    }
}

/// More runs than go side by side, in four, two and one block: 7 blocks of 2,211 pixels.
#[test]
fn many_runs() {
    let x = Image::random(1, 67, 33, 112, 16, 1);
    for kind in ALL {
        let mut want = Image::new(1, 1, 1, 112, 0);
        reference::reduce::reduce_hw(kind, x.view(), want.view_mut());
        each_isa(|isa| {
            for parts in [1, 3] {
                let mut got = Image::new(1, 1, 1, 112, 0);
                reduce_hw(isa, &Threads(parts), kind, x.view(), got.view_mut());
                assert_same(&got, &want, (isa, parts, kind));
            }
        });
    }
}

/// Sixteen chains of additions would be off by 2e-6.
#[test]
fn long_sums_keep_their_digits() {
    let n = 1 << 20;
    let x = Image::random(1, 1, 1, n, 0, 2).map(|v| v + 301.0);
    let want = (0..n).map(|c| f64::from(x.get(0, 0, 0, c))).sum::<f64>() / n as f64;
    let mut got = Image::new(1, 1, 1, 1, 0);
    reduce_channels(Isa::detect(), &Threads(1), ReduceKind::Mean, x.view(), got.view_mut());
    let got = f64::from(got.get(0, 0, 0, 0));
    assert!(((got - want) / want).abs() < 3e-7, "{got} for {want}");
}

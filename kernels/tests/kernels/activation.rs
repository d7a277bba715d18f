use sepal_kernels::Act;
use sepal_kernels::ops::activation::{activation, activation_in_place, prelu, scalar};
use sepal_testing::{Image, Threads, assert_same, each_isa};

const ALL: [Act; 14] = [
    Act::None,
    Act::RELU,
    Act::Clamp { lo: 0.0, hi: 6.0 },
    Act::Clamp { lo: f32::NEG_INFINITY, hi: 1.0 },
    Act::Leaky(0.1),
    Act::Elu(1.0),
    Act::Elu(0.7),
    Act::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Act::HardSwish,
    Act::Sigmoid,
    Act::Silu,
    Act::Tanh,
    Act::Exp,
    Act::Sqrt,
];

fn exact(act: Act, x: f64) -> f64 {
    match act {
        Act::None => x,
        Act::Clamp { lo, hi } => x.max(lo as f64).min(hi as f64),
        Act::Leaky(a) => {
            if x > 0.0 {
                x
            } else {
                a as f64 * x
            }
        }
        Act::Elu(a) => {
            if x > 0.0 {
                x
            } else {
                a as f64 * x.exp_m1()
            }
        }
        Act::HardSigmoid { alpha, beta } => (alpha as f64 * x + beta as f64).clamp(0.0, 1.0),
        Act::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Act::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Act::Silu => x / (1.0 + (-x).exp()),
        Act::Tanh => x.tanh(),
        Act::Exp => x.exp(),
        Act::Sqrt => x.sqrt(),
    }
}

/// Distance in units in the last place of `want`, with a floor that counts as the smallest meaningful magnitude.
fn ulps(got: f32, want: f64, floor: f64) -> f64 {
    if got as f64 == want || (got.is_nan() && want.is_nan()) || (want > f32::MAX as f64 && got == f32::INFINITY) {
        return 0.0;
    }
    let m = want.abs().max(floor);
    let ulp = 2f64.powi((m.log2().floor() as i32 - 23).max(-149));
    (got as f64 - want).abs() / ulp
}

/// Values over all magnitudes, both signs, and specials.
fn sweep() -> Vec<f32> {
    let mut v: Vec<f32> =
        [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, 1e-45, 88.7, 88.8, -87.4, -103.9, -104.1].into();
    for e in -40..8 {
        for m in 0..500 {
            let x = 2f32.powi(e) * (1.0 + m as f32 / 500.0);
            v.extend([x, -x]);
        }
    }
    v
}

#[test]
fn accuracy_against_f64() {
    for act in ALL {
        // Units in the last place. Sigmoid and SiLU saturate at 1e-36, hard acts lose what cancels around their knee.
        let (bound, floor) = match act {
            Act::None | Act::Clamp { .. } => (0.0, 0.0),
            Act::Leaky(_) | Act::Sqrt => (0.51, 0.0),
            Act::Exp => (1.1, 0.0),
            Act::Elu(_) => (2.5, 0.0),
            // Plus what `logistic` states, below.
            Act::Sigmoid | Act::Silu => (2.6, 1e-29),
            Act::Tanh => (3.6, 0.0),
            Act::HardSigmoid { .. } | Act::HardSwish => (1.6, 0.5),
        };
        let mut worst = (0.0, 0.0);
        for x in sweep() {
            if (act == Act::Sqrt && x < 0.0) || (x == f32::NEG_INFINITY && matches!(act, Act::Silu | Act::HardSwish)) {
                continue;
            }
            let mut u = ulps(scalar(act, x), exact(act, x as f64), floor);
            if matches!(act, Act::Sigmoid | Act::Silu) && x < 0.0 {
                u -= x.abs() as f64 / 3.0;
            }
            if u > worst.0 {
                worst = (u, x);
            }
        }
        println!("{act:?}: {:.2} ulp at {:e}", worst.0, worst.1);
        assert!(worst.0 <= bound, "{act:?}: {worst:?} ulp, allowed {bound}");
    }
}

#[test]
fn limits() {
    assert_eq!(scalar(Act::Exp, f32::NEG_INFINITY), 0.0);
    assert_eq!(scalar(Act::Exp, f32::INFINITY), f32::INFINITY);
    assert_eq!(scalar(Act::Exp, 0.0), 1.0);
    assert_eq!(scalar(Act::Tanh, 100.0), 1.0);
    assert_eq!(scalar(Act::Tanh, f32::NEG_INFINITY), -1.0);
    assert_eq!(scalar(Act::Elu(2.0), f32::NEG_INFINITY), -2.0);
    assert_eq!(scalar(Act::Sigmoid, f32::INFINITY), 1.0);
    assert!(scalar(Act::Sigmoid, f32::NEG_INFINITY) < 2e-38);
    assert_eq!(scalar(Act::Silu, 1e30), 1e30);
    assert!(scalar(Act::Silu, f32::NEG_INFINITY).abs() < 1e-35);
    for act in ALL {
        assert!(scalar(act, f32::NAN).is_nan(), "{act:?}");
    }
}

#[test]
fn every_isa_gives_the_bits_of_scalar() {
    let values = sweep();
    for c in [1, 15, 16, 17, 33] {
        let n = values.len() / c;
        let mut x = Image::new(1, 1, n, c, 16 * (c % 3));
        for p in 0..n {
            for i in 0..c {
                x.set(0, 0, p, i, values[p * c + i]);
            }
        }
        for act in ALL {
            let want = x.map(|v| scalar(act, v));
            each_isa(|isa| {
                for parts in [1, 2, 4] {
                    let mut got = Image::new(1, 1, n, c, 0);
                    activation(isa, &Threads(parts), act, x.view(), got.view_mut());
                    assert_same(&got, &want, (isa, act, parts));
                    let mut got = x.clone();
                    activation_in_place(isa, &Threads(parts), act, got.view_mut());
                    assert_same(&got, &want, (isa, act, parts));
                    got.assert_gaps_untouched();
                }
            });
        }
    }
}

#[test]
fn prelu_by_channel() {
    for c in [1, 16, 33] {
        let x = Image::random(2, 3, 4, c, 16, 1);
        let slope: Vec<f32> = (0..c.next_multiple_of(16)).map(|i| i as f32 * 0.1).collect();
        let want = x.map_channels(|v, i| if v > 0.0 { v } else { slope[i] * v });
        each_isa(|isa| {
            let mut got = Image::new(2, 3, 4, c, 32);
            prelu(isa, &Threads(2), &slope, x.view(), got.view_mut());
            assert_same(&got, &want, (isa, c));
            got.assert_gaps_untouched();
        });
    }
}

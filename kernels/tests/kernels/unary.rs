use sepal_kernels::ops::unary::{Unary, scalar, scalar_pow, unary, unary_in_place};
use sepal_kernels::reference;
use sepal_testing::{Image, Rng, Threads, assert_same, each_isa};

const ALL: [Unary; 14] = [
    Unary::Erf,
    Unary::Gelu,
    Unary::Log,
    Unary::Softplus,
    Unary::Sin,
    Unary::Cos,
    Unary::Atan,
    Unary::Abs,
    Unary::Sign,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Threshold(0.5),
    Unary::Shrink { lambda: 1.5, bias: 0.25 },
];

/// erf by its series, or by the continued fraction of its complement.
fn erf(x: f64) -> f64 {
    let t = x.abs();
    if t < 3.0 {
        let (mut term, mut sum) = (t, t);
        for n in 1..100 {
            term *= -t * t / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return (sum * std::f64::consts::FRAC_2_SQRT_PI).copysign(x);
    }
    (1.0 - erfc_tail(t)).copysign(x)
}

fn erfc_tail(t: f64) -> f64 {
    let fraction = (1..60).rev().fold(t, |f, k| t + f64::from(k) / 2.0 / f);
    (-t * t).exp() / fraction / std::f64::consts::PI.sqrt()
}

fn exact(f: Unary, x: f64) -> f64 {
    match f {
        Unary::Erf => erf(x),
        Unary::Gelu if x < -4.3 => 0.5 * x * erfc_tail(-x * std::f64::consts::FRAC_1_SQRT_2),
        Unary::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Unary::Log => x.ln(),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Atan => x.atan(),
        Unary::Abs => x.abs(),
        Unary::Sign if x == 0.0 => 0.0,
        Unary::Sign => x.signum(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Threshold(a) if x > f64::from(a) => x,
        Unary::Threshold(_) => 0.0,
        Unary::Shrink { lambda, bias } if x > f64::from(lambda) => x - f64::from(bias),
        Unary::Shrink { lambda, bias } if x < -f64::from(lambda) => x + f64::from(bias),
        Unary::Shrink { .. } => 0.0,
    }
}

/// Values over all magnitudes, both signs, ties and specials.
fn sweep() -> Vec<f32> {
    let mut v: Vec<f32> = [0.0, f32::INFINITY, f32::MIN_POSITIVE, 1e-45, 0.5, 1.5, 2.5, 4_194_304.5, 8_388_607.5, 1e9].into();
    for e in -40..17 {
        for m in 0..300 {
            v.push(2f32.powi(e) * (1.0 + m as f32 / 300.0));
        }
    }
    v.extend(v.clone().into_iter().map(|x| -x));
    v
}

#[test]
fn accuracy_against_f64() {
    for f in ALL {
        // The largest error, as a share of the result, and of what it is at least counted as.
        let (bound, floor) = match f {
            Unary::Abs | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Threshold(_) => (0.0, 1.0),
            Unary::Erf | Unary::Atan | Unary::Softplus => (2.5e-7, 0.0),
            // Where the logarithm vanishes, its argument decides.
            Unary::Log => (2.5e-7, 1e-3),
            Unary::Gelu => (4e-7, 0.1),
            Unary::Shrink { .. } => (1e-7, 0.0),
            // Radians are rounded: what is lost in a large angle.
            Unary::Sin | Unary::Cos => (2e-7, 0.5),
        };
        let mut worst = (0.0, 0.0);
        for x in sweep() {
            if (f == Unary::Log && x < 0.0) || (matches!(f, Unary::Sin | Unary::Cos) && x.abs() > 65536.0) {
                continue;
            }
            if f == Unary::Gelu && x == f32::NEG_INFINITY {
                continue;
            }
            let (got, want) = (f64::from(scalar(f, x)), exact(f, x.into()));
            if got == want || (want.abs() < 1e-37 && got.abs() < 1e-37) {
                continue;
            }
            let off = (got - want).abs() / want.abs().max(floor);
            if off > worst.0 || off.is_nan() {
                worst = (off, x);
            }
        }
        println!("{f:?}: {:.2e} at {:e}", worst.0, worst.1);
        assert!(worst.0 <= bound, "{f:?}: off by {worst:?}, allowed {bound:e}");
    }
}

/// Whole turns go first, and what is left is rounded.
#[test]
fn sines_of_large_angles() {
    let mut rng = Rng(5);
    let mut worst = 0f64;
    for e in 0..112 {
        for m in rng.values(300) {
            let x = 65536.0 * 2f32.powi(e) * (1.5 + m.clamp(-0.5, 0.49)) * m.signum();
            for (f, want) in [(Unary::Sin, f64::from(x).sin()), (Unary::Cos, f64::from(x).cos())] {
                worst = worst.max((f64::from(scalar(f, x)) - want).abs());
            }
        }
    }
    assert!(worst < 2e-7, "{worst:e}");
    each_isa(|isa| {
        let mut x = Image::random(1, 1, 3, 40, 0, 3);
        (0..120).for_each(|i| x.set(0, 0, i / 40, i % 40, 1.7f32.powi(i as i32) * if i % 2 == 0 { 1.0 } else { -1.0 }));
        let (mut got, mut want) = (Image::new(1, 1, 3, 40, 0), Image::new(1, 1, 3, 40, 0));
        unary(isa, &Threads(1), Unary::Sin, x.view(), got.view_mut());
        reference::unary::unary(Unary::Sin, x.view(), want.view_mut());
        assert_same(&got, &want, isa);
    });
}

#[test]
fn limits() {
    assert_eq!(scalar(Unary::Log, 0.0), f32::NEG_INFINITY);
    assert!(scalar(Unary::Log, -1.0).is_nan());
    assert_eq!(scalar(Unary::Erf, f32::NEG_INFINITY), -1.0);
    assert_eq!(scalar(Unary::Gelu, f32::NEG_INFINITY), 0.0);
    assert_eq!(scalar(Unary::Gelu, f32::INFINITY), f32::INFINITY);
    assert_eq!(scalar(Unary::Softplus, f32::NEG_INFINITY), 0.0);
    assert!(scalar(Unary::Sin, f32::INFINITY).is_nan());
    for f in ALL.into_iter().filter(|f| !matches!(f, Unary::Threshold(_))) {
        assert!(scalar(f, f32::NAN).is_nan(), "{f:?}");
    }
}

#[test]
fn powers() {
    let mut rng = Rng(8);
    for _ in 0..100_000 {
        let (x, y) = ((rng.value() * 3.0).exp2(), rng.value() * 8.0);
        let want = f64::from(x).powf(y.into());
        let off = (f64::from(scalar_pow(x, y)) - want).abs() / want;
        assert!(off < 5e-7 * f64::from(y.abs().max(1.0)), "{x}^{y}: off by {off:e}");
    }
    for x in [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, f32::INFINITY] {
        for y in [-3.0, -2.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0, f32::INFINITY] {
            let (got, want) = (scalar_pow(x, y), f32::powf(x, y));
            let same = got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= 1e-6 * want.abs();
            // IEEE has a power of -1 to infinity; here it has no sign.
            assert!(same || (x.abs() == 1.0 && y.is_infinite()), "{x}^{y} is {got}, not {want}");
        }
    }
    assert_eq!(scalar_pow(f32::NAN, 0.0), 1.0);
    assert!(scalar_pow(f32::NAN, 1.0).is_nan() && scalar_pow(2.0, f32::NAN).is_nan());
    assert_eq!((scalar_pow(2.0, 200.0), scalar_pow(2.0, -200.0)), (f32::INFINITY, 0.0));
}

#[test]
fn every_isa_gives_the_bits_of_scalar() {
    let values = sweep();
    for c in [1, 17, 33] {
        let n = values.len() / c;
        let mut x = Image::new(1, 1, n, c, 16 * (c % 3));
        for p in 0..n {
            for i in 0..c {
                x.set(0, 0, p, i, values[p * c + i]);
            }
        }
        for f in ALL {
            let want = x.map(|v| scalar(f, v));
            each_isa(|isa| {
                for parts in [1, 3] {
                    let mut got = Image::new(1, 1, n, c, 0);
                    unary(isa, &Threads(parts), f, x.view(), got.view_mut());
                    assert_same(&got, &want, (isa, f, parts));
                    let mut got = x.clone();
                    unary_in_place(isa, &Threads(parts), f, got.view_mut());
                    assert_same(&got, &want, (isa, f, parts));
                    got.assert_gaps_untouched();
                }
            });
        }
    }
}

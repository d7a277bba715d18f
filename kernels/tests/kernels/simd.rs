//! Every operation of every instruction set against what the trait says of it, to the bit and lane by lane, on ordinary values
//! and on those at the seams.

use sepal_format::layout::BLOCK;
use sepal_kernels::simd::{Block, FloatRules, HalfBlock, Kernel, Scalar, Simd};
use sepal_testing::{Rng, each_isa};

/// Zeros, infinities, NaN, denormals, the largest, ties, what has no neighbours, and random bits.
fn values() -> Vec<f32> {
    let smallest = f32::from_bits(1);
    let mut v = std::vec![0.0, 0.5, 1.0, 1.5, 2.5, 3.5, 0.499_999_97, 0.999_999_94, 1.0 + f32::EPSILON, f32::EPSILON];
    v.extend([f32::INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, smallest, 3.0 * smallest, 1.1e-38, 3.0e-23]);
    v.extend([4_194_303.5, 4_194_302.5, 8_388_609.0, 16_777_216.0]);
    v.extend(v.clone().into_iter().map(|x| -x));
    let mut rng = Rng(3);
    for _ in 0..18 {
        v.push(f32::from_bits(rng.bits() as u32));
        v.push(rng.value());
    }
    v
}

/// Any NaN is as good as another.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[derive(Clone, Copy, Debug)]
enum Op {
    LoadStore,
    Splat,
    Add,
    Sub,
    Mul,
    Div,
    Fma,
    Min,
    Max,
    SelectGt,
    Sqrt,
    Round,
    Pow2,
    Exponent,
}

const OPS: [Op; 14] = [
    Op::LoadStore,
    Op::Splat,
    Op::Add,
    Op::Sub,
    Op::Mul,
    Op::Div,
    Op::Fma,
    Op::Min,
    Op::Max,
    Op::SelectGt,
    Op::Sqrt,
    Op::Round,
    Op::Pow2,
    Op::Exponent,
];

/// One operation on whole blocks.
struct Apply<'a>(Op, [&'a Block; 4]);

impl Kernel for Apply<'_> {
    type Out = Block;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Block {
        let Apply(op, args) = self;
        let mut out = [0.0; BLOCK];
        for j in 0..S::PARTS {
            let [a, b, c, d] = args.map(|x| s.load(x, j));
            let v = match op {
                Op::LoadStore => a,
                Op::Splat => s.splat(args[0][0]),
                Op::Add => s.add(a, b),
                Op::Sub => s.sub(a, b),
                Op::Mul => s.mul(a, b),
                Op::Div => s.div(a, b),
                Op::Fma => s.fma(a, b, c),
                Op::Min => s.min(a, b),
                Op::Max => s.max(a, b),
                Op::SelectGt => s.select_gt(a, b, c, d),
                Op::Sqrt => s.sqrt(a),
                Op::Round => s.round(a),
                Op::Pow2 => s.pow2(a),
                Op::Exponent => s.exponent(a),
            };
            s.store(v, &mut out, j);
        }
        out
    }
}

/// What the trait says, in the words of the standard library.
fn meaning(op: Op, a: f32, b: f32, c: f32, d: f32) -> f32 {
    match op {
        Op::LoadStore | Op::Splat => a,
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        // That of WASI's C library rounds twice.
        Op::Fma if cfg!(target_arch = "wasm32") => Scalar.fma(a, b, c),
        Op::Fma => a.mul_add(b, c),
        // Not `f32::min` and `max`, which take no sides between zeros and avoid NaN.
        Op::Min => [b, a][usize::from(a < b)],
        Op::Max => [b, a][usize::from(a > b)],
        Op::SelectGt => [d, c][usize::from(a > b)],
        Op::Sqrt => a.sqrt(),
        Op::Round => a.round_ties_even(),
        // Exact: a power of two needs no mantissa.
        Op::Pow2 => 2f64.powi(a as i32) as f32,
        Op::Exponent if a.is_nan() || a.is_infinite() => 128.0,
        Op::Exponent if a.abs() < f32::MIN_POSITIVE => -127.0,
        Op::Exponent => f64::from(a.abs()).log2().floor() as f32,
    }
}

fn check(op: Op, args: [&Block; 4]) {
    each_isa(|isa| {
        let got = isa.run(Apply(op, args));
        for i in 0..BLOCK {
            let [a, b, c, d] = args.map(|x| x[i]);
            let want = match op {
                Op::Splat => args[0][0],
                // The one exception.
                Op::Fma if isa.name() == "simd128" => a * b + c,
                _ => meaning(op, a, b, c, d),
            };
            assert!(same(got[i], want), "{isa:?} {op:?}({a:e}, {b:e}, {c:e}, {d:e}) in lane {i} is {:e}, not {want:e}", got[i]);
        }
    });
}

/// Every value meets every other in every operation, each lane with other ones.
#[test]
fn operations() {
    let values = values();
    let at = |i: usize| -> Block { core::array::from_fn(|l| values[(i + l) % values.len()]) };
    for op in OPS {
        for shift in 0..values.len() {
            for start in (0..values.len()).step_by(BLOCK) {
                let x = at(start);
                let args = match op {
                    // What is asked of the argument.
                    Op::Round => [x.map(|v| if v.abs() < 4_194_304.0 { v } else { 0.25 }), x, x, x],
                    Op::Pow2 => [core::array::from_fn(|l| ((start + shift * BLOCK + l) % 254) as f32 - 126.0), x, x, x],
                    Op::Splat => [at(start + shift), x, x, x],
                    _ => [x, at(start + shift), at(start + 2 * shift + 1), at(start + 3 * shift + 2)],
                };
                check(op, args.each_ref());
            }
        }
    }
}

/// NaN, zeros of either sign: the second operand comes back. Said once more without the table's help.
#[test]
fn minimum_and_maximum_of_what_does_not_compare() {
    let pairs = [(f32::NAN, 1.0), (1.0, f32::NAN), (0.0, -0.0), (-0.0, 0.0)];
    for (a, b) in pairs {
        each_isa(|isa| {
            for op in [Op::Min, Op::Max] {
                let got = isa.run(Apply(op, [&[a; BLOCK], &[b; BLOCK], &[0.0; BLOCK], &[0.0; BLOCK]]));
                assert!(got.iter().all(|&x| same(x, b)), "{isa:?} {op:?}({a}, {b}) is {got:?}");
            }
            let got = isa.run(Apply(Op::SelectGt, [&[a; BLOCK], &[b; BLOCK], &[1.0; BLOCK], &[2.0; BLOCK]]));
            assert_eq!(got, [2.0; BLOCK], "{isa:?}: {a} > {b}");
        });
    }
}

/// Halves as f32.
struct Widen<'a>(&'a HalfBlock);

impl Kernel for Widen<'_> {
    type Out = Block;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Block {
        let mut out = [0.0; BLOCK];
        for j in 0..S::PARTS {
            s.store(s.widen(self.0, j), &mut out, j);
        }
        out
    }
}

/// All there are, each in every lane; to the bit, NaN included.
#[test]
fn halves_become_floats() {
    each_isa(|isa| {
        for bits in 0..=u16::MAX {
            let halves: HalfBlock = core::array::from_fn(|lane| bits.wrapping_add(lane as u16));
            let got = isa.run(Widen(&halves));
            for (half, got) in halves.into_iter().zip(got) {
                let want = half::f16::from_bits(half).to_f32();
                assert_eq!(got.to_bits(), want.to_bits(), "{isa:?}: {half:#06x} is {got:e}, not {want:e}");
            }
        }
    });
}

/// Writes 1.0 to part `at` of a block of zeros.
struct StorePart(usize);

impl Kernel for StorePart {
    type Out = (Block, usize, usize);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (Block, usize, usize) {
        let mut out = [0.0; BLOCK];
        let at = self.0 % S::PARTS;
        s.store(s.splat(1.0), &mut out, at);
        (out, at * S::LANES, S::LANES)
    }
}

#[test]
fn store_writes_its_part_only() {
    each_isa(|isa| {
        for part in 0..BLOCK {
            let (got, from, lanes) = isa.run(StorePart(part));
            let want: Block = core::array::from_fn(|i| f32::from(u8::from((from..from + lanes).contains(&i))));
            assert_eq!(got, want, "{isa:?}, {lanes} lanes from {from}");
        }
    });
}

#[cfg(not(target_arch = "wasm32"))]
#[test]
fn fma_without_an_instruction() {
    let check = |a: f32, b: f32, c: f32| {
        let (got, want) = (Scalar.fma(a, b, c), a.mul_add(b, c));
        assert!(same(got, want), "fma({a:e}, {b:e}, {c:e}) is {got:e}, not {want:e}");
    };
    let values = values();
    for &a in &values {
        for &b in &values {
            values.iter().for_each(|&c| check(a, b, c));
        }
    }
    // Near halfway cases, and sums that cancel.
    let mut rng = Rng(5);
    for _ in 0..200_000 {
        let bits = rng.bits();
        let power = |n: u64| f32::from_bits(((n % 60 + 97) << 23) as u32);
        let a = power(bits) * (1.0 + (bits >> 8 & 0xfff) as f32 / 4096.0);
        let b = power(bits >> 20) * (1.0 + (bits >> 32 & 0xfff) as f32 / 4096.0);
        check(a, b, -(a * b) * (1.0 + (bits >> 44 & 3) as f32 * f32::EPSILON) + f32::from_bits((bits >> 33) as u32 & 0x3f_ffff));
    }
}

/// Without the standard library the CPU is asked directly: it says the same.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_cpu_says_what_the_standard_library_says() {
    use sepal_kernels::simd::x86;
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma") && has!("f16c");
    assert_eq!(x86::avx2(), avx2);
    assert_eq!(x86::avx512(), avx2 && has!("avx512f") && has!("avx512vl") && has!("avx512bw") && has!("avx512dq"));
}

/// A subnormal number, and a sum that lies between two floats.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn by_the_rules() -> [f32; 2] {
    use std::hint::black_box;
    // Now, and not when the results are looked at.
    black_box([black_box(1e-38) * black_box(0.25), black_box(1.0) + black_box(f32::EPSILON * 0.75)])
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn rules_hold_as_long_as_they_live() {
    let standard = [1e-38 * 0.25, 1.0 + f32::EPSILON];
    assert_eq!(by_the_rules(), standard);
    let others = FloatRules::others();
    let before = by_the_rules();
    let guard = FloatRules::standard();
    let within = by_the_rules();
    // Of one within another, nothing is seen.
    drop(FloatRules::standard());
    let still = by_the_rules();
    drop(guard);
    let after = by_the_rules();
    drop(others);
    assert_eq!([before, after], [[0.0, 1.0]; 2]);
    assert_eq!([within, still, by_the_rules()], [standard; 3]);
}

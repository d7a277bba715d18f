//! Pointwise convolution by Strassen's algorithm.

use super::element::{get, set};
use crate::ops::activation;
use crate::ops::gemm::CHUNK;
use crate::simd::{Scalar, Simd};
use crate::{Act, View, ViewMut};
use sepal_format::strassen::halves;

/// [`crate::ops::strassen::strassen`] with logical weights `[C][N]` and bias `[N]`.
pub fn strassen(weights: &[f32], bias: &[f32], act: Act, input: View, residual: Option<View>, mut out: ViewMut) {
    let (shape, n) = (out.shape, out.shape.c);
    let ([k1, k2], half) = halves(input.shape.c as u64, n as u64).expect("there are halves");
    let [k1, k2, half] = [k1, k2, half].map(|n| n as usize);
    let place = |image: usize, pixel: usize| [image, pixel / shape.w, pixel % shape.w];
    let pixels = shape.h * shape.w;
    for image in 0..shape.n {
        for pair in 0..pixels.div_ceil(2) {
            let [even, odd] = [2 * pair, 2 * pair + 1];
            // Zero where there is no such pixel or channel.
            let a = |pixel: usize, k: usize| {
                let [n, y, x] = place(image, pixel);
                if pixel < pixels && k < k1 + k2 { get(&input, [n, y, x, k]) } else { 0.0 }
            };
            let s1 = |k| a(odd, k) + a(odd, k1 + k);
            let s2 = |k| s1(k) - a(even, k);
            let s3 = |k| a(even, k) - a(odd, k);
            let s4 = |k| a(even, k1 + k) - s2(k);
            for low in 0..half {
                let high = low + half;
                let b = |k: usize, o: usize| if k < k1 + k2 && o < n { weights[k * n + o] } else { 0.0 };
                let t1 = |k| b(k, high) - b(k, low);
                let t2 = |k| b(k1 + k, high) - t1(k);
                let t3 = |k| b(k1 + k, high) - b(k, high);
                let t4 = |k| b(k1 + k, low) - t2(k);
                let p = sum(0.0, k1, |k| (a(even, k), b(k, low)));
                let u = sum(0.0, k1, |k| (s2(k), t2(k))) + p;
                let v = sum(0.0, k1, |k| (s3(k), t3(k))) + u;
                let w = sum(0.0, k1, |k| (s1(k), t1(k)));
                let mut put = |pixel: usize, o: usize, finish: &dyn Fn(f32, &dyn Fn(f32) -> f32) -> f32| {
                    if pixel < pixels && o < n {
                        let [i, y, x] = place(image, pixel);
                        let plus = |v: f32| residual.as_ref().map_or(v, |r| v + get(r, [i, y, x, o]));
                        set(&mut out, [i, y, x, o], activation::scalar(act, finish(bias[o], &plus)));
                    }
                };
                put(even, low, &|bias, plus| sum(bias, k2, |k| (a(even, k1 + k), b(k1 + k, low))) + plus(p));
                put(even, high, &|bias, plus| sum(bias, k2, |k| (s4(k), b(k1 + k, high))) + plus(u + w));
                put(odd, low, &|bias, plus| sum(bias, k2, |k| (a(odd, k1 + k), t4(k))) + plus(v));
                put(odd, high, &|bias, plus| plus((v + w) + bias));
            }
        }
    }
}

/// Chains of [`CHUNK`] terms, the first of which begins with `start`, added up in order.
fn sum(start: f32, terms: usize, term: impl Fn(usize) -> (f32, f32)) -> f32 {
    let (mut total, mut sum) = (None, start);
    for k in 0..terms {
        if k > 0 && k % CHUNK == 0 {
            total = Some(total.map_or(sum, |t: f32| t + sum));
            sum = 0.0;
        }
        let (a, b) = term(k);
        sum = Scalar.fma(a, b, sum);
    }
    total.map_or(sum, |t| sum + t)
}

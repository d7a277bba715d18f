//! Winograd convolution.

use super::element::{each, get, set};
use crate::ops::activation;
use crate::ops::conv::Window;
use crate::ops::gemm::CHUNK;
use crate::ops::winograd::transform::{F47_EDGE, F47_INPUT};
use crate::ops::winograd::{Tile, points};
use crate::simd::{Scalar, Simd};
use crate::{Act, Shape, View, ViewMut};

/// [`crate::ops::winograd::winograd`] with transformed weights `[points][C][N]`, see [`crate::pack::winograd_weights`], and bias
/// `[N]`.
pub fn winograd(
    window: Window,
    tile: Tile,
    weights: &[f32],
    bias: &[f32],
    act: Act,
    input: View,
    residual: Option<View>,
    mut out: ViewMut,
) {
    let [ay, ax] = points(&window, tile);
    let (c, n) = (input.shape.c, out.shape.c);
    let tiles = Shape { h: out.shape.h.div_ceil(tile[0]), w: out.shape.w.div_ceil(tile[1]), ..out.shape };
    each(tiles, |[image, ty, tx, o]| {
        let mut products = [[0.0f32; 10]; 10];
        let mut totals = [[None; 10]; 10];
        for ci in 0..c {
            let mut d = [[0.0f32; 10]; 10];
            for (y, row) in d[..ay].iter_mut().enumerate() {
                for (x, v) in row[..ax].iter_mut().enumerate() {
                    let iy = (ty * tile[0] + y).checked_sub(window.pad[0]).filter(|&i| i < input.shape.h);
                    let ix = (tx * tile[1] + x).checked_sub(window.pad[1]).filter(|&i| i < input.shape.w);
                    if let (Some(iy), Some(ix)) = (iy, ix) {
                        *v = get(&input, [image, iy, ix, ci]);
                    }
                }
                into_points(tile[1], ax, row);
            }
            for x in 0..ax {
                let mut column: [f32; 10] = core::array::from_fn(|y| d[y][x]);
                into_points(tile[0], ay, &mut column);
                for y in 0..ay {
                    if ci > 0 && ci % CHUNK == 0 {
                        totals[y][x] = Some(totals[y][x].map_or(products[y][x], |t: f32| t + products[y][x]));
                        products[y][x] = 0.0;
                    }
                    let weight = weights[((y * ax + x) * c + ci) * n + o];
                    products[y][x] = Scalar.fma(column[y], weight, products[y][x]);
                }
            }
        }
        for (sums, totals) in products.iter_mut().zip(&totals) {
            for (sum, total) in sums.iter_mut().zip(totals) {
                *sum += total.unwrap_or(0.0);
            }
            from_points(tile[1], ax, sums);
        }
        for x in 0..tile[1] {
            let mut column = products.map(|row| row[x]);
            from_points(tile[0], ay, &mut column);
            for (y, v) in column[..tile[0]].iter().enumerate() {
                let at = [image, ty * tile[0] + y, tx * tile[1] + x, o];
                if at[1] < out.shape.h && at[2] < out.shape.w {
                    let mut sum = v + bias[o];
                    if let Some(r) = &residual {
                        sum += get(r, at);
                    }
                    set(&mut out, at, activation::scalar(act, sum));
                }
            }
        }
    });
}

fn fma(a: f32, b: f32, c: f32) -> f32 {
    Scalar.fma(a, b, c)
}

/// `B^T d`, in place.
fn into_points(outputs: usize, points: usize, d: &mut [f32; 10]) {
    let [d0, d1, d2, d3, d4, d5, ..] = *d;
    match (outputs, points) {
        (1, _) => {}
        (2, _) => d[..4].copy_from_slice(&[d0 - d2, d1 + d2, d2 - d1, d3 - d1]),
        (_, 6) => d[..6].copy_from_slice(&[
            fma(4.0, d0, fma(-5.0, d2, d4)),
            fma(-4.0, d2, d4) + fma(-4.0, d1, d3),
            fma(-4.0, d2, d4) - fma(-4.0, d1, d3),
            fma(2.0, d3 - d1, d4 - d2),
            fma(-2.0, d3 - d1, d4 - d2),
            fma(4.0, d1, fma(-5.0, d3, d5)),
        ]),
        _ => {
            let row = |from: usize, coefficients: &[f32]| {
                let start = d[from + coefficients.len()];
                coefficients.iter().zip(&d[from..]).fold(start, |sum, (&c, &d)| fma(c, d, sum))
            };
            let (first, last) = (row(0, &F47_EDGE), row(1, &F47_EDGE));
            let middle = F47_INPUT.map(|coefficients| row(1, &coefficients));
            d[0] = first;
            d[1..9].copy_from_slice(&middle);
            d[9] = last;
        }
    }
}

/// `A^T m`, in place.
fn from_points(outputs: usize, points: usize, m: &mut [f32; 10]) {
    let [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9] = *m;
    match (outputs, points) {
        (1, _) => {}
        (2, _) => m[..2].copy_from_slice(&[(m0 + m1) + m2, (m1 - m2) + m3]),
        (_, 6) => m[..4].copy_from_slice(&[
            (m0 + (m1 + m2)) + (m3 + m4),
            fma(2.0, m3 - m4, m1 - m2),
            fma(4.0, m3 + m4, m1 + m2),
            fma(8.0, m3 - m4, m1 - m2) + m5,
        ]),
        _ => {
            let ends = |far: f32, near: f32, sum: f32| fma(far, m7, fma(near, m8, sum));
            m[..4].copy_from_slice(&[
                ((m0 + (m1 + m2)) + ((m3 + m4) + (m5 + m6))) + (m7 + m8),
                ends(4.0, -0.25, fma(2.0, m3 - m4, fma(0.5, m5 - m6, m1 - m2))),
                ends(16.0, 0.0625, fma(4.0, m3 + m4, fma(0.25, m5 + m6, m1 + m2))),
                ends(64.0, -0.015625, fma(8.0, m3 - m4, fma(0.125, m5 - m6, m1 - m2))) + m9,
            ]);
        }
    }
}

//! Integers with a scale and a zero point.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use super::super::tensor::{Const, Type};
use super::{Args, around, room};
use crate::interp::ELEMENT;

/// Elements that follow each other with one scale.
fn run(cx: &Ctx<'_, '_, '_>, dims: &[usize], scales: usize) -> Res<usize> {
    if cx.int("block_size", 0)? != 0 {
        return unsupported("attribute block_size", "quantise per tensor or per channel");
    }
    let axis = cx.int("axis", 1)?;
    if scales == 1 {
        return Ok(shape::count(dims).unwrap_or(1).max(1));
    }
    let [_, extent, inner] = around(dims, shape::axis(axis, dims.len())?);
    if extent != scales || scales == 0 {
        return bad(format!("{scales} scales for an extent of {extent}"));
    }
    Ok(inner.max(1))
}

/// Which scale each element has, where `inner` elements follow each other with one.
fn places(scales: usize, inner: usize) -> impl Iterator<Item = usize> {
    (0..scales).cycle().flat_map(move |c| std::iter::repeat_n(c, inner))
}

/// The zero points, if they are there.
fn zeros(args: &Args, i: usize, scales: usize) -> Res<Option<&[i64]>> {
    match args.maybe(i) {
        None => Ok(None),
        Some(z) if z.len() == scales => args.ints(i).map(Some),
        Some(_) => bad("the zero point does not fit"),
    }
}

/// `(x - zero point) * scale`, per tensor or along an axis.
pub(super) fn dequantize(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let (v, scale) = (args.ints(0)?, args.floats(1)?);
    let zero = zeros(args, 2, scale.len())?;
    let inner = run(cx, &x.dims, scale.len())?;
    let to = Type::from_onnx(cx.int("output_dtype", 1)?.max(1))?;
    room(cx, &x.dims)?;
    let value = |(&q, c): (&i64, usize)| (q.wrapping_sub(zero.map_or(0, |z| z[c]))) as f32 * scale[c];
    super::casted(cx, &Const::floats(x.dims.clone(), v.iter().zip(places(scale.len(), inner)).map(value).collect()), to)
}

fn quantized(x: f32, scale: f32, zero: i64, ty: Type) -> i64 {
    let (least, most) = ty.bounds();
    let q = f64::from((x / scale).round_ties_even()) + zero as f64;
    q.clamp(least as f64, most as f64) as i64
}

/// The nearest integer within the type.
pub(super) fn quantize(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let (v, scale) = (args.floats(0)?, args.floats(1)?);
    cx.ignore(&["saturate", "precision"]);
    let zero = zeros(args, 2, scale.len())?;
    let inner = run(cx, &x.dims, scale.len())?;
    let declared = cx.int("output_dtype", 0)?;
    let ty = match args.maybe(2) {
        Some(z) => z.ty,
        None => Type::from_onnx(if declared == 0 { 2 } else { declared })?,
    };
    room(cx, &x.dims)?;
    let value = |(&x, c): (&f32, usize)| quantized(x, scale[c], zero.map_or(0, |z| z[c]), ty);
    Ok(Const::of_type(ty, x.dims.clone(), v.iter().zip(places(scale.len(), inner)).map(value).collect()))
}

/// To 8 bits, with the scale that takes the range and zero.
pub(super) fn dynamic(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Vec<Const>> {
    let x = args.get(0)?;
    let v = args.floats(0)?;
    room(cx, &x.dims)?;
    let (least, most) = v.iter().fold((0f32, 0f32), |(a, b), &v| (a.min(v), b.max(v)));
    let scale = (most - least) / 255.0;
    let zero = (-least / scale).round_ties_even().clamp(0.0, 255.0) as i64;
    let q = v.iter().map(|&x| quantized(x, scale, zero, Type::Uint8)).collect();
    let number = Const::of_type(Type::Uint8, vec![], vec![zero]);
    Ok(vec![Const::of_type(Type::Uint8, x.dims.clone(), q), Const::floats(vec![], vec![scale]), number])
}

/// Matrices of 8 bits, less their zero points: of `a` one per row, of `b` one per column, or one.
pub(super) fn matmul(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let (a, b) = (args.get(0)?, args.get(1)?);
    // Sums of wider ones are beyond what counts them here.
    if let Some(wide) = args.present().find(|c| !matches!(c.ty, Type::Uint8 | Type::Int8)) {
        return bad(format!("an input of type {:?}, which should be one of 8 bits", wide.ty));
    }
    let (&[m, k], &[rows, n]) = (&a.dims[..], &b.dims[..]) else {
        return unsupported(format!("shapes {:?} and {:?}", a.dims, b.dims), "multiply matrices of two axes");
    };
    if k != rows {
        return bad(format!("shapes {:?} and {:?} do not multiply", a.dims, b.dims));
    }
    room(cx, &[m, n])?;
    cx.b.spend(((m * n) as u64).saturating_mul(k as u64).saturating_mul(ELEMENT))?;
    let zero = |i: usize, of: usize| match args.maybe(i) {
        None => Ok(vec![0; of]),
        Some(z) if z.len() == 1 => Ok(vec![args.ints(i)?[0]; of]),
        Some(z) if z.len() == of => args.ints(i).map(<[i64]>::to_vec),
        Some(_) => bad("the zero point does not fit"),
    };
    let (za, zb) = (zero(2, m)?, zero(3, n)?);
    let (x, y) = (args.ints(0)?, args.ints(1)?);
    // Products have 18 bits, and less than 2^45 of them fit in memory. Row by row, as they lie.
    let mut sums = vec![0i64; m * n];
    for (r, sums) in sums.chunks_exact_mut(n.max(1)).enumerate() {
        for (j, row) in y.chunks_exact(n.max(1)).enumerate() {
            let by = x[r * k + j] - za[r];
            sums.iter_mut().zip(row.iter().zip(&zb)).for_each(|(sum, (y, z))| *sum += by * (y - z));
        }
    }
    Ok(Const::of_type(Type::Int32, vec![m, n], sums.into_iter().map(|sum| Type::Int32.wrap(sum.into())).collect()))
}

//! Sums and products along axes: reductions, running sums, Einsum, determinants.

use super::super::fail::{Res, bad};
use super::super::node::Ctx;
use super::super::shape;
use super::super::tensor::{Const, Data, Type};
use super::number::{fit, integer};
use super::{Args, around, room, strides, walk};
use crate::import::einsum::{Equation, equation};
use crate::interp::ELEMENT;

/// The first element of a reduction, and what an element becomes before it is added up.
fn start(op: &str) -> (f64, fn(f64) -> f64) {
    match op {
        "ReduceProd" => (1.0, |v| v),
        "ReduceMax" => (f64::NEG_INFINITY, |v| v),
        "ReduceMin" => (f64::INFINITY, |v| v),
        "ReduceL1" => (0.0, f64::abs),
        "ReduceL2" | "ReduceSumSquare" => (0.0, |v| v * v),
        _ => (0.0, |v| v),
    }
}

pub(super) fn reduce(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Const> {
    let (op, rank) = (cx.node.op_type, x.dims.len());
    let axes = match cx.axes(1)? {
        Some(a) if !a.is_empty() => shape::axes(&a, rank)?,
        _ if cx.flag("noop_with_empty_axes", false)? => vec![],
        _ => (0..rank).collect(),
    };
    cx.ignore(&["noop_with_empty_axes"]);
    let keep = cx.flag("keepdims", true)?;
    let kept: Vec<usize> = (0..rank).map(|i| if axes.contains(&i) { 1 } else { x.dims[i] }).collect();
    let mut steps = strides(&kept);
    axes.iter().for_each(|&a| steps[a] = 0);
    let n = room(cx, &kept)?;
    // Of each element in its order.
    let targets = || walk(&x.dims, x.len(), 0, &steps);
    let dims: Vec<usize> = if keep { kept.clone() } else { (0..rank).filter(|i| !axes.contains(i)).map(|i| x.dims[i]).collect() };
    let exact = matches!(op, "ReduceSum" | "ReduceProd" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceSumSquare");
    if let (Data::Int(v), true) = (&x.data, exact) {
        let (least, most) = x.ty.bounds();
        let (first, step) = match op {
            "ReduceProd" => (1, "Mul"),
            "ReduceMax" => (x.ty.wrap(least), "Max"),
            "ReduceMin" => (x.ty.wrap(most), "Min"),
            _ => (0, "Add"),
        };
        let mut out = vec![first; n];
        for (&v, t) in v.iter().zip(targets()) {
            let v = match op {
                "ReduceL1" => fit(x.ty, x.ty.wide(v).abs())?,
                "ReduceSumSquare" => integer("Mul", x.ty, v, v)?,
                _ => v,
            };
            out[t] = integer(step, x.ty, out[t], v)?;
        }
        return Ok(Const::of_type(x.ty, dims, out));
    }
    let element = |i: usize| match &x.data {
        Data::Float(v) => f64::from(v[i]),
        Data::Double(v) => v[i],
        Data::Int(v) => x.ty.wide(v[i]) as f64,
    };
    // The largest of a line keeps exponentials within bounds.
    let mut shift = vec![0.0; n];
    if op == "ReduceLogSumExp" {
        shift.fill(f64::NEG_INFINITY);
        (0..x.len()).zip(targets()).for_each(|(i, t)| shift[t] = shift[t].max(element(i)));
        shift.iter_mut().filter(|s| !s.is_finite()).for_each(|s| *s = 0.0);
    }
    let (first, of) = start(op);
    let mut out = vec![first; n];
    for (i, t) in (0..x.len()).zip(targets()) {
        let v = if op == "ReduceLogSumExp" { (element(i) - shift[t]).exp() } else { of(element(i)) };
        out[t] = match op {
            "ReduceProd" => out[t] * v,
            "ReduceMax" if v > out[t] || v.is_nan() => v,
            "ReduceMin" if v < out[t] || v.is_nan() => v,
            "ReduceMax" | "ReduceMin" => out[t],
            _ => out[t] + v,
        };
    }
    let count: usize = axes.iter().map(|&a| x.dims[a]).product();
    let last = |(&s, shift): (&f64, f64)| match op {
        "ReduceMean" => s / count as f64,
        "ReduceL2" => s.sqrt(),
        "ReduceLogSum" => s.ln(),
        "ReduceLogSumExp" => s.ln() + shift,
        _ => s,
    };
    let all = out.iter().zip(shift).map(last);
    Ok(match x.data {
        Data::Float(_) => Const::floats(dims, all.map(|v| v as f32).collect()),
        Data::Double(_) => Const::doubles(dims, all.collect()),
        Data::Int(_) => Const::of_type(x.ty, dims, all.map(|v| x.ty.wrap(v as i128)).collect()),
    })
}

/// The axis of a CumSum.
pub(super) fn running(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let axis = shape::axis(args.int(1)?, x.dims.len())?;
    let (exclusive, reverse) = (cx.flag("exclusive", false)?, cx.flag("reverse", false)?);
    let product = cx.node.op_type == "CumProd";
    let n = room(cx, &x.dims)?;
    let [outer, extent, inner] = around(&x.dims, axis);
    let lines = (0..outer * inner).map(|l| {
        let at = move |i: usize| (l / inner * extent + i) * inner + l % inner;
        (0..extent).map(move |i| at(if reverse { extent - 1 - i } else { i }))
    });
    match &x.data {
        Data::Double(_) => bad("floats of 64 bits where others belong"),
        Data::Float(v) => {
            let mut y = vec![0f32; n];
            for line in lines {
                let mut sum = if product { 1.0 } else { 0.0 };
                for i in line {
                    let before = sum;
                    sum = if product { sum * f64::from(v[i]) } else { sum + f64::from(v[i]) };
                    y[i] = if exclusive { before } else { sum } as f32;
                }
            }
            Ok(Const::floats(x.dims.clone(), y))
        }
        Data::Int(v) => {
            let mut y = vec![0; n];
            for line in lines {
                let mut sum = i64::from(product);
                for i in line {
                    let before = sum;
                    sum = integer(if product { "Mul" } else { "Add" }, x.ty, sum, v[i])?;
                    y[i] = if exclusive { before } else { sum };
                }
            }
            Ok(Const::of_type(x.ty, x.dims.clone(), y))
        }
    }
}

/// Each element of the result is a sum over all letters that it does not have.
pub(super) fn einsum(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let parts: Vec<&Const> = args.present().collect();
    let ranks: Vec<usize> = parts.iter().map(|c| c.dims.len()).collect();
    let Equation { inputs, output } = equation(cx.string("equation", "")?, &ranks)?;
    let mut letters = output.clone();
    let summed: Vec<char> = inputs.iter().flatten().copied().collect();
    summed.into_iter().for_each(|c| {
        if !letters.contains(&c) {
            letters.push(c)
        }
    });
    let mut extents = vec![1usize; letters.len()];
    for (own, part) in inputs.iter().zip(&parts) {
        for (c, &d) in own.iter().zip(&part.dims) {
            let e = &mut extents[letters.iter().position(|l| l == c).unwrap_or(0)];
            match (*e, d) {
                (1, d) => *e = d,
                (e, d) if e == d || d == 1 => {}
                (e, d) => return bad(format!("{e} and {d} for one axis of the equation")),
            }
        }
    }
    let dims = extents[..output.len()].to_vec();
    let n = room(cx, &dims)?;
    let Some(terms) = shape::count(&extents[output.len()..]) else { return bad("the sum is too long") };
    let Some(all) = n.checked_mul(terms) else { return bad("there are too many sums") };
    let products = (all.max(n) as u64).saturating_mul(parts.len() as u64);
    // Each input is read in another order, which memory waits for.
    cx.b.spend(products.saturating_mul(4 * ELEMENT))?;
    // What one step along a letter is in each input.
    let steps = |(own, part): (&Vec<char>, &&Const)| -> Vec<i64> {
        let s = strides(&part.dims);
        let along = |l: &char| (0..own.len()).filter(|&a| own[a] == *l && part.dims[a] > 1).map(|a| s[a]).sum();
        letters.iter().map(along).collect()
    };
    let steps: Vec<Vec<i64>> = inputs.iter().zip(&parts).map(steps).collect();
    let mut places: Vec<_> = steps.iter().map(|steps| walk(&extents, all, 0, steps)).collect();
    let floats = |part: &&Const| if let Data::Float(v) = &part.data { Some(v.clone()) } else { None };
    if let Some(floats) = parts.iter().map(floats).collect::<Option<Vec<_>>>() {
        let mut product =
            || floats.iter().zip(&mut places).fold(1f64, |y, (v, at)| y * at.next().map_or(0.0, |at| f64::from(v[at])));
        let sums = (0..n).map(|_| (0..terms).fold(0f64, |sum, _| sum + product()) as f32).collect();
        return Ok(Const::floats(dims, sums));
    }
    let ty = parts.first().map_or(Type::Float, |c| c.ty);
    let ints = |part: &&Const| if let Data::Int(v) = &part.data { Some(v.clone()) } else { None };
    let ints = parts.iter().map(ints).collect::<Option<Vec<_>>>().filter(|_| parts.iter().all(|p| p.ty == ty));
    let Some(ints) = ints else { return bad("the inputs are of different types") };
    let mut product =
        || ints.iter().zip(&mut places).try_fold(1i128, |y, (v, at)| at.next().and_then(|at| y.checked_mul(ty.wide(v[at]))));
    let mut sum = || (0..terms).try_fold(0i128, |sum, _| sum.checked_add(product()?));
    let beyond = || bad("a sum of products is beyond all types");
    let sums = (0..n).map(|_| fit(ty, sum().map_or_else(beyond, Ok)?)).collect::<Res<_>>()?;
    Ok(Const::of_type(ty, dims, sums))
}

/// Gaussian elimination with pivots, in f64.
pub(super) fn det(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let v = args.floats(0)?;
    let [lead @ .., n, columns] = &x.dims[..] else { return bad(format!("a determinant of shape {:?}", x.dims)) };
    let n = *n;
    if n != *columns {
        return bad(format!("a determinant of shape {:?}", x.dims));
    }
    if n == 1 {
        return Ok(Const { dims: lead.to_vec(), data: x.data.clone(), ty: x.ty });
    }
    let count = room(cx, lead)?;
    cx.b.spend((x.len() as u64).saturating_mul(n as u64).saturating_mul(ELEMENT))?;
    cx.b.spend((count as u64).saturating_mul(8 * ELEMENT))?;
    let mut dets = vec![];
    let mut a: Vec<f64> = vec![];
    for m in 0..count {
        a.clear();
        a.extend(v[m * n * n..(m + 1) * n * n].iter().map(|&v| f64::from(v)));
        let mut det = 1.0;
        for k in 0..n {
            let pivot = (k..n).max_by(|&i, &j| a[i * n + k].abs().total_cmp(&a[j * n + k].abs())).unwrap_or(k);
            if pivot != k {
                (0..n).for_each(|c| a.swap(k * n + c, pivot * n + c));
                det = -det;
            }
            let top = a[k * n + k];
            det *= top;
            if top == 0.0 {
                break;
            }
            for r in k + 1..n {
                let f = a[r * n + k] / top;
                (k..n).for_each(|c| a[r * n + c] -= f * a[k * n + c]);
            }
        }
        dets.push(det as f32);
    }
    Ok(Const::floats(lead.to_vec(), dets))
}

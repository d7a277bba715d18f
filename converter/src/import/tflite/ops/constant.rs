//! Operators that the network cannot compute, on constants: there they are a table of numbers like any other. Integers are held as
//! floats, which the importer refuses where they are rounded.

use super::fail::{Res, bad, unsupported};
use super::schema::options as field;
use super::tensor::{BOOL, is_unsigned};
use super::{Ctx, Import, Values, builtin, places, shape};
use crate::import::elements::{around, runs, starts, strides, walk};
use crate::interp::{self, ELEMENT};
use crate::ir::{Act, ValueId};
use std::sync::Arc;

/// How an operator all of whose inputs are constants is read, where that is otherwise than [`super::find`] says; `whole` if its results
/// are integers or truth values.
pub(in super::super) fn find(code: i32, whole: bool) -> Option<Import> {
    Some(match builtin::name(code)? {
        "CAST" if whole => cast,
        "DIV" if whole => quotient,
        "RANGE" if !whole => range,
        "BITWISE_XOR" => |cx| binary(cx, |a, b| (a as i64 ^ b as i64) as f32),
        "RIGHT_SHIFT" => |cx| binary(cx, |a, b| (a as i64 >> (b as i64).clamp(0, 63)) as f32),
        "DYNAMIC_UPDATE_SLICE" => places::update,
        "SEGMENT_SUM" => places::segment_sum,
        "SPARSE_TO_DENSE" => places::sparse_to_dense,
        "UNIQUE" => places::unique,
        "FLOOR_MOD" => |cx| binary(cx, floor_mod),
        "ATAN2" => atan2,
        "ARG_MAX" => |cx| arg(cx, |a, b| a > b),
        "ARG_MIN" => |cx| arg(cx, |a, b| a < b),
        "TOPK_V2" => top,
        "ONE_HOT" => one_hot,
        "EMBEDDING_LOOKUP" => embedding,
        "REVERSE_SEQUENCE" => reverse_sequence,
        "MATRIX_DIAG" => diagonal,
        "SCATTER_ND" => scatter,
        "WHERE" => places_of_truth,
        _ => return None,
    })
}

/// How an operator that chooses among elements is read where there is one to choose from, whatever it is.
pub(in super::super) fn of_one(cx: &mut Ctx<'_, '_>, code: i32) -> Option<Import> {
    let name = builtin::name(code)?;
    let import: Import = match name {
        "ARG_MAX" | "ARG_MIN" => first_place,
        "TOPK_V2" => only,
        _ => return None,
    };
    let x = cx.value(0).ok()?;
    let dims = cx.shape(x);
    let number = cx.scalar(1).ok()?;
    let is_one = match name {
        "TOPK_V2" => number == 1 && dims.last() == Some(&1),
        _ => shape::axis(number, dims.len()).is_ok_and(|axis| dims[axis] == 1),
    };
    is_one.then_some(import)
}

/// The place of the only element along an axis.
fn first_place(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let mut dims = cx.shape(x);
    dims.remove(shape::axis(cx.scalar(1)?, dims.len())?);
    Ok(vec![zeros(cx, &dims)?])
}

/// The only element of each row, and where it is.
fn only(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    Ok(vec![x, zeros(cx, &dims)?])
}

fn zeros(cx: &mut Ctx<'_, '_>, dims: &[usize]) -> Res<ValueId> {
    let n = room(cx, dims)?;
    made(cx, dims, vec![0.0; n])
}

/// A constant that is computed.
pub(super) fn made(cx: &mut Ctx<'_, '_>, dims: &[usize], data: Vec<f32>) -> Res<ValueId> {
    match shape::count(dims) {
        Some(n) if n == data.len() && n > 0 => {}
        _ => return unsupported(format!("a constant of shape {dims:?}"), "it is empty or too large"),
    }
    Ok(cx.b.graph.constant("constant", dims, Arc::new(data)))
}

/// Pays for a tensor of these extents, and says how many elements it has.
pub(super) fn room(cx: &mut Ctx<'_, '_>, dims: &[usize]) -> Res<usize> {
    let Some(n) = shape::count(dims).filter(|_| dims.len() <= shape::MAX_RANK) else {
        return unsupported(format!("a constant of shape {dims:?}"), "it is too large");
    };
    cx.b.budget.pay(shape::span(dims))?;
    cx.b.spend((n as u64).saturating_mul(ELEMENT))?;
    Ok(n)
}

/// The elements of a constant at `places`, under another shape.
fn pick(cx: &mut Ctx<'_, '_>, x: ValueId, dims: &[usize], places: impl Iterator<Item = usize>) -> Res<ValueId> {
    room(cx, dims)?;
    let data = cx.data(x, 0)?;
    let picked: Option<Vec<f32>> = places.map(|p| data.get(p).copied()).collect();
    match picked {
        Some(picked) => made(cx, dims, picked),
        None => bad("an index lies outside a constant"),
    }
}

/// The elements of a constant at indices along an axis, all of which it has.
pub(super) fn take(cx: &mut Ctx<'_, '_>, x: ValueId, axis: usize, indices: &[i64]) -> Res<ValueId> {
    let mut dims = cx.shape(x);
    let around = around(&dims, axis);
    dims[axis] = indices.len();
    let n = room(cx, &dims)?;
    // Memory is waited for with each run of elements.
    cx.b.spend((around[0] as u64).saturating_mul(indices.len() as u64).saturating_mul(ELEMENT))?;
    let places: Vec<usize> = indices.iter().map(|&i| i as usize).collect();
    let data = runs(&cx.data(x, 0)?, starts(around, &places), around[2], n);
    made(cx, &dims, data)
}

/// The remainder that has the divisor's sign.
fn floor_mod(a: f32, b: f32) -> f32 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

fn binary(cx: &mut Ctx<'_, '_>, f: fn(f32, f32) -> f32) -> Values {
    let (a, b) = (cx.value(0)?, cx.value(1)?);
    let (from, to) = ([cx.shape(a), cx.shape(b)], shape::broadcast(cx.b.graph.shape(a), cx.b.graph.shape(b))?);
    let n = room(cx, &to)?;
    // Each operand is read in an order of its own.
    cx.b.spend((n as u64).saturating_mul(2 * ELEMENT))?;
    let steps = |dims: &[usize]| -> Vec<i64> {
        // An operand's axes are the last ones, and those of extent 1 stand still.
        let own = strides(dims).into_iter().zip(dims).map(|(step, &d)| if d == 1 { 0 } else { step });
        std::iter::repeat_n(0, to.len() - dims.len()).chain(own).collect()
    };
    let steps = from.map(|dims| steps(&dims));
    let (a, b) = (cx.data(a, 0)?, cx.data(b, 1)?);
    let places = walk(&to, n, 0, &steps[0]).zip(walk(&to, n, 0, &steps[1]));
    let data = places.map(|(i, j)| f(a[i], b[j])).collect();
    Ok(vec![made(cx, &to, data)?])
}

/// TFLite does not repeat what is smaller here, and reads beyond it.
fn atan2(cx: &mut Ctx<'_, '_>) -> Values {
    let (a, b) = (cx.value(0)?, cx.value(1)?);
    if cx.shape(a) != cx.shape(b) {
        return unsupported("operands of different shapes", "repeat the smaller one");
    }
    binary(cx, f32::atan2)
}

/// Integers without what lies behind the point, as C++ casts, and truth values of what is not 0.
fn cast(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    room(cx, &dims)?;
    let ty = cx.element();
    let data = cx.data(x, 0)?;
    if is_unsigned(ty) && data.iter().any(|&v| v <= -1.0) {
        return unsupported("negative numbers that become unsigned", "cast them to signed integers");
    }
    let to = |&v: &f32| if ty == BOOL { f32::from(u8::from(v != 0.0)) } else { v.trunc() + 0.0 };
    Ok(vec![made(cx, &dims, data.iter().map(to).collect())?])
}

/// Of integers, as C++ divides.
fn quotient(cx: &mut Ctx<'_, '_>) -> Values {
    if cx.activation(field::ARITHMETIC_ACTIVATION)? != Act::None {
        return unsupported("an activation of integers", "divide without it");
    }
    let divisor = cx.value(1)?;
    cx.b.budget.pay(cx.b.graph.shape(divisor).iter().product())?;
    if cx.data(divisor, 1)?.contains(&0.0) {
        return bad("a division by 0");
    }
    // Floats would round up what is a hair below a whole number.
    binary(cx, |a, b| (f64::from(a) / f64::from(b)).trunc() as f32 + 0.0)
}

/// Floats from one to another, step by step.
fn range(cx: &mut Ctx<'_, '_>) -> Values {
    let mut number = |i: usize| -> Res<f32> {
        let v = cx.value(i)?;
        match cx.data(v, i)?[..] {
            [v] => Ok(v),
            _ => bad(format!("input {i} should be one number")),
        }
    };
    let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
    let len = ((limit - start) / step).ceil();
    if !(1.0..=f32::from(u16::MAX)).contains(&len) {
        return unsupported(format!("{start} to {limit} by {step}"), "it is empty or too long");
    }
    let n = room(cx, &[len as usize])?;
    // As TFLite adds, which rounds each time.
    let all = std::iter::successors(Some(start), |v| Some(v + step)).take(n).collect();
    Ok(vec![made(cx, &[n], all)?])
}

/// Which element along an axis is the best; of equal ones the first.
fn arg(cx: &mut Ctx<'_, '_>, better: fn(f32, f32) -> bool) -> Values {
    let x = cx.value(0)?;
    let mut dims = cx.shape(x);
    let axis = shape::axis(cx.scalar(1)?, dims.len())?;
    let [outer, extent, inner] = around(&dims, axis);
    room(cx, &dims)?;
    dims.remove(axis);
    room(cx, &dims)?;
    let data = cx.data(x, 0)?;
    let best = |l: usize| {
        let at = |i: usize| data[(l / inner * extent + i) * inner + l % inner];
        (1..extent).fold(0, |best, i| if better(at(i), at(best)) { i } else { best }) as f32
    };
    Ok(vec![made(cx, &dims, (0..outer * inner).map(best).collect())?])
}

/// Looks at each element that sorting takes, at most.
const SORTING: usize = 32;

/// The largest of each row, and where they are: largest first, of equal ones the first.
fn top(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let mut dims = cx.shape(x);
    let k = shape::from_i64(&[cx.scalar(1)?])?[0];
    // All of it is sorted.
    let all = room(cx, &dims)?;
    cx.b.budget.pay(SORTING * all)?;
    cx.b.spend(interp::sorting(all, dims.last().copied().unwrap_or(1)))?;
    let Some(last) = dims.last_mut() else { return bad("there is nothing to choose from") };
    let extent = std::mem::replace(last, k);
    if k > extent || extent == 0 {
        return bad(format!("{k} of {extent} elements"));
    }
    room(cx, &dims)?;
    let (data, mut values, mut places) = (cx.data(x, 0)?, vec![], vec![]);
    for row in data.chunks_exact(extent) {
        let mut by: Vec<usize> = (0..extent).collect();
        // Zeros are equal, whatever their signs.
        by.sort_by(|&a, &b| (row[b] + 0.0).total_cmp(&(row[a] + 0.0)));
        values.extend(by[..k].iter().map(|&i| row[i]));
        places.extend(by[..k].iter().map(|&i| i as f32));
    }
    Ok(vec![made(cx, &dims, values)?, made(cx, &dims, places)?])
}

/// Rows of one kind of number, with another where an index says; an index outside says nothing.
fn one_hot(cx: &mut Ctx<'_, '_>) -> Values {
    let (mut dims, indices) = cx.ints(0)?;
    let depth = shape::from_i64(&[cx.scalar(1)?])?[0];
    let mut number = |i: usize| -> Res<f32> {
        let v = cx.value(i)?;
        cx.data(v, i)?.first().copied().map_or_else(|| bad(format!("input {i} is empty")), Ok)
    };
    let (on, off) = (number(2)?, number(3)?);
    let axis = match cx.int(field::axis::ONE_HOT, 0)? {
        -1 => dims.len(),
        axis => shape::axis(axis, dims.len() + 1)?,
    };
    dims.insert(axis, depth);
    let n = room(cx, &dims)?;
    // Each element is found by divisions.
    cx.b.spend((n as u64).saturating_mul(ELEMENT))?;
    let [_, _, inner] = around(&dims, axis);
    let at = |i: usize| indices[i / (depth * inner) * inner + i % inner];
    let data = (0..n).map(|i| if at(i) == (i / inner % depth) as i64 { on } else { off }).collect();
    Ok(vec![made(cx, &dims, data)?])
}

/// Rows of a table.
fn embedding(cx: &mut Ctx<'_, '_>) -> Values {
    let (_, indices) = cx.ints(0)?;
    let table = cx.value(1)?;
    let Some(&rows) = cx.shape(table).first() else { return bad("a single number is no table") };
    let rows = rows as i64;
    cx.b.budget.pay(indices.len())?;
    if let Some(i) = indices.iter().find(|i| !(0..rows).contains(*i)) {
        return bad(format!("row {i} of {rows}"));
    }
    Ok(vec![take(cx, table, 0, &indices)?])
}

/// The first elements of each sequence of a batch, as many as are its own, in the opposite order.
fn reverse_sequence(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    let (_, lens) = cx.ints(1)?;
    let time = shape::axis(cx.int(field::axis::SEQUENCE, 0)?, dims.len())?;
    let batch = shape::axis(cx.int(field::axis::SEQUENCES, 0)?, dims.len())?;
    if time == batch || lens.len() != dims[batch] || lens.iter().any(|&l| l < 0 || l > dims[time] as i64) {
        return bad(format!("{} lengths along axis {time} of {dims:?}, one for each of axis {batch}", lens.len()));
    }
    let [_, extent, inner] = around(&dims, time);
    let [_, sequences, between] = around(&dims, batch);
    let place = |i: usize| {
        let (t, len) = (i / inner % extent, lens[i / between % sequences] as usize);
        if t < len { i + (len - 1 - t) * inner - t * inner } else { i }
    };
    Ok(vec![pick(cx, x, &dims, (0..dims.iter().product()).map(place))?])
}

/// Rows as the diagonals of matrices.
fn diagonal(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let mut dims = cx.shape(x);
    let Some(&n) = dims.last() else { return bad("a single number has no diagonal") };
    dims.push(n);
    let all = room(cx, &dims)?;
    let data = cx.data(x, 0)?;
    let at = |i: usize| if i / n % n == i % n { data[i / n] } else { 0.0 };
    Ok(vec![made(cx, &dims, (0..all).map(at).collect())?])
}

/// Updates added to zeros, at places along the first axes.
fn scatter(cx: &mut Ctx<'_, '_>) -> Values {
    let (list, indices) = cx.ints(0)?;
    cx.b.budget.pay(indices.len())?;
    // Divisions for each, and memory that is waited for.
    cx.b.spend((indices.len() as u64).saturating_mul(2 * ELEMENT))?;
    let updates = cx.value(1)?;
    let dims = shape::from_i64(&cx.list(2)?)?;
    let named = list.last().copied().filter(|n| (1..=dims.len()).contains(n));
    let (Some(named), data) = (named, cx.data(updates, 1)?) else { return bad(format!("indices of shape {list:?} for {dims:?}")) };
    let mut all = vec![0f32; room(cx, &dims)?];
    let inner: usize = dims[named..].iter().product();
    if inner == 0 || data.len() != indices.len() / named * inner {
        return bad(format!("{} updates for indices of shape {list:?} and {dims:?}", data.len()));
    }
    for (row, update) in indices.chunks_exact(named).zip(data.chunks_exact(inner)) {
        all[places::flat(row, &dims)? * inner..][..inner].iter_mut().zip(update).for_each(|(a, u)| *a += u);
    }
    Ok(vec![made(cx, &dims, all)?])
}

/// The places of what is not zero, a row each.
fn places_of_truth(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    room(cx, &dims)?;
    let data = cx.data(x, 0)?;
    let true_at: Vec<usize> = (0..data.len()).filter(|&i| data[i] != 0.0).collect();
    let rows = [true_at.len(), dims.len()];
    let n = room(cx, &rows)?;
    // Two divisions for each.
    cx.b.spend((n as u64).saturating_mul(ELEMENT))?;
    let mut places = vec![];
    for i in true_at {
        places.extend((0..dims.len()).map(|axis| {
            let [_, extent, inner] = around(&dims, axis);
            (i / inner % extent) as f32
        }));
    }
    Ok(vec![made(cx, &rows, places)?])
}

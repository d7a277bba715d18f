//! Operators that move elements of constants.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::ops::layout;
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::{expand, pick, strided, strides};

/// Reshape, Flatten, Squeeze and Unsqueeze share the data.
pub(super) fn reshaped(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Const> {
    let dims = layout::new_shape(cx, &x.dims)?;
    if shape::count(&dims) != Some(x.len()) {
        return bad(format!("{:?} cannot become {dims:?}", x.dims));
    }
    Ok(Const { dims, data: x.data.clone() })
}

pub(super) fn evaluate(cx: &mut Ctx<'_, '_, '_>, op: &str, x: &Const, args: &[Option<Const>]) -> Res<Option<Vec<Const>>> {
    let one = match op {
        "Transpose" => {
            let perm = layout::permutation(cx, x.dims.len())?;
            let own = strides(&x.dims);
            let dims: Vec<usize> = perm.iter().map(|&p| x.dims[p]).collect();
            let steps: Vec<i64> = perm.iter().map(|&p| own[p]).collect();
            strided(cx, x, &dims, 0, &steps)?
        }
        "Expand" => {
            let target = shape::from_i64(&cx.ints(1)?.unwrap_or_default())?;
            let dims = shape::broadcast(&x.dims, &target)?;
            expand(cx, x, &dims)?
        }
        "ConstantOfShape" => {
            let dims = shape::from_i64(&cx.ints(0)?.unwrap_or_default())?;
            let value = cx.tensor("value")?.unwrap_or_else(|| Const::floats(vec![1], vec![0.0]));
            if value.len() != 1 {
                return bad("attribute value should have one element");
            }
            strided(cx, &value, &dims, 0, &vec![0; dims.len()])?
        }
        "Tile" => tile(cx, x)?,
        "Concat" => concat(cx, args)?,
        "Gather" => gather(cx, x, args)?,
        "Slice" => {
            let parts = layout::slices(cx, &x.dims)?;
            sliced(cx, x, &parts)?
        }
        "Split" => {
            let (axis, lens) = layout::splits(cx, &x.dims)?;
            let mut out = vec![];
            let mut start = 0;
            for len in lens {
                let mut parts: Vec<(i64, usize, i64)> = x.dims.iter().map(|&d| (0, d, 1)).collect();
                parts[axis] = (start, len, 1);
                start += len as i64;
                out.push(sliced(cx, x, &parts)?);
            }
            return Ok(Some(out));
        }
        "Where" => {
            let (Some(Some(a)), Some(Some(b))) = (args.get(1), args.get(2)) else { return bad("Where has three inputs") };
            let dims = shape::broadcast(&shape::broadcast(&x.dims, &a.dims)?, &b.dims)?;
            let (c, a, b) = (expand(cx, x, &dims)?, expand(cx, a, &dims)?, expand(cx, b, &dims)?);
            let Data::Int(c) = c.data else { return bad("the condition is not boolean") };
            match (a.data, b.data) {
                (Data::Float(a), Data::Float(b)) => Const::floats(dims, choose(&c, &a, &b)),
                (Data::Int(a), Data::Int(b)) => Const::ints(dims, choose(&c, &a, &b)),
                _ => return bad("the inputs are of different types"),
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![one]))
}

fn choose<T: Copy>(c: &[i64], a: &[T], b: &[T]) -> Vec<T> {
    c.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c != 0 { a } else { b }).collect()
}

fn sliced(cx: &mut Ctx<'_, '_, '_>, x: &Const, parts: &[(i64, usize, i64)]) -> Res<Const> {
    let own = strides(&x.dims);
    let dims: Vec<usize> = parts.iter().map(|p| p.1).collect();
    let start = parts.iter().zip(&own).map(|(p, s)| p.0 * s).sum();
    // A step may be longer than the axis when only one element is taken.
    let steps: Vec<i64> = parts.iter().zip(&own).map(|(p, s)| if p.1 > 1 { p.2 * s } else { 0 }).collect();
    strided(cx, x, &dims, start, &steps)
}

fn tile(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Const> {
    let repeats = shape::from_i64(&cx.ints(1)?.unwrap_or_default())?;
    if repeats.len() != x.dims.len() {
        return bad(format!("{} repeats for {} axes", repeats.len(), x.dims.len()));
    }
    let own = strides(&x.dims);
    let (mut dims, mut steps, mut result) = (vec![], vec![], vec![]);
    for i in 0..repeats.len() {
        dims.extend([repeats[i], x.dims[i]]);
        steps.extend([0, own[i]]);
        result.push(repeats[i].saturating_mul(x.dims[i]));
    }
    let data = strided(cx, x, &dims, 0, &steps)?.data;
    Ok(Const { dims: result, data })
}

fn concat(cx: &mut Ctx<'_, '_, '_>, args: &[Option<Const>]) -> Res<Const> {
    let parts: Vec<&Const> = args.iter().flatten().collect();
    let shapes: Vec<&[usize]> = parts.iter().map(|c| c.dims.as_slice()).collect();
    let (axis, dims) = layout::concat_shape(cx, &shapes)?;
    let Some(n) = shape::count(&dims) else { return bad("the result is too large") };
    cx.b.charge(n)?;
    let outer: usize = dims[..axis].iter().product();
    fn join<'t, T: Copy + 't>(outer: usize, n: usize, parts: impl Iterator<Item = &'t [T]> + Clone) -> Vec<T> {
        let mut out = Vec::with_capacity(n);
        for o in 0..outer {
            for p in parts.clone() {
                let inner = p.len() / outer;
                out.extend_from_slice(&p[o * inner..(o + 1) * inner]);
            }
        }
        out
    }
    let float = parts.iter().filter(|c| matches!(c.data, Data::Float(_))).count();
    if float == parts.len() {
        let data = parts.iter().filter_map(|c| if let Data::Float(v) = &c.data { Some(v.as_slice()) } else { None });
        Ok(Const::floats(dims, join(outer, n, data)))
    } else if float == 0 {
        let data = parts.iter().filter_map(|c| if let Data::Int(v) = &c.data { Some(v.as_slice()) } else { None });
        Ok(Const::ints(dims, join(outer, n, data)))
    } else {
        bad("the inputs are of different types")
    }
}

fn gather(cx: &mut Ctx<'_, '_, '_>, x: &Const, args: &[Option<Const>]) -> Res<Const> {
    let axis = shape::axis(cx.int("axis", 0)?, x.dims.len())?;
    let Some(Some(Const { dims: at, data: Data::Int(indices) })) = args.get(1) else { return bad("the indices are not integers") };
    let extent = x.dims[axis];
    let indices: Vec<usize> = indices
        .iter()
        .map(|&i| if i < 0 { i.saturating_add(extent as i64) } else { i })
        .map(|i| usize::try_from(i).ok().filter(|&i| i < extent).map_or_else(|| bad(format!("index {i} of {extent}")), Ok))
        .collect::<Res<_>>()?;
    let (outer, inner): (usize, usize) = (x.dims[..axis].iter().product(), x.dims[axis + 1..].iter().product());
    let dims = [&x.dims[..axis], at, &x.dims[axis + 1..]].concat();
    let Some(n) = shape::count(&dims) else { return bad("the result is too large") };
    if dims.len() > shape::MAX_RANK {
        return unsupported(format!("a tensor of {} axes", dims.len()), "use fewer");
    }
    cx.b.charge(n)?;
    let mut picked = Vec::with_capacity(n);
    if n > 0 {
        for o in 0..outer {
            for &i in &indices {
                let start = (o * extent + i) * inner;
                picked.extend(start..start + inner);
            }
        }
    }
    pick(x, dims, &picked)
}

//! MaxPool and AveragePool.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::Values;
use super::window::{from_nhwc, geometry, image, kernel, span, spatial, to_nhwc};
use crate::ir::{Act, BinaryOp, Op, Pads, PoolKind, Unary};
use std::sync::Arc;

/// Only the first output; the order of the indices in the second does not matter then.
pub(super) fn max(cx: &mut Ctx<'_, '_, '_>) -> Values {
    cx.ignore(&["storage_order"]);
    pool(cx, |_, _| Ok(PoolKind::Max))
}

pub(super) fn average(cx: &mut Ctx<'_, '_, '_>) -> Values {
    pool(cx, |cx, counted| {
        let padded = counted != Pads::default();
        Ok(if cx.flag("count_include_pad", false)? && padded { PoolKind::AverageWithPad { counted } } else { PoolKind::Average })
    })
}

fn pool(cx: &mut Ctx<'_, '_, '_>, kind: fn(&Ctx<'_, '_, '_>, Pads) -> Res<PoolKind>) -> Values {
    let x = cx.runtime(0)?;
    let (n, c, hw, axes) = image(&cx.shape(x))?;
    let k = kernel(cx, axes, None)?;
    let s = spatial(cx, axes)?;
    let ceil = cx.flag("ceil_mode", false)?;
    let g = geometry(&s, hw, k, ceil)?;
    for i in 0..2 {
        let span = span(k[i], s.dilation[i]);
        let (before, after) = ([g.explicit.top, g.explicit.left][i], [g.explicit.bottom, g.explicit.right][i]);
        if before >= span || after >= span {
            return unsupported(format!("pads {before} and {after} of a window of {span}"), "pad less than the window is wide");
        }
    }
    let kind = kind(cx, g.explicit)?;
    let nhwc = to_nhwc(cx, x)?;
    let op = Op::Pool { kind, window: g.window, residual: false };
    let y = cx.emit("", op, &[nhwc], &[n, g.out[0], g.out[1], c])?;
    Ok(vec![from_nhwc(cx, y, axes)?])
}

/// The root of the sum of powers: a depthwise convolution by ones.
pub(super) fn lp(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let (n, c, hw, axes) = image(&cx.shape(x))?;
    let k = kernel(cx, axes, None)?;
    let s = spatial(cx, axes)?;
    let g = geometry(&s, hw, k, cx.flag("ceil_mode", false)?)?;
    let p = cx.int("p", 2)?;
    if p < 1 {
        return bad(format!("p is {p}"));
    }
    let area = k[0].saturating_mul(k[1]).saturating_mul(c);
    cx.b.charge(area)?;
    let ones = cx.b.graph.constant(format!("{}/ones", cx.name), &[k[0], k[1], 1, c], Arc::new(vec![1.0; area]));
    let nhwc = to_nhwc(cx, x)?;
    let shape = cx.shape(nhwc);
    let power = |cx: &mut Ctx<'_, '_, '_>, suffix: &str, x, e: f32, shape: &[usize]| {
        let e = cx.number(e);
        cx.emit(suffix, Op::Binary { op: BinaryOp::Pow, act: Act::None }, &[x, e], shape)
    };
    let part = match p {
        2 => cx.emit("square", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[nhwc, nhwc], &shape)?,
        _ => {
            let magnitude = cx.emit("magnitude", Op::Unary(Unary::Abs), &[nhwc], &shape)?;
            if p == 1 { magnitude } else { power(cx, "power", magnitude, p as f32, &shape)? }
        }
    };
    let out = [n, g.out[0], g.out[1], c];
    let op = Op::Conv { window: g.window, groups: c, bias: false, residual: false, pre_relu: false, act: Act::None };
    let sum = cx.emit("sum", op, &[part, ones], &out)?;
    let y = match p {
        1 => sum,
        2 => cx.emit("", Op::Act(Act::Sqrt), &[sum], &out)?,
        _ => power(cx, "", sum, 1.0 / p as f32, &out)?,
    };
    Ok(vec![from_nhwc(cx, y, axes)?])
}

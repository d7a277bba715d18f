//! Activations.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use super::Values;
use crate::ir::{Act, BinaryOp, Op, ValueId};

pub(super) fn unary(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let act = match cx.node.op_type {
        "Relu" => Act::RELU,
        "LeakyRelu" => Act::Leaky(cx.float("alpha", 0.01)?),
        "Elu" => Act::Elu(cx.float("alpha", 1.0)?),
        "HardSigmoid" => Act::HardSigmoid { alpha: cx.float("alpha", 0.2)?, beta: cx.float("beta", 0.5)? },
        "HardSwish" => Act::HardSwish,
        "Sigmoid" => Act::Sigmoid,
        "Tanh" => Act::Tanh,
        "Exp" => Act::Exp,
        "Sqrt" => Act::Sqrt,
        _ => return selu(cx),
    };
    act_node(cx, act)
}

fn act_node(cx: &mut Ctx<'_, '_, '_>, act: Act) -> Values {
    let x = cx.runtime(0)?;
    let shape = cx.shape(x);
    Ok(vec![cx.emit("", Op::Act(act), &[x], &shape)?])
}

/// `gamma * elu(x)`.
fn selu(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let (alpha, gamma) = (cx.float("alpha", 1.673_263_2)?, cx.float("gamma", 1.050_701)?);
    let x = cx.runtime(0)?;
    let shape = cx.shape(x);
    let y = cx.emit("elu", Op::Act(Act::Elu(alpha)), &[x], &shape)?;
    let gamma = cx.number(gamma);
    Ok(vec![cx.emit("", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[y, gamma], &shape)?])
}

/// Bounds as attributes (opset 6) or as inputs (11); each may be missing, or computed.
pub(super) fn clip(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let shape = cx.shape(x);
    let computed = |i| cx.is_present(i) && !cx.is_const(i);
    if computed(1) || computed(2) {
        let mut y = x;
        for (i, op, suffix) in [(1, BinaryOp::Max, "min"), (2, BinaryOp::Min, "max")] {
            if cx.is_present(i) {
                let bound: ValueId = cx.runtime(i)?;
                if cx.shape(bound).iter().any(|&d| d != 1) || cx.shape(bound).len() > shape.len() {
                    return bad(format!("a bound of shape {:?}", cx.shape(bound)));
                }
                y = cx.emit(suffix, Op::Binary { op, act: Act::None }, &[y, bound], &shape)?;
            }
        }
        return Ok(vec![y]);
    }
    let lo = cx.scalar_float(1)?.map_or_else(|| cx.bound("min", f32::NEG_INFINITY), Ok)?;
    let hi = cx.scalar_float(2)?.map_or_else(|| cx.bound("max", f32::INFINITY), Ok)?;
    if lo == f32::NEG_INFINITY && hi == f32::INFINITY {
        return Ok(vec![x]);
    }
    // The upper bound wins.
    act_node(cx, Act::Clamp { lo: lo.min(hi), hi })
}

pub(super) fn prelu(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let slope = cx.weight(1, "", true, |c| Ok((c.dims.clone(), None)))?;
    if shape::broadcast(&xs, &cx.shape(slope))? != xs {
        return bad(format!("a slope of shape {:?} does not fit {xs:?}", cx.shape(slope)));
    }
    Ok(vec![cx.emit("", Op::PRelu, &[x, slope], &xs)?])
}

/// The activation of onnxruntime's fused convolution.
pub(super) fn of_fused(cx: &Ctx<'_, '_, '_>) -> Res<Act> {
    let p = cx.float_list("activation_params")?.unwrap_or_default();
    Ok(match (cx.string("activation", "")?, &p[..]) {
        ("", _) => Act::None,
        ("Relu", _) => Act::RELU,
        ("Sigmoid", _) => Act::Sigmoid,
        ("Tanh", _) => Act::Tanh,
        ("LeakyRelu", &[alpha]) if alpha.is_finite() => Act::Leaky(alpha),
        ("Clip", &[lo, hi]) if lo <= hi => Act::Clamp { lo, hi },
        ("HardSigmoid", &[alpha, beta]) if alpha.is_finite() && beta.is_finite() => Act::HardSigmoid { alpha, beta },
        (other, p) => return unsupported(format!("activation {other:?} {p:?}"), "export without onnxruntime's optimisations"),
    })
}

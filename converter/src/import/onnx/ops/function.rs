//! Functions of one element: a step each, or some of them in a row.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::Values;
use crate::ir::{Act, BinaryOp, Op, Unary, ValueId};
use std::f32::consts::{FRAC_2_SQRT_PI, FRAC_PI_2, SQRT_2};

/// A formula under construction: every part has the shape of what it is computed of.
struct Formula<'f, 'c, 'a, 'p> {
    cx: &'f mut Ctx<'c, 'a, 'p>,
    shape: Vec<usize>,
    parts: usize,
}

impl Formula<'_, '_, '_, '_> {
    fn emit(&mut self, op: Op, inputs: &[ValueId]) -> Res<ValueId> {
        self.parts += 1;
        let suffix = self.parts.to_string();
        self.cx.emit(&suffix, op, inputs, &self.shape)
    }
    fn act(&mut self, act: Act, x: ValueId) -> Res<ValueId> {
        self.emit(Op::Act(act), &[x])
    }
    fn of(&mut self, function: Unary, x: ValueId) -> Res<ValueId> {
        self.emit(Op::Unary(function), &[x])
    }
    fn binary(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> Res<ValueId> {
        self.emit(Op::Binary { op, act: Act::None }, &[a, b])
    }
    fn with(&mut self, op: BinaryOp, a: ValueId, b: f32) -> Res<ValueId> {
        let b = self.cx.number(b);
        self.binary(op, a, b)
    }
    /// `a op x`.
    fn from(&mut self, a: f32, op: BinaryOp, x: ValueId) -> Res<ValueId> {
        let a = self.cx.number(a);
        self.binary(op, a, x)
    }

    /// `ln(1 + t)` without losing what of a small `t` is lost in the sum `w = 1 + t`: `t ln(w) / (w - 1)`, and `t` where `w` is 1.
    fn log_of_one_and(&mut self, t: ValueId) -> Res<ValueId> {
        let w = self.with(BinaryOp::Add, t, 1.0)?;
        let log = self.of(Unary::Log, w)?;
        let less = self.with(BinaryOp::Sub, w, 1.0)?;
        // Infinity over infinity would be no number.
        let less = self.act(Act::Clamp { lo: f32::NEG_INFINITY, hi: f32::MAX }, less)?;
        let lost = self.with(BinaryOp::Equal, less, 0.0)?;
        let (log, less) = (self.binary(BinaryOp::Add, log, lost)?, self.binary(BinaryOp::Add, less, lost)?);
        let slope = self.binary(BinaryOp::Div, log, less)?;
        self.binary(BinaryOp::Mul, t, slope)
    }

    /// `e^x op e^-x`.
    fn exponentials(&mut self, op: BinaryOp, x: ValueId) -> Res<ValueId> {
        let up = self.act(Act::Exp, x)?;
        let negative = self.with(BinaryOp::Mul, x, -1.0)?;
        let down = self.act(Act::Exp, negative)?;
        self.binary(op, up, down)
    }

    /// `x` up to where its square is still far from the end of the range, and the logarithm of what is beyond that: there, area
    /// functions are logarithms. That is exactly 0 of what is not beyond.
    fn below_far(&mut self, x: ValueId) -> Res<(ValueId, ValueId)> {
        let near = self.act(Act::Clamp { lo: f32::NEG_INFINITY, hi: FAR }, x)?;
        let far = self.act(Act::Clamp { lo: FAR, hi: f32::INFINITY }, x)?;
        let ratio = self.with(BinaryOp::Mul, far, 1.0 / FAR)?;
        Ok((near, self.of(Unary::Log, ratio)?))
    }
}

/// A power of two. `asinh(x)` is `ln(2 x)` to a billionth here.
const FAR: f32 = 16384.0;

/// Those that are one step.
fn single(cx: &Ctx<'_, '_, '_>) -> Res<Option<Op>> {
    Ok(Some(match cx.node.op_type {
        "Abs" => Op::Unary(Unary::Abs),
        "Atan" => Op::Unary(Unary::Atan),
        "Ceil" => Op::Unary(Unary::Ceil),
        "Cos" => Op::Unary(Unary::Cos),
        "Erf" => Op::Unary(Unary::Erf),
        "Floor" => Op::Unary(Unary::Floor),
        "Log" => Op::Unary(Unary::Log),
        "Round" => Op::Unary(Unary::Round),
        // Of ranges that overlap, the operator takes the one and the step the other.
        "Shrink" if cx.float("lambd", 0.5)? < 0.0 => return unsupported("lambd below 0", "write the ranges with Where"),
        "Shrink" => Op::Unary(Unary::Shrink { lambda: cx.float("lambd", 0.5)?, bias: cx.float("bias", 0.0)? }),
        "Sign" => Op::Unary(Unary::Sign),
        "Sin" => Op::Unary(Unary::Sin),
        "Softplus" => Op::Unary(Unary::Softplus),
        "ThresholdedRelu" => Op::Unary(Unary::Threshold(cx.float("alpha", 1.0)?)),
        "Gelu" if cx.string("approximate", "none")? == "none" => Op::Unary(Unary::Gelu),
        "Swish" if cx.float("alpha", 1.0)? == 1.0 => Op::Act(Act::Silu),
        _ => return Ok(None),
    }))
}

pub(super) fn function(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let shape = cx.shape(x);
    if let Some(op) = single(cx)? {
        return Ok(vec![cx.emit("", op, &[x], &shape)?]);
    }
    let kind = cx.node.op_type;
    let alpha = if matches!(kind, "Celu" | "Swish") { cx.float("alpha", 1.0)? } else { 1.0 };
    if kind == "Gelu" && cx.string("approximate", "none")? != "tanh" {
        return bad(format!("attribute approximate is {:?}", cx.string("approximate", "none")?));
    }
    // By the formula below, positive numbers would not stay as they are.
    if kind == "Celu" && alpha <= 0.0 {
        return unsupported(format!("alpha = {alpha}"), "take a value above 0");
    }
    let f = &mut Formula { cx, shape, parts: 0 };
    use BinaryOp::{Add, Div, Mul, Sub};
    Ok(vec![match kind {
        // alpha elu(x / alpha).
        "Celu" => {
            let scaled = f.with(Div, x, alpha)?;
            let y = f.act(Act::Elu(1.0), scaled)?;
            f.with(Mul, y, alpha)?
        }
        "Softsign" => {
            let magnitude = f.of(Unary::Abs, x)?;
            let one_more = f.with(Add, magnitude, 1.0)?;
            f.binary(Div, x, one_more)?
        }
        "Mish" => {
            let plus = f.of(Unary::Softplus, x)?;
            let gate = f.act(Act::Tanh, plus)?;
            f.binary(Mul, x, gate)?
        }
        "Swish" => {
            let scaled = f.with(Mul, x, alpha)?;
            let gate = f.act(Act::Sigmoid, scaled)?;
            f.binary(Mul, x, gate)?
        }
        // (1 + tanh(u)) / 2 is sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
        "Gelu" => {
            let square = f.binary(Mul, x, x)?;
            let twice = SQRT_2 * FRAC_2_SQRT_PI;
            let slope = f.with(Mul, square, 0.044_715 * twice)?;
            let slope = f.with(Add, slope, twice)?;
            let u = f.binary(Mul, slope, x)?;
            let gate = f.act(Act::Sigmoid, u)?;
            f.binary(Mul, x, gate)?
        }
        "Tan" => {
            let (sin, cos) = (f.of(Unary::Sin, x)?, f.of(Unary::Cos, x)?);
            f.binary(Div, sin, cos)?
        }
        "Cosh" => {
            let both = f.exponentials(Add, x)?;
            f.with(Mul, both, 0.5)?
        }
        // Near 0 the difference of two exponentials loses what the series keeps: x + x^3 / 6 + x^5 / 120 + ...
        "Sinh" => {
            let both = f.exponentials(Sub, x)?;
            let far = f.with(Mul, both, 0.5)?;
            let square = f.binary(Mul, x, x)?;
            let mut series = f.with(Mul, square, 1.0 / 362_880.0)?;
            for factor in [1.0 / 5040.0, 1.0 / 120.0, 1.0 / 6.0] {
                let more = f.with(Add, series, factor)?;
                series = f.binary(Mul, more, square)?;
            }
            let bent = f.binary(Mul, series, x)?;
            let near = f.binary(Add, bent, x)?;
            let magnitude = f.of(Unary::Abs, x)?;
            let is_near = f.from(1.0, BinaryOp::AtLeast, magnitude)?;
            let is_far = f.from(1.0, Sub, is_near)?;
            let (near, far) = (f.binary(BinaryOp::Where, near, is_near)?, f.binary(BinaryOp::Where, far, is_far)?);
            f.binary(Add, near, far)?
        }
        // atan(x / sqrt((1 - x) (1 + x))).
        "Asin" | "Acos" => {
            let (less, more) = (f.from(1.0, Sub, x)?, f.with(Add, x, 1.0)?);
            let product = f.binary(Mul, less, more)?;
            let root = f.act(Act::Sqrt, product)?;
            let ratio = f.binary(Div, x, root)?;
            let angle = f.of(Unary::Atan, ratio)?;
            if kind == "Asin" { angle } else { f.from(FRAC_PI_2, Sub, angle)? }
        }
        // With its sign, of a = |x|: ln(1 + t), t = a + a^2 / (1 + sqrt(a^2 + 1)).
        "Asinh" => {
            let (magnitude, sign) = (f.of(Unary::Abs, x)?, f.of(Unary::Sign, x)?);
            let (a, beyond) = f.below_far(magnitude)?;
            let square = f.binary(Mul, a, a)?;
            let more = f.with(Add, square, 1.0)?;
            let root = f.act(Act::Sqrt, more)?;
            let root = f.with(Add, root, 1.0)?;
            let curve = f.binary(Div, square, root)?;
            let t = f.binary(Add, a, curve)?;
            let log = f.log_of_one_and(t)?;
            let log = f.binary(Add, log, beyond)?;
            f.binary(Mul, log, sign)?
        }
        // ln(1 + t), t = x - 1 + sqrt((x - 1) (x + 1)).
        "Acosh" => {
            let (x, beyond) = f.below_far(x)?;
            let (less, more) = (f.with(Sub, x, 1.0)?, f.with(Add, x, 1.0)?);
            let product = f.binary(Mul, less, more)?;
            let root = f.act(Act::Sqrt, product)?;
            let t = f.binary(Add, less, root)?;
            let log = f.log_of_one_and(t)?;
            f.binary(Add, log, beyond)?
        }
        // With its sign, of a = |x|: ln(1 + t) / 2, t = 2 a / (1 - a).
        "Atanh" => {
            let (a, sign) = (f.of(Unary::Abs, x)?, f.of(Unary::Sign, x)?);
            let (twice, left) = (f.with(Mul, a, 2.0)?, f.from(1.0, Sub, a)?);
            let t = f.binary(Div, twice, left)?;
            let log = f.log_of_one_and(t)?;
            let half = f.with(Mul, sign, 0.5)?;
            f.binary(Mul, log, half)?
        }
        other => return bad(format!("{other} is no function")),
    }])
}

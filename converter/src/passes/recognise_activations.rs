//! Finds activations that a source wrote out in arithmetic: clamps as `max` and `min`, leaky ReLU as `max(x, a x)`, hard sigmoid
//! as `clip(x + 3, 0, 6) / 6`, hard swish and SiLU as `x` times one, GELU as `x (erf(x / sqrt(2)) + 1) / 2`. Products are taken apart into their factors first, so that
//! the order of operands and the place of the constant do not matter.
use super::Report;
use super::edit::Edit;
use crate::error::Result;
use crate::ir::{Act, BinaryOp, Graph, Node, Op, Unary, ValueId};

/// How far a written-out constant may be from the real one: 1/6 is not a number of f32.
const CLOSE: f64 = 1e-6;

pub(super) fn run(g: Graph, report: &mut Report) -> Result<Graph> {
    let mut e = Edit::new(g);
    for i in 0..e.len() {
        let Some(n) = e.visit(i) else { continue };
        let found = match &n.op {
            Op::Act(act) => merged(&e, &n, *act),
            Op::Binary { op: BinaryOp::Min | BinaryOp::Max, act: Act::None } => clamp(&e, &n).or_else(|| leaky(&e, &n)),
            Op::Binary { op: BinaryOp::Mul | BinaryOp::Div, act: Act::None } => product(&e, &n),
            _ => None,
        };
        if let Some((x, act)) = found
            && e.shape(x) == e.shape(n.output)
        {
            report.note("recognise_activations", format!("{} is {act:?}", n.title()));
            e.rewrite(i, Op::Act(act), vec![x]);
        } else if let Some(x) = gelu(&e, &n).filter(|&x| e.shape(x) == e.shape(n.output)) {
            report.note("recognise_activations", format!("{} is Gelu", n.title()));
            e.rewrite(i, Op::Unary(Unary::Gelu), vec![x]);
        }
    }
    Ok(e.finish())
}

/// One clamp after another.
fn merged(e: &Edit, n: &Node, act: Act) -> Option<(ValueId, Act)> {
    let (x, before) = activation(e, n.inputs[0]).filter(|_| e.uses(n.inputs[0]) == 1)?;
    Some((x, both(before, act)?))
}

/// The clamp that `first` and then `then` are.
pub(super) fn both(first: Act, then: Act) -> Option<Act> {
    match (first, then) {
        (Act::Clamp { lo: a, hi: b }, Act::Clamp { lo, hi }) => Some(Act::Clamp { lo: a.max(lo).min(hi), hi: b.max(lo).min(hi) }),
        _ => None,
    }
}

/// The operand that is not the same number everywhere, and that number.
fn with_scalar(e: &Edit, n: &Node) -> Option<(ValueId, f32)> {
    let [a, b] = n.inputs[..] else { return None };
    match (e.scalar(a), e.scalar(b)) {
        (None, Some(c)) => Some((a, c)),
        (Some(c), None) => Some((b, c)),
        _ => None,
    }
}

fn clamp(e: &Edit, n: &Node) -> Option<(ValueId, Act)> {
    let (x, c) = with_scalar(e, n)?;
    let act = match n.op {
        Op::Binary { op: BinaryOp::Max, .. } => Act::Clamp { lo: c, hi: f32::INFINITY },
        _ => Act::Clamp { lo: f32::NEG_INFINITY, hi: c },
    };
    match activation(e, x).filter(|_| e.uses(x) == 1) {
        Some((before, first)) => both(first, act).map(|act| (before, act)).or(Some((x, act))),
        None => Some((x, act)),
    }
}

/// `max(x, a x)` with `0 <= a <= 1`.
fn leaky(e: &Edit, n: &Node) -> Option<(ValueId, Act)> {
    let Op::Binary { op: BinaryOp::Max, .. } = n.op else { return None };
    let [p, q] = n.inputs[..] else { return None };
    [(p, q), (q, p)].into_iter().find_map(|(x, scaled)| {
        let (_, m) = e.producing(scaled)?;
        let Op::Binary { op: BinaryOp::Mul, act: Act::None } = m.op else { return None };
        let (of, a) = with_scalar(e, m)?;
        (of == x && (0.0..=1.0).contains(&a)).then_some((x, Act::Leaky(a)))
    })
}

/// The activation that computes `v`, and of what.
fn activation(e: &Edit, v: ValueId) -> Option<(ValueId, Act)> {
    match e.producing(v)?.1 {
        Node { op: Op::Act(act), inputs, .. } => Some((inputs[0], *act)),
        _ => None,
    }
}

/// A product of constants and of values that are none: `factor * product of values`.
#[derive(Default)]
struct Factors {
    constant: Option<f64>,
    values: Vec<ValueId>,
}

impl Factors {
    /// Takes apart a product, through factors that nothing else reads. There are never more than two values of interest, and no more
    /// products than some: each of a long chain would be gone through once more from its end.
    fn of(e: &Edit, n: &Node) -> Self {
        const MOST_PRODUCTS: usize = 8;
        let mut f = Factors::default();
        let mut open = vec![n];
        let mut products = 0;
        while let Some(n) = open.pop() {
            products += 1;
            if products > MOST_PRODUCTS {
                return Factors::default();
            }
            if let (Op::Binary { op: BinaryOp::Div, .. }, Some(d)) = (&n.op, e.scalar(n.inputs[1])) {
                f.scale(1.0 / f64::from(d));
                f.take(e, n.inputs[0], &mut open);
            } else if let Op::Binary { op: BinaryOp::Mul, .. } = n.op {
                for &v in &n.inputs {
                    match e.scalar(v) {
                        Some(c) => f.scale(f64::from(c)),
                        None => f.take(e, v, &mut open),
                    }
                }
            } else {
                f.values.push(n.output);
            }
            if f.values.len() + open.len() > 2 {
                break;
            }
        }
        f
    }

    fn scale(&mut self, c: f64) {
        self.constant = Some(self.constant.unwrap_or(1.0) * c);
    }

    fn take<'e>(&mut self, e: &'e Edit, v: ValueId, open: &mut Vec<&'e Node>) {
        match e.producing(v) {
            Some((_, n)) if e.uses(v) == 1 && matches!(n.op, Op::Binary { op: BinaryOp::Mul | BinaryOp::Div, act: Act::None }) => {
                open.push(n);
            }
            _ => self.values.push(v),
        }
    }
}

/// `clip(x * a + b, 0, top)`: x, a, b, top.
fn ramp(e: &Edit, v: ValueId) -> Option<(ValueId, f64, f64, f64)> {
    let (mut x, act) = activation(e, v)?;
    match act {
        Act::HardSigmoid { alpha, beta } => Some((x, alpha.into(), beta.into(), 1.0)),
        Act::Clamp { lo: 0.0, hi } if hi.is_finite() => {
            let (mut a, mut b) = (1.0, 0.0);
            if let Some((_, n)) = e.producing(x)
                && let Op::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub), act: Act::None } = n.op
                && let Some((of, c)) = with_scalar(e, n)
                && (op == BinaryOp::Add || of == n.inputs[0])
            {
                x = of;
                b = if op == BinaryOp::Add { c.into() } else { -f64::from(c) };
            }
            if let Some((_, n)) = e.producing(x)
                && let Op::Binary { op: op @ (BinaryOp::Mul | BinaryOp::Div), act: Act::None } = n.op
                && let Some((of, c)) = with_scalar(e, n)
                && (op == BinaryOp::Mul || of == n.inputs[0])
            {
                x = of;
                a = if op == BinaryOp::Mul { c.into() } else { 1.0 / f64::from(c) };
            }
            Some((x, a, b, hi.into()))
        }
        _ => None,
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= CLOSE * b.abs()
}

fn product(e: &Edit, n: &Node) -> Option<(ValueId, Act)> {
    let f = Factors::of(e, n);
    let factor = f.constant.unwrap_or(1.0);
    match f.values[..] {
        // A ramp up to 1 alone; without a constant there is nothing to gain.
        [v] if f.constant.is_some() => {
            let (x, a, b, top) = ramp(e, v)?;
            let act = Act::HardSigmoid { alpha: (a * factor) as f32, beta: (b * factor) as f32 };
            (close(top * factor, 1.0) && factor > 0.0).then_some((x, act))
        }
        [p, q] => [(p, q), (q, p)].into_iter().find_map(|(x, gate)| {
            if let Some((of, Act::Sigmoid)) = activation(e, gate) {
                return (of == x && factor == 1.0).then_some((x, Act::Silu));
            }
            let (of, a, b, top) = ramp(e, gate)?;
            let swish = close(a * factor, 1.0 / 6.0) && close(b * factor, 0.5) && close(top * factor, 1.0);
            (of == x && swish).then_some((x, Act::HardSwish))
        }),
        _ => None,
    }
}

/// `x (erf(x / sqrt(2)) + 1) / 2` in any order of its factors: x.
fn gelu(e: &Edit, n: &Node) -> Option<ValueId> {
    if !matches!(n.op, Op::Binary { op: BinaryOp::Mul | BinaryOp::Div, act: Act::None }) {
        return None;
    }
    let f = Factors::of(e, n);
    let [p, q] = f.values[..] else { return None };
    if !close(f.constant?, 0.5) {
        return None;
    }
    [(p, q), (q, p)].into_iter().find_map(|(x, sum)| {
        let (_, add) = e.producing(sum)?;
        let Op::Binary { op: BinaryOp::Add, act: Act::None } = add.op else { return None };
        let (erf, one) = with_scalar(e, add)?;
        let (_, Node { op: Op::Unary(Unary::Erf), inputs, .. }) = e.producing(erf)? else { return None };
        let (_, scaled) = e.producing(inputs[0])?;
        let (of, c) = with_scalar(e, scaled)?;
        let factor = match scaled.op {
            Op::Binary { op: BinaryOp::Mul, act: Act::None } => f64::from(c),
            Op::Binary { op: BinaryOp::Div, act: Act::None } if of == scaled.inputs[0] => 1.0 / f64::from(c),
            _ => return None,
        };
        (of == x && one == 1.0 && close(factor, std::f64::consts::FRAC_1_SQRT_2)).then_some(x)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::testing::{binary, finish, same_function};
    use std::sync::Arc;

    struct Build(Graph, ValueId);

    impl Build {
        fn new() -> Self {
            let mut g = Graph::default();
            let x = g.input("x", &[1, 50]);
            Build(g, x)
        }

        fn c(&mut self, c: f32) -> ValueId {
            self.0.constant("c", &[], Arc::new(vec![c]))
        }

        fn op(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
            self.0.node("n", "Binary", binary(op, Act::None), &[a, b], &[1, 50])
        }

        fn with(&mut self, op: BinaryOp, a: ValueId, c: f32) -> ValueId {
            let c = self.c(c);
            self.op(op, a, c)
        }

        fn act(&mut self, act: Act, x: ValueId) -> ValueId {
            self.0.node("act", "Act", Op::Act(act), &[x], &[1, 50])
        }

        /// What the only node is in the end.
        fn becomes(self, y: ValueId) -> Act {
            let before = finish(self.0, &[y]);
            let after = run(before.clone(), &mut Report::default()).unwrap();
            after.verify().unwrap();
            assert!(same_function(&before, &after) < 1e-6);
            match &after.nodes[..] {
                [Node { op: Op::Act(act), .. }] => *act,
                _ => panic!("{after}"),
            }
        }

        fn stays(self, y: ValueId) {
            let before = finish(self.0, &[y]);
            let after = run(before.clone(), &mut Report::default()).unwrap();
            assert!(same_function(&before, &after) < 1e-12);
            assert!(after.nodes.len() > 1, "{after}");
        }
    }

    const RELU6: Act = Act::Clamp { lo: 0.0, hi: 6.0 };

    #[test]
    fn hard_swish_in_all_spellings() {
        let spellings: [fn(&mut Build, ValueId) -> ValueId; 8] = [
            // x * clip(x + 3) / 6
            |b, r| {
                let x = b.1;
                let p = b.op(BinaryOp::Mul, x, r);
                b.with(BinaryOp::Div, p, 6.0)
            },
            |b, r| {
                let x = b.1;
                let p = b.op(BinaryOp::Mul, r, x);
                b.with(BinaryOp::Mul, p, 1.0 / 6.0)
            },
            // x * (clip(x + 3) / 6)
            |b, r| {
                let q = b.with(BinaryOp::Div, r, 6.0);
                b.op(BinaryOp::Mul, b.1, q)
            },
            |b, r| {
                let q = b.with(BinaryOp::Mul, r, 1.0 / 6.0);
                b.op(BinaryOp::Mul, q, b.1)
            },
            // (x / 6) * clip(x + 3)
            |b, r| {
                let q = b.with(BinaryOp::Div, b.1, 6.0);
                b.op(BinaryOp::Mul, q, r)
            },
            |b, r| {
                let q = b.with(BinaryOp::Mul, b.1, 1.0 / 6.0);
                b.op(BinaryOp::Mul, r, q)
            },
            // x * HardSigmoid(x)
            |b, _| {
                let h = b.act(Act::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, b.1);
                b.op(BinaryOp::Mul, h, b.1)
            },
            // x * clip(x / 6 + 0.5, 0, 1)
            |b, _| {
                let s = b.with(BinaryOp::Div, b.1, 6.0);
                let s = b.with(BinaryOp::Add, s, 0.5);
                let s = b.act(Act::Clamp { lo: 0.0, hi: 1.0 }, s);
                b.op(BinaryOp::Mul, s, b.1)
            },
        ];
        for (i, spelling) in spellings.iter().enumerate() {
            let mut b = Build::new();
            let s = b.with(BinaryOp::Add, b.1, 3.0);
            let r = b.act(RELU6, s);
            let y = spelling(&mut b, r);
            b.0.output_names.clear();
            assert_eq!(b.becomes(y), Act::HardSwish, "{i}");
        }
    }

    #[test]
    fn hard_sigmoid_and_silu() {
        let mut b = Build::new();
        let c = b.c(3.0);
        let s = b.op(BinaryOp::Add, c, b.1);
        let zero = b.c(0.0);
        let r = b.op(BinaryOp::Max, zero, s);
        let r = b.with(BinaryOp::Min, r, 6.0);
        let y = b.with(BinaryOp::Div, r, 6.0);
        assert_eq!(b.becomes(y), Act::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 });
        let mut b = Build::new();
        let s = b.act(Act::Sigmoid, b.1);
        let y = b.op(BinaryOp::Mul, s, b.1);
        assert_eq!(b.becomes(y), Act::Silu);
    }

    #[test]
    fn gelu_in_all_spellings() {
        let spellings: [fn(&mut Build, ValueId) -> ValueId; 4] = [
            |b, s| {
                let p = b.op(BinaryOp::Mul, b.1, s);
                b.with(BinaryOp::Mul, p, 0.5)
            },
            |b, s| {
                let half = b.with(BinaryOp::Div, b.1, 2.0);
                b.op(BinaryOp::Mul, s, half)
            },
            |b, s| {
                let half = b.with(BinaryOp::Mul, s, 0.5);
                b.op(BinaryOp::Mul, b.1, half)
            },
            // Another factor is another function.
            |b, s| {
                let p = b.op(BinaryOp::Mul, b.1, s);
                b.with(BinaryOp::Mul, p, 0.4)
            },
        ];
        for (i, spelling) in spellings.iter().enumerate() {
            for divided in [true, false] {
                let mut b = Build::new();
                let scaled = if divided {
                    b.with(BinaryOp::Div, b.1, std::f32::consts::SQRT_2)
                } else {
                    b.with(BinaryOp::Mul, b.1, std::f32::consts::FRAC_1_SQRT_2)
                };
                let erf = b.0.node("erf", "Erf", Op::Unary(Unary::Erf), &[scaled], &[1, 50]);
                let sum = b.with(BinaryOp::Add, erf, 1.0);
                let y = spelling(&mut b, sum);
                let before = finish(b.0, &[y]);
                let after = run(before.clone(), &mut Report::default()).unwrap();
                assert!(same_function(&before, &after) < 1e-6);
                let found = matches!(&after.nodes[..], [Node { op: Op::Unary(Unary::Gelu), .. }]);
                assert_eq!(found, i < 3, "{i} {after}");
            }
        }
    }

    #[test]
    fn clamps_merge_and_leaky_relu() {
        let mut b = Build::new();
        let a = b.act(Act::RELU, b.1);
        let y = b.act(Act::Clamp { lo: -1.0, hi: 6.0 }, a);
        assert_eq!(b.becomes(y), RELU6);
        let mut b = Build::new();
        let s = b.with(BinaryOp::Mul, b.1, 0.25);
        let y = b.op(BinaryOp::Max, s, b.1);
        assert_eq!(b.becomes(y), Act::Leaky(0.25));
        assert_eq!(both(Act::Clamp { lo: 0.0, hi: 1.0 }, Act::Clamp { lo: 2.0, hi: 3.0 }), Some(Act::Clamp { lo: 2.0, hi: 2.0 }));
    }

    #[test]
    fn lookalikes_stay() {
        // Another gate, another offset, another divisor, a gate of something else.
        let mut b = Build::new();
        let s = b.act(Act::Sigmoid, b.1);
        let p = b.op(BinaryOp::Mul, s, b.1);
        let y = b.with(BinaryOp::Mul, p, 2.0);
        b.stays(y);
        for (offset, divisor) in [(2.0, 6.0), (3.0, 5.0)] {
            let mut b = Build::new();
            let s = b.with(BinaryOp::Add, b.1, offset);
            let r = b.act(RELU6, s);
            let p = b.op(BinaryOp::Mul, b.1, r);
            let y = b.with(BinaryOp::Div, p, divisor);
            b.stays(y);
        }
        let mut b = Build::new();
        let t = b.act(Act::Tanh, b.1);
        let s = b.act(Act::Sigmoid, t);
        let y = b.op(BinaryOp::Mul, b.1, s);
        b.stays(y);
        let mut b = Build::new();
        let s = b.with(BinaryOp::Mul, b.1, 1.5);
        let y = b.op(BinaryOp::Max, s, b.1);
        b.stays(y);
    }
}

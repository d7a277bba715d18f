//! Lets a window pad its input itself. A border of zeros before a convolution is its padding; before a max-pool a border is as
//! good as none if it cannot win, that is if nothing in the input is smaller.
use super::Report;
use super::edit::Edit;
use crate::error::Result;
use crate::ir::{Act, Graph, Op, Pads, PoolKind, ValueId};

/// How many nodes are asked for the smallest value they give.
const MOST_ASKED: usize = 64;

pub(super) fn run(g: Graph, report: &mut Report) -> Result<Graph> {
    let mut e = Edit::new(g);
    for i in 0..e.len() {
        // One border may lie around another.
        while fuse(&mut e, i, report) {}
    }
    Ok(e.finish())
}

/// Lets node `i` take the border before it; whether it did.
fn fuse(e: &mut Edit, i: usize, report: &mut Report) -> bool {
    let Some(n) = e.visit(i) else { return false };
    let x = n.inputs[0];
    let Some((_, pad)) = e.producing(x) else { return false };
    let Op::Pad { pads, value } = &pad.op else { return false };
    let (inner, name) = (pad.inputs[0], pad.title());
    let [(0, 0), (top, bottom), (left, right), (0, 0)] = pads[..] else { return false };
    let border = Pads { top, left, bottom, right };
    let mut op = n.op.clone();
    let why_not = match &mut op {
        Op::Conv { window, .. } if *value == 0.0 => {
            window.pads = sum(window.pads, border);
            None
        }
        Op::Conv { .. } => Some("the border is not zero"),
        Op::Pool { kind: PoolKind::Max, window, .. } if e.graph.data(inner).is_none() => {
            let grown = sum(window.pads, border);
            // The kernel gives -inf for a window without a pixel, which a border that won would hide.
            let reaches = |before: usize, i: usize, after: usize| {
                let span = (window.kernel[i] - 1) * window.dilation[i];
                before <= span && after <= span && window.dilation[i] <= e.shape(inner)[1 + i]
            };
            if *value > smallest(e, inner, &mut { MOST_ASKED }) {
                Some("the input may be smaller than the border")
            } else if !reaches(grown.top, 0, grown.bottom) || !reaches(grown.left, 1, grown.right) {
                Some("a window would lie in the border")
            } else {
                window.pads = grown;
                None
            }
        }
        Op::Pool { .. } => Some("it averages over the border"),
        _ => return false,
    };
    match &why_not {
        None => {
            report.note("fuse_pads", format!("{name} into {}", n.title()));
            let inputs = std::iter::once(inner).chain(n.inputs[1..].iter().copied()).collect();
            e.rewrite(i, op, inputs);
        }
        Some(why) => report.note("fuse_pads", format!("{name} stays before {}: {why}", n.title())),
    }
    why_not.is_none()
}

fn sum(a: Pads, b: Pads) -> Pads {
    Pads { top: a.top + b.top, left: a.left + b.left, bottom: a.bottom + b.bottom, right: a.right + b.right }
}

/// A value below which no element of `v` lies, as far as the operators before it tell.
fn smallest(e: &Edit, v: ValueId, left: &mut usize) -> f32 {
    let Some((_, n)) = e.producing(v).filter(|_| *left > 0) else { return f32::NEG_INFINITY };
    *left -= 1;
    let mut before = || n.inputs.iter().map(|&v| smallest(e, v, left)).fold(f32::INFINITY, f32::min);
    match &n.op {
        Op::Act(act)
        | Op::Conv { act, .. }
        | Op::ConvTranspose { act, .. }
        | Op::Dense { act, .. }
        | Op::ScaleShift { act }
        | Op::Binary { act, .. } => match *act {
            Act::Clamp { lo, .. } => lo,
            Act::HardSigmoid { .. } | Act::Sigmoid | Act::Exp | Act::Sqrt => 0.0,
            Act::Tanh => -1.0,
            Act::Elu(a) if a >= 0.0 => -a,
            // The least value of x / (1 + e^-x) is -0.2785, of the other -0.375.
            Act::Silu | Act::HardSwish => -0.5,
            _ => f32::NEG_INFINITY,
        },
        Op::Softmax { log: false, .. } => 0.0,
        Op::Pool { kind: PoolKind::Max | PoolKind::Average, residual: false, .. } => before(),
        Op::Concat { .. } | Op::Reshape | Op::Transpose { .. } | Op::Slice { .. } | Op::Upsample { .. } => before(),
        Op::Pad { value, .. } => before().min(*value),
        _ => f32::NEG_INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::testing::{Numbers, conv, finish, same_function, window};
    use proptest::prelude::*;

    fn pad(g: &mut Graph, x: ValueId, value: f32, [top, left, bottom, right]: [usize; 4]) -> ValueId {
        let s = g.shape(x).to_vec();
        let pads = vec![(0, 0), (top, bottom), (left, right), (0, 0)];
        let shape = [s[0], s[1] + top + bottom, s[2] + left + right, s[3]];
        g.node("pad", "Pad", Op::Pad { pads, value }, &[x], &shape)
    }

    fn pool(g: &mut Graph, x: ValueId, kind: PoolKind) -> ValueId {
        let s = g.shape(x).to_vec();
        let op = Op::Pool { kind, window: window(3, 2, [0; 4]), residual: false };
        g.node("pool", "Pool", op, &[x], &[s[0], (s[1] - 3) / 2 + 1, (s[2] - 3) / 2 + 1, s[3]])
    }

    fn fused(before: &Graph) -> bool {
        let after = run(before.clone(), &mut Report::default()).unwrap();
        after.verify().unwrap();
        assert!(same_function(before, &after) < 1e-12, "{before}\n{after}");
        after.nodes.len() < before.nodes.len()
    }

    #[test]
    fn max_pools_take_borders_that_cannot_win() {
        let build = |act: Option<Act>, value: f32, kind: PoolKind, border: usize| {
            let mut g = Graph::default();
            let mut x = g.input("x", &[1, 5, 6, 2]);
            if let Some(act) = act {
                x = g.node("act", "Act", Op::Act(act), &[x], &[1, 5, 6, 2]);
            }
            let x = pad(&mut g, x, value, [border; 4]);
            let y = pool(&mut g, x, kind);
            finish(g, &[y])
        };
        assert!(fused(&build(Some(Act::RELU), 0.0, PoolKind::Max, 1)));
        assert!(fused(&build(None, f32::NEG_INFINITY, PoolKind::Max, 2)));
        assert!(!fused(&build(None, 0.0, PoolKind::Max, 1)));
        assert!(!fused(&build(Some(Act::RELU), 0.5, PoolKind::Max, 1)));
        assert!(!fused(&build(Some(Act::RELU), 0.0, PoolKind::Max, 3)));
        assert!(!fused(&build(Some(Act::RELU), 0.0, PoolKind::Average, 1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn convolutions_take_zeros(
            border in [0usize..3, 0usize..3, 0usize..3, 0usize..3], own in [0usize..2, 0usize..2, 0usize..2, 0usize..2],
            value in 0u8..2, groups in prop::sample::select(vec![1usize, 2, 4]), seed in any::<u32>(),
        ) {
            let (mut g, mut r) = (Graph::default(), Numbers(seed));
            let x = g.input("x", &[2, 3, 4, 4]);
            let x = pad(&mut g, x, f32::from(value), border);
            let a = conv(&mut g, &mut r, "a", x, 4, groups, true, window(2, 2, own));
            let b = conv(&mut g, &mut r, "b", x, 4, 1, false, window(3, 1, [0, 1, 0, 1]));
            prop_assert_eq!(fused(&finish(g, &[a, b])), value == 0);
        }
    }
}

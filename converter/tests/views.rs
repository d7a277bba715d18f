//! Random graphs of operators that share memory: reshapes, concats, crops, and what may run in place on them.

mod common;

use common::{Net, check};
use sepal_converter::ir::{Act, BinaryOp, Op, PoolKind, ReduceKind, ValueId};

/// Numbers below a bound, without end.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// A node on some of the values there are, all of rank 4; none if the operator drawn does not fit them.
fn grow(net: &mut Net, dice: &mut Dice, values: &[ValueId]) -> Option<ValueId> {
    // Mostly late ones, so that graphs become deep.
    let x = values[values.len() - 1 - dice.below(values.len().min(4))];
    let shape = net.g.shape(x).to_vec();
    let [n, h, w, c] = shape[..] else { return None };
    Some(match dice.below(11) {
        0 => net.act(x, [Act::Sigmoid, Act::RELU, Act::Tanh][dice.below(3)]),
        1 => net.batch_norm(x, 3),
        2 => {
            let other = *values.iter().find(|&&v| v != x && net.g.shape(v) == shape)?;
            net.binary([BinaryOp::Add, BinaryOp::Mul, BinaryOp::Sub][dice.below(3)], x, other, &shape)
        }
        3 => {
            let axis = dice.below(4);
            let fits = |v: &&ValueId| net.g.shape(**v).iter().enumerate().all(|(i, d)| i == axis || *d == shape[i]);
            let mut parts: Vec<ValueId> = values.iter().rev().filter(fits).take(1 + dice.below(3)).copied().collect();
            parts.push(x);
            let mut out = shape.clone();
            out[axis] = parts.iter().map(|&v| net.g.shape(v)[axis]).sum();
            net.node(Op::Concat { axis }, &parts, &out)
        }
        4 => {
            let perm = [[0, 2, 1, 3], [0, 3, 1, 2], [0, 2, 3, 1], [0, 1, 3, 2]][dice.below(4)];
            net.node(Op::Transpose { perm: perm.to_vec() }, &[x], &perm.map(|i| shape[i]))
        }
        5 | 6 => {
            let to = [[n, w, h, c], [n, 1, h * w, c], [n, h, w * c, 1], [n, 1, 1, h * w * c], [n, h * w, 1, c], [n, h, 1, w * c]];
            net.node(Op::Reshape, &[x], &to[dice.below(6)])
        }
        7 if h > 1 => {
            let start = [0, dice.below(2), 0, 0];
            net.node(Op::Slice { start: start.to_vec(), step: vec![1; 4] }, &[x], &[n, h - 1, w, c])
        }
        8 if h > 1 && w > 1 => net.pool(x, [PoolKind::Max, PoolKind::Average][dice.below(2)], [2, 2], [1, 1], [0; 4]),
        9 if c <= 64 => net.conv(x, [3, 16, 20][dice.below(3)], [1, 1], [1, 1], [1, 1], [0; 4], 1),
        10 => {
            let axis = 1 + dice.below(3);
            let mut out = shape.clone();
            out[axis] = 1;
            net.node(Op::Reduce { kind: ReduceKind::Max, axes: vec![axis], keep_dims: true }, &[x], &out)
        }
        _ => return None,
    })
}

#[test]
fn in_place_on_a_view_of_an_input() {
    for act in [false, true] {
        check("view of an input", |net| {
            let x = net.g.input("x", &[1, 5, 6, 8]);
            let y = net.node(Op::Reshape, &[x], &[1, 1, 1, 240]);
            vec![if act { net.act(y, Act::Tanh) } else { net.batch_norm(y, 3) }]
        });
    }
}

#[test]
fn slopes_that_vary_along_leading_axes() {
    for slope in [vec![3, 1, 1, 1], vec![2, 3, 1, 1, 1], vec![4, 5, 1]] {
        check("slopes", |net| {
            let x = net.g.input("x", &[2, 3, 4, 5, 6]);
            let slope = net.constant(&slope);
            vec![net.node(Op::PRelu, &[x, slope], &[2, 3, 4, 5, 6])]
        });
    }
}

#[test]
fn random_graphs() {
    for seed in 0..1000 {
        check(&format!("graph {seed}"), |net| {
            let mut dice = Dice(seed);
            let c = [4, 16, 20][dice.below(3)];
            let first = net.g.input("x", &[1 + dice.below(2), 2 + dice.below(3), 2 + dice.below(3), c]);
            let mut values = vec![first];
            for _ in 0..40 {
                let small = |v: &ValueId| net.g.shape(*v).iter().product::<usize>() <= 2000;
                values.retain(small);
                if values.len() < 12
                    && let Some(v) = grow(net, &mut dice, &values)
                {
                    values.push(v);
                }
            }
            // What nobody reads is given out, and sometimes something else, too.
            let read = net.g.consumers();
            let mut outputs: Vec<ValueId> = values[1..].iter().filter(|v| !read.contains_key(v)).copied().collect();
            if values.len() > 2 && dice.below(3) == 0 {
                outputs.push(values[1 + dice.below(values.len() - 2)]);
            }
            outputs.dedup();
            if outputs.is_empty() { vec![net.act(first, Act::RELU)] } else { outputs }
        });
    }
}

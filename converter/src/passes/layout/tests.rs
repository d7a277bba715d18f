use super::hold::{flatten, regroup};
use super::*;
use crate::ir::{Act, BinaryOp, ReduceKind};
use crate::passes::testing::{Numbers, batch_norm, binary, conv, finish, same_function, window};
use proptest::prelude::*;

const TO_NHWC: [usize; 4] = [0, 2, 3, 1];
const TO_NCHW: [usize; 4] = [0, 3, 1, 2];

fn transpose(g: &mut Graph, x: ValueId, perm: &[usize]) -> ValueId {
    let shape: Vec<usize> = perm.iter().map(|&p| g.shape(x)[p]).collect();
    g.node(format!("t{}", g.nodes.len()), "Transpose", Op::Transpose { perm: perm.to_vec() }, &[x], &shape)
}

/// A convolution of an NCHW source, as importers write it.
fn conv_nchw(g: &mut Graph, r: &mut Numbers, x: ValueId, channels: usize) -> ValueId {
    let x = transpose(g, x, &TO_NHWC);
    let y = conv(g, r, &format!("c{}", g.nodes.len()), x, channels, 1, false, window(1, 1, [0; 4]));
    transpose(g, y, &TO_NCHW)
}

fn same_shape(g: &mut Graph, op: Op, inputs: &[ValueId]) -> ValueId {
    let shape = g.shape(inputs[0]).to_vec();
    g.node(format!("n{}", g.nodes.len()), "N", op, inputs, &shape)
}

fn optimise(before: &Graph) -> Graph {
    let after = run(before.clone(), &mut Report::default()).unwrap();
    after.verify().unwrap();
    let error = same_function(before, &after);
    assert!(error < 1e-12, "{error}\n{before}\n{after}");
    after
}

#[test]
fn names_do_not_grow_with_what_is_made_of_what_was_made() {
    let mut g = Graph::default();
    let name = "x".repeat(5000);
    let mut x = g.input(name.as_str(), &[1, 2, 3]);
    for _ in 0..100 {
        x = transpose(&mut g, x, &[0, 2, 1]);
        x = g.node("r", "Reshape", Op::Reshape, &[x], &[1, 2, 3]);
    }
    let after = optimise(&finish(g, &[x]));
    assert!(after.nodes.len() >= 100, "{after}");
    assert!(after.nodes.iter().all(|n| n.name.len() < 600), "{after}");
}

#[test]
fn an_nchw_network_keeps_one_transpose_at_its_input() {
    let (mut g, mut r) = (Graph::default(), Numbers(1));
    let x = g.input("x", &[2, 3, 4, 5]);
    let mean = r.constant(&mut g, "mean", &[3, 1, 1]);
    let x1 = same_shape(&mut g, binary(BinaryOp::Sub, Act::None), &[x, mean]);
    let a = conv_nchw(&mut g, &mut r, x1, 6);
    let b = batch_norm(&mut g, &mut r, "bn", a, 1);
    let a = same_shape(&mut g, Op::Act(Act::RELU), &[b]);
    let c = conv_nchw(&mut g, &mut r, a, 6);
    let d = same_shape(&mut g, binary(BinaryOp::Add, Act::None), &[c, a]);
    let pool = g.node("gap", "G", Op::Reduce { kind: ReduceKind::Mean, axes: vec![2, 3], keep_dims: true }, &[d], &[2, 6, 1, 1]);
    let squeeze = conv_nchw(&mut g, &mut r, pool, 6);
    let e = same_shape(&mut g, binary(BinaryOp::Mul, Act::None), &[d, squeeze]);
    let cat = g.node("cat", "Concat", Op::Concat { axis: 1 }, &[e, a], &[2, 12, 4, 5]);
    let pads = vec![(0, 0), (0, 0), (1, 0), (0, 1)];
    let p = g.node("pad", "Pad", Op::Pad { pads, value: 0.0 }, &[cat], &[2, 12, 5, 6]);
    let s = g.node("s", "Slice", Op::Slice { start: vec![0, 4, 0, 1], step: vec![1, 1, 2, 2] }, &[p], &[2, 6, 3, 2]);
    let s = conv_nchw(&mut g, &mut r, s, 6);
    let f = g.node("flat", "Flatten", Op::Reshape, &[s], &[2, 36]);
    let f = batch_norm(&mut g, &mut r, "bn2", f, 1);
    let w = r.constant(&mut g, "w", &[36, 3]);
    let y = g.node("fc", "Gemm", Op::Dense { bias: false, act: Act::None }, &[f, w], &[2, 3]);
    let before = finish(g, &[y]);
    let after = optimise(&before);
    assert_eq!(cost(&after), Cost { moving: 1, inside: 0 }, "{after}");
}

#[test]
fn channel_shuffle_stays_in_one_order() {
    let (mut g, mut r) = (Graph::default(), Numbers(2));
    let x = g.input("x", &[1, 4, 4, 6]);
    let x0 = transpose(&mut g, x, &TO_NCHW);
    let a = g.node("split", "Reshape", Op::Reshape, &[x0], &[1, 2, 3, 4, 4]);
    let b = transpose(&mut g, a, &[0, 2, 1, 3, 4]);
    let c = g.node("merge", "Reshape", Op::Reshape, &[b], &[1, 6, 4, 4]);
    let y = conv_nchw(&mut g, &mut r, c, 4);
    let y = transpose(&mut g, y, &TO_NHWC);
    let after = optimise(&finish(g, &[y]));
    // The shuffle itself moves channels.
    assert_eq!(cost(&after).moving, 1, "{after}");
}

#[test]
fn transposes_that_are_wanted_stay() {
    let mut g = Graph::default();
    let x = g.input("x", &[1, 2, 3, 4]);
    let y = transpose(&mut g, x, &TO_NCHW);
    let z = transpose(&mut g, x, &[0, 2, 1, 3]);
    let after = optimise(&finish(g, &[y, z]));
    assert_eq!(cost(&after), Cost { moving: 2, inside: 0 });
}

#[test]
fn many_readers_do_not_multiply_a_transpose() {
    let (mut g, mut r) = (Graph::default(), Numbers(3));
    let x = g.input("x", &[1, 3, 4, 4]);
    let t = transpose(&mut g, x, &TO_NHWC);
    let acts = [Act::RELU, Act::Tanh, Act::Sigmoid].map(|a| same_shape(&mut g, Op::Act(a), &[t]));
    let outs: Vec<ValueId> = acts
        .iter()
        .enumerate()
        .map(|(i, &a)| conv(&mut g, &mut r, &format!("c{i}"), a, 2, 1, false, window(1, 1, [0; 4])))
        .collect();
    let after = optimise(&finish(g, &outs));
    assert_eq!(cost(&after), Cost { moving: 1, inside: 0 }, "{after}");
}

#[test]
fn regrouping_by_hand() {
    // [N, C, H, W] that lies as [N, H, W, C], flattened over pixels alone and with the channels.
    let (shape, perm) = ([2, 3, 4, 5], [0, 3, 1, 2]);
    assert_eq!(regroup(&shape, &perm, &[2, 3, 20]), Some((vec![2, 20, 3], vec![0, 2, 1])));
    assert_eq!(regroup(&shape, &perm, &[2, 60]), None);
    let (lies, order) = flatten(&shape, &perm, &[2, 60]).unwrap();
    assert_eq!(lies, [2, 60]);
    // Channel 1, row 0, column 2 of the source.
    assert_eq!(order[20 + 2], 2 * 3 + 1);
    assert_eq!(flatten(&[2, 3, 4], &[1, 0, 2], &[2, 12]), None);
    assert_eq!(regroup(&[1, 6, 1, 1], &[0, 3, 1, 2], &[6]), Some((vec![6], vec![0])));
    assert_eq!(regroup(&[2, 3], &[1, 0], &[2, 1, 3]), Some((vec![3, 2, 1], vec![1, 2, 0])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn computes_the_same_with_no_more_transposes(seed in any::<u32>(), steps in 1usize..14) {
        let (mut g, mut r) = (Graph::default(), Numbers(seed));
        let x = g.input("x", &[[1, 2][r.below(2)], 3, 2, 4]);
        let mut all = vec![x];
        for i in 0..steps {
            let x = all[r.below(all.len())];
            let s = g.shape(x).to_vec();
            let rank = s.len();
            let axis = r.below(rank.max(1));
            let y = match r.below(16) {
                0 if rank == 4 => conv_nchw(&mut g, &mut r, x, 3),
                1 if rank > 0 => batch_norm(&mut g, &mut r, &format!("bn{i}"), x, axis),
                2 => same_shape(&mut g, Op::Act(Act::RELU), &[x]),
                3 | 4 => {
                    let mut perm: Vec<usize> = (0..rank).collect();
                    (0..rank).for_each(|k| perm.swap(k, r.below(rank)));
                    transpose(&mut g, x, &perm)
                }
                5 => {
                    let mut c = s[r.below(rank + 1)..].to_vec();
                    c.iter_mut().for_each(|d| if r.below(2) == 0 { *d = 1 });
                    let c = r.constant(&mut g, &format!("k{i}"), &c);
                    same_shape(&mut g, binary(BinaryOp::Add, Act::None), &[x, c])
                }
                6 | 7 => {
                    let other = all[r.below(all.len())];
                    match crate::ir::verify::broadcast(&s, g.shape(other)) {
                        Some(shape) if shape.iter().product::<usize>() < 2000 => {
                            g.node(format!("b{i}"), "Mul", binary(BinaryOp::Max, Act::None), &[x, other], &shape)
                        }
                        _ => continue,
                    }
                }
                8 if rank > 0 && s[axis] < 8 => {
                    let mut shape = s.clone();
                    shape[axis] *= 2;
                    g.node(format!("cat{i}"), "Concat", Op::Concat { axis }, &[x, x], &shape)
                }
                9 if rank > 0 => {
                    let keep_dims = r.below(2) == 0;
                    let mut shape = s.clone();
                    if keep_dims { shape[axis] = 1 } else { shape.remove(axis); }
                    g.node(format!("r{i}"), "Reduce", Op::Reduce { kind: ReduceKind::Mean, axes: vec![axis], keep_dims }, &[x], &shape)
                }
                10 if rank > 0 => {
                    let mut pads = vec![(0, 0); rank];
                    pads[axis] = (1, 0);
                    let mut shape = s.clone();
                    shape[axis] += 1;
                    g.node(format!("p{i}"), "Pad", Op::Pad { pads, value: 1.0 }, &[x], &shape)
                }
                11 if rank > 0 && s[axis] > 1 => {
                    let mut start = vec![0; rank];
                    start[axis] = 1;
                    let mut shape = s.clone();
                    shape[axis] -= 1;
                    g.node(format!("s{i}"), "Slice", Op::Slice { start, step: vec![1; rank] }, &[x], &shape)
                }
                12 | 13 => {
                    // Flatten some, or take apart and add axes of extent 1.
                    let cut = r.below(rank + 1);
                    let tail: usize = s[cut..].iter().product();
                    let mut shape = s[..cut].to_vec();
                    match r.below(3) {
                        0 if tail.is_multiple_of(2) => shape.extend([2, tail / 2]),
                        1 => { shape.push(1); shape.extend(&s[cut..]) }
                        _ => shape.push(tail),
                    }
                    if shape.len() > 6 { continue }
                    g.node(format!("v{i}"), "Reshape", Op::Reshape, &[x], &shape)
                }
                14 if rank > 0 => {
                    let w = r.constant(&mut g, &format!("w{i}"), &[s[rank - 1], 4]);
                    let mut shape = s.clone();
                    shape[rank - 1] = 4;
                    g.node(format!("d{i}"), "Gemm", Op::Dense { bias: false, act: Act::None }, &[x, w], &shape)
                }
                15 if rank > 0 => {
                    let c = r.constant(&mut g, &format!("slope{i}"), &[s[rank - 1]]);
                    let y = same_shape(&mut g, Op::PRelu, &[x, c]);
                    same_shape(&mut g, Op::Softmax { axis, log: false }, &[y])
                }
                _ if rank < 5 => {
                    let shape = [&[2][..], &s].concat();
                    g.node(format!("e{i}"), "Expand", Op::Broadcast, &[x], &shape)
                }
                _ => continue,
            };
            if g.shape(y).iter().product::<usize>() < 2000 {
                all.push(y);
            }
        }
        let outputs = [all[all.len() - 1], all[r.below(all.len())]];
        let mut before = finish(g, &outputs);
        before.remove_dead();
        let after = optimise(&before);
        prop_assert!(cost(&after).moving <= cost(&before).moving, "{}\n{}", before, after);
    }
}

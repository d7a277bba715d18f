//! Random networks: what runs by rows gives the bits of single steps, which are compared with the f64 interpreter.

mod common;

use common::{Net, check_with};
use sepal_converter::emit;
use sepal_converter::ir::{Act, BinaryOp, Op, PoolKind, ValueId};

/// Repeatable choices.
struct Choice(u64);

impl Choice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// One more value of a network, or none if the choice does not fit.
fn grow(net: &mut Net, choice: &mut Choice, values: &[ValueId]) -> Option<ValueId> {
    let last = *values.last()?;
    let v = if choice.below(4) > 0 { last } else { choice.of(values) };
    let shape = net.g.shape(v).to_vec();
    let (h, w, c) = (shape[1], shape[2], shape[3]);
    let alike = |net: &Net, axes: usize| -> Vec<ValueId> {
        values.iter().copied().filter(|&u| net.g.shape(u)[..axes] == shape[..axes]).collect()
    };
    Some(match choice.below(9) {
        0..=2 => {
            let kernel = [choice.of(&[1, 1, 2, 3, 3, 5, 7]), choice.of(&[1, 1, 3, 3, 5])];
            let stride = [choice.of(&[1, 1, 1, 2, 3]), choice.of(&[1, 1, 2])];
            let dilation = [choice.of(&[1, 1, 1, 2]), choice.of(&[1, 1, 2])];
            let reach = [0, 1].map(|d| dilation[d] * (kernel[d] - 1) + 1);
            let pads = [0, 1, 0, 1].map(|d| choice.below(reach[d] + 1).min(6));
            if h + pads[0] + pads[2] < reach[0] || w + pads[1] + pads[3] < reach[1] {
                return None;
            }
            let depthwise = choice.below(3) == 0;
            let groups: Vec<usize> = [1, 1, 1, 2, 4].into_iter().filter(|g| c % g == 0).collect();
            let groups = if depthwise { c } else { choice.of(&groups) };
            let channels = if depthwise { c } else { groups * choice.of(&[1, 3, 8, 16, 20]) };
            let y = net.conv(v, channels, kernel, stride, dilation, pads, groups);
            if depthwise && choice.below(2) == 0 {
                net.conv(y, choice.of(&[8, 24, 40]), [1, 1], [1, 1], [1, 1], [0; 4], 1)
            } else {
                y
            }
        }
        3 => {
            let acts = [Act::RELU, Act::Clamp { lo: 0.0, hi: 6.0 }, Act::Tanh, Act::Silu, Act::HardSwish, Act::Leaky(0.1)];
            net.act(v, choice.of(&acts))
        }
        4 | 5 => {
            let other = choice.of(&alike(net, 4));
            net.binary(choice.of(&[BinaryOp::Add, BinaryOp::Mul, BinaryOp::Sub, BinaryOp::Max]), v, other, &shape)
        }
        6 => {
            let constant = net.constant(&[1, 1, 1, c]);
            net.binary(choice.of(&[BinaryOp::Add, BinaryOp::Mul]), v, constant, &shape)
        }
        7 => {
            let kernel = [choice.of(&[1, 2, 3]), choice.of(&[1, 2, 3])];
            let pads = [0, 1, 0, 1].map(|d| choice.below(kernel[d]));
            if h + pads[0] + pads[2] < kernel[0] || w + pads[1] + pads[3] < kernel[1] {
                return None;
            }
            let kind = if choice.below(2) == 0 { PoolKind::Max } else { PoolKind::Average };
            net.pool(v, kind, kernel, [choice.of(&[1, 1, 2]), choice.of(&[1, 2])], pads)
        }
        _ => {
            let other = choice.of(&alike(net, 3));
            let whole = [shape[0], h, w, c + net.g.shape(other)[3]];
            if whole[3] > 128 {
                return None;
            }
            net.node(Op::Concat { axis: 3 }, &[v, other], &whole)
        }
    })
}

fn build(net: &mut Net, seed: u64) -> Vec<ValueId> {
    let mut choice = Choice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let rows = choice.of(&[1, 2, 5, 9, 16, 23, 37]);
    let shape = [choice.of(&[1, 1, 2, 3]), rows, choice.of(&[1, 3, 8, 13, 20]), choice.of(&[1, 3, 8, 16, 24, 32, 40])];
    let mut values = vec![net.g.input("x", &shape)];
    for _ in 0..3 + choice.below(9) {
        values.extend(grow(net, &mut choice, &values));
    }
    if values.len() == 1 {
        values.push(net.act(values[0], Act::RELU));
    }
    let mut outputs = vec![values[values.len() - 1]];
    let other = values[1 + choice.below(values.len() - 1)];
    if choice.below(3) == 0 && other != outputs[0] {
        outputs.push(other);
    }
    outputs
}

/// Bytes of the arena, and pipelines, of an inverted residual of so many rows and columns.
fn inverted_residual(size: usize, streaming: emit::Streaming) -> (usize, usize) {
    let mut net = Net::new();
    let x = net.g.input("x", &[1, size, size, 16]);
    let y = net.conv(x, 96, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    let y = net.conv(y, 96, [3, 3], [2, 2], [1, 1], [1; 4], 96);
    let y = net.conv(y, 24, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    net.g.outputs = vec![y];
    net.g.output_names = vec!["y".into()];
    let (graph, _) = sepal_converter::passes::run(net.g).unwrap();
    let emitted = emit::emit(&graph, emit::Options { streaming, ..emit::Options::default() }, vec![]).unwrap();
    let bytes = sepal::AlignedBytes::copy(&[emitted.structure, emitted.weights].concat()).unwrap();
    let model = sepal::Model::from_bytes(&bytes).unwrap();
    (model.arena_bytes(1), model.view().pipelines().len())
}

#[test]
fn large_tensors_are_streamed_and_small_ones_are_not() {
    let (whole, none) = inverted_residual(112, emit::Streaming::Never);
    let (streamed, one) = inverted_residual(112, emit::Streaming::Estimated);
    assert_eq!([none, one], [0, 1]);
    assert!(streamed * 3 < whole, "{streamed} bytes instead of {whole}");
    assert_eq!(inverted_residual(7, emit::Streaming::Estimated).1, 0);
}

#[test]
fn random_networks() {
    let options = emit::Options { max_error: 1e-5, ..emit::Options::default() };
    for seed in 0..250 {
        check_with(&format!("seed {seed}"), options, 1e-4, |net| build(net, seed));
    }
}

#[test]
fn random_networks_with_weights_in_halves() {
    // Tiles of large error, too: what counts is that rows give the bits of whole steps.
    let options = emit::Options { max_error: 0.1, precision: emit::Precision::F16, ..emit::Options::default() };
    for seed in 0..60 {
        check_with(&format!("seed {seed}"), options, 0.1, |net| build(net, seed));
    }
}

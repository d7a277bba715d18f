//! Every operator of the IR through the passes, the emitter and the runtime, against the f64 interpreter of the graph as it was.

mod common;

use common::check;
use sepal_converter::emit;
use sepal_converter::ir::{Act, BinaryOp, Op, Pads, Places, PoolKind, ReduceKind, ResizeKind, Unary, ValueId, Window};

#[test]
fn convolutions() {
    for (c, o, groups) in [
        (1, 1, 1),
        (3, 8, 1),
        (5, 24, 1),
        (16, 17, 1),
        (33, 40, 1),
        (6, 12, 2),
        (15, 30, 5),
        (32, 32, 2),
        (6, 6, 6),
        (17, 17, 17),
        (4, 8, 4),
        (40, 40, 40),
    ] {
        for (kernel, stride, dilation, pads) in [
            ([1, 1], [1, 1], [1, 1], [0; 4]),
            ([3, 3], [1, 1], [1, 1], [1; 4]),
            ([3, 3], [2, 2], [1, 1], [0, 0, 1, 1]),
            ([1, 7], [1, 1], [1, 1], [0, 3, 0, 3]),
            ([5, 5], [2, 1], [1, 1], [2; 4]),
            ([3, 3], [1, 1], [2, 2], [2; 4]),
            ([2, 2], [3, 3], [1, 1], [0; 4]),
            ([1, 1], [2, 2], [1, 1], [0; 4]),
        ] {
            for (n, h, w) in [(1, 9, 8), (2, 7, 7), (1, 5, 13)] {
                check(&format!("conv {c}->{o} g{groups} {kernel:?} s{stride:?} d{dilation:?} p{pads:?} on {n}x{h}x{w}"), |net| {
                    let x = net.g.input("x", &[n, h, w, c]);
                    vec![net.conv(x, o, kernel, stride, dilation, pads, groups)]
                });
            }
        }
    }
}

/// Squeezes and excites `x` of 24 channels, then `o` of them by a pointwise convolution.
fn squeeze_excite(net: &mut common::Net, x: ValueId, o: usize, gate_first: bool) -> [ValueId; 2] {
    let [n, h, w, c] = net.g.shape(x)[..] else { panic!("rank") };
    let mean = net.node(Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims: true }, &[x], &[n, 1, 1, c]);
    let few = net.conv(mean, 5, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    let all = net.conv(few, c, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    let gate = net.act(all, Act::Sigmoid);
    let (a, b) = if gate_first { (gate, x) } else { (x, gate) };
    let excited = net.binary(BinaryOp::Mul, a, b, &[n, h, w, c]);
    [excited, net.conv(excited, o, [1, 1], [1, 1], [1, 1], [0; 4], 1)]
}

#[test]
fn gates_go_into_weights_where_these_are_few() {
    use sepal_format::record::take::{GATED, PLAIN};
    for (n, o, gate_first, gated) in [(1, 16, false, true), (4, 21, true, true), (1, 22, false, false), (2, 40, true, false)] {
        let block = |net: &mut common::Net| {
            let x = net.g.input("x", &[n, 6, 7, 20]);
            let x = net.conv(x, 24, [3, 3], [1, 1], [1, 1], [1; 4], 1);
            let [_, y] = squeeze_excite(net, x, o, gate_first);
            let shortcut = net.conv(x, o, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            let shape = net.g.shape(y).to_vec();
            vec![net.binary(BinaryOp::Add, y, shortcut, &shape)]
        };
        check(&format!("squeeze-excite of {n} to {o}"), block);
        assert_eq!(common::takes(block).contains(&GATED), gated, "{n} to {o}");
    }
    // The product is an output too, is read twice, or goes to another window: it is computed.
    for case in 0..3 {
        let block = |net: &mut common::Net| {
            let x = net.g.input("x", &[1, 6, 7, 24]);
            let [excited, y] = squeeze_excite(net, x, 8, false);
            match case {
                0 => vec![y, excited],
                1 => vec![y, net.conv(excited, 9, [1, 1], [1, 1], [1, 1], [0; 4], 1)],
                _ => vec![net.conv(y, 9, [3, 3], [1, 1], [1, 1], [1; 4], 1), net.act(excited, Act::Tanh)],
            }
        };
        check(&format!("squeeze-excite, case {case}"), block);
        assert!(common::takes(block).iter().all(|&t| t == PLAIN), "case {case}");
    }
}

#[test]
fn pictures_in_planes() {
    use sepal_format::record::take::PLANES;
    for (n, c, stride, taken) in [(1, 3, 2, true), (3, 2, 2, true), (1, 4, 1, true), (1, 5, 2, false)] {
        for (kernel, pads) in [([3, 3], [1; 4]), ([1, 1], [0; 4]), ([5, 4], [0, 2, 3, 0])] {
            let net = |net: &mut common::Net| {
                let x = net.g.input("x", &[n, c, 11, 12]);
                let x = net.node(Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x], &[n, 11, 12, c]);
                let y = net.conv(x, 20, kernel, [stride; 2], [1, 1], pads, 1);
                vec![net.conv(y, 7, [3, 3], [1, 1], [1, 1], [1; 4], 1)]
            };
            check(&format!("planes {n}x{c} {kernel:?}"), net);
            assert_eq!(common::takes(net).contains(&PLANES), taken, "{n}x{c} {kernel:?} by {stride}");
        }
    }
}

/// The difference of two convolutions that are nearly the same: their errors stay while the range shrinks.
#[test]
fn a_network_that_magnifies_errors_gets_more_exact_convolutions() {
    use sepal_converter::convert::{ConvertOptions, convert_graph};
    let convert = |max_error: f64, fixed_error: bool| {
        let mut net = common::Net::new();
        let x = net.g.input("x", &[1, 24, 24, 64]);
        let a = net.conv(x, 64, [3, 3], [1, 1], [1, 1], [1; 4], 1);
        let b = net.conv(x, 64, [3, 3], [1, 1], [1, 1], [1; 4], 1);
        let (first, second) = (net.g.nodes[0].inputs.clone(), net.g.nodes[1].inputs.clone());
        for (&from, &to) in first[1..].iter().zip(&second[1..]) {
            let near = net.g.data(from).unwrap().iter().zip(net.g.data(to).unwrap().iter());
            let near = near.map(|(a, b)| 0.95 * a + 0.05 * b).collect();
            net.g.values[to.0].data = Some(std::sync::Arc::new(near));
        }
        let shape = net.g.shape(a).to_vec();
        net.g.outputs = vec![net.binary(BinaryOp::Sub, a, b, &shape)];
        net.g.output_names = vec!["y".into()];
        let emit = emit::Options { max_error, ..emit::Options::default() };
        let options = ConvertOptions { emit, fixed_error, ..ConvertOptions::default() };
        convert_graph(net.g, "n", "test", &options, &mut ()).unwrap().summary
    };
    let (direct, magnified, fixed) = (convert(0.0, false), convert(1e-5, false), convert(1e-5, true));
    let off = |s: &sepal_converter::convert::Summary| s.self_check.as_ref().unwrap().relative;
    assert_eq!(magnified.magnified, Some(off(&fixed)));
    assert!(off(&magnified) < off(&fixed) && !fixed.fast.is_empty(), "{} of {}", off(&magnified), off(&fixed));
    // What was asked for, or cannot be more exact, is left.
    assert!(fixed.magnified.is_none() && direct.magnified.is_none());
}

#[test]
fn pointwise_convolutions_by_halves() {
    // An odd number of pixels, channels that end in the middle of a block, two images.
    let count = common::check_with("halves", emit::Options::default(), 1e-5, |net| {
        let x = net.g.input("x", &[2, 17, 19, 344]);
        let y = net.conv(x, 344, [3, 3], [1, 1], [1, 1], [1; 4], 344);
        let y = net.conv(y, 500, [1, 1], [1, 1], [1, 1], [0; 4], 1);
        let y = net.act(y, Act::Silu);
        let z = net.conv(y, 500, [1, 1], [1, 1], [1, 1], [0; 4], 1);
        let shape = net.g.shape(y).to_vec();
        let sum = net.binary(BinaryOp::Add, y, z, &shape);
        vec![net.act(sum, Act::RELU)]
    });
    assert_eq!(count, 2);
}

/// What became of a network's pointwise convolution of many channels: whether it runs by Strassen's algorithm, and the self-check's error.
fn halved(no_verify: bool, fixed_error: bool, build: impl Fn(&mut common::Net) -> ValueId) -> (bool, f64) {
    use sepal_converter::convert::{ConvertOptions, convert_graph};
    let mut net = common::Net::new();
    net.g.outputs = vec![build(&mut net)];
    net.g.output_names = vec!["y".into()];
    let options = ConvertOptions { no_verify, fixed_error, ..ConvertOptions::default() };
    let summary = convert_graph(net.g, "n", "test", &options, &mut ()).unwrap().summary;
    (!summary.fast.is_empty(), summary.self_check.map_or(0.0, |check| check.relative))
}

#[test]
fn halves_where_a_network_bears_them() {
    let pixels = [1, 14, 14, 512];
    let input = |net: &mut common::Net| net.g.input("x", &pixels);
    let pointwise = |net: &mut common::Net, x: ValueId| net.conv(x, 512, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    let plain = |net: &mut common::Net| {
        let x = input(net);
        let y = pointwise(net, x);
        net.pool(y, PoolKind::Average, [14, 14], [1, 1], [0; 4])
    };
    assert!(halved(false, false, plain).0);
    // Nothing but the self-check tells what the step is given.
    assert!(!halved(true, false, plain).0);
    // By what the emitter alone decides, since the self-check of so short a network leaves less to fast algorithms.
    let fast = |name: &str, build: &dyn Fn(&mut common::Net) -> ValueId| {
        common::check_with(name, emit::Options::default(), 1e-5, |net| vec![build(net)])
    };
    assert_eq!(
        fast("a convolution", &|net| {
            let x = input(net);
            pointwise(net, x)
        }),
        1
    );
    // A normalised pixel shows what is small beside its neighbours.
    let normalised = |net: &mut common::Net| {
        let x = input(net);
        let y = pointwise(net, x);
        let inputs = [y, net.constant(&[512]), net.constant(&[512])];
        net.node(Op::LayerNorm { epsilon: 1e-6, centred: true }, &inputs, &pixels)
    };
    assert_eq!(fast("a convolution and a norm", &normalised), 0);
    // Samples of a batch are no pixels.
    let samples = |net: &mut common::Net| {
        let x = net.g.input("x", &[196, 512]);
        let w = net.constant(&[512, 512]);
        net.node(Op::Dense { bias: false, act: Act::None }, &[x, w], &[196, 512])
    };
    assert_eq!(fast("samples", &samples), 0);
}

#[test]
fn halves_of_channels_that_differ_by_orders_of_magnitude() {
    // What a few channels have more of, the weights have less.
    let inputs = |net: &mut common::Net, factor: f32| {
        let uneven = |c: usize| if c < 8 { factor } else { 1.0 };
        let x = net.g.input("x", &[1, 14, 14, 512]);
        let x = net.act(x, Act::Sigmoid);
        let scale = net.constant(&[512]);
        net.g.values[scale.0].data = Some(std::sync::Arc::new((0..512).map(uneven).collect()));
        let x = net.binary(BinaryOp::Mul, x, scale, &[1, 14, 14, 512]);
        let x = net.pool(x, PoolKind::Max, [3, 3], [1, 1], [1; 4]);
        let y = net.conv(x, 512, [1, 1], [1, 1], [1, 1], [0; 4], 1);
        let weights = net.g.nodes.last().unwrap().inputs[1];
        let even = net.g.data(weights).unwrap().iter().enumerate().map(|(i, w)| w / uneven(i / 512)).collect();
        net.g.values[weights.0].data = Some(std::sync::Arc::new(even));
        y
    };
    // The budget is kept: but for what the step errs on its own input it would run by halves. In the mean the output does not show it.
    let (mixed, error) = halved(false, true, |net| {
        let y = inputs(net, 1e4);
        net.pool(y, PoolKind::Average, [14, 14], [1, 1], [0; 4])
    });
    assert!(!mixed && error < 3e-6, "{error:.1e}");
    // Here the output is so far off that the self-check refuses it; the step is to blame, not the budget.
    let (mixed, error) = halved(false, true, |net| inputs(net, 1e6));
    assert!(!mixed && error < 3e-6, "{error:.1e}");
    // Of outputs, behind which a scale makes all equal: nothing is refused, for the direct sum is there.
    let (mixed, error) = halved(false, false, |net| {
        let x = net.g.input("x", &[1, 14, 14, 512]);
        let y = net.conv(x, 512, [1, 1], [1, 1], [1, 1], [0; 4], 1);
        let weights = net.g.nodes.last().unwrap().inputs[1];
        let small = |c: usize| if c < 256 { 1e-4f32 } else { 1.0 };
        let data = net.g.data(weights).unwrap().iter().enumerate().map(|(i, w)| w * small(i % 512)).collect();
        net.g.values[weights.0].data = Some(std::sync::Arc::new(data));
        let y = net.act(y, Act::RELU);
        let y = net.pool(y, PoolKind::Max, [3, 3], [1, 1], [1; 4]);
        let scale = net.constant(&[512]);
        net.g.values[scale.0].data = Some(std::sync::Arc::new((0..512).map(|c| 1.0 / small(c)).collect()));
        net.binary(BinaryOp::Mul, y, scale, &[1, 14, 14, 512])
    });
    assert!(!mixed && error < 3e-6, "{error:.1e}");
}

#[test]
fn winograd_convolutions() {
    for (kernel, pads) in
        [([3, 3], [1, 1, 1, 1]), ([1, 7], [0, 3, 0, 3]), ([7, 1], [3, 0, 3, 0]), ([1, 3], [0, 1, 0, 1]), ([3, 3], [0; 4])]
    {
        let options = emit::Options { max_error: 1e-5, ..emit::Options::default() };
        let count = common::check_with("winograd", options, 2e-5, |net| {
            let x = net.g.input("x", &[2, 19, 17, 40]);
            let y = net.conv(x, 64, kernel, [1, 1], [1, 1], pads, 1);
            let z = net.act(y, Act::HardSwish);
            let z = net.conv(z, 64, kernel, [1, 1], [1, 1], pads, 1);
            if pads == [0; 4] {
                return vec![z];
            }
            // A residual, and one of the results in a concat.
            let shape = net.g.shape(y).to_vec();
            let sum = net.binary(BinaryOp::Add, y, z, &shape);
            let mut wide = shape;
            wide[3] = 128;
            vec![net.node(Op::Concat { axis: 3 }, &[sum, z], &wide)]
        });
        assert_eq!(count, 2, "{kernel:?}");
    }
    // Dense pixels of three channels become padded ones first.
    common::check_with("thin", emit::Options { max_error: 1e-5, ..emit::Options::default() }, 2e-5, |net| {
        let x = net.g.input("x", &[1, 40, 40, 3]);
        vec![net.conv(x, 64, [3, 3], [1, 1], [1, 1], [1; 4], 1)]
    });
}

/// How many pipelines a network has with every step that can run by rows in one, a row at a time.
fn pipelines(build: impl Fn(&mut common::Net) -> Vec<ValueId>) -> usize {
    let mut net = common::Net::new();
    net.g.outputs = build(&mut net);
    net.g.output_names = vec!["y".into()];
    let (graph, _) = sepal_converter::passes::run(net.g).unwrap();
    let options = emit::Options { streaming: emit::Streaming::Always, ..emit::Options::default() };
    let emitted = emit::emit(&graph, options, vec![]).unwrap();
    let bytes = sepal::AlignedBytes::copy(&[emitted.structure, emitted.weights].concat()).unwrap();
    sepal::Model::from_bytes(&bytes).unwrap().view().pipelines().len()
}

#[test]
fn pipelines_of_branches_and_awkward_windows() {
    let separable = |net: &mut common::Net, x: ValueId, o: usize, stride: usize| {
        let c = net.g.shape(x)[3];
        let y = net.conv(x, c, [3, 3], [stride; 2], [1, 1], [1; 4], c);
        net.conv(y, o, [1, 1], [1, 1], [1, 1], [0; 4], 1)
    };
    // Two separable convolutions and a pool beside a shortcut of stride 2; a Winograd convolution first.
    for (n, h, w) in [(1, 21, 17), (2, 22, 9), (1, 3, 40), (1, 1, 1)] {
        let block = |net: &mut common::Net| {
            let x = net.g.input("x", &[n, h, w, 32]);
            let x = net.conv(x, 32, [3, 3], [1, 1], [1, 1], [1; 4], 1);
            let x = net.act(x, Act::RELU);
            let y = separable(net, x, 40, 1);
            let y = net.act(y, Act::RELU);
            let y = separable(net, y, 40, 1);
            let y = net.pool(y, PoolKind::Max, [3, 3], [2, 2], [1; 4]);
            let skip = net.conv(x, 40, [1, 1], [2, 2], [1, 1], [0; 4], 1);
            let shape = net.g.shape(y).to_vec();
            vec![net.binary(BinaryOp::Add, y, skip, &shape)]
        };
        let options = emit::Options { max_error: 1e-5, ..emit::Options::default() };
        common::check_with(&format!("block on {n}x{h}x{w}"), options, 2e-5, block);
        assert!(h == 1 || pipelines(block) > 0);
    }
    // Inverted residuals, of which the second adds its input.
    for stride in [1, 2] {
        let inverted = |net: &mut common::Net| {
            let mut x = net.g.input("x", &[2, 15, 14, 24]);
            for stride in [stride, 1] {
                let y = net.conv(x, 72, [1, 1], [1, 1], [1, 1], [0; 4], 1);
                let y = net.act(y, Act::Clamp { lo: 0.0, hi: 6.0 });
                let y = separable(net, y, 24, stride);
                let shape = net.g.shape(y).to_vec();
                x = if shape == net.g.shape(x) { net.binary(BinaryOp::Add, x, y, &shape) } else { y };
            }
            vec![x]
        };
        check(&format!("inverted residuals of stride {stride}"), inverted);
        assert!(pipelines(inverted) > 0);
    }
    // Windows with gaps between them, wider than the image, far outside of it.
    for (kernel, stride, dilation, pads) in [
        ([1, 1], [3, 3], [1, 1], [0; 4]),
        ([2, 2], [3, 3], [1, 1], [0; 4]),
        ([3, 3], [1, 1], [4, 4], [4; 4]),
        ([5, 3], [2, 1], [1, 2], [4, 2, 4, 2]),
        ([7, 1], [1, 1], [1, 1], [6, 0, 6, 0]),
        ([2, 2], [1, 1], [1, 1], [3; 4]),
    ] {
        for groups in [1, 16] {
            check(&format!("{kernel:?} s{stride:?} d{dilation:?} p{pads:?} g{groups} twice"), |net| {
                let x = net.g.input("x", &[1, 23, 11, 16]);
                let y = net.conv(x, 16, kernel, stride, dilation, pads, groups);
                let y = net.act(y, Act::Tanh);
                let y = net.pool(y, PoolKind::Average, [2, 1], [1, 1], [1, 0, 1, 0]);
                let y = net.conv(y, 16, kernel, [1, 1], [1, 1], pads, groups);
                // Rows that nobody reads.
                let y = net.act(y, Act::RELU);
                vec![net.pool(y, PoolKind::Max, [1, 1], [3, 2], [0; 4])]
            });
        }
    }
}

#[test]
fn one_pixel_images() {
    for (c, o, groups) in [(1, 1, 1), (3, 20, 1), (16, 16, 16), (48, 33, 1)] {
        check(&format!("{c}->{o} g{groups} on one pixel"), |net| {
            let x = net.g.input("x", &[1, 1, 1, c]);
            vec![net.conv(x, o, [3, 3], [1, 1], [1, 1], [1; 4], groups)]
        });
    }
}

#[test]
fn transposed_convolutions() {
    for (c, o, groups, stride, kernel, pads) in [
        (3, 5, 1, [2, 2], [2, 2], [0; 4]),
        (4, 6, 2, [2, 1], [3, 3], [1; 4]),
        (8, 8, 1, [1, 1], [3, 3], [1; 4]),
        (6, 6, 6, [2, 2], [4, 4], [1; 4]),
    ] {
        check(&format!("deconv {c}->{o} g{groups} {stride:?} {kernel:?}"), |net| {
            let x = net.g.input("x", &[2, 4, 5, c]);
            let w = net.constant(&[kernel[0], kernel[1], o / groups, c]);
            let b = net.constant(&[o]);
            let window = Window {
                kernel,
                stride,
                dilation: [1, 1],
                pads: Pads { top: pads[0], left: pads[1], bottom: pads[2], right: pads[3] },
            };
            let oh = 3 * stride[0] + kernel[0] - pads[0] - pads[2];
            let ow = 4 * stride[1] + kernel[1] - pads[1] - pads[3];
            let y = net.node(Op::ConvTranspose { window, groups, bias: true, act: Act::None }, &[x, w, b], &[2, oh, ow, o]);
            let y = net.batch_norm(y, 3);
            vec![net.act(y, Act::RELU)]
        });
    }
}

#[test]
fn xception_block() {
    for (h, c) in [(9, 24), (14, 40), (1, 16)] {
        check(&format!("xception block {h} {c}"), |net| {
            let x = net.g.input("x", &[1, h, h, 3]);
            let x = net.conv(x, c, [3, 3], [1, 1], [1, 1], [1; 4], 1);
            let x = net.batch_norm(x, 3);
            let x = net.act(x, Act::RELU);
            let r = net.conv(x, c + 8, [1, 1], [2, 2], [1, 1], [0; 4], 1);
            let r = net.batch_norm(r, 3);
            let y = net.act(x, Act::RELU);
            let y = net.conv(y, c, [3, 3], [1, 1], [1, 1], [1; 4], c);
            let y = net.conv(y, c + 8, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            let y = net.batch_norm(y, 3);
            let y = net.act(y, Act::RELU);
            let y = net.conv(y, c + 8, [3, 3], [1, 1], [1, 1], [1; 4], c + 8);
            let y = net.conv(y, c + 8, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            let y = net.batch_norm(y, 3);
            let p = if h % 2 == 0 { [0, 0, 1, 1] } else { [1; 4] };
            let y = net.pool(y, PoolKind::Max, [3, 3], [2, 2], p);
            let shape = net.g.shape(y).to_vec();
            let y = net.binary(BinaryOp::Add, y, r, &shape);
            let s = [1, c + 8];
            let m = net.node(Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims: false }, &[y], &s);
            let w = net.constant(&[c + 8, 7]);
            let d = net.node(Op::Dense { bias: false, act: Act::None }, &[m, w], &[1, 7]);
            vec![net.node(Op::Softmax { axis: 1, log: false }, &[d], &[1, 7]), y]
        });
    }
}

#[test]
fn inverted_residual_with_squeeze_excite() {
    for c in [16, 24, 20] {
        check(&format!("mbconv {c}"), |net| {
            let x = net.g.input("x", &[2, 6, 7, c]);
            let y = net.conv(x, c * 6, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            let y = net.batch_norm(y, 3);
            let y = net.act(y, Act::Silu);
            let y = net.conv(y, c * 6, [5, 5], [1, 1], [1, 1], [2; 4], c * 6);
            let y = net.batch_norm(y, 3);
            let y = net.act(y, Act::Silu);
            let e = c * 6;
            let s = net.node(Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims: true }, &[y], &[2, 1, 1, e]);
            let s = net.conv(s, 4, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            let s = net.act(s, Act::RELU);
            let s = net.conv(s, e, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            let s = net.act(s, Act::Sigmoid);
            let y = net.binary(BinaryOp::Mul, y, s, &[2, 6, 7, e]);
            let y = net.conv(y, c, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            let y = net.batch_norm(y, 3);
            vec![net.binary(BinaryOp::Add, y, x, &[2, 6, 7, c])]
        });
    }
}

#[test]
fn concats() {
    for widths in [vec![16, 32, 16], vec![8, 24, 3], vec![16, 5]] {
        check(&format!("concat {widths:?}"), |net| {
            let x = net.g.input("x", &[1, 5, 6, 4]);
            let x = net.conv(x, 16, [3, 3], [1, 1], [1, 1], [1; 4], 1);
            let parts: Vec<ValueId> = widths.iter().map(|&o| net.conv(x, o, [1, 1], [1, 1], [1, 1], [0; 4], 1)).collect();
            let total: usize = widths.iter().sum();
            let y = net.node(Op::Concat { axis: 3 }, &parts, &[1, 5, 6, total]);
            let y = net.batch_norm(y, 3);
            let y = net.act(y, Act::RELU);
            let z = net.pool(y, PoolKind::Average, [3, 3], [1, 1], [1; 4]);
            let z = net.conv(z, 16, [3, 3], [1, 1], [1, 1], [1; 4], 1);
            // Dense connectivity: the first concat is a part of the second, and so is what is computed from it.
            let dense = net.node(Op::Concat { axis: 3 }, &[y, z], &[1, 5, 6, total + 16]);
            let a = net.act(dense, Act::RELU);
            let again = net.node(Op::Concat { axis: 3 }, &[a, z, z], &[1, 5, 6, total + 48]);
            vec![again, dense]
        });
    }
    for axis in 0..3 {
        check(&format!("concat on axis {axis}"), |net| {
            let x = net.g.input("x", &[2, 3, 4, 5]);
            let y = net.act(x, Act::RELU);
            let mut shape = [2, 3, 4, 5];
            shape[axis] *= 3;
            vec![net.node(Op::Concat { axis }, &[x, y, x], &shape)]
        });
    }
}

#[test]
fn activations() {
    for act in [
        Act::RELU,
        Act::Clamp { lo: 0.0, hi: 6.0 },
        Act::Clamp { lo: -0.3, hi: 0.2 },
        Act::Leaky(0.2),
        Act::Elu(1.0),
        Act::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Act::HardSwish,
        Act::Sigmoid,
        Act::Silu,
        Act::Tanh,
        Act::Exp,
    ] {
        check(&format!("{act:?}"), |net| {
            let x = net.g.input("x", &[1, 3, 5, 7]);
            let a = net.act(x, act);
            let y = net.conv(x, 21, [3, 3], [1, 1], [1, 1], [1; 4], 7);
            let y = net.act(y, act);
            let z = net.conv(y, 21, [3, 3], [1, 1], [1, 1], [1; 4], 21);
            vec![a, net.act(z, act), y]
        });
    }
    for shape in [vec![7], vec![1, 1, 7], vec![3, 5, 7], vec![1]] {
        check(&format!("prelu {shape:?}"), |net| {
            let x = net.g.input("x", &[2, 3, 5, 7]);
            let slope = net.constant(&shape);
            vec![net.node(Op::PRelu, &[x, slope], &[2, 3, 5, 7])]
        });
    }
}

#[test]
fn binaries() {
    let full = [2, 3, 4, 18];
    for op in [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div, BinaryOp::Min, BinaryOp::Max] {
        for shape in [
            vec![2, 3, 4, 18],
            vec![1, 1, 1, 18],
            vec![18],
            vec![],
            vec![2, 1, 1, 18],
            vec![2, 3, 4, 1],
            vec![3, 1, 1],
            vec![1, 3, 1, 18],
        ] {
            for swapped in [false, true] {
                for constant in [false, true] {
                    check(&format!("{op:?} {shape:?} swapped {swapped} constant {constant}"), |net| {
                        let x = net.g.input("x", &full);
                        let x = net.act(x, Act::Exp);
                        let other = if constant {
                            net.positive(&shape)
                        } else {
                            let v = net.g.input("y", &shape);
                            net.act(v, Act::Exp)
                        };
                        let (a, b) = if swapped { (other, x) } else { (x, other) };
                        let y = net.binary(op, a, b, &full);
                        vec![net.act(y, Act::Leaky(0.1))]
                    });
                }
            }
        }
    }
    check("outer sum", |net| {
        let a = net.g.input("a", &[1, 3, 1, 5]);
        let b = net.g.input("b", &[1, 1, 4, 5]);
        vec![net.binary(BinaryOp::Add, a, b, &[1, 3, 4, 5])]
    });
    check("x + x", |net| {
        let a = net.g.input("a", &[1, 3, 2, 5]);
        let a = net.act(a, Act::Tanh);
        vec![net.binary(BinaryOp::Mul, a, a, &[1, 3, 2, 5])]
    });
}

#[test]
fn pools_and_reductions() {
    for kind in
        [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPad { counted: Pads { top: 1, left: 1, bottom: 1, right: 1 } }]
    {
        for (kernel, stride) in [([3, 3], [2, 2]), ([3, 3], [1, 1]), ([2, 2], [2, 2]), ([2, 3], [1, 2])] {
            check(&format!("{kind:?} {kernel:?} {stride:?}"), |net| {
                let x = net.g.input("x", &[2, 7, 6, 19]);
                vec![net.pool(x, kind, kernel, stride, [1; 4])]
            });
        }
    }
    for kind in [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max] {
        for axes in [vec![1, 2], vec![1], vec![2], vec![3], vec![0], vec![0, 1, 2, 3], vec![1, 3], vec![2, 3]] {
            for keep in [false, true] {
                check(&format!("{kind:?} {axes:?} keep {keep}"), |net| {
                    let full = [2, 3, 4, 5];
                    let x = net.g.input("x", &full);
                    let shape: Vec<usize> =
                        (0..4).filter(|a| keep || !axes.contains(a)).map(|a| if axes.contains(&a) { 1 } else { full[a] }).collect();
                    vec![net.node(Op::Reduce { kind, axes: axes.clone(), keep_dims: keep }, &[x], &shape)]
                });
            }
        }
    }
}

#[test]
fn rearrangements() {
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[1, 2, 3, 8], &[1, 48]),
        (&[1, 48], &[1, 2, 3, 8]),
        (&[2, 3, 4, 6], &[2, 3, 6, 4]),
        (&[2, 3, 4, 5], &[6, 20]),
        (&[1, 1, 1, 32], &[32]),
        (&[1, 4, 4, 16], &[1, 256]),
        (&[6], &[1, 2, 3]),
    ];
    for (a, b) in shapes {
        check(&format!("reshape {a:?} -> {b:?}"), |net| {
            let x = net.g.input("x", a);
            let x = net.act(x, Act::RELU);
            let y = net.node(Op::Reshape, &[x], b);
            vec![net.act(y, Act::Tanh), y]
        });
        check(&format!("reshape of an input {a:?} -> {b:?}"), |net| {
            let x = net.g.input("x", a);
            vec![net.node(Op::Reshape, &[x], b)]
        });
    }
    for perm in [[0, 3, 1, 2], [0, 2, 3, 1], [3, 2, 1, 0], [1, 0, 3, 2]] {
        check(&format!("transpose {perm:?}"), |net| {
            let full = [2, 3, 4, 5];
            let x = net.g.input("x", &full);
            let shape: Vec<usize> = perm.iter().map(|&p| full[p]).collect();
            vec![net.node(Op::Transpose { perm: perm.to_vec() }, &[x], &shape)]
        });
    }
    check("channel shuffle", |net| {
        let x = net.g.input("x", &[1, 4, 4, 6]);
        let a = net.node(Op::Reshape, &[x], &[1, 4, 4, 2, 3]);
        let b = net.node(Op::Transpose { perm: vec![0, 1, 2, 4, 3] }, &[a], &[1, 4, 4, 3, 2]);
        vec![net.node(Op::Reshape, &[b], &[1, 4, 4, 6])]
    });
    check("slice, pad, broadcast, upsample", |net| {
        let x = net.g.input("x", &[1, 5, 6, 20]);
        let s = net.node(Op::Slice { start: vec![0, 1, 0, 3], step: vec![1, 2, 1, 5] }, &[x], &[1, 2, 6, 4]);
        let p = net.node(Op::Pad { pads: vec![(0, 0), (1, 0), (0, 2), (0, 12)], value: -0.5 }, &[s], &[1, 3, 8, 16]);
        let u = net.node(Op::Upsample { factor: [2, 3] }, &[p], &[1, 6, 24, 16]);
        let r = net.node(Op::Reduce { kind: ReduceKind::Sum, axes: vec![1], keep_dims: true }, &[u], &[1, 1, 24, 16]);
        vec![net.node(Op::Broadcast, &[r], &[2, 3, 24, 16]), s, p]
    });
    for places in [Places::Edges, Places::Middles, Places::Corners] {
        check(&format!("resizes, {places:?}"), |net| {
            let x = net.g.input("x", &[2, 5, 6, 3]);
            let a = net.conv(x, 20, [3, 3], [1, 1], [1, 1], [1; 4], 1);
            let b = net.node(Op::Resize { kind: ResizeKind::Bilinear, places }, &[a], &[2, 10, 11, 20]);
            let c = net.node(Op::Resize { kind: ResizeKind::Nearest, places }, &[b], &[2, 4, 3, 20]);
            vec![net.act(b, Act::RELU), net.conv(c, 8, [1, 1], [1, 1], [1, 1], [0; 4], 1)]
        });
    }
    check("nchw network", |net| {
        let x = net.g.input("x", &[1, 3, 9, 8]);
        let x = net.node(Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x], &[1, 9, 8, 3]);
        let x = net.conv(x, 12, [3, 3], [2, 2], [1, 1], [1; 4], 1);
        let x = net.node(Op::Transpose { perm: vec![0, 3, 1, 2] }, &[x], &[1, 12, 5, 4]);
        let x = net.batch_norm(x, 1);
        let x = net.act(x, Act::RELU);
        let x = net.node(Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x], &[1, 5, 4, 12]);
        let x = net.conv(x, 12, [3, 3], [1, 1], [1, 1], [1; 4], 12);
        let y = net.node(Op::Transpose { perm: vec![0, 3, 1, 2] }, &[x], &[1, 12, 5, 4]);
        let f = net.node(Op::Reshape, &[y], &[1, 240]);
        let w = net.constant(&[240, 9]);
        vec![net.node(Op::Dense { bias: false, act: Act::None }, &[f, w], &[1, 9]), y]
    });
    for axis in 0..4 {
        check(&format!("softmax on axis {axis}"), |net| {
            let x = net.g.input("x", &[2, 3, 4, 5]);
            let a = net.node(Op::Softmax { axis, log: false }, &[x], &[2, 3, 4, 5]);
            vec![a, net.node(Op::Softmax { axis, log: true }, &[x], &[2, 3, 4, 5])]
        });
    }
    check("an input given back", |net| {
        let x = net.g.input("x", &[2, 3]);
        let y = net.act(x, Act::RELU);
        vec![x, y, y]
    });
}

#[test]
fn functions_and_normalisation() {
    for f in
        [Unary::Erf, Unary::Gelu, Unary::Softplus, Unary::Sin, Unary::Atan, Unary::Abs, Unary::Shrink { lambda: 0.3, bias: 0.1 }]
    {
        check(&format!("{f:?}"), |net| {
            let x = net.g.input("x", &[2, 3, 4, 20]);
            let a = net.conv(x, 24, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            let b = net.node(Op::Unary(f), &[a], &[2, 3, 4, 24]);
            vec![net.conv(b, 8, [1, 1], [1, 1], [1, 1], [0; 4], 1), net.node(Op::Unary(f), &[x], &[2, 3, 4, 20])]
        });
    }
    for (centred, shape) in [(true, &[1, 5, 4, 40][..]), (false, &[3, 7]), (true, &[2, 2, 3, 4, 5]), (true, &[6])] {
        check(&format!("layer norm of {shape:?}"), |net| {
            let x = net.g.input("x", shape);
            let c = [shape[shape.len() - 1]];
            let (scale, shift) = (net.constant(&c), net.constant(&c));
            vec![net.node(Op::LayerNorm { epsilon: 1e-3, centred }, &[x, scale, shift], shape)]
        });
    }
    check("layer norm of nchw", |net| {
        let x = net.g.input("x", &[1, 3, 6, 5]);
        let x = net.node(Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x], &[1, 6, 5, 3]);
        let x = net.conv(x, 12, [3, 3], [1, 1], [1, 1], [1; 4], 1);
        let y = net.node(Op::Transpose { perm: vec![0, 3, 1, 2] }, &[x], &[1, 12, 6, 5]);
        let (scale, shift) = (net.constant(&[5]), net.constant(&[5]));
        vec![net.node(Op::LayerNorm { epsilon: 1e-3, centred: true }, &[y, scale, shift], &[1, 12, 6, 5])]
    });
}

#[test]
fn products_of_matrices() {
    for (lead, m, k, n) in [(&[][..], 3, 4, 5), (&[2], 1, 17, 20), (&[2, 3], 5, 16, 33), (&[2, 1, 3], 4, 2, 1)] {
        check(&format!("{lead:?} {m}x{k}x{n}"), |net| {
            let with = |tail: [usize; 2]| [lead, &tail].concat();
            let (a, b) = (net.g.input("a", &with([m, k])), net.g.input("b", &with([k, n])));
            let y = net.node(Op::Matmul, &[a, b], &with([m, n]));
            let weights = net.constant(&with([n, k]));
            vec![net.node(Op::Matmul, &[y, weights], &with([m, k])), net.act(y, Act::RELU)]
        });
    }
}

#[test]
fn comparisons_and_reductions() {
    for op in [BinaryOp::Greater, BinaryOp::AtLeast, BinaryOp::Equal, BinaryOp::Where] {
        check(&format!("{op:?}"), |net| {
            let (x, y) = (net.g.input("x", &[2, 3, 4, 5]), net.g.input("y", &[3, 1, 5]));
            let (x, y) = (net.act(x, Act::RELU), net.act(y, Act::RELU));
            vec![net.binary(op, x, y, &[2, 3, 4, 5]), net.binary(op, y, x, &[2, 3, 4, 5])]
        });
    }
    check("powers", |net| {
        let x = net.g.input("x", &[2, 3, 4, 5]);
        let base = net.act(x, Act::Exp);
        let exponent = net.constant(&[4, 1]);
        vec![net.binary(BinaryOp::Pow, base, exponent, &[2, 3, 4, 5])]
    });
    for kind in [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min, ReduceKind::Product] {
        for axes in [vec![3], vec![0, 3], vec![1, 2, 3], vec![1, 2]] {
            for keep_dims in [true, false] {
                check(&format!("{kind:?} over {axes:?} {keep_dims}"), |net| {
                    let x = net.g.input("x", &[2, 3, 4, 5]);
                    let kept = |(i, &d): (usize, &usize)| if axes.contains(&i) { keep_dims.then_some(1) } else { Some(d) };
                    let shape: Vec<usize> = [2, 3, 4, 5].iter().enumerate().filter_map(kept).collect();
                    vec![net.node(Op::Reduce { kind, axes: axes.clone(), keep_dims }, &[x], &shape)]
                });
            }
        }
    }
}

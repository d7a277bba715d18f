//! Graphs made in code, and the comparison of what they become with what they mean.
#![allow(dead_code, reason = "each test uses a part of it")]

use sepal_converter::ir::{Act, BinaryOp, Graph, Op, Pads, PoolKind, ValueId, Window};
use sepal_converter::{emit, interp, passes};
use sepal_format::op::OpRef;
use std::sync::Arc;

/// Repeatable values in -1..1 that are not on a grid.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
    }
    pub fn many(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }
}

/// A graph under construction.
pub struct Net {
    pub g: Graph,
    pub noise: Noise,
}

impl Net {
    pub fn new() -> Self {
        Net { g: Graph::default(), noise: Noise(7) }
    }
    pub fn constant(&mut self, shape: &[usize]) -> ValueId {
        let data = self.noise.many(shape.iter().product());
        let name = format!("const{}", self.g.values.len());
        self.g.constant(name, shape, Arc::new(data))
    }
    pub fn positive(&mut self, shape: &[usize]) -> ValueId {
        let data = self.noise.many(shape.iter().product()).iter().map(|x| 1.5 + x).collect();
        let name = format!("const{}", self.g.values.len());
        self.g.constant(name, shape, Arc::new(data))
    }
    pub fn node(&mut self, op: Op, inputs: &[ValueId], shape: &[usize]) -> ValueId {
        let name = format!("n{}", self.g.nodes.len());
        self.g.node(name, "Test", op, inputs, shape)
    }
    pub fn conv(
        &mut self,
        x: ValueId,
        o: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        pads: [usize; 4],
        groups: usize,
    ) -> ValueId {
        let [n, h, w, c] = *self.g.shape(x) else { panic!("rank") };
        let k = self.constant(&[kernel[0], kernel[1], c / groups, o]);
        let b = self.constant(&[o]);
        let extent = |i: usize, k: usize, s: usize, d: usize, p: usize| (i + p - (d * (k - 1) + 1)) / s + 1;
        let oh = extent(h, kernel[0], stride[0], dilation[0], pads[0] + pads[2]);
        let ow = extent(w, kernel[1], stride[1], dilation[1], pads[1] + pads[3]);
        let window =
            Window { kernel, stride, dilation, pads: Pads { top: pads[0], left: pads[1], bottom: pads[2], right: pads[3] } };
        let op = Op::Conv { window, groups, bias: true, residual: false, pre_relu: false, act: Act::None };
        self.node(op, &[x, k, b], &[n, oh, ow, o])
    }
    pub fn act(&mut self, x: ValueId, act: Act) -> ValueId {
        let shape = self.g.shape(x).to_vec();
        self.node(Op::Act(act), &[x], &shape)
    }
    pub fn binary(&mut self, op: BinaryOp, a: ValueId, b: ValueId, shape: &[usize]) -> ValueId {
        self.node(Op::Binary { op, act: Act::None }, &[a, b], shape)
    }
    pub fn batch_norm(&mut self, x: ValueId, axis: usize) -> ValueId {
        let shape = self.g.shape(x).to_vec();
        let c = shape[axis];
        let (gamma, beta, mean, variance) = (self.constant(&[c]), self.constant(&[c]), self.constant(&[c]), self.positive(&[c]));
        self.node(Op::BatchNorm { axis, epsilon: 1e-3 }, &[x, gamma, beta, mean, variance], &shape)
    }
    pub fn pool(&mut self, x: ValueId, kind: PoolKind, kernel: [usize; 2], stride: [usize; 2], pads: [usize; 4]) -> ValueId {
        let [n, h, w, c] = *self.g.shape(x) else { panic!("rank") };
        let oh = (h + pads[0] + pads[2] - kernel[0]) / stride[0] + 1;
        let ow = (w + pads[1] + pads[3] - kernel[1]) / stride[1] + 1;
        let window = Window {
            kernel,
            stride,
            dilation: [1, 1],
            pads: Pads { top: pads[0], left: pads[1], bottom: pads[2], right: pads[3] },
        };
        self.node(Op::Pool { kind, window, residual: false }, &[x], &[n, oh, ow, c])
    }
}

/// Runs `bytes` on every instruction set and for several thread counts; all must agree to the bit.
fn run(name: &str, bytes: &[u8], inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let bytes = sepal::AlignedBytes::copy(bytes).expect("memory");
    let mut first: Option<Vec<Vec<f32>>> = None;
    for isa in sepal::Isa::available() {
        let model = sepal::Model::from_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e}")).with_isa(isa);
        for threads in [1, 2, 4] {
            let mut session = sepal::Session::new(&model, sepal::Options { threads }).expect("memory");
            for turn in 0..2 {
                for (i, x) in inputs.iter().enumerate() {
                    session.input_mut(i).expect("input").copy_from_slice(x);
                }
                session.run();
                let got: Vec<Vec<f32>> = (0..model.outputs().len()).map(|i| session.output(i).expect("output").to_vec()).collect();
                let same = first.get_or_insert_with(|| got.clone());
                let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(same), bits(&got), "{} with {threads} threads, turn {turn}", isa.name());
            }
        }
    }
    first.expect("at least one instruction set")
}

/// Builds a graph, and compares what the runtime makes of it with the f64 interpreter.
pub fn check(name: &str, build: impl Fn(&mut Net) -> Vec<ValueId>) {
    let direct = emit::Options { max_error: 0.0, ..emit::Options::default() };
    check_with(name, direct, 2e-6, build);
}

/// How the convolutions of a graph take their input, in the order of the steps.
pub fn takes(build: impl Fn(&mut Net) -> Vec<ValueId>) -> Vec<u32> {
    let mut net = Net::new();
    net.g.outputs = build(&mut net);
    net.g.output_names = (0..net.g.outputs.len()).map(|i| format!("y{i}")).collect();
    let (optimised, _) = passes::run(net.g).unwrap();
    let emitted = emit::emit(&optimised, emit::Options::default(), vec![]).unwrap();
    let bytes = sepal::AlignedBytes::copy(&[emitted.structure, emitted.weights].concat()).unwrap();
    let model = sepal::Model::from_bytes(&bytes).unwrap();
    let take = |step: &sepal_format::record::Step| match step.op_ref() {
        Some(OpRef::Conv(p)) => Some(p.take),
        _ => None,
    };
    model.view().steps().iter().filter_map(take).collect()
}

/// As [`check`] with other options, for which an error of `tolerance` of the range is allowed. Returns how many convolutions are not
/// summed directly.
pub fn check_with(name: &str, options: emit::Options, tolerance: f64, build: impl Fn(&mut Net) -> Vec<ValueId>) -> usize {
    let mut net = Net::new();
    net.g.outputs = build(&mut net);
    net.g.output_names = (0..net.g.outputs.len()).map(|i| format!("y{i}")).collect();
    net.g.verify().unwrap_or_else(|e| panic!("{name}: {e}"));
    let graph = net.g;
    let mut noise = Noise(99);
    let inputs: Vec<Vec<f32>> = graph.inputs.iter().map(|&v| noise.many(graph.shape(v).iter().product())).collect();
    let wide: Vec<Vec<f64>> = inputs.iter().map(|x| x.iter().map(|&v| v.into()).collect()).collect();
    let want = interp::interpret(&graph, &wide, &mut |_, _| ()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (optimised, _) = passes::run(graph.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let emitted = emit::emit(&optimised, options, vec![]).unwrap_or_else(|e| panic!("{name}: {e}\n{optimised}"));
    let again = emit::emit(&optimised, options, vec![]).unwrap();
    assert!(emitted.structure == again.structure && emitted.weights == again.weights, "{name}: not reproducible");
    let mut bytes = emitted.structure.clone();
    bytes.extend(&emitted.weights);
    let got = run(name, &bytes, &inputs);
    // By rows, where that can be: the same bits.
    let always = emit::emit(&optimised, emit::Options { streaming: emit::Streaming::Always, ..options }, vec![]).unwrap();
    if always.structure != emitted.structure {
        let by_rows = run(name, &[always.structure, always.weights].concat(), &inputs);
        assert!(by_rows == got, "{name}: pipelines change the result\n{optimised}");
    }
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        assert_eq!(g.len(), w.len(), "{name}: output {i}");
        let range = w.iter().fold(1.0f64, |a, &x| a.max(x.abs()));
        for (k, (&g, &w)) in g.iter().zip(w).enumerate() {
            assert!((f64::from(g) - w).abs() <= tolerance * range, "{name}: output {i}[{k}] is {g}, not {w}\n{optimised}");
        }
    }
    emitted.fast.len()
}

//! Weights stored as halves: how large the file is, how far the outputs are, what stays in f32.

mod common;

use common::{Net, check_with};
use sepal_converter::Error;
use sepal_converter::convert::{ConvertOptions, convert_bytes, convert_graph};
use sepal_converter::emit::{self, Emitted, Precision};
use sepal_converter::ir::{Act, Op, ValueId};
use sepal_format::record::{dtype, section};
use sepal_format::{ModelView, op::OpRef};
use std::sync::Arc;

const HALVES: emit::Options =
    emit::Options { max_error: 0.0, precision: Precision::F16, streaming: emit::Streaming::Estimated, strassen: true };

/// MobileNet V1 with a quarter of the channels, on a small picture: a stem, thirteen separable convolutions, a classifier.
fn mobilenet(net: &mut Net) -> Vec<ValueId> {
    let x = net.g.input("x", &[1, 64, 64, 3]);
    let mut y = net.conv(x, 16, [3, 3], [2, 2], [1, 1], [0, 0, 1, 1], 1);
    let channels = [16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256];
    for (i, &c) in channels.iter().enumerate() {
        let stride = if [1, 3, 5, 11].contains(&i) { 2 } else { 1 };
        let pads = if stride == 2 { [0, 0, 1, 1] } else { [1; 4] };
        let own = net.g.shape(y)[3];
        y = net.conv(y, own, [3, 3], [stride; 2], [1, 1], pads, own);
        y = net.act(y, Act::Clamp { lo: 0.0, hi: 6.0 });
        y = net.conv(y, c, [1, 1], [1, 1], [1, 1], [0; 4], 1);
        y = net.act(y, Act::Clamp { lo: 0.0, hi: 6.0 });
    }
    let y = net.conv(y, 100, [2, 2], [1, 1], [1, 1], [0; 4], 1);
    // As large as training begins with: with weights of around 1 every layer would multiply what rounding does in the one before.
    each_kernel(net, |shape, w| w * (6.0 / (shape[0] * shape[1] * shape[2]) as f32).sqrt());
    vec![y]
}

/// The same with weights that are halves.
fn rounded_mobilenet(net: &mut Net) -> Vec<ValueId> {
    let outputs = mobilenet(net);
    each_kernel(net, |_, w| half::f16::from_f32(w).to_f32());
    outputs
}

/// Changes all weights of convolutions, of which `f` is given the shape and one after the other.
fn each_kernel(net: &mut Net, f: impl Fn(&[usize], f32) -> f32) {
    let kernels: Vec<ValueId> = net.g.nodes.iter().filter(|n| matches!(n.op, Op::Conv { .. })).map(|n| n.inputs[1]).collect();
    for v in kernels {
        let value = &mut net.g.values[v.0];
        value.data = value.data.as_ref().map(|data| Arc::new(data.iter().map(|&w| f(&value.shape, w)).collect()));
    }
}

/// The bits of the first output for a ramp as the input.
fn run(e: &Emitted) -> Vec<u32> {
    let bytes = sepal::AlignedBytes::copy(&[e.structure.clone(), e.weights.clone()].concat()).unwrap();
    let model = sepal::Model::from_bytes(&bytes).unwrap();
    let mut session = sepal::Session::new(&model, sepal::Options::default()).unwrap();
    let input = session.input_mut(0).unwrap();
    input.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 251) as f32 / 125.0 - 1.0);
    session.run();
    session.output(0).unwrap().iter().map(|x| x.to_bits()).collect()
}

fn emitted(options: emit::Options, build: impl Fn(&mut Net) -> Vec<ValueId>) -> Emitted {
    let mut net = Net::new();
    net.g.outputs = build(&mut net);
    net.g.output_names = vec!["y".into()];
    let (graph, _) = sepal_converter::passes::run(net.g).unwrap();
    emit::emit(&graph, options, vec![]).unwrap()
}

#[test]
fn half_the_file_and_close_enough() {
    let [floats, halves] = [emit::Options { precision: Precision::F32, ..HALVES }, HALVES].map(|o| emitted(o, mobilenet));
    assert!(floats.rounded.is_empty());
    assert_eq!(halves.rounded.len(), 15);
    let size = |e: &Emitted| (e.structure.len() + e.weights.len()) as f64;
    assert!(size(&halves) <= 0.55 * size(&floats), "{} of {} bytes", size(&halves), size(&floats));
    check_with("mobilenet", HALVES, 1e-3, mobilenet);
    // Rounding is all that changes: of weights that are halves already nothing is lost.
    let [floats, halves] = [emit::Options { precision: Precision::F32, ..HALVES }, HALVES].map(|o| emitted(o, rounded_mobilenet));
    assert_eq!(run(&floats), run(&halves));
    assert!(halves.rounded.iter().all(|r| r.relative == 0.0));
    // By Winograd's algorithm, too, where that is asked for.
    let by_tiles = emit::Options { max_error: 1e-2, ..HALVES };
    let winograd = check_with("tiles", by_tiles, 1e-2, |net| {
        let x = net.g.input("x", &[1, 24, 24, 32]);
        let y = net.conv(x, 48, [3, 3], [1, 1], [1, 1], [1; 4], 1);
        vec![net.conv(y, 32, [1, 7], [1, 1], [1, 1], [0, 3, 0, 3], 1)]
    });
    assert!(winograd > 0);
}

/// The types of the weights of all convolutions.
fn types(e: &Emitted) -> Vec<u32> {
    let bytes = sepal::AlignedBytes::copy(&[e.structure.clone(), e.weights.clone()].concat()).unwrap();
    let view = ModelView::parse(&bytes).unwrap();
    let of = |op| match op {
        OpRef::Conv(p) => Some(p.weight_dtype),
        _ => None,
    };
    view.steps().iter().filter_map(|s| of(s.op_ref()?)).collect()
}

#[test]
fn weights_beyond_the_range_stay() {
    let scaled = |scale: f32| {
        emitted(HALVES, move |net| {
            let x = net.g.input("x", &[1, 4, 4, 8]);
            let y = net.conv(x, 8, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            let kernel = net.g.nodes[0].inputs[1];
            let values = net.g.data(kernel).unwrap().iter().map(|w| w * scale).collect();
            net.g.values[kernel.0].data = Some(Arc::new(values));
            let y = net.act(y, Act::RELU);
            vec![net.conv(y, 8, [1, 1], [1, 1], [1, 1], [0; 4], 1)]
        })
    };
    let plain = scaled(1.0);
    assert_eq!(types(&plain), [dtype::F16; 2]);
    assert!(plain.rounded.iter().all(|r| r.kept.is_none() && r.relative > 0.0 && r.relative <= 1.0 / 2048.0));
    for (scale, why) in [(1e6, "overflow"), (1e-6, "small")] {
        let e = scaled(scale);
        assert_eq!(types(&e), [dtype::F32, dtype::F16]);
        assert!(e.rounded[0].kept.is_some_and(|text| text.contains(why)), "{:?}", e.rounded[0]);
        assert_eq!((e.rounded[0].name.as_str(), e.rounded[1].kept), ("n0", None));
    }
}

#[test]
fn trained_networks_pass_the_self_check() {
    for (name, source) in [
        ("mini_xception.keras", sepal_fixtures::MINI_XCEPTION_KERAS),
        ("mini_xception_nchw.onnx", sepal_fixtures::MINI_XCEPTION_NCHW_ONNX),
        ("mini_inception.h5", sepal_fixtures::MINI_INCEPTION_H5),
    ] {
        let convert = |precision| {
            let emit = emit::Options { precision, ..emit::Options::default() };
            convert_bytes(name, source, &ConvertOptions { emit, ..ConvertOptions::default() }, &mut ()).unwrap()
        };
        let halves = convert(Precision::F16);
        let check = halves.summary.self_check.clone().unwrap();
        assert!(check.relative > 1e-6 && check.relative <= 1e-3, "{name}: {check:?}");
        assert!(halves.bytes() == convert(Precision::F16).bytes(), "{name}: not reproducible");
        assert!(halves.bytes().len() < convert(Precision::F32).bytes().len());
        let model = sepal::Model::from_bytes(halves.bytes()).unwrap();
        assert!(model.view().section(section::PROVENANCE).is_some());
    }
}

/// Two sums of the same, and their difference by weights that halves do not tell apart.
#[test]
fn who_asks_for_too_little_is_told_so() {
    let mut net = Net::new();
    let x = net.g.input("x", &[1, 4, 4, 2]);
    let sums = net.conv(x, 2, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    let y = net.conv(sums, 1, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    for (node, weights) in [(0, vec![1.0; 4]), (1, vec![1.02, -1.0])] {
        let inputs = net.g.nodes[node].inputs.clone();
        net.g.values[inputs[1].0].data = Some(Arc::new(weights));
        let bias = &mut net.g.values[inputs[2].0];
        bias.data = bias.data.as_ref().map(|data| Arc::new(vec![0.0; data.len()]));
    }
    net.g.outputs = vec![y];
    net.g.output_names = vec!["y".into()];
    let convert = |precision| {
        let emit = emit::Options { precision, max_error: precision.max_error(), ..emit::Options::default() };
        convert_graph(net.g.clone(), "net", "test", &ConvertOptions { emit, ..ConvertOptions::default() }, &mut ())
    };
    assert!(convert(Precision::F32).is_ok());
    match convert(Precision::F16) {
        Err(Error::Inexact(why)) => assert!(why.contains("weights in halves: leave them in f32"), "{why}"),
        other => panic!("{:?}", other.map(|c| c.summary.self_check)),
    }
}

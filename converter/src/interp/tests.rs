use super::*;
use crate::ir::{Pads, Places, PoolKind, ResizeKind, Window};
use proptest::prelude::*;
use std::sync::Arc;

fn run(op: Op, inputs: &[(&[usize], &[f64])], constants: &[(&[usize], &[f32])], out: &[usize]) -> Vec<f64> {
    let mut g = Graph::default();
    let mut ids: Vec<ValueId> = inputs.iter().enumerate().map(|(i, x)| g.input(format!("x{i}"), x.0)).collect();
    for (i, (shape, data)) in constants.iter().enumerate() {
        let v = g.constant(format!("c{i}"), shape, Arc::new(data.to_vec()));
        // Residuals come last, after the constants.
        ids.insert(1 + i, v);
    }
    let y = g.node("n", "N", op, &ids, out);
    g.outputs.push(y);
    g.output_names.push("y".into());
    let given: Vec<Vec<f64>> = inputs.iter().map(|x| x.1.to_vec()).collect();
    interpret(&g, &given, &mut |_, _| ()).unwrap().remove(0)
}

fn window(kernel: [usize; 2], stride: [usize; 2], pads: [usize; 4]) -> Window {
    let [top, left, bottom, right] = pads;
    Window { kernel, stride, dilation: [1, 1], pads: Pads { top, left, bottom, right } }
}

fn conv_op(window: Window, groups: usize, bias: bool) -> Op {
    Op::Conv { window, groups, bias, residual: false, pre_relu: false, act: Act::None }
}

#[test]
fn convolution_by_hand() {
    // 2x3 image, 2x2 kernel, one column of padding at the left.
    let w = window([2, 2], [1, 2], [0, 1, 0, 0]);
    let x: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let y = run(
        conv_op(w, 1, true),
        &[(&[1, 2, 3, 1], x)],
        &[(&[2, 2, 1, 1], &[1.0, 10.0, 100.0, 1000.0]), (&[1], &[0.5])],
        &[1, 1, 2, 1],
    );
    assert_eq!(y, [10.0 * 1.0 + 1000.0 * 4.0 + 0.5, 2.0 + 30.0 + 500.0 + 6000.0 + 0.5]);
}

#[test]
fn fused_attributes_come_in_order() {
    let w = window([1, 1], [1, 1], [0; 4]);
    let act = Act::Clamp { lo: 0.0, hi: 6.0 };
    let op = Op::Conv { window: w, groups: 2, bias: true, residual: true, pre_relu: true, act };
    let x: (&[usize], &[f64]) = (&[1, 1, 1, 2], &[-3.0, 2.0]);
    let residual: (&[usize], &[f64]) = (&[1, 1, 1, 2], &[-0.5, 0.25]);
    let y = run(op, &[x, residual], &[(&[1, 1, 1, 2], &[5.0, 2.0]), (&[2], &[1.0, 1.0])], &[1, 1, 1, 2]);
    assert_eq!(y, [0.5, 5.25]);
}

#[test]
fn transposed_convolution_by_hand() {
    // Stride 2, kernel 3, one cut off at the left: y[2i + k - 1] += x[i] w[k]; two outputs of two inputs.
    let op = Op::ConvTranspose { window: window([1, 3], [1, 2], [0, 1, 0, 0]), groups: 1, bias: false, act: Act::None };
    let y = run(op, &[(&[1, 1, 2, 1], &[1.0, 10.0])], &[(&[1, 3, 1, 1], &[1.0, 2.0, 3.0])], &[1, 1, 4, 1]);
    assert_eq!(y, [2.0, 3.0 + 10.0, 20.0, 30.0]);
}

#[test]
fn transposed_convolution_in_groups() {
    let op = Op::ConvTranspose { window: window([1, 1], [1, 1], [0; 4]), groups: 2, bias: true, act: Act::RELU };
    // Weights [1, 1, 1, 4]: one output per group of two inputs.
    let y = run(
        op,
        &[(&[1, 1, 1, 4], &[1.0, 2.0, 3.0, 4.0])],
        &[(&[1, 1, 1, 4], &[1.0, 10.0, 100.0, -1000.0]), (&[2], &[1.0, 1.0])],
        &[1, 1, 1, 2],
    );
    assert_eq!(y, [22.0, 0.0]);
}

#[test]
fn pools_count_what_they_should() {
    let x: (&[usize], &[f64]) = (&[1, 1, 3, 1], &[-1.0, -2.0, -6.0]);
    // Windows of three, stride two: padded by one on the left (counted) and two on the right (one of them counted).
    let w = window([1, 3], [1, 2], [0, 1, 0, 2]);
    let pool = |kind| run(Op::Pool { kind, window: w, residual: false }, &[x], &[], &[1, 1, 2, 1]);
    assert_eq!(pool(PoolKind::Max), [-1.0, -2.0]);
    assert_eq!(pool(PoolKind::Average), [-1.5, -4.0]);
    let counted = Pads { top: 0, left: 1, bottom: 0, right: 1 };
    assert_eq!(pool(PoolKind::AverageWithPad { counted }), [-1.0, -8.0 / 3.0]);
    let counted = Pads { top: 0, left: 0, bottom: 0, right: 0 };
    assert_eq!(pool(PoolKind::AverageWithPad { counted }), [-1.5, -4.0]);
    let y =
        run(Op::Pool { kind: PoolKind::Max, window: w, residual: true }, &[x, (&[1, 1, 2, 1], &[0.5, 1.0])], &[], &[1, 1, 2, 1]);
    assert_eq!(y, [-0.5, -1.0]);
}

#[test]
fn ceil_mode_remainder_is_not_counted() {
    // Four pixels, window 3, stride 2, one row of ceil-mode padding: the last window holds two pixels.
    let w = window([1, 3], [1, 2], [0, 0, 0, 1]);
    let kind = PoolKind::AverageWithPad { counted: Pads::default() };
    let y = run(Op::Pool { kind, window: w, residual: false }, &[(&[1, 1, 4, 1], &[1.0, 2.0, 3.0, 5.0])], &[], &[1, 1, 2, 1]);
    assert_eq!(y, [2.0, 4.0]);
}

#[test]
fn batch_norm_and_scale_shift() {
    let x: (&[usize], &[f64]) = (&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let constants: &[(&[usize], &[f32])] = &[(&[2], &[2.0, -1.0]), (&[2], &[0.5, 0.0]), (&[2], &[1.0, 3.0]), (&[2], &[3.75, 0.0])];
    let y = run(Op::BatchNorm { axis: 1, epsilon: 0.25 }, &[x], constants, &[1, 2, 2]);
    assert_eq!(y, [0.5, 1.5, 0.0, -2.0]);
    let y = run(Op::ScaleShift { act: Act::RELU }, &[x], &[(&[2], &[2.0, -1.0]), (&[2], &[0.5, 3.0])], &[1, 2, 2]);
    assert_eq!(y, [2.5, 1.0, 6.5, 0.0]);
}

#[test]
fn element_wise() {
    let x: (&[usize], &[f64]) = (&[2, 2], &[-1.0, 2.0, 3.0, -4.0]);
    assert_eq!(run(Op::PRelu, &[x], &[(&[2], &[0.5, 0.25])], &[2, 2]), [-0.5, 2.0, 3.0, -1.0]);
    let b: (&[usize], &[f64]) = (&[2, 1], &[10.0, 100.0]);
    let op = |op| Op::Binary { op, act: Act::None };
    assert_eq!(run(op(BinaryOp::Sub), &[x, b], &[], &[2, 2]), [-11.0, -8.0, -97.0, -104.0]);
    assert_eq!(run(op(BinaryOp::Max), &[b, x], &[], &[2, 2]), [10.0, 10.0, 100.0, 100.0]);
    assert_eq!(run(op(BinaryOp::Div), &[x, b], &[], &[2, 2]), [-0.1, 0.2, 0.03, -0.04]);
    let all: &[(Act, f64, f64)] = &[
        (Act::Leaky(0.5), -2.0, -1.0),
        (Act::Elu(2.0), -1.0, 2.0 * ((-1.0f64).exp() - 1.0)),
        (Act::HardSigmoid { alpha: 0.25, beta: 0.5 }, 1.0, 0.75),
        (Act::HardSwish, 1.0, 4.0 / 6.0),
        (Act::HardSwish, -3.0, 0.0),
        (Act::HardSwish, 5.0, 5.0),
        (Act::Sigmoid, 0.0, 0.5),
        (Act::Silu, 1.0, 1.0 / (1.0 + (-1.0f64).exp())),
        (Act::Tanh, 0.5, 0.5f64.tanh()),
        (Act::Exp, 1.0, 1.0f64.exp()),
        (Act::Sqrt, 9.0, 3.0),
    ];
    for &(act, x, y) in all {
        assert!((activate(act, x) - y).abs() < 1e-15, "{act:?}");
    }
}

#[test]
fn softmax_along_a_middle_axis() {
    let x: (&[usize], &[f64]) = (&[1, 2, 2], &[0.0, 1000.0, 3.0f64.ln(), 1000.0]);
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(close(&run(Op::Softmax { axis: 1, log: false }, &[x], &[], &[1, 2, 2]), &[0.25, 0.5, 0.75, 0.5]));
    let logs = [0.25f64.ln(), 0.5f64.ln(), 0.75f64.ln(), 0.5f64.ln()];
    assert!(close(&run(Op::Softmax { axis: 1, log: true }, &[x], &[], &[1, 2, 2]), &logs));
}

#[test]
fn movement_and_reduction() {
    let x: (&[usize], &[f64]) = (&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(run(Op::Transpose { perm: vec![1, 0] }, &[x], &[], &[3, 2]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(run(Op::Slice { start: vec![1, 0], step: vec![1, 2] }, &[x], &[], &[1, 2]), [3.0, 5.0]);
    assert_eq!(
        run(Op::Pad { pads: vec![(0, 1), (1, 0)], value: 9.0 }, &[x], &[], &[3, 4]),
        [9.0, 0.0, 1.0, 2.0, 9.0, 3.0, 4.0, 5.0, 9.0, 9.0, 9.0, 9.0]
    );
    assert_eq!(run(Op::Broadcast, &[(&[2, 1], &[1.0, 2.0])], &[], &[2, 2, 2]), [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    assert_eq!(run(Op::Concat { axis: 1 }, &[x, (&[2, 1], &[7.0, 8.0])], &[], &[2, 4]), [0.0, 1.0, 2.0, 7.0, 3.0, 4.0, 5.0, 8.0]);
    assert_eq!(run(Op::Upsample { factor: [2, 1] }, &[(&[1, 1, 2, 1], &[1.0, 2.0])], &[], &[1, 2, 2, 1]), [1.0, 2.0, 1.0, 2.0]);
    let resize =
        |kind, places, size: usize| run(Op::Resize { kind, places }, &[(&[1, 1, 2, 1], &[1.0, 2.0])], &[], &[1, 1, size, 1]);
    assert_eq!(resize(ResizeKind::Bilinear, Places::Middles, 4), [1.0, 1.25, 1.75, 2.0]);
    assert_eq!(resize(ResizeKind::Bilinear, Places::Edges, 4), [1.0, 1.5, 2.0, 2.0]);
    assert_eq!(resize(ResizeKind::Bilinear, Places::Corners, 3), [1.0, 1.5, 2.0]);
    assert_eq!(resize(ResizeKind::Nearest, Places::Edges, 3), [1.0, 1.0, 2.0]);
    let reduce = |kind, axes, keep_dims, out: &[usize]| run(Op::Reduce { kind, axes, keep_dims }, &[x], &[], out);
    assert_eq!(reduce(ReduceKind::Mean, vec![0], false, &[3]), [1.5, 2.5, 3.5]);
    assert_eq!(reduce(ReduceKind::Sum, vec![1], true, &[2, 1]), [3.0, 12.0]);
    assert_eq!(reduce(ReduceKind::Max, vec![0, 1], false, &[]), [5.0]);
}

#[test]
fn dense_on_any_rank() {
    let op = Op::Dense { bias: true, act: Act::RELU };
    let w: &[f32] = &[1.0, 2.0, 3.0, -4.0];
    let y = run(op, &[(&[1, 2, 2], &[1.0, 0.0, 1.0, 2.0])], &[(&[2, 2], w), (&[2], &[0.5, 0.5])], &[1, 2, 2]);
    assert_eq!(y, [1.5, 2.5, 7.5, 0.0]);
}

/// A network of a hundred bytes can ask for days, and for more memory than there is.
#[test]
fn what_nobody_has_time_or_memory_for_is_refused() {
    let pool = |side: usize, kernel: usize| {
        let shape = [1, side, side, 1];
        let mut g = Graph::default();
        let x = g.input("x", &shape);
        let before = kernel / 2;
        let pads = Pads { top: before, left: before, bottom: kernel - 1 - before, right: kernel - 1 - before };
        let window = Window { kernel: [kernel; 2], stride: [1; 2], dilation: [1; 2], pads };
        let y = g.node("big", "MaxPool", Op::Pool { kind: PoolKind::Max, window, residual: false }, &[x], &shape);
        g.outputs = vec![y];
        g.output_names = vec!["y".into()];
        g.verify().unwrap();
        match affordable(&g) {
            Err(Error::TooLarge(what)) => Some(what),
            other => other.map(|()| None).unwrap(),
        }
    };
    assert_eq!(pool(1000, 3), None);
    // One channel, so that all there is to do is to find the taps: 2^38 of them.
    let sparse = || {
        let (mut g, shape) = (Graph::default(), [1, 512, 512, 1]);
        let x = g.input("x", &shape);
        let w = g.constant("w", &[1024, 1024, 1, 1], std::sync::Arc::new(vec![1.0; 1024 * 1024]));
        let window = Window {
            kernel: [1024; 2],
            stride: [1; 2],
            dilation: [1; 2],
            pads: Pads { top: 512, left: 512, bottom: 511, right: 511 },
        };
        let op = Op::Conv { window, groups: 1, bias: false, residual: false, pre_relu: false, act: Act::None };
        let y = g.node("big", "Conv", op, &[x, w], &shape);
        (g.outputs, g.output_names) = (vec![y], vec!["y".into()]);
        g.verify().unwrap();
        affordable(&g)
    };
    // Both operands are repeated beside the sum.
    let repeated = |rows: usize| {
        let mut g = Graph::default();
        let (a, b) = (g.input("a", &[rows, 1]), g.input("b", &[1, rows]));
        let op = Op::Binary { op: crate::ir::BinaryOp::Add, act: Act::None };
        let y = g.node("sum", "Add", op, &[a, b], &[rows, rows]);
        (g.outputs, g.output_names) = (vec![y], vec!["y".into()]);
        affordable(&g)
    };
    assert!(repeated(6000).is_ok());
    // Each time an output is given out it is a copy.
    let given = |times: usize| {
        let mut g = Graph::default();
        let x = g.input("x", &[1 << 22]);
        let y = g.node("y", "Relu", Op::Act(Act::RELU), &[x], &[1 << 22]);
        (g.outputs, g.output_names) = (vec![y; times], (0..times).map(|i| format!("y{i}")).collect());
        affordable(&g)
    };
    assert!(given(30).is_ok());
    assert!(matches!(given(40), Err(Error::TooLarge(what)) if what.contains("too large to be computed")));
    assert!(matches!(repeated(8000), Err(Error::TooLarge(what)) if what.contains("too much memory")));
    assert!(matches!(sparse(), Err(Error::TooLarge(what)) if what.contains("too much to be computed")));
    assert!(pool(8000, 4000).unwrap().contains("too much to be computed"));
    assert!(pool(100_000, 1).unwrap().contains("too large to be computed"));
}

#[test]
fn wrong_inputs_are_errors() {
    let mut g = Graph::default();
    let x = g.input("x", &[2]);
    g.outputs.push(x);
    g.output_names.push("y".into());
    assert_eq!(interpret(&g, &[vec![1.0, 2.0]], &mut |_, _| ()).unwrap(), [[1.0, 2.0]]);
    assert!(interpret(&g, &[vec![1.0]], &mut |_, _| ()).is_err());
    assert!(interpret(&g, &[], &mut |_, _| ()).is_err());
}

/// The definition of a convolution, term by term.
fn naive(x: &[f64], s: [usize; 4], w: &[f32], ws: [usize; 4], win: &Window, groups: usize, out: [usize; 4]) -> Vec<f64> {
    let mut y = vec![0.0; out.iter().product()];
    let (cin, cout) = (ws[2], ws[3] / groups);
    for (at, y) in y.iter_mut().enumerate() {
        let (n, oy, ox, o) = (at / (out[1] * out[2] * out[3]), at / (out[2] * out[3]) % out[1], at / out[3] % out[2], at % out[3]);
        for (ky, kx, c) in itertools3(ws[0], ws[1], cin) {
            let iy = (oy * win.stride[0] + ky * win.dilation[0]) as isize - win.pads.top as isize;
            let ix = (ox * win.stride[1] + kx * win.dilation[1]) as isize - win.pads.left as isize;
            if iy < 0 || ix < 0 || iy >= s[1] as isize || ix >= s[2] as isize {
                continue;
            }
            let i = ((n * s[1] + iy as usize) * s[2] + ix as usize) * s[3] + o / cout * cin + c;
            *y += x[i] * f64::from(w[((ky * ws[1] + kx) * cin + c) * ws[3] + o]);
        }
    }
    y
}

fn itertools3(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |i| (i / (b * c), i / c % b, i % c))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn convolutions_are_their_definition(
        n in 1usize..3, h in 1usize..8, w in 1usize..8, groups in 1usize..4, cin in 1usize..4, cout in 1usize..7,
        kernel in [1usize..4, 1usize..4], stride in [1usize..3, 1usize..3], dilation in [1usize..3, 1usize..3],
        pads in [0usize..3, 0usize..3, 0usize..3, 0usize..3], seed in any::<u32>(),
    ) {
        let pads = Pads { top: pads[0], left: pads[1], bottom: pads[2], right: pads[3] };
        let win = Window { kernel, stride, dilation, pads };
        let s = [n, h, w, groups * cin];
        let rows = crate::ir::verify::windowed(h, kernel[0], stride[0], dilation[0], (pads.top, pads.bottom));
        let cols = crate::ir::verify::windowed(w, kernel[1], stride[1], dilation[1], (pads.left, pads.right));
        let (Some(rows), Some(cols)) = (rows, cols) else { return Ok(()) };
        let ws = [kernel[0], kernel[1], cin, groups * cout];
        let out = [n, rows, cols, groups * cout];
        let mut state = seed;
        let mut small = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from((state >> 28) as i32 - 8)
        };
        let x: Vec<f64> = (0..s.iter().product()).map(|_| small()).collect();
        let weights: Vec<f32> = (0..ws.iter().product()).map(|_| small() as f32).collect();
        let y = run(conv_op(win, groups, false), &[(&s, &x)], &[(&ws, &weights)], &out);
        prop_assert_eq!(y, naive(&x, s, &weights, ws, &win, groups, out));
    }
}

#[test]
fn threads_do_not_change_the_result() {
    // Large enough to be shared among threads.
    let (s, ws, out) = ([1, 23, 29, 40], [3, 3, 40, 37], [1, 23, 29, 37]);
    let x: Vec<f64> = (0..s.iter().product::<usize>()).map(|i| f64::from((i * 37 % 17) as i32 - 8)).collect();
    let w: Vec<f32> = (0..ws.iter().product::<usize>()).map(|i| (i * 31 % 13) as f32 - 6.0).collect();
    let win = window([3, 3], [1, 1], [1; 4]);
    assert_eq!(run(conv_op(win, 1, false), &[(&s, &x)], &[(&ws, &w)], &out), naive(&x, s, &w, ws, &win, 1, out));
}

//! What each step of a file does and costs, computed from its records.

use sepal_format::op::OpRef;
use sepal_format::record::{
    ConvParams, DepthwiseParams, NONE, Pipeline, Range, SeparableParams, Step, Tensor, WindowRecord, dtype,
};
use sepal_format::{ModelView, strassen};

/// A step, for tables.
#[derive(Clone, Debug)]
pub struct StepInfo {
    /// The source's name for it.
    pub name: String,
    /// The operator's name.
    pub kind: &'static str,
    /// The operator with what tells its variants apart: `f32.depthwise.k3s1`; `.gated` where weights are multiplied first, `.planes`
    /// where the input is NCHW, `.f16` where the weights are halves.
    pub kernel: String,
    /// Batch, rows, columns, channels.
    pub output: [u32; 4],
    /// Multiply-accumulates.
    pub macs: u64,
    /// Multiply-accumulates that the step's algorithm does: fewer than `macs` with Winograd's.
    pub products: u64,
    /// Bytes of weights.
    pub weights: u64,
    /// Bytes read and written: inputs, output, weights.
    pub bytes: u64,
}

/// All steps in execution order.
pub fn steps(view: &ModelView) -> Vec<StepInfo> {
    view.steps().iter().map(|s| step(view, s)).collect()
}

/// Steps that run together.
#[derive(Clone, Debug)]
pub struct PipelineInfo {
    /// Their indices.
    pub steps: std::ops::Range<usize>,
    /// Rows of the last one's output that are made at a time.
    pub band: u32,
    /// Bytes of the rows that each thread keeps between the steps.
    pub kept: u64,
    /// Bytes of the whole tensors between the steps.
    pub whole: u64,
}

/// All pipelines in the order of their steps.
pub fn pipelines(view: &ModelView) -> Vec<PipelineInfo> {
    let info = |p: &Pipeline| {
        let steps = view.steps().get(p.range()).unwrap_or(&[]);
        let between = || steps.iter().take(steps.len().saturating_sub(1)).filter_map(|s| view.tensors().get(s.output as usize));
        let kept = between().map(|t| product(&[t.rows, t.dims[2], t.pixel, 4])).sum();
        PipelineInfo { steps: p.range(), band: p.band, kept, whole: between().map(tensor_bytes).sum() }
    };
    view.pipelines().iter().map(info).collect()
}

fn step(view: &ModelView, step: &Step) -> StepInfo {
    let tensor = |i: u32| view.tensors().get(i as usize);
    let seen = |t: &Tensor| step.op_ref().map_or(t.dims, |op| op.sees(0, t).dims);
    let x = tensor(step.inputs[0]).map_or([0; 4], seen);
    let out = tensor(step.output).map_or([0; 4], |t| t.dims);
    let moved = step.inputs.iter().filter(|&&i| i != NONE).chain([&step.output]);
    let moved: u64 = moved.filter_map(|&i| tensor(i)).map(tensor_bytes).sum();
    let (kind, kernel, macs, weights) = match step.op_ref() {
        Some(op) => (op.op().name(), kernel(&op, x), macs(&op, x, out), weights(&op)),
        None => ("unknown", "unknown".into(), 0, 0),
    };
    StepInfo {
        name: view.step_name(step).to_owned(),
        kind,
        kernel,
        output: out,
        macs,
        products: step.op_ref().and_then(|op| products(&op, x, out)).unwrap_or(macs),
        weights,
        bytes: moved.saturating_add(weights),
    }
}

/// A fused step's name without what its parts share: `block2/depthwise + block2/pointwise` as `block2/depthwise + pointwise`.
pub fn short_name(name: &str) -> String {
    let mut parts = name.split(" + ");
    let first = parts.next().unwrap_or_default();
    let folder = &first[..first.rfind('/').map_or(0, |i| i + 1)];
    parts.fold(first.to_owned(), |text, part| format!("{text} + {}", part.strip_prefix(folder).unwrap_or(part)))
}

fn product(factors: &[u32]) -> u64 {
    factors.iter().fold(1, |n, &f| n.saturating_mul(u64::from(f)))
}

fn tensor_bytes(t: &Tensor) -> u64 {
    product(&[t.dims[0], t.dims[1], t.dims[2], t.pixel]).saturating_mul(4)
}

fn macs(op: &OpRef, x: [u32; 4], out: [u32; 4]) -> u64 {
    match op {
        OpRef::Conv(ConvParams { window, groups, .. }) => {
            product(&out).saturating_mul(product(&window.kernel)).saturating_mul(u64::from(x[3] / (*groups).max(1)))
        }
        OpRef::Depthwise(p) => product(&out).saturating_mul(product(&p.window.kernel)),
        OpRef::Separable(p) => {
            let pixels = product(&out[..3]);
            let window = product(&p.depthwise.window.kernel).saturating_add(u64::from(out[3]));
            pixels.saturating_mul(u64::from(x[3])).saturating_mul(window)
        }
        _ => 0,
    }
}

/// Those of a Winograd convolution, without its transforms.
fn products(op: &OpRef, x: [u32; 4], out: [u32; 4]) -> Option<u64> {
    let OpRef::Conv(p) = op else { return None };
    if p.algorithm == strassen::CODE {
        return Some(macs(op, x, out) / 8 * 7);
    }
    let points = sepal_format::winograd::points(p.window.kernel, p.algorithm)?;
    let [rows, columns] = sepal_format::winograd::tile(p.algorithm);
    Some(product(&[points[0], points[1], out[0], out[1].div_ceil(rows), out[2].div_ceil(columns), x[3], out[3]]))
}

fn weights(op: &OpRef) -> u64 {
    let of = |ranges: &[Range]| ranges.iter().fold(0u64, |n, r| n.saturating_add(r.len));
    match op {
        OpRef::Conv(p) => of(&[p.weights, p.bias]),
        OpRef::Depthwise(p) => of(&[p.weights, p.bias]),
        OpRef::Separable(SeparableParams { depthwise: d, weights, bias, .. }) => of(&[d.weights, d.bias, *weights, *bias]),
        OpRef::ScaleShift(p) => of(&[p.scale, p.shift]),
        OpRef::LayerNorm(p) => of(&[p.scale, p.shift]),
        OpRef::Prelu(p) => of(&[p.slope]),
        _ => 0,
    }
}

/// Whether an operator's weights are halves.
pub fn has_halves(op: &OpRef) -> bool {
    match op {
        OpRef::Conv(p) => p.weight_dtype == dtype::F16,
        OpRef::Separable(p) => p.weight_dtype == dtype::F16,
        _ => false,
    }
}

fn kernel(op: &OpRef, x: [u32; 4]) -> String {
    let halves = if has_halves(op) { ".f16" } else { "" };
    let take = if op.is_gated() {
        ".gated"
    } else if op.takes_planes() {
        ".planes"
    } else {
        ""
    };
    format!("f32.{}{take}{halves}", variant(op, x))
}

fn variant(op: &OpRef, x: [u32; 4]) -> String {
    let window = |w: &WindowRecord| {
        let pair = |[a, b]: [u32; 2]| if a == b { a.to_string() } else { format!("{a}x{b}") };
        let dilation = if w.dilation == [1, 1] { String::new() } else { format!("d{}", pair(w.dilation)) };
        format!("k{}s{}{dilation}", pair(w.kernel), pair(w.stride))
    };
    let depthwise = |p: &DepthwiseParams| window(&p.window);
    match op {
        OpRef::Conv(p) if p.window.kernel == [1, 1] && p.groups == 1 && x[1] == 1 && x[2] == 1 => "dense".into(),
        OpRef::Conv(p) if p.algorithm == strassen::CODE => "strassen".into(),
        OpRef::Conv(p) if p.window.kernel == [1, 1] && p.groups == 1 => format!("pointwise.s{}", p.window.stride[0]),
        OpRef::Conv(p) if p.algorithm != 0 => {
            let [rows, columns] = sepal_format::winograd::tile(p.algorithm);
            format!("winograd{rows}x{columns}.{}", window(&p.window))
        }
        OpRef::Conv(p) if p.groups == 1 => format!("conv.{}", window(&p.window)),
        OpRef::Conv(p) => format!("conv.{}g{}", window(&p.window), p.groups),
        OpRef::Depthwise(p) => format!("depthwise.{}", depthwise(p)),
        OpRef::Separable(p) => format!("separable.{}", depthwise(&p.depthwise)),
        OpRef::Pool(p) => format!("pool.{}", window(&p.window)),
        other => other.op().name().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn fused_steps_say_once_where_they_are() {
        assert_eq!(short_name("b2/sep/depthwise + b2/sep/pointwise"), "b2/sep/depthwise + pointwise");
        assert_eq!(short_name("a/x + b/y"), "a/x + b/y");
        assert_eq!(short_name("conv + relu"), "conv + relu");
        assert_eq!(short_name(""), "");
    }
}

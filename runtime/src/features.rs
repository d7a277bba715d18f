//! What a build has of the things that networks are made of. Each is a Cargo feature; a model that needs one that the build lacks
//! is refused when it is loaded, so that no step can find itself without its kernel.

use crate::LoadError;
use crate::exec::window;
use sepal_format::act::{Act, ActRecord};
use sepal_format::op::OpRef;
use sepal_format::record::{SeparableParams, Step, dtype};
use sepal_format::{ModelView, strassen};
use sepal_kernels::ops::depthwise::Depthwise;

/// Most features that one step needs.
const MOST: usize = 4;

macro_rules! features {
    ($($name:ident $text:literal;)*) => {
        /// Names of all features that a model may need.
        pub(crate) const ALL: &[&str] = &[$($text,)*];

        $(
            /// `Some` where it is built in: what follows `NAME?` is left out of a program without it.
            pub(crate) const $name: Option<()> = if cfg!(feature = $text) { Some(()) } else { None };
        )*

        /// Whether this build has a feature.
        fn built(name: &str) -> bool {
            match name { $($text => $name.is_some(),)* _ => false }
        }
    };
}

features! {
    CONV "conv";
    WINOGRAD "winograd";
    WINOGRAD_1D "winograd-1d";
    STRASSEN "strassen";
    DEPTHWISE "depthwise";
    DEPTHWISE_5X5 "depthwise-5x5";
    DEPTHWISE_RELU "depthwise-relu";
    DEPTHWISE_STRIDE2 "depthwise-stride2";
    SEPARABLE "separable";
    POOL "pool";
    REDUCE "reduce";
    BINARY "binary";
    SCALE_SHIFT "scale-shift";
    ACTIVATION "activation";
    PRELU "prelu";
    SOFTMAX "softmax";
    COPY "copy";
    RESIZE "resize";
    PIPELINES "pipelines";
    F16 "f16";
    EXP "exp";
    FUNCTIONS "functions";
    LAYER_NORM "layer-norm";
    MATMUL "matmul";
}

/// What a step needs; empty names say nothing.
fn of_step(step: &Step) -> [&'static str; MOST] {
    let exp = |acts: &[ActRecord]| {
        let long = |a: &ActRecord| matches!(a.act(), Some(Act::Elu(_) | Act::Sigmoid | Act::Silu | Act::Tanh | Act::Exp));
        if acts.iter().any(long) { "exp" } else { "" }
    };
    let half = |weight_dtype| if weight_dtype == dtype::F16 { "f16" } else { "" };
    let Some(op) = step.op_ref() else { return [""; MOST] };
    let own = match op {
        OpRef::Conv(p) if p.algorithm > strassen::CODE && p.window.kernel.contains(&1) => "winograd-1d",
        OpRef::Depthwise(p) | OpRef::Separable(SeparableParams { depthwise: p, .. }) => {
            Depthwise::feature(&window(&p.window), p.pre_relu != 0).unwrap_or("")
        }
        _ => "",
    };
    let (name, exp, half) = match op {
        OpRef::Conv(p) => {
            let name = match p.algorithm {
                0 => "conv",
                strassen::CODE => "strassen",
                _ => "winograd",
            };
            (name, exp(&[p.act]), half(p.weight_dtype))
        }
        OpRef::Depthwise(p) => ("depthwise", exp(&[p.act]), half(p.weight_dtype)),
        OpRef::Separable(p) => ("separable", exp(&[p.act, p.depthwise.act]), half(p.weight_dtype)),
        OpRef::Pool(_) => ("pool", "", ""),
        OpRef::Reduce(_) => ("reduce", "", ""),
        // From the power on they are functions.
        OpRef::Binary(p) => ("binary", exp(&[p.act]), if p.op > 5 { "functions" } else { "" }),
        OpRef::ScaleShift(p) => ("scale-shift", exp(&[p.act]), ""),
        OpRef::Activation(p) => ("activation", exp(&[p.act]), ""),
        OpRef::Prelu(_) => ("prelu", "", ""),
        OpRef::Softmax(_) => ("softmax", "", ""),
        OpRef::Copy(_) => ("copy", "", ""),
        OpRef::Resize(_) => ("resize", "", ""),
        OpRef::Unary(_) => ("functions", "", ""),
        OpRef::LayerNorm(_) => ("layer-norm", "", ""),
        OpRef::Matmul(_) => ("matmul", "", ""),
    };
    [name, exp, half, own]
}

/// Whether a model needs a feature.
pub(crate) fn needs(view: &ModelView, name: &str) -> bool {
    let pipelines = name == "pipelines" && !view.pipelines().is_empty();
    pipelines || view.steps().iter().any(|step| of_step(step).contains(&name))
}

/// Refuses a model that needs more than this build has.
pub(crate) fn check(view: &ModelView) -> Result<(), LoadError> {
    let lacks = |name: &&&str| !name.is_empty() && !built(name);
    for (i, step) in view.steps().iter().enumerate() {
        if let Some(feature) = of_step(step).iter().find(lacks) {
            return Err(LoadError::Feature { feature, step: i });
        }
    }
    match view.pipelines().first() {
        Some(p) if PIPELINES.is_none() => Err(LoadError::Feature { feature: "pipelines", step: p.first as usize }),
        _ => Ok(()),
    }
}

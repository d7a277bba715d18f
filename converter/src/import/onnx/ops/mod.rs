//! The operators, one file per family. Each takes a node with at least one input that the network computes, and writes
//! nodes of the IR that mean the same.

mod activation;
mod arithmetic;
mod conv;
mod dense;
mod einsum;
mod function;
pub(super) mod layout;
mod logic;
mod norm;
mod normalise;
pub(super) mod pieces;
mod places;
mod pool;
mod reduce;
mod resize;
mod resize_agree;
mod resize_matrix;
mod window;

use super::fail::Res;
use super::node::Ctx;
use super::proto::Node;
use super::{consts, sequence, trivial};
use crate::ir::ValueId;

/// The results of an operator, as many as we have.
type Values = Res<Vec<ValueId>>;

/// Reads one node.
type Import = fn(&mut Ctx<'_, '_, '_>) -> Values;

/// Whether this is the domain of the standard operators.
pub(super) fn is_onnx_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Whether there is any hope for a node.
pub(super) fn is_known(n: &Node<'_>) -> bool {
    if n.domain == "com.microsoft" {
        return n.op_type == "FusedConv";
    }
    is_onnx_domain(n.domain)
        && n.op_type != "FusedConv"
        && (find(n.op_type).is_some()
            || consts::find(n.op_type).is_some()
            || sequence::find(n.op_type).is_some()
            || trivial::find(n.op_type).is_some()
            || n.op_type == "If")
}

/// The inputs of an operator that are numbers it computes with, not numbers that say how.
pub(super) fn numbers(op: &str) -> &'static [usize] {
    match op {
        "Clip" | "Gemm" => &[0, 1, 2],
        "Pad" => &[0, 2],
        "MatMul" => &[0, 1],
        _ => &[0],
    }
}

/// What to do about an operator that we do not have.
pub(super) fn remedy(op: &str) -> &'static str {
    match op {
        "If" | "Loop" | "Scan" => "export the model without control flow: trace it, or fold its constants with a simplifier",
        "LSTM" | "GRU" | "RNN" => "recurrent networks are not supported",
        "QuantizeLinear"
        | "DequantizeLinear"
        | "DynamicQuantizeLinear"
        | "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "MatMulInteger" => "convert the model as it was before quantisation",
        _ => "export the model without it, or cut the network before it with --outputs",
    }
}

fn find(op: &str) -> Option<Import> {
    Some(match op {
        "Conv" => conv::conv,
        "FusedConv" => conv::fused,
        "ConvTranspose" => conv::transposed,
        "MaxPool" => pool::max,
        "AveragePool" => pool::average,
        "GlobalAveragePool" | "GlobalMaxPool" => reduce::global,
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2" | "ReduceLogSum"
        | "ReduceLogSumExp" | "ReduceSumSquare" => reduce::reduce,
        "LpPool" => pool::lp,
        "Gemm" => dense::gemm,
        "MatMul" => dense::matmul,
        "BatchNormalization" => norm::batch_norm,
        "Softmax" | "LogSoftmax" => norm::softmax,
        "LayerNormalization" | "RMSNormalization" => normalise::layer,
        "InstanceNormalization" => normalise::instance,
        "GroupNormalization" => normalise::group,
        "MeanVarianceNormalization" => normalise::mean_variance,
        "LpNormalization" => normalise::lp,
        "LRN" => normalise::local_response,
        "Abs" | "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "Ceil" | "Celu" | "Cos" | "Cosh" | "Erf" | "Floor"
        | "Gelu" | "Log" | "Mish" | "Round" | "Shrink" | "Sign" | "Sin" | "Sinh" | "Softplus" | "Softsign" | "Swish" | "Tan"
        | "ThresholdedRelu" => function::function,
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor" => logic::compare,
        "Not" => logic::negate,
        "Relu" | "LeakyRelu" | "Elu" | "Selu" | "HardSigmoid" | "HardSwish" | "Sigmoid" | "Tanh" | "Exp" | "Sqrt" => {
            activation::unary
        }
        "Clip" => activation::clip,
        "PRelu" => activation::prelu,
        "Add" | "Sub" | "Mul" | "Div" => arithmetic::binary,
        "Min" | "Max" | "Sum" | "Mean" => arithmetic::variadic,
        "Pow" => arithmetic::pow,
        "Neg" | "Reciprocal" => arithmetic::unary,
        "Identity" | "Dropout" | "Cast" | "CastLike" => layout::nothing,
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => layout::reshape,
        "Transpose" => layout::transpose,
        "Concat" => pieces::concat,
        "Slice" => pieces::slice,
        "Split" => pieces::split,
        "Gather" => pieces::gather,
        "Pad" => pieces::pad,
        "CenterCropPad" => pieces::center,
        "Expand" => pieces::expand,
        "Tile" => pieces::tile,
        "Where" => logic::select,
        "GatherElements" => places::gather_elements,
        "GatherND" => places::gather_nd,
        "Scatter" | "ScatterElements" | "ScatterND" => places::scatter,
        "Trilu" => places::triangle,
        "CumSum" => places::running,
        "Compress" => places::compress,
        "ReverseSequence" => places::reverse,
        "Einsum" => einsum::einsum,
        "Upsample" | "Resize" => resize::resize,
        "DepthToSpace" => resize::depth_to_space,
        "SpaceToDepth" => resize::space_to_depth,
        _ => return None,
    })
}

pub(super) fn import(cx: &mut Ctx<'_, '_, '_>) -> Values {
    match find(cx.node.op_type) {
        Some(f) => f(cx),
        None => super::fail::unsupported("the operator is only supported on constants", remedy(cx.node.op_type)),
    }
}

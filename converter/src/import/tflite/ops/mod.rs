//! The operators, one file per family. Each writes nodes of the IR that mean the same; where all inputs are constants, the nodes
//! become constants as they are written.

mod activation;
mod arithmetic;
pub(super) mod constant;
mod conv;
mod dense;
mod function;
mod gather;
mod layout;
mod mirror;
mod pieces;
mod places;
mod pool;
mod reduce;
mod resize;
mod window;

use super::op::Ctx;
use super::{builtin, fail, schema, shape, tensor};
use crate::ir::{Act, BinaryOp, ReduceKind, Unary, ValueId};

/// The results of an operator, one per output.
type Values = fail::Res<Vec<ValueId>>;

/// Reads one operator.
pub(super) type Import = fn(&mut Ctx<'_, '_>) -> Values;

/// What to do about an operator that we do not have.
pub(super) fn remedy(code: i32) -> &'static str {
    match builtin::name(code).unwrap_or_default() {
        "CUSTOM" => "make the model with built-in operators alone, or cut the network before it with --outputs",
        "IF" | "WHILE" | "CALL" | "CALL_ONCE" => "make the model without control flow",
        "LSTM" | "RNN" | "SVDF" => "recurrent networks are not supported",
        name if name.contains("SEQUENCE") => "recurrent networks are not supported",
        "QUANTIZE" | "FAKE_QUANT" => "convert the network as it was before quantisation",
        "ARG_MAX" | "ARG_MIN" | "TOPK_V2" | "NON_MAX_SUPPRESSION_V4" | "NON_MAX_SUPPRESSION_V5" => {
            "cut the network before it with --outputs and choose among its outputs in the application"
        }
        _ => "make the model without it, or cut the network before it with --outputs",
    }
}

/// How a custom operator is read, by its name.
pub(super) fn custom(name: &str) -> Option<Import> {
    match name {
        // Of MediaPipe, in its segmentation networks.
        "Convolution2DTransposeBias" => Some(conv::transposed_with_bias),
        _ => None,
    }
}

/// How an operator is read, by the schema's `BuiltinOperator`.
pub(super) fn find(code: i32) -> Option<Import> {
    Some(match builtin::name(code)? {
        "CONV_2D" => conv::conv,
        "DEPTHWISE_CONV_2D" => conv::depthwise,
        "TRANSPOSE_CONV" => conv::transposed,
        "FULLY_CONNECTED" => dense::fully_connected,
        "BATCH_MATMUL" => dense::batch_matmul,
        "AVERAGE_POOL_2D" => pool::average,
        "MAX_POOL_2D" => pool::max,
        "L2_POOL_2D" => pool::l2,
        "ADD" => |cx| arithmetic::fused(cx, BinaryOp::Add),
        "SUB" => |cx| arithmetic::fused(cx, BinaryOp::Sub),
        "MUL" => |cx| arithmetic::fused(cx, BinaryOp::Mul),
        "DIV" => |cx| arithmetic::fused(cx, BinaryOp::Div),
        "MAXIMUM" => |cx| arithmetic::plain(cx, BinaryOp::Max),
        "MINIMUM" => |cx| arithmetic::plain(cx, BinaryOp::Min),
        "ADD_N" => arithmetic::add_n,
        "SQUARED_DIFFERENCE" => arithmetic::squared_difference,
        "POW" => arithmetic::pow,
        "SQUARE" => arithmetic::square,
        "NEG" => arithmetic::neg,
        "ABS" => |cx| function::unary(cx, Unary::Abs),
        "CEIL" => |cx| function::unary(cx, Unary::Ceil),
        "COS" => |cx| function::unary(cx, Unary::Cos),
        "FLOOR" => |cx| function::unary(cx, Unary::Floor),
        "LOG" => |cx| function::unary(cx, Unary::Log),
        "ROUND" => |cx| function::unary(cx, Unary::Round),
        "SIGN" => |cx| function::unary(cx, Unary::Sign),
        "SIN" => |cx| function::unary(cx, Unary::Sin),
        "FLOOR_DIV" => function::floor_div,
        "GREATER" => |cx| function::compare(cx, BinaryOp::Greater, false),
        "LESS" => |cx| function::compare(cx, BinaryOp::Greater, true),
        "GREATER_EQUAL" => |cx| function::compare(cx, BinaryOp::AtLeast, false),
        "LESS_EQUAL" => |cx| function::compare(cx, BinaryOp::AtLeast, true),
        "EQUAL" => |cx| function::compare(cx, BinaryOp::Equal, false),
        "NOT_EQUAL" => function::not_equal,
        "LOGICAL_AND" => |cx| function::compare(cx, BinaryOp::Min, false),
        "LOGICAL_OR" => |cx| function::compare(cx, BinaryOp::Max, false),
        "LOGICAL_NOT" => function::negate,
        "SELECT" => |cx| function::select(cx, true),
        "SELECT_V2" => |cx| function::select(cx, false),
        "RSQRT" => arithmetic::rsqrt,
        "LOCAL_RESPONSE_NORMALIZATION" => arithmetic::local_response,
        "L2_NORMALIZATION" => arithmetic::l2_normalisation,
        "RELU" => |cx| activation::unary(cx, Act::RELU),
        "RELU6" => |cx| activation::unary(cx, Act::Clamp { lo: 0.0, hi: 6.0 }),
        "RELU_N1_TO_1" => |cx| activation::unary(cx, Act::Clamp { lo: -1.0, hi: 1.0 }),
        "RELU_0_TO_1" => |cx| activation::unary(cx, Act::Clamp { lo: 0.0, hi: 1.0 }),
        "LOGISTIC" => |cx| activation::unary(cx, Act::Sigmoid),
        "TANH" => |cx| activation::unary(cx, Act::Tanh),
        "ELU" => |cx| activation::unary(cx, Act::Elu(1.0)),
        "HARD_SWISH" => |cx| activation::unary(cx, Act::HardSwish),
        "EXP" => |cx| activation::unary(cx, Act::Exp),
        "SQRT" => |cx| activation::unary(cx, Act::Sqrt),
        "LEAKY_RELU" => activation::leaky,
        "GELU" => function::gelu,
        "PRELU" => activation::prelu,
        "SOFTMAX" => activation::softmax,
        "LOG_SOFTMAX" => activation::log_softmax,
        "MEAN" => |cx| reduce::reduce(cx, ReduceKind::Mean),
        "SUM" => |cx| reduce::reduce(cx, ReduceKind::Sum),
        "REDUCE_MAX" => |cx| reduce::reduce(cx, ReduceKind::Max),
        "REDUCE_MIN" => |cx| reduce::reduce(cx, ReduceKind::Min),
        "REDUCE_ANY" => |cx| reduce::reduce(cx, ReduceKind::Max),
        "REDUCE_ALL" => |cx| reduce::reduce(cx, ReduceKind::Min),
        "REDUCE_PROD" => |cx| reduce::reduce(cx, ReduceKind::Product),
        "CUMSUM" => reduce::running,
        "RESHAPE" => layout::reshape,
        "SQUEEZE" => layout::squeeze,
        "EXPAND_DIMS" => layout::expand_dims,
        "TRANSPOSE" => layout::transpose,
        "SHAPE" => layout::shape_of,
        "RANK" => layout::rank_of,
        "RANGE" => layout::range,
        "ZEROS_LIKE" => layout::zeros_like,
        "BROADCAST_ARGS" => layout::broadcast_args,
        "DEQUANTIZE" | "DENSIFY" | "CAST" => layout::nothing,
        "BROADCAST_TO" => layout::broadcast_to,
        "FILL" => layout::fill,
        "TILE" => layout::tile,
        "DEPTH_TO_SPACE" => layout::depth_to_space,
        "SPACE_TO_DEPTH" => layout::space_to_depth,
        "SPACE_TO_BATCH_ND" => layout::space_to_batch,
        "BATCH_TO_SPACE_ND" => layout::batch_to_space,
        "CONCATENATION" => pieces::concatenation,
        "PACK" => pieces::pack,
        "UNPACK" => pieces::unpack,
        "SPLIT" => pieces::split,
        "SPLIT_V" => pieces::split_v,
        "SLICE" => pieces::slice,
        "STRIDED_SLICE" => pieces::strided_slice,
        "GATHER" => gather::gather,
        "GATHER_ND" => gather::gather_nd,
        "REVERSE_V2" => gather::reverse,
        "PAD" | "PADV2" => pieces::pad,
        "MIRROR_PAD" => mirror::mirror_pad,
        "RESIZE_BILINEAR" => resize::bilinear,
        "RESIZE_NEAREST_NEIGHBOR" => resize::nearest,
        _ => return None,
    })
}

//! The file's numbers for what operators do.

use crate::ir::{BinaryOp, Places, ReduceKind, ResizeKind};
use sepal_format::record::{binary_op, reduce_kind, resize_kind, resize_places};

pub(super) fn binary(op: BinaryOp) -> u32 {
    match op {
        BinaryOp::Add => binary_op::ADD,
        BinaryOp::Sub => binary_op::SUB,
        BinaryOp::Mul => binary_op::MUL,
        BinaryOp::Div => binary_op::DIV,
        BinaryOp::Min => binary_op::MIN,
        BinaryOp::Max => binary_op::MAX,
        BinaryOp::Pow => binary_op::POW,
        BinaryOp::Greater => binary_op::GREATER,
        BinaryOp::AtLeast => binary_op::AT_LEAST,
        BinaryOp::Equal => binary_op::EQUAL,
        BinaryOp::Where => binary_op::WHERE,
    }
}

pub(super) fn reduction(kind: ReduceKind) -> u32 {
    match kind {
        ReduceKind::Mean => reduce_kind::MEAN,
        ReduceKind::Sum => reduce_kind::SUM,
        ReduceKind::Max => reduce_kind::MAX,
        ReduceKind::Min => reduce_kind::MIN,
        ReduceKind::Product => reduce_kind::PRODUCT,
    }
}

pub(super) fn resizing(kind: ResizeKind) -> u32 {
    match kind {
        ResizeKind::Nearest => resize_kind::NEAREST,
        ResizeKind::Bilinear => resize_kind::BILINEAR,
    }
}

pub(super) fn places(places: Places) -> u32 {
    match places {
        Places::Edges => resize_places::EDGES,
        Places::Middles => resize_places::MIDDLES,
        Places::Corners => resize_places::CORNERS,
    }
}

//! Naive loops over logical NHWC, no blocks and no vectors: what every operator means, to the bit.

pub mod activation;
pub mod binary;
pub mod conv;
pub mod copy;
pub mod depthwise;
mod element;
pub mod layer_norm;
pub mod matmul;
pub mod pool;
pub mod reduce;
pub mod resize;
pub mod scale_shift;
pub mod softmax;
pub mod strassen;
pub mod unary;
pub mod winograd;

//! Naive loops over logical NHWC, no blocks and no vectors: what every operator means, to the bit.

pub mod binary;
pub mod conv;
pub mod depthwise;
mod element;
pub mod scale_shift;

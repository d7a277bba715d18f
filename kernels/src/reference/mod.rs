//! Naive loops over logical NHWC, no blocks and no vectors: what every operator means, to the bit.

pub mod conv;
pub mod depthwise;
mod element;

//! One file per operator. Each has an argument struct, an entry that takes an [`Isa`](crate::Isa) and a
//! [`Parallel`](crate::par::Parallel), and a file of tests in `kernels/tests/` against [`mod@crate::reference`] on every instruction
//! set: outside, since the kernels would be compiled once more for tests inside.

pub mod activation;
pub mod binary;
pub mod conv;
pub mod copy;
pub mod depthwise;
pub(crate) mod gemm;
pub mod layer_norm;
pub mod matmul;
pub mod panels;
pub mod pool;
pub mod reduce;
pub mod resize;
pub mod scale_shift;
pub mod separable;
pub mod softmax;
pub mod strassen;
pub mod unary;
mod wide;
pub mod winograd;

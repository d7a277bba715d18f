//! Every kernel against the plain loops of [`mod@sepal_kernels::reference`] with `==`, on every instruction set of this CPU.

mod activation;
mod binary;
mod cases;
mod conv;
mod copy;
mod depthwise;
mod layer_norm;
mod matmul;
mod pack;
mod panels;
mod par;
mod pool;
mod reduce;
mod resize;
mod scale_shift;
mod separable;
mod simd;
mod softmax;
mod strassen;
mod unary;
mod winograd;

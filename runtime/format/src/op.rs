//! The one list of operators of the file.
//!
//! To add one: a line here and a record in [`crate::record`]; then the compiler asks for its check in `validate.rs`, its arm in
//! the runtime's `exec.rs` and its lowering in the converter.

use crate::record::*;

macro_rules! ops {
    ($($code:literal $name:ident $text:literal $params:ident;)*) => {
        /// An operator, by its code in the file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Op {
            $(#[doc = concat!("`", $text, "`, parameters [`", stringify!($params), "`].")] $name = $code,)*
        }

        /// A step's operator with its parameters.
        #[derive(Clone, Copy, Debug)]
        pub enum OpRef<'a> {
            $(#[doc = concat!("`", $text, "`.")] $name(&'a $params),)*
        }

        impl Op {
            /// All of them.
            pub const ALL: &'static [Op] = &[$(Op::$name,)*];

            /// Its name in profiles and listings.
            pub fn name(self) -> &'static str {
                match self { $(Op::$name => $text,)* }
            }
        }

        impl Step {
            /// The operator and its parameters, if the code is known and the bytes after the parameters are zero.
            pub fn op_ref(&self) -> Option<OpRef<'_>> {
                match self.op {
                    $($code => {
                        let (head, tail) = self.params.split_at_checked(size_of::<$params>())?;
                        if tail.iter().any(|&b| b != 0) {
                            return None;
                        }
                        bytemuck::try_from_bytes(head).ok().map(OpRef::$name)
                    })*
                    _ => None,
                }
            }
        }

        impl OpRef<'_> {
            /// Without the parameters.
            pub fn op(&self) -> Op {
                match self { $(OpRef::$name(_) => Op::$name,)* }
            }
        }

        $(impl Params for $params { const OP: Op = Op::$name; })*
    };
}

impl OpRef<'_> {
    /// Whether it takes planes for the pixels of its input 0.
    pub fn takes_planes(&self) -> bool {
        matches!(self, OpRef::Conv(p) if p.take == take::PLANES)
    }

    /// Whether it multiplies its weights by its input 1.
    pub fn is_gated(&self) -> bool {
        matches!(self, OpRef::Conv(p) if p.take == take::GATED)
    }

    /// Where its residual or other operand is among its inputs.
    pub fn second(&self) -> usize {
        if self.is_gated() { 2 } else { 1 }
    }

    /// A tensor as the operator sees it in a slot of its inputs.
    pub fn sees(&self, slot: usize, t: &Tensor) -> Tensor {
        if slot == 0 && self.takes_planes() { t.of_planes() } else { *t }
    }
}

/// A parameter record, which belongs to one operator.
pub trait Params: bytemuck::Pod {
    /// Whose it is.
    const OP: Op;

    /// As the parameter bytes of a [`Step`].
    fn bytes(&self) -> [u8; PARAMS] {
        let mut all = [0; PARAMS];
        let own = bytemuck::bytes_of(self);
        all[..own.len()].copy_from_slice(own);
        all
    }
}

// Codes are never reused; add at the end.
ops! {
    1 Conv "conv" ConvParams;
    2 Depthwise "depthwise" DepthwiseParams;
    3 Separable "separable" SeparableParams;
    4 Pool "pool" PoolParams;
    5 Reduce "reduce" ReduceParams;
    6 Binary "binary" BinaryParams;
    7 ScaleShift "scale_shift" ScaleShiftParams;
    8 Activation "activation" ActivationParams;
    9 Prelu "prelu" PreluParams;
    10 Softmax "softmax" SoftmaxParams;
    11 Copy "copy" CopyParams;
    12 Resize "resize" ResizeParams;
    13 Unary "unary" UnaryParams;
    14 LayerNorm "layer_norm" LayerNormParams;
    15 Matmul "matmul" MatmulParams;
}

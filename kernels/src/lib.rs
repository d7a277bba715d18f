//! SIMD kernels for separable convolutions.
//!
//! | module | what |
//! |---|---|
//! | [`simd`] | the trait, one file per instruction set: the only places with `unsafe` |
//! | [`isa`] | detection and dispatch |
//! | [`view`] | NHWC tensors in a caller's memory |
//! | [`par`] | how a step is shared among threads: by output pixels or channels, never along a sum |
//! | [`ops`] | one file per operator, generic over [`simd::Simd`] |
//! | [`pack`] | logical weights to the panels of the file |
//! | [`mod@reference`] | the same operators in plain loops: the meaning of every operator, to the bit |
#![no_std]

#[cfg(feature = "std")]
extern crate std;

pub mod isa;
pub mod ops;
pub mod pack;
pub mod par;
pub mod reference;
pub mod simd;
pub mod view;

pub use isa::Isa;
pub use sepal_format::act::Act;
pub use view::{Shape, View, ViewMut};

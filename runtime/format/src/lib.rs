//! The flat model file.
#![no_std]
pub mod act;
pub mod layout;
pub use act::Act;

//! The C interface of Sepal's runtime: opaque handles, numbers for errors, memory of the caller's. `include/sepal.h` is made from
//! this crate by cbindgen; `README.md` is the guide for those who use it.
//!
//! | module | what |
//! |---|---|
//! | `status` | numbers of errors, the text of the last one, the guard that no panic passes |
//! | `handle` | memory of handles, whose allocation may fail |
//! | `model`, `session` | the two handles |
//! | `hosted` | what the standard library would bring, from the C library |
//!
//! # What every function keeps
//! 1. No panic crosses into C: those that do work run inside `status::guard`, which makes it `SEPAL_STATUS_INTERNAL`; others only
//!    read what was verified, or end threads. Without the standard library a panic calls `abort`.
//! 2. Null pointers are refused or ignored, never followed. Pointers that are not null must be what the header says.
//! 3. A session counts as a user of its model: handles may be freed in any order.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod handle;
#[cfg(not(feature = "std"))]
mod hosted;
mod model;
mod session;
mod status;

pub use model::*;
pub use session::*;
pub use status::*;

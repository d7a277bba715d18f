//! Runs a converted network in place.
//!
//! ```no_run
//! let model = sepal::Model::open("model.sepal")?;
//! let mut session = sepal::Session::new(&model, sepal::Options::default())?;
//! session.input_mut(0).unwrap().fill(0.5);
//! session.run();
//! println!("{:?}", session.output(0).unwrap());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Model`] is a verified file: mapped ([`Model::open`]) or borrowed ([`Model::from_bytes`]). A [`Session`] is one arena of
//! exactly [`Model::arena_bytes`] and, if asked for, a pool of threads; [`Session::run`] cannot fail and makes no heap call.
//! Without the `std` feature the crate needs neither `std` nor `alloc`: [`Model::from_bytes`] and [`Session::in_arena`] remain.
//!
//! | file | what |
//! |---|---|
//! | `model.rs` | the verified file and the chosen instruction set |
//! | `session.rs` | the arena, inputs and outputs |
//! | `exec.rs` | the step loop: binds views, calls kernels |
//! | `arena.rs` | disjoint views of one slice |
//! | `pool.rs` | threads that spin within an inference and park between two |
//! | `map.rs` | mapped files and aligned bytes |
#![no_std]

#[cfg(feature = "std")]
extern crate std;

mod arena;
mod error;
mod exec;
#[cfg(feature = "std")]
mod map;
mod model;
#[cfg(feature = "std")]
mod pool;
mod session;

pub use error::{LoadError, SessionError};
#[cfg(feature = "std")]
pub use map::AlignedBytes;
pub use model::Model;
#[cfg(feature = "std")]
pub use pool::Pool;
pub use sepal_format::record::{Io, Step};
pub use sepal_format::{FormatError, FormatErrorKind, ModelView};
pub use sepal_kernels::Isa;
#[cfg(feature = "std")]
pub use session::Options;
pub use session::Session;

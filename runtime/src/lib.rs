//! Runs a network that the `sepal` command has converted.
//!
//! A [`Model`] is a verified file, mapped or in memory; a [`Session`] is the memory in which it runs. Everything that can fail
//! fails when these two are made: [`Session::run`] does not fail and does not touch the heap.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = sepal::Model::open("digits.sepal")?;
//! let mut session = sepal::Session::new(&model, sepal::Options::default())?;
//! if let Some(input) = session.input_mut(0) {
//!     input.fill(0.5);
//! }
//! session.run();
//! println!("{:?}", session.output(0));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! All but `sign`, which is about signed files, are on by default. `threads`, `mmap` and, below both, `std` are what the operating
//! system gives; `scalar`, `avx2`, `avx512`, `neon` and `simd128` (WebAssembly) the instruction sets among which a model chooses
//! when it is loaded; all others what networks are made of. A small program has those of its network, which [`Model::features`]
//! lists; a model that needs another is refused.
//!
//! Without the feature `std` the crate needs neither an allocator nor an operating system: give [`Model::from_bytes`] a `static`
//! file and [`Session::in_arena`] a `static` arena.
//!
//! | module | what |
//! |---|---|
//! | `model`, `map`, `file` | the verified file; `map` holds the one unsafe call that maps it |
//! | `session`, `arena` | an inference's memory, cut into disjoint tensors without unsafe |
//! | `exec` | one step: its record to a kernel call, the one `match` over the operators |
//! | `pipeline` | steps that run together, some rows at a time |
//! | `features` | what a build has of all this |
//! | `panels` | weights in the types that a file may store them in |
//! | `pool` | threads, if asked for |
//! | `sign` | signed files, with the feature `sign` |
//!
//! # Trust
//! Any bytes may be given to [`Model::from_bytes`]: a file that is not sound is refused, a file that is accepted runs within its
//! arena. How long it runs and how large an arena it asks for are the file's choice, within bounds that grow with its length
//! ([`sepal_format::limits`]): [`Model::within`] refuses what asks for more than you are willing to give. Memory safety never depends on the values of weights, so their hash is only checked on demand.
#![no_std]

#[cfg(feature = "std")]
extern crate std;

mod arena;
mod error;
mod exec;
mod features;
#[cfg(feature = "std")]
mod file;
#[cfg(feature = "mmap")]
mod map;
mod model;
mod panels;
mod pipeline;
#[cfg(feature = "threads")]
mod pool;
mod session;
#[cfg(feature = "sign")]
pub mod sign;

/// Sizes that a writer of files has to know.
pub mod plan {
    pub use crate::exec::{scratch, scratch_by_rows};
}

#[cfg(feature = "std")]
pub use arena::AlignedBytes;
pub use error::{LoadError, SessionError};
pub use model::{Layout, Limits, Model, Port};
#[cfg(feature = "threads")]
pub use pool::Pool;
pub use sepal_format::{FormatError, FormatErrorKind, ModelView};
pub use sepal_kernels::Isa;
#[cfg(feature = "std")]
pub use session::Options;
pub use session::Session;

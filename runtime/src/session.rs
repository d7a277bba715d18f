//! A network with the memory to run it.

use crate::error::SessionError;
use crate::exec;
use crate::model::Model;
use sepal_format::ModelView;
use sepal_format::record::Io;
use sepal_kernels::par::{Parallel, Serial};

/// How a session runs.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads of each inference, the calling one included: 1 to 64. Their number does not change a bit of the result.
    pub threads: usize,
}

#[cfg(feature = "std")]
impl Default for Options {
    fn default() -> Self {
        Options { threads: 1 }
    }
}

enum Memory<'m> {
    Borrowed(&'m mut [f32]),
    #[cfg(feature = "std")]
    Owned(std::vec::Vec<crate::map::Line>),
}

impl Memory<'_> {
    fn floats(&self) -> &[f32] {
        match self {
            Memory::Borrowed(m) => m,
            #[cfg(feature = "std")]
            Memory::Owned(lines) => bytemuck::cast_slice(lines),
        }
    }
    fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Memory::Borrowed(m) => m,
            #[cfg(feature = "std")]
            Memory::Owned(lines) => bytemuck::cast_slice_mut(lines),
        }
    }
}

/// One inference at a time: fill the inputs, [`run`](Session::run), read the outputs.
pub struct Session<'m> {
    model: &'m Model<'m>,
    memory: Memory<'m>,
    #[cfg(feature = "std")]
    pool: Option<crate::pool::Pool>,
}

impl core::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("arena_bytes", &(self.memory.floats().len() * 4)).finish_non_exhaustive()
    }
}

impl<'m> Session<'m> {
    /// Allocates the arena and starts the threads; after this, nothing allocates.
    ///
    /// # Errors
    /// [`SessionError::Threads`], [`SessionError::OutOfMemory`] or [`SessionError::Spawn`].
    #[cfg(feature = "std")]
    pub fn new(model: &'m Model<'m>, options: Options) -> Result<Self, SessionError> {
        if !(1..=sepal_kernels::par::MAX_PARTS).contains(&options.threads) {
            return Err(SessionError::Threads);
        }
        let want = model.arena_bytes(options.threads);
        let memory = crate::map::arena(want).ok_or(SessionError::OutOfMemory { want })?;
        let pool = if options.threads > 1 {
            Some(crate::pool::Pool::new(options.threads).map_err(|_| SessionError::Spawn)?)
        } else {
            None
        };
        Ok(Session { model, memory: Memory::Owned(memory), pool })
    }

    /// Uses the caller's memory and one thread: exactly [`Model::arena_bytes`]`(1)` bytes that begin at a multiple of 64.
    ///
    /// # Errors
    /// [`SessionError::ArenaSize`] or [`SessionError::ArenaAlignment`].
    pub fn in_arena(model: &'m Model<'m>, arena: &'m mut [u8]) -> Result<Self, SessionError> {
        let (got, want) = (arena.len(), model.arena_bytes(1));
        if got != want {
            return Err(SessionError::ArenaSize { got, want });
        }
        if !(arena.as_ptr() as usize).is_multiple_of(sepal_format::layout::ALIGN) {
            return Err(SessionError::ArenaAlignment);
        }
        arena.fill(0);
        let floats = bytemuck::try_cast_slice_mut(arena).map_err(|_| SessionError::ArenaAlignment)?;
        Ok(Session {
            model,
            memory: Memory::Borrowed(floats),
            #[cfg(feature = "std")]
            pool: None,
        })
    }

    /// The model.
    pub fn model(&self) -> &'m Model<'m> {
        self.model
    }

    /// Input `i`, in C order of its extents in the source. A run may write over it: fill it before each.
    pub fn input_mut(&mut self, i: usize) -> Option<&mut [f32]> {
        let view = self.model.view();
        let range = io_range(&view, view.inputs().get(i)?)?;
        self.memory.floats_mut().get_mut(range)
    }

    /// Output `i` of the last run, in C order of its extents in the source.
    pub fn output(&self, i: usize) -> Option<&[f32]> {
        let view = self.model.view();
        let range = io_range(&view, view.outputs().get(i)?)?;
        self.memory.floats().get(range)
    }

    /// One inference.
    pub fn run(&mut self) {
        self.run_profiled(&mut |_| ());
    }

    /// One inference; calls `done(i)` after step i, so that a caller with a clock can time the steps.
    pub fn run_profiled(&mut self, done: &mut dyn FnMut(usize)) {
        let view = self.model.view();
        let isa = self.model.isa();
        #[cfg(feature = "std")]
        let par: &dyn Parallel = match &self.pool {
            Some(pool) => pool,
            None => &Serial,
        };
        #[cfg(not(feature = "std"))]
        let par: &dyn Parallel = &Serial;
        #[cfg(feature = "std")]
        let _awake = self.pool.as_ref().map(crate::pool::Pool::wake);
        exec::run(&view, isa, par, self.memory.floats_mut(), done);
    }
}

/// Where an input or output lies in the arena, in floats.
fn io_range(view: &ModelView, io: &Io) -> Option<core::ops::Range<usize>> {
    let t = view.tensors().get(io.tensor as usize)?;
    let at = (t.offset / 4) as usize;
    let len: usize = t.dims.iter().map(|&d| d as usize).product();
    Some(at..at + len)
}

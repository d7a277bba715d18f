//! The memory of an inference, and its run.

#[cfg(feature = "std")]
use crate::AlignedBytes;
#[cfg(feature = "threads")]
use crate::Pool;
#[cfg(all(feature = "mmap", target_os = "linux"))]
use crate::map::LargePages;
use crate::model::arena_bytes;
use crate::{Model, SessionError, exec, pipeline};
use sepal_format::ModelView;
use sepal_format::layout::ALIGN;
use sepal_format::record::Io;
use sepal_kernels::Isa;
use sepal_kernels::par::{Parallel, Serial};
use sepal_kernels::simd::FloatRules;

/// Most threads of a session.
#[cfg(feature = "threads")]
const MOST_THREADS: usize = sepal_format::limits::THREADS;
#[cfg(all(feature = "std", not(feature = "threads")))]
const MOST_THREADS: usize = 1;

/// How a session runs.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads, the caller's one among them: 1 to 64, without the feature `threads` 1. The results are the same with any number.
    pub threads: usize,
}

#[cfg(feature = "std")]
impl Default for Options {
    /// The calling thread alone.
    fn default() -> Self {
        Options { threads: 1 }
    }
}

/// The smallest page that any system has.
#[cfg(feature = "std")]
const PAGE: usize = 4096;

/// Reads a number of each page of the weights. Kernels ask for weights before they need them, and to ask for what is not mapped yet costs
/// a walk through the page tables each time that ends in nothing: the first inference of a mapped model took up to five times as long.
#[cfg(feature = "std")]
fn touch(view: &ModelView) {
    for page in view.weights().chunks(PAGE / 4) {
        core::hint::black_box(page[0]);
    }
}

/// Larger arenas get their pages as an inference writes them: a file may ask for much that it does not use.
#[cfg(feature = "std")]
const TOUCHED: usize = 64 << 20;

/// The memory of an inference: inputs, outputs and all that lies between.
///
/// Fill the inputs, [`run`](Session::run), read the outputs. Outputs stay until the next run; inputs are used up by it, since
/// their memory may serve for others after their last use: fill them again before each run.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = sepal::Model::open("digits.sepal")?;
/// let mut session = sepal::Session::new(&model, sepal::Options { threads: 2 })?;
/// for image in [[0.0f32; 784], [1.0; 784]] {
///     session.input_mut(0).ok_or("no input")?.copy_from_slice(&image);
///     session.run();
///     println!("{:?}", session.output(0));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session<'m> {
    view: ModelView<'m>,
    isa: Isa,
    arena: Arena<'m>,
    /// Whether the weights have been read once.
    #[cfg(feature = "std")]
    touched: bool,
    #[cfg(feature = "threads")]
    pool: Option<Pool>,
}

#[derive(Debug)]
enum Arena<'m> {
    Borrowed(&'m mut [f32]),
    #[cfg(feature = "std")]
    Owned(AlignedBytes),
    #[cfg(all(feature = "mmap", target_os = "linux"))]
    Large(LargePages),
}

impl Arena<'_> {
    /// So many bytes of zeros; `None` if there is not so much memory.
    #[cfg(feature = "std")]
    fn zeroed(bytes: usize) -> Option<Self> {
        #[cfg(all(feature = "mmap", target_os = "linux"))]
        if let Some(large) = LargePages::zeroed(bytes) {
            return Some(Arena::Large(large));
        }
        AlignedBytes::zeroed(bytes).map(Arena::Owned)
    }

    /// Makes the system give the pages, which it does when they are written first: not in an inference.
    #[cfg(feature = "std")]
    fn touch(&mut self) {
        for page in self.floats_mut().chunks_mut(PAGE / 4) {
            page[0] = core::hint::black_box(0.0);
        }
    }

    fn floats(&self) -> &[f32] {
        match self {
            Arena::Borrowed(a) => a,
            #[cfg(feature = "std")]
            Arena::Owned(a) => a.floats(),
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Arena::Large(a) => a.floats(),
        }
    }
    fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Arena::Borrowed(a) => a,
            #[cfg(feature = "std")]
            Arena::Owned(a) => a.floats_mut(),
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Arena::Large(a) => a.floats_mut(),
        }
    }
}

impl<'m> Session<'m> {
    /// Allocates the arena, and starts threads if more than one is asked for. Afterwards the session does not touch the heap.
    ///
    /// # Errors
    /// [`SessionError::Threads`], [`SessionError::Memory`] or [`SessionError::Spawn`].
    #[cfg(feature = "std")]
    #[cfg_attr(not(feature = "scalar"), allow(unreachable_code, unused_variables, reason = "without a set there is no model"))]
    pub fn new(model: &'m Model<'_>, options: Options) -> Result<Self, SessionError> {
        let Options { threads } = options;
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(SessionError::Threads { threads, most: MOST_THREADS });
        }
        let view = model.view();
        let bytes = arena_bytes(&view, threads);
        let mut arena = Arena::zeroed(bytes).ok_or(SessionError::Memory { bytes })?;
        if bytes <= TOUCHED {
            arena.touch();
        }
        #[cfg(feature = "threads")]
        let pool = if threads > 1 { Some(Pool::new(threads).map_err(SessionError::Spawn)?) } else { None };
        Ok(Session {
            view,
            isa: model.isa(),
            arena,
            #[cfg(feature = "std")]
            touched: false,
            #[cfg(feature = "threads")]
            pool,
        })
    }

    /// A session of one thread in the caller's memory, which must have exactly
    /// [`model.arena_bytes(1)`](Model::arena_bytes) bytes and begin at a multiple of 64. It is set to zero; nothing is allocated.
    ///
    /// # Errors
    /// [`SessionError::ArenaLength`] or [`SessionError::ArenaAlignment`].
    #[cfg_attr(not(feature = "scalar"), allow(unreachable_code, unused_variables, reason = "without a set there is no model"))]
    pub fn in_arena(model: &'m Model<'_>, arena: &'m mut [u8]) -> Result<Self, SessionError> {
        let view = model.view();
        let (need, got) = (arena_bytes(&view, 1), arena.len());
        if got != need {
            return Err(SessionError::ArenaLength { need, got });
        }
        if !(arena.as_ptr() as usize).is_multiple_of(ALIGN) {
            return Err(SessionError::ArenaAlignment);
        }
        arena.fill(0);
        let floats = bytemuck::try_cast_slice_mut(arena).map_err(|_| SessionError::ArenaAlignment)?;
        Ok(Session {
            view,
            isa: model.isa(),
            arena: Arena::Borrowed(floats),
            #[cfg(feature = "std")]
            touched: false,
            #[cfg(feature = "threads")]
            pool: None,
        })
    }

    /// Input `i`, to be filled: f32 in the source's layout, without gaps. `None` if there are fewer inputs.
    pub fn input_mut(&mut self, i: usize) -> Option<&mut [f32]> {
        let range = exec::dense(&self.view, self.view.inputs().get(i)?)?;
        self.arena.floats_mut().get_mut(range)
    }

    /// Output `i` of the last run: f32 in the source's layout, without gaps. `None` if there are fewer outputs.
    pub fn output(&self, i: usize) -> Option<&[f32]> {
        let io: &Io = self.view.outputs().get(i)?;
        self.arena.floats().get(exec::dense(&self.view, io)?)
    }

    /// Runs the network on the inputs. It does not fail or allocate, and waits for nothing but its own threads. 128 KB of stack are
    /// enough. Rules for floats that the caller has set, of rounding or for subnormal numbers, do not hold meanwhile (on x86, AArch64
    /// and ARM with the hard-float ABI; elsewhere nobody looks).
    pub fn run(&mut self) {
        self.run_profiled(&mut |_| ());
    }

    /// As [`run`](Session::run); calls `after` with the index of a step when it is done, so that the caller can read a clock. A
    /// step of a pipeline is called for each time that it has made some rows; with several threads only the last one of it, when
    /// all is done.
    pub fn run_profiled(&mut self, after: &mut dyn FnMut(usize)) {
        self.run_watched(&mut |i, _| after(i));
    }

    /// As [`run_profiled`](Session::run_profiled); shows `after` the arena, too, in which the step's output now lies where its
    /// tensor's record says. For a step of a pipeline, which has made some rows only, it is shown nothing.
    pub fn run_watched(&mut self, after: &mut dyn FnMut(usize, &[f32])) {
        #[cfg(feature = "threads")]
        let par: &dyn Parallel = match &self.pool {
            Some(pool) => pool,
            None => &Serial,
        };
        #[cfg(not(feature = "threads"))]
        let par: &dyn Parallel = &Serial;
        let _rules = FloatRules::standard();
        #[cfg(feature = "std")]
        if !core::mem::replace(&mut self.touched, true) {
            touch(&self.view);
        }
        let arena = self.arena.floats_mut();
        let steps = self.view.steps();
        let mut pipelines = self.view.pipelines().iter().peekable();
        let mut i = 0;
        while let Some(step) = steps.get(i) {
            let done = match pipelines.next_if(|p| p.first as usize == i) {
                Some(p) => {
                    let after = &mut |i| after(i, &[]);
                    pipeline::run(&self.view, self.isa, par, p, arena, after).map(|()| p.range().end)
                }
                None => exec::step(&self.view, self.isa, par, step, arena).map(|()| {
                    after(i, arena);
                    i + 1
                }),
            };
            i = done.unwrap_or_else(|| changed(i));
        }
    }
}

/// What a verified step did not fit: only a mapped file that was changed in place leads here.
#[cold]
fn changed(step: usize) -> ! {
    panic!("step {step} does not fit the memory plan: the model's bytes were changed after they had been verified")
}

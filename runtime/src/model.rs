//! A verified file.

#[cfg(feature = "std")]
use crate::AlignedBytes;
#[cfg(feature = "mmap")]
use crate::map::Map;
use crate::{LoadError, features};
use sepal_format::limits::THREADS;
use sepal_format::record::{Io, io_layout};
use sepal_format::{ModelView, Proof};
use sepal_kernels::Isa;
#[cfg(feature = "std")]
use std::{path::Path, sync::Arc};

/// A network in a verified file. It is shared freely among threads; each runs a [`Session`](crate::Session) of its own. A clone is
/// of the same bytes, not a copy of them.
///
/// ```no_run
/// let model = sepal::Model::open("digits.sepal")?;
/// for input in model.inputs() {
///     println!("{}: {:?}", input.name, input.dims);
/// }
/// println!("{} bytes for an inference", model.arena_bytes(1));
/// # Ok::<(), sepal::LoadError>(())
/// ```
///
/// # Plans
/// A file may hold the network for several shapes of its inputs, over the same weights. A model is one of these plans, at first the
/// file's first one; [`plans`](Model::plans) gives all, [`plan_for`](Model::plan_for) the one that takes inputs of some shapes.
///
/// ```no_run
/// let model = sepal::Model::open("classes.sepal")?;
/// let four = model.plan_for(&[&[4, 224, 224, 3]]).ok_or("made for other shapes")?;
/// let session = sepal::Session::new(&four, sepal::Options::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Model<'a> {
    bytes: Bytes<'a>,
    proof: Proof,
    plan: usize,
    isa: Isa,
}

#[derive(Clone, Debug)]
enum Bytes<'a> {
    Borrowed(&'a [u8]),
    #[cfg(feature = "std")]
    Owned(Arc<AlignedBytes>),
    #[cfg(feature = "mmap")]
    Mapped(Arc<Map>),
}

impl Bytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::Borrowed(b) => b,
            #[cfg(feature = "std")]
            Bytes::Owned(b) => b,
            #[cfg(feature = "mmap")]
            Bytes::Mapped(m) => m.bytes(),
        }
    }
}

/// What a caller is willing to give a model that is not trusted: see [`Model::within`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the arena of one thread.
    pub arena_bytes: usize,
    /// Most [`work`](Model::work) of an inference. A CPU with wide vectors does 10^9 a second and mostly
    /// far more, without any some 10^8.
    pub work: u64,
}

/// What the axes of an input or output mean in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Not known, or not an image.
    Unknown,
    /// Batch, rows, columns, channels.
    Nhwc,
    /// Batch, channels, rows, columns.
    Nchw,
}

/// An input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port<'a> {
    /// The source's name for it.
    pub name: &'a str,
    /// Extents as in the source, outermost first. Its elements are f32 in that order, without gaps.
    pub dims: &'a [u32],
    /// What they mean.
    pub layout: Layout,
}

#[cfg(feature = "std")]
impl Model<'static> {
    /// Maps a file and verifies its structure, in a time that does not grow with its weights. (Without the feature `mmap` it is
    /// read instead.)
    ///
    /// The file must not be changed in place while it is open: the model reads it as it runs, and a change would go unnoticed or,
    /// if it becomes shorter, end the program. Replacing it by renaming another is fine. Where that cannot be promised, use
    /// [`AlignedBytes::read`] and [`from_owned`](Model::from_owned).
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        #[cfg(feature = "mmap")]
        let bytes = Bytes::Mapped(Arc::new(Map::open(path).map_err(LoadError::Io)?));
        #[cfg(not(feature = "mmap"))]
        let bytes = Bytes::Owned(Arc::new(AlignedBytes::read(path).map_err(LoadError::Io)?));
        Self::of(bytes)
    }

    /// As [`open`](Model::open), and reads all weights to compare them with their hash.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn open_verified(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let model = Self::open(path)?;
        model.view().verify_weights()?;
        Ok(model)
    }

    /// A file in memory, which the model keeps.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn from_owned(bytes: AlignedBytes) -> Result<Self, LoadError> {
        Self::of(Bytes::Owned(Arc::new(bytes)))
    }
}

impl<'a> Model<'a> {
    /// A file in memory, which must begin at a multiple of 64 bytes: see [`AlignedBytes`](crate::AlignedBytes), or give a `static`
    /// an alignment by `#[repr(align(64))]`.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bytes = sepal::AlignedBytes::read("digits.sepal")?;
    /// let model = sepal::Model::from_bytes(&bytes)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, LoadError> {
        Self::of(Bytes::Borrowed(bytes))
    }

    fn of(bytes: Bytes<'a>) -> Result<Self, LoadError> {
        let proof = Proof::new(bytes.get())?;
        for plan in 0..proof.plans() {
            let view = proof.view_of(bytes.get(), plan)?;
            features::check(&view)?;
            crate::exec::check_scratch(&view).map_err(|e| e.of_plan(plan))?;
        }
        Ok(Model { bytes, proof, plan: 0, isa: isa()? })
    }

    /// How the file runs, plan by plan: for each a model of the same bytes, with its own inputs, outputs, steps and arena. All were
    /// verified when the file was loaded.
    pub fn plans(&self) -> impl ExactSizeIterator<Item = Model<'a>> {
        (0..self.proof.plans()).map(|plan| Model { plan, ..self.clone() })
    }

    /// The plan of a number, as [`plans`](Model::plans) counts. `None` if there are fewer.
    pub fn plan(&self, number: usize) -> Option<Model<'a>> {
        (number < self.proof.plans()).then(|| Model { plan: number, ..self.clone() })
    }

    /// The number of this plan.
    pub fn plan_number(&self) -> usize {
        self.plan
    }

    /// The first plan whose inputs have these extents, in the order of the inputs.
    pub fn plan_for(&self, inputs: &[&[u32]]) -> Option<Model<'a>> {
        self.plans().find(|plan| plan.inputs().map(|port| port.dims).eq(inputs.iter().copied()))
    }

    /// The model, if none of the file's plans asks for more than the caller is willing to give: for files that are not trusted. Nothing
    /// of it has run, and no memory for it has been allocated.
    ///
    /// ```no_run
    /// let limits = sepal::Limits { arena_bytes: 64 << 20, work: 1 << 34 };
    /// let model = sepal::Model::open("unknown.sepal")?.within(limits)?;
    /// # Ok::<(), sepal::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::Limit`].
    pub fn within(self, limits: Limits) -> Result<Self, LoadError> {
        for plan in 0..self.proof.plans() {
            let view = self.view_of(plan);
            let (arena, work) = (arena_bytes(&view, 1) as u64, view.work());
            if arena > limits.arena_bytes as u64 {
                return Err(LoadError::Limit { what: "bytes of memory", asked: arena, most: limits.arena_bytes as u64 });
            }
            if work > limits.work {
                return Err(LoadError::Limit { what: "operations", asked: work, most: limits.work });
            }
        }
        Ok(self)
    }

    /// How much work an inference is: at most about so many multiply-adds or other accesses to elements, on one thread.
    pub fn work(&self) -> u64 {
        self.view().work()
    }

    /// Forces an instruction set. The results are the same with each.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Model { isa, ..self }
    }

    /// The instruction set that the model runs with: the widest of this CPU, unless the environment variable `SEPAL_ISA` named
    /// another one when the model was loaded (with the feature `std`) or [`with_isa`](Model::with_isa) did.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The file's records, of this plan.
    pub fn view(&self) -> ModelView<'_> {
        self.view_of(self.plan)
    }

    fn view_of(&self, plan: usize) -> ModelView<'_> {
        // Cannot fail on the bytes that were verified.
        self.proof.view_of(self.bytes.get(), plan).unwrap_or_default()
    }

    /// The crate's Cargo features that the file needs, in all of its plans, besides an instruction set.
    pub fn features(&self) -> impl Iterator<Item = &'static str> {
        let needed = |name: &str| (0..self.proof.plans()).any(|plan| features::needs(&self.view_of(plan), name));
        features::ALL.iter().copied().filter(move |name| needed(name))
    }

    /// What the network takes, in the source's order.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = Port<'_>> {
        let view = self.view();
        view.inputs().iter().map(move |io| port(view, io))
    }

    /// What the network gives, in the source's order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Port<'_>> {
        let view = self.view();
        view.outputs().iter().map(move |io| port(view, io))
    }

    /// Bytes of memory that an inference on so many threads needs, besides the file; threads beyond 64 do not count.
    pub fn arena_bytes(&self, threads: usize) -> usize {
        arena_bytes(&self.view(), threads)
    }
}

/// The verified plan fits the address space with scratch for [`THREADS`] threads.
pub(crate) fn arena_bytes(view: &ModelView, threads: usize) -> usize {
    let plan = view.plan();
    (plan.tensor_bytes + plan.scratch_bytes * threads.clamp(1, THREADS) as u64) as usize
}

fn port<'a>(view: ModelView<'a>, io: &'a Io) -> Port<'a> {
    let layout = match io.layout {
        io_layout::NHWC => Layout::Nhwc,
        io_layout::NCHW => Layout::Nchw,
        _ => Layout::Unknown,
    };
    Port { name: view.io_name(io), dims: io.dims.get(..io.rank as usize).unwrap_or(&[]), layout }
}

/// The instruction set to run with.
fn isa() -> Result<Isa, LoadError> {
    #[cfg(feature = "std")]
    {
        // Read once: it takes heap, and a program in C may change its environment later.
        static WANTED: std::sync::OnceLock<Option<Result<Isa, LoadError>>> = std::sync::OnceLock::new();
        let wanted = WANTED.get_or_init(|| {
            let name = std::env::var_os("SEPAL_ISA").filter(|name| !name.is_empty())?;
            Some(name.to_str().and_then(Isa::by_name).ok_or(LoadError::Isa))
        });
        if let Some(wanted) = wanted {
            return wanted.as_ref().copied().map_err(|_| LoadError::Isa);
        }
    }
    Isa::widest().ok_or(LoadError::NoIsa)
}

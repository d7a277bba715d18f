//! A verified file with the instruction set that will run it.

use crate::error::LoadError;
use sepal_format::record::{Io, Step, dtype};
use sepal_format::{FormatError, FormatErrorKind, ModelView, Proof};
use sepal_kernels::Isa;

#[derive(Clone, Debug)]
enum Bytes<'a> {
    Borrowed(&'a [u8]),
    #[cfg(feature = "std")]
    Mapped(std::sync::Arc<crate::map::Mapped>),
}

/// A network, ready to run: share it between threads, one [`Session`](crate::Session) each. Cloning does not copy the file.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    bytes: Bytes<'a>,
    proof: Proof,
    isa: Isa,
}

#[cfg(feature = "std")]
impl Model<'static> {
    /// Maps and verifies a file. Takes time in the number of its steps, not in the size of its weights.
    ///
    /// The file must not be changed while the model is in use: replace it by renaming another over it.
    ///
    /// # Errors
    /// [`LoadError::Io`], or [`LoadError::Format`] for a file that is not sound.
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, LoadError> {
        let mapped = crate::map::Mapped::open(path.as_ref()).map_err(LoadError::Io)?;
        let proof = prove(mapped.bytes())?;
        Ok(Model { bytes: Bytes::Mapped(std::sync::Arc::new(mapped)), proof, isa: chosen_isa()? })
    }

    /// The same, and compares the weights with their hash, which reads the whole file.
    ///
    /// # Errors
    /// As [`open`](Model::open), and [`FormatErrorKind::WeightsHash`].
    pub fn open_verified(path: impl AsRef<std::path::Path>) -> Result<Self, LoadError> {
        let model = Self::open(path)?;
        model.view().verify_weights()?;
        Ok(model)
    }
}

impl<'a> Model<'a> {
    /// Verifies bytes in memory, which must begin at a multiple of 64.
    ///
    /// # Errors
    /// [`LoadError::Format`] for a file that is not sound.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, LoadError> {
        Ok(Model { proof: prove(bytes)?, bytes: Bytes::Borrowed(bytes), isa: chosen_isa()? })
    }

    /// Another instruction set than the widest of this CPU; the results are the same to the bit.
    pub fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The file's records.
    pub fn view(&self) -> ModelView<'_> {
        let bytes = match &self.bytes {
            Bytes::Borrowed(b) => b,
            #[cfg(feature = "std")]
            Bytes::Mapped(m) => m.bytes(),
        };
        self.proof.view(bytes).unwrap_or_default()
    }

    /// Inputs, in the source's order.
    pub fn inputs(&self) -> &[Io] {
        self.view().inputs()
    }

    /// Outputs, in the source's order.
    pub fn outputs(&self) -> &[Io] {
        self.view().outputs()
    }

    /// Steps, in execution order.
    pub fn steps(&self) -> &[Step] {
        self.view().steps()
    }

    /// Exactly the bytes that a session's arena needs for so many threads.
    pub fn arena_bytes(&self, threads: usize) -> usize {
        let plan = self.view().plan();
        plan.tensor_bytes as usize + plan.scratch_bytes as usize * threads
    }
}

/// Verifies a file, and that its plan gives every step the scratch that its kernel asks for.
fn prove(bytes: &[u8]) -> Result<Proof, FormatError> {
    let proof = Proof::new(bytes)?;
    let view = proof.view(bytes)?;
    for (i, step) in view.steps().iter().enumerate() {
        let floats = crate::exec::scratch(&view, step);
        if floats.is_none_or(|n| n as u64 > view.plan().scratch_bytes / 4) {
            return Err(FormatError::at(FormatErrorKind::Step, i));
        }
    }
    debug_assert!(view.tensors().iter().all(|t| t.dtype == dtype::F32));
    Ok(proof)
}

#[cfg(feature = "std")]
fn chosen_isa() -> Result<Isa, LoadError> {
    match std::env::var("SEPAL_ISA") {
        Ok(name) if !name.is_empty() => Isa::by_name(&name).ok_or(LoadError::Isa),
        _ => Ok(Isa::detect()),
    }
}

#[cfg(not(feature = "std"))]
fn chosen_isa() -> Result<Isa, LoadError> {
    Ok(Isa::detect())
}

//! The runtime as the commands use it.

use super::failure::{Failure, USAGE};
use sepal::{AlignedBytes, LoadError, Model, Options, Session};
use sepal_converter::data::npz::Array;
use sepal_converter::file::open_regular;
use sepal_format::ModelView;
use sepal_format::record::{Header, Io, MAGIC, io_layout};
use sepal_kernels::Isa;
use std::io::{self, ErrorKind, Read as _};
use std::mem::size_of;
use std::path::Path;

/// Most elements of the outputs of several samples: a gigabyte.
const MOST_OUTPUTS: usize = 1 << 28;
/// Most threads that are taken.
const MAX_THREADS: usize = 64;

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The source's name for it.
    pub name: String,
    /// Extents.
    pub dims: Vec<usize>,
    /// `NHWC`, `NCHW`, or nothing.
    pub layout: &'static str,
}

/// Maps a file as it is, to measure it: if it shrinks meanwhile the program ends.
pub fn open(path: &Path, isa: Option<&str>) -> Result<Model<'static>, Failure> {
    let model = Model::open(path).map_err(|e| refused(path, e))?;
    with_isa(model, isa)
}

/// As [`open`], and checks the hash of its weights, too.
pub fn open_verified(path: &Path, isa: Option<&str>) -> Result<Model<'static>, Failure> {
    let model = Model::open_verified(path).map_err(|e| refused(path, e))?;
    with_isa(model, isa)
}

/// Reads a file and checks the hash of its weights, too: it may be changed meanwhile.
pub fn read_verified(path: &Path, isa: Option<&str>) -> Result<Model<'static>, Failure> {
    let bytes = read(path).map_err(|e| refused(path, LoadError::Io(e)))?;
    verified(path, bytes, isa)
}

/// As [`read_verified`], of bytes that `check` has nothing against.
pub fn read_checked(
    path: &Path,
    isa: Option<&str>,
    check: impl FnOnce(&[u8]) -> Result<(), Failure>,
) -> Result<Model<'static>, Failure> {
    let bytes = AlignedBytes::read(path).map_err(|e| refused(path, LoadError::Io(e)))?;
    check(&bytes)?;
    verified(path, bytes, isa)
}

fn verified(path: &Path, bytes: AlignedBytes, isa: Option<&str>) -> Result<Model<'static>, Failure> {
    let sound = || {
        let model = Model::from_owned(bytes)?;
        model.view().verify_weights()?;
        Ok(model)
    };
    with_isa(sound().map_err(|e| refused(path, e))?, isa)
}

/// All bytes of a file, or the first ones if these and its length say that it is no model: however long it is, no more is read.
fn read(path: &Path) -> io::Result<AlignedBytes> {
    let mut file = open_regular(path)?;
    let len = usize::try_from(file.metadata()?.len()).map_err(|_| ErrorKind::OutOfMemory)?;
    let mut head = [0; size_of::<Header>()];
    let first = head.len().min(len);
    file.read_exact(&mut head[..first])?;
    let header: Header = bytemuck::pod_read_unaligned(&head);
    let model = header.magic == MAGIC && header.file_len == len as u64;
    let mut all = AlignedBytes::zeroed(if model { len } else { first }).ok_or(ErrorKind::OutOfMemory)?;
    let (start, rest) = all.split_at_mut(first);
    start.copy_from_slice(&head[..first]);
    file.read_exact(rest)?;
    Ok(all)
}

/// An error unless a file in memory is a sound model, its weights included.
pub fn sound(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let check = Model::from_bytes(bytes).and_then(|model| Ok(model.view().verify_weights()?));
    check.map_err(|e| refused(path, e))
}

/// A file in memory.
pub fn from_bytes<'a>(bytes: &'a [u8], isa: Option<&str>) -> Result<Model<'a>, Failure> {
    let model = Model::from_bytes(bytes).map_err(|e| Failure::invalid(format!("the converted file is refused: {e}")))?;
    with_isa(model, isa)
}

fn refused(path: &Path, e: sepal::LoadError) -> Failure {
    match e {
        sepal::LoadError::Io(e) => Failure::io(path, &e),
        e @ sepal::LoadError::Isa => Failure::usage(e.to_string()),
        e => Failure::invalid(format!("{}: {e}", path.display())),
    }
}

fn with_isa<'a>(model: Model<'a>, name: Option<&str>) -> Result<Model<'a>, Failure> {
    let Some(name) = name else { return Ok(model) };
    if !Isa::NAMES.contains(&name) {
        return Err(Failure::usage(format!("--isa {name}: the instruction sets are {}", Isa::NAMES.join(", "))));
    }
    let isa = Isa::by_name(name).ok_or_else(|| {
        let here: Vec<&str> = Isa::available().map(Isa::name).collect();
        Failure::new(USAGE, format!("--isa {name}: this CPU does not have it; it has {}", here.join(", ")))
    })?;
    Ok(model.with_isa(isa))
}

/// The instruction set that a model runs with.
pub fn isa(model: &Model) -> &'static str {
    model.isa().name()
}

/// A number of threads on the command line.
pub fn threads(s: &str) -> Result<usize, String> {
    let n = s.trim().parse().ok().filter(|n| (1..=MAX_THREADS).contains(n));
    n.ok_or_else(|| format!("a number of threads from 1 to {MAX_THREADS} is needed"))
}

/// What a model takes.
pub fn inputs(model: &Model) -> Vec<Port> {
    let view = model.view();
    view.inputs().iter().map(|io| port(&view, io)).collect()
}

/// What a model gives.
pub fn outputs(model: &Model) -> Vec<Port> {
    let view = model.view();
    view.outputs().iter().map(|io| port(&view, io)).collect()
}

fn port(view: &ModelView, io: &Io) -> Port {
    let rank = (io.rank as usize).min(io.dims.len());
    Port {
        name: view.io_name(io).to_owned(),
        dims: io.dims[..rank].iter().map(|&d| d as usize).collect(),
        layout: match io.layout {
            io_layout::NHWC => "NHWC",
            io_layout::NCHW => "NCHW",
            _ => "",
        },
    }
}

/// A session with the names and shapes of its outputs.
#[derive(Debug)]
pub struct Runner<'m> {
    session: Session<'m>,
    outputs: Vec<Port>,
    names: Vec<String>,
}

impl<'m> Runner<'m> {
    pub fn new(model: &'m Model, threads: usize) -> Result<Self, Failure> {
        let session = Session::new(model, Options { threads });
        let session = session.map_err(|e| Failure::invalid(format!("no session with {threads} threads: {e}")))?;
        let outputs = outputs(model);
        let names = outputs.iter().map(|p| p.name.clone()).collect();
        Ok(Runner { session, outputs, names })
    }

    pub fn output_names(&self) -> &[String] {
        &self.names
    }

    /// An error if the outputs of so many samples are not to be held at once.
    pub fn affords(&self, samples: usize) -> Result<(), Failure> {
        // An array takes more than its elements: a name, a shape, a place in an archive.
        let each: usize = self.outputs.iter().map(|port| port.dims.iter().product::<usize>().saturating_add(192)).sum();
        match each.saturating_mul(samples) {
            n if samples > 1 && n > MOST_OUTPUTS => {
                Err(Failure::invalid(format!("the outputs of {samples} samples have {n} elements; give fewer samples at a time")))
            }
            _ => Ok(()),
        }
    }

    /// Runs the network and gives its outputs.
    pub fn run(&mut self, sample: &[Vec<f32>]) -> Result<Vec<Array>, Failure> {
        self.set(sample)?;
        self.session.run();
        let outputs = self.outputs.iter().enumerate().map(|(i, port)| {
            let (output, mut values) = (self.session.output(i).unwrap_or(&[]), Vec::new());
            let short = |_| Failure::invalid(format!("no memory for the {} elements of output '{}'", output.len(), port.name));
            values.try_reserve_exact(output.len()).map_err(short)?;
            values.extend_from_slice(output);
            Ok(Array { shape: port.dims.clone(), values })
        });
        outputs.collect()
    }

    /// Sets the inputs, runs, reads the outputs where they are, allocates nothing.
    pub fn run_quietly(&mut self, sample: &[Vec<f32>]) -> Result<(), Failure> {
        self.set(sample)?;
        self.session.run();
        for i in 0..self.outputs.len() {
            std::hint::black_box(self.session.output(i));
        }
        Ok(())
    }

    /// As [`run_quietly`](Self::run_quietly); calls `after` with the index of each step when it is done.
    pub fn run_profiled(&mut self, sample: &[Vec<f32>], after: &mut dyn FnMut(usize)) -> Result<(), Failure> {
        self.set(sample)?;
        self.session.run_profiled(after);
        Ok(())
    }

    fn set(&mut self, sample: &[Vec<f32>]) -> Result<(), Failure> {
        for (i, values) in sample.iter().enumerate() {
            let input = self.session.input_mut(i).filter(|input| input.len() == values.len());
            input.ok_or_else(|| Failure::invalid(format!("input {i} has another size")))?.copy_from_slice(values);
        }
        Ok(())
    }
}

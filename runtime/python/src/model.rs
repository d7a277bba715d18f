//! A model with its session.
#![expect(unsafe_code, reason = "arrays over memory that a Python object keeps")]

use crate::{array, errors};
use numpy::PyArrayDyn;
use numpy::ndarray::{ArrayBase, ArrayView, ArrayViewMut, Data, IxDyn, ShapeError};
use pyo3::exceptions::{PyIndexError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyTuple};
use sepal::{AlignedBytes, Isa, Layout, Options, Session};
use sepal_format::preprocessing::Preprocessing;
use sepal_format::record::section;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

self_cell::self_cell!(
    /// A session beside the model that it borrows.
    struct Live {
        owner: sepal::Model<'static>,
        #[covariant]
        dependent: Session,
    }
);

/// An input or output.
#[pyclass(frozen, module = "sepal")]
pub struct Port {
    /// Its name in the network that was converted.
    #[pyo3(get)]
    name: String,
    dims: Vec<u32>,
    /// "NHWC", "NCHW" or "unknown".
    #[pyo3(get)]
    layout: &'static str,
}

#[pymethods]
impl Port {
    /// Its extents, the outermost first.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.dims)
    }

    fn __repr__(&self) -> String {
        format!("Port(name='{}', shape={}, layout='{}')", self.name, array::shape(&self.dims), self.layout)
    }
}

impl Port {
    fn of(port: sepal::Port<'_>) -> Self {
        let layout = match port.layout {
            Layout::Nhwc => "NHWC",
            Layout::Nchw => "NCHW",
            Layout::Unknown => "unknown",
        };
        Port { name: port.name.to_owned(), dims: port.dims.to_vec(), layout }
    }
}

/// A converted network, and the memory in which it runs.
#[pyclass(frozen, module = "sepal")]
pub struct Model {
    live: Mutex<Live>,
    /// The same as in `live`: a clone is of the same bytes.
    model: sepal::Model<'static>,
    threads: usize,
    /// How many arrays over its memory there are.
    leases: AtomicUsize,
}

/// What arrays over a model's memory keep alive.
#[pyclass(frozen, module = "sepal")]
struct Lease(Py<Model>);

impl Lease {
    fn new(model: &Bound<'_, Model>) -> Self {
        model.get().leases.fetch_add(1, Ordering::Relaxed);
        Lease(model.clone().unbind())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.get().leases.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Model {
    fn make(model: sepal::Model<'static>, threads: usize, isa: Option<&str>) -> PyResult<Self> {
        let model = match isa {
            None => model,
            Some(name) => model.with_isa(Isa::by_name(name).ok_or_else(|| {
                let has: Vec<_> = Isa::available().map(Isa::name).collect();
                errors::UnsupportedError::new_err(format!("isa={name:?}: this CPU has {}", has.join(", ")))
            })?),
        };
        let live = Live::try_new(model.clone(), |model| Session::new(model, Options { threads }));
        let live = Mutex::new(live.map_err(|e| errors::session(&e))?);
        Ok(Model { live, model, threads, leases: AtomicUsize::new(0) })
    }

    /// The session, for which other threads of Python are let run.
    fn lock(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Live>> {
        self.live.lock_py_attached(py).map_err(|_| PyRuntimeError::new_err("an earlier run of this model panicked"))
    }
}

#[pymethods]
impl Model {
    /// Maps a file and verifies it.
    #[new]
    #[pyo3(signature = (path, *, threads = 1, isa = None))]
    fn new(path: PathBuf, threads: usize, isa: Option<&str>) -> PyResult<Self> {
        let model = sepal::Model::open(&path).map_err(|e| errors::load(Some(&path), &e))?;
        Self::make(model, threads, isa)
    }

    /// Verifies a model in memory, which is copied.
    #[staticmethod]
    #[pyo3(signature = (data, *, threads = 1, isa = None))]
    fn from_bytes(data: &Bound<'_, PyBytes>, threads: usize, isa: Option<&str>) -> PyResult<Self> {
        let data = data.as_bytes();
        let no_memory = || pyo3::exceptions::PyMemoryError::new_err(format!("no memory for a model of {} bytes", data.len()));
        let bytes = AlignedBytes::copy(data).ok_or_else(no_memory)?;
        let model = sepal::Model::from_owned(bytes).map_err(|e| errors::load(None, &e))?;
        Self::make(model, threads, isa)
    }

    /// What it takes.
    #[getter]
    fn inputs(&self) -> Vec<Port> {
        self.model.inputs().map(Port::of).collect()
    }

    /// What it gives.
    #[getter]
    fn outputs(&self) -> Vec<Port> {
        self.model.outputs().map(Port::of).collect()
    }

    /// What the elements of its first output are called, if the file says so.
    #[getter]
    fn labels(&self) -> Vec<String> {
        let view = self.model.view();
        let parsed = view.section(section::PREPROCESSING).and_then(|s| Preprocessing::parse(s).ok());
        parsed.map_or_else(Vec::new, |(_, labels)| labels.lines().map(str::to_owned).collect())
    }

    /// Bytes of memory of an inference, besides the file.
    #[getter]
    fn arena_bytes(&self) -> usize {
        self.model.arena_bytes(self.threads)
    }

    /// Multiply-adds or other accesses to elements of an inference, at most about.
    #[getter]
    fn work(&self) -> u64 {
        self.model.work()
    }

    /// How many threads it runs on.
    #[getter]
    fn threads(&self) -> usize {
        self.threads
    }

    /// The instruction set that it runs with.
    #[getter]
    fn isa(&self) -> &'static str {
        self.model.isa().name()
    }

    /// Compares all weights with their hash.
    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.model.view().verify_weights()).map_err(|e| errors::FormatError::new_err(e.to_string()))
    }

    /// Runs the network.
    #[pyo3(signature = (inputs = None))]
    fn run<'py>(&self, py: Python<'py>, inputs: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let ports: Vec<_> = self.model.inputs().collect();
        let arrays = inputs.map(|given| array::bind(given, &ports)).transpose()?;
        let mut live = self.lock(py)?;
        // With arrays over the memory around, other threads of Python must not run, since they could write to what is read here; and what
        // is given may be such an array itself, so it is copied before anything is written.
        let exclusive = self.leases.load(Ordering::Relaxed) > 0;
        let given = arrays.unwrap_or_default();
        let copied = if exclusive { given.iter().map(array::values).collect::<PyResult<Vec<_>>>()? } else { Vec::new() };
        let given = if exclusive { Vec::new() } else { given };
        live.with_dependent_mut(|_, session| {
            for (i, from) in given.iter().enumerate() {
                session.input_mut(i).into_iter().for_each(|to| array::copy(from, to));
            }
            for (i, from) in copied.iter().enumerate() {
                session.input_mut(i).into_iter().for_each(|to| to.copy_from_slice(from));
            }
            if exclusive {
                session.run();
            } else {
                py.detach(|| session.run());
            }
        });
        let outputs = self.model.outputs().enumerate().map(|(i, port)| {
            let values = live.borrow_dependent().output(i).unwrap_or(&[]);
            array::made(py, values, port.dims)
        });
        let mut outputs = outputs.collect::<PyResult<Vec<_>>>()?;
        drop(live);
        if outputs.len() == 1 {
            return Ok(outputs.remove(0).into_any());
        }
        Ok(PyTuple::new(py, outputs)?.into_any())
    }

    /// An array over the memory of input `index`.
    #[pyo3(signature = (index = 0))]
    fn input<'py>(slf: &Bound<'py, Self>, index: usize) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let ports: Vec<_> = slf.get().model.inputs().collect();
        let port = ports.get(index).ok_or_else(|| missing("input", index, ports.len()))?;
        let mut live = slf.get().lock(slf.py())?;
        live.with_dependent_mut(|_, session| {
            let values = session.input_mut(index).unwrap_or(&mut []);
            over(slf, ArrayViewMut::from_shape(extents(port), values))
        })
    }

    /// An array over the memory of output `index`, not to be written.
    #[pyo3(signature = (index = 0))]
    fn output<'py>(slf: &Bound<'py, Self>, index: usize) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let ports: Vec<_> = slf.get().model.outputs().collect();
        let port = ports.get(index).ok_or_else(|| missing("output", index, ports.len()))?;
        let live = slf.get().lock(slf.py())?;
        let values = live.borrow_dependent().output(index).unwrap_or(&[]);
        let array = over(slf, ArrayView::from_shape(extents(port), values))?;
        array.getattr("flags")?.setattr("writeable", false)?;
        Ok(array)
    }

    fn __repr__(&self) -> String {
        let list = |ports: &mut dyn Iterator<Item = sepal::Port<'_>>| {
            ports.map(|p| format!("{} {}", p.name, array::shape(p.dims))).collect::<Vec<_>>().join(", ")
        };
        let (takes, gives) = (list(&mut self.model.inputs()), list(&mut self.model.outputs()));
        format!("<sepal.Model: {takes} -> {gives}, {} threads, {}>", self.threads, self.isa())
    }
}

fn missing(what: &str, index: usize, count: usize) -> PyErr {
    PyIndexError::new_err(format!("{what} {index}: the model has {count}"))
}

fn extents(port: &sepal::Port<'_>) -> IxDyn {
    IxDyn(&port.dims.iter().map(|&d| d as usize).collect::<Vec<_>>())
}

/// An array over a session's memory, which may be written if `view` is one that may.
fn over<'py, S: Data<Elem = f32>>(
    model: &Bound<'py, Model>,
    view: Result<ArrayBase<S, IxDyn>, ShapeError>,
) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let view = view.map_err(|e| PyRuntimeError::new_err(e.to_string()))?;
    let lease = Bound::new(model.py(), Lease::new(model))?;
    // SAFETY: the lease keeps the model, and that its session, whose arena never moves. While there is a lease, all that reads or writes
    // the arena holds the interpreter's lock, which Python needs for using the array. What lets go of it while it writes to an array, as
    // some of numpy's functions do, must not overlap with a run, as with any array; what is computed is wrong then, but no address
    // depends on values.
    Ok(unsafe { PyArrayDyn::borrow_from_array(&view, lease.into_any()) })
}

//! What goes wrong, as exceptions. Those of the system are `OSError`, wrong arguments `ValueError` or `TypeError`.

use pyo3::exceptions::{PyException, PyMemoryError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use sepal::{LoadError, SessionError};
use std::path::Path;

pyo3::create_exception!(sepal, Error, PyException, "What Sepal itself has to say. All of its other exceptions are of this class.");
pyo3::create_exception!(sepal, FormatError, Error, "The bytes are not a sound model: damaged, cut off, or of another version.");
pyo3::create_exception!(sepal, InvalidError, Error, "What is to be converted is not a sound network.");
pyo3::create_exception!(
    sepal,
    UnsupportedError,
    Error,
    "What is asked for is sound, but this build, this CPU or the converter cannot do it. `items` lists what stands in the way of a \
     conversion: dicts of node, kind, what and remedy."
);
pyo3::create_exception!(sepal, VerificationError, Error, "The converted network does not give what its source gives.");

/// An error of the system, with the file that it is about.
pub fn io(path: &Path, e: &std::io::Error) -> PyErr {
    match e.raw_os_error() {
        // Python chooses the subclass by the number.
        Some(number) => {
            let text = e.to_string();
            let reason = text.split(" (os error").next().unwrap_or_default().to_owned();
            PyOSError::new_err((number, reason, path.to_path_buf()))
        }
        None if e.kind() == std::io::ErrorKind::AlreadyExists => {
            pyo3::exceptions::PyFileExistsError::new_err(format!("{}: {e}", path.display()))
        }
        None if e.kind() == std::io::ErrorKind::OutOfMemory => PyMemoryError::new_err(format!("{}: {e}", path.display())),
        None => PyOSError::new_err(format!("{}: {e}", path.display())),
    }
}

/// Of a model that is refused; `path` is where it came from.
pub fn load(path: Option<&Path>, e: &LoadError) -> PyErr {
    let text = match path {
        Some(path) => format!("{}: {e}", path.display()),
        None => e.to_string(),
    };
    match e {
        LoadError::Io(e) => io(path.unwrap_or("".as_ref()), e),
        LoadError::Format(_) => FormatError::new_err(text),
        LoadError::Feature { .. } | LoadError::NoIsa | LoadError::Isa => UnsupportedError::new_err(text),
        _ => Error::new_err(text),
    }
}

/// Of a session that is refused.
pub fn session(e: &SessionError) -> PyErr {
    match e {
        SessionError::Threads { .. } => PyValueError::new_err(e.to_string()),
        SessionError::Memory { .. } => PyMemoryError::new_err(e.to_string()),
        SessionError::Spawn(_) => PyOSError::new_err(e.to_string()),
        _ => Error::new_err(e.to_string()),
    }
}

/// Of a conversion.
pub fn conversion(py: Python<'_>, e: &sepal_converter::Error) -> PyErr {
    use sepal_converter::Error as E;
    let text = e.to_string();
    match e {
        E::Io { path, source } => io(path, source),
        E::Request(_) => PyValueError::new_err(text),
        E::Invalid(_) => InvalidError::new_err(text),
        E::Unsupported(all) => {
            let error = UnsupportedError::new_err(text);
            let items = || -> PyResult<()> {
                let list = PyList::empty(py);
                for u in all {
                    let item = pyo3::types::PyDict::new(py);
                    item.set_item("node", &u.node)?;
                    item.set_item("kind", &u.kind)?;
                    item.set_item("what", &u.what)?;
                    item.set_item("remedy", &u.remedy)?;
                    list.append(item)?;
                }
                error.value(py).setattr("items", list)
            };
            items().err().unwrap_or(error)
        }
        E::Verification(_) | E::Inexact(_) => VerificationError::new_err(text),
        _ => Error::new_err(text),
    }
}

//! Sepal for Python: the module `sepal._sepal`, which the package `sepal` gives out; `python/sepal/__init__.pyi` is what its users read.
//!
//! | module | what |
//! |---|---|
//! | `model` | a model with its session, run without the interpreter's lock; arrays over its memory |
//! | `array` | arrays of Python's as inputs: what is refused, and what it says then |
//! | `convert` | the converter |
//! | `errors` | what goes wrong, as exceptions |

mod array;
mod convert;
mod errors;
mod model;

use pyo3::prelude::*;

/// What the package gives out.
#[pymodule]
fn _sepal(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add_class::<model::Model>()?;
    m.add_class::<model::Port>()?;
    m.add_class::<convert::Conversion>()?;
    m.add_function(wrap_pyfunction!(convert::convert, m)?)?;
    m.add("Error", py.get_type::<errors::Error>())?;
    m.add("FormatError", py.get_type::<errors::FormatError>())?;
    m.add("InvalidError", py.get_type::<errors::InvalidError>())?;
    m.add("UnsupportedError", py.get_type::<errors::UnsupportedError>())?;
    m.add("VerificationError", py.get_type::<errors::VerificationError>())
}

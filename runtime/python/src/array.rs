//! Arrays of Python's as inputs.

use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use sepal::Port;

/// One array for each input, in their order, from an array, a sequence or a dict by names.
pub fn bind<'py>(given: &Bound<'py, PyAny>, ports: &[Port<'_>]) -> PyResult<Vec<PyReadonlyArrayDyn<'py, f32>>> {
    let many = |n: usize| match n {
        1 => "1 array".to_owned(),
        n => format!("{n} arrays"),
    };
    if let Ok(dict) = given.cast::<PyDict>() {
        if let Some(unknown) = dict.keys().iter().find(|k| !ports.iter().any(|p| k.eq(p.name).unwrap_or(false))) {
            return Err(PyValueError::new_err(format!("no input is called {}: {}", unknown.repr()?, names(ports))));
        }
        let one = |p: &Port| match dict.get_item(p.name)? {
            Some(array) => check(&array, p),
            None => Err(PyValueError::new_err(format!("input '{}' is missing", p.name))),
        };
        return ports.iter().map(one).collect();
    }
    let arrays: Vec<Bound<PyAny>> = if let Ok(list) = given.cast::<PyList>() {
        list.iter().collect()
    } else if let Ok(tuple) = given.cast::<PyTuple>() {
        tuple.iter().collect()
    } else {
        vec![given.clone()]
    };
    if arrays.len() != ports.len() {
        let (got, need) = (many(arrays.len()), many(ports.len()));
        return Err(PyValueError::new_err(format!("{got} for a model that takes {need}: {}", names(ports))));
    }
    arrays.iter().zip(ports).map(|(array, port)| check(array, port)).collect()
}

fn names(ports: &[Port<'_>]) -> String {
    let list: Vec<String> = ports.iter().map(|p| format!("'{}' of shape {}", p.name, shape(p.dims))).collect();
    format!("it takes {}", list.join(", "))
}

/// As Python writes it.
pub fn shape<T: ToString>(dims: &[T]) -> String {
    let list: Vec<String> = dims.iter().map(ToString::to_string).collect();
    match list.as_slice() {
        [one] => format!("({one},)"),
        _ => format!("({})", list.join(", ")),
    }
}

/// An array of the input's type and shape; leading extents of 1 do not matter.
fn check<'py>(array: &Bound<'py, PyAny>, port: &Port<'_>) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
    let name = port.name;
    let Ok(untyped) = array.cast::<PyUntypedArray>() else {
        let what = array.get_type().name()?;
        return Err(PyTypeError::new_err(format!("input '{name}': a numpy.ndarray of float32 is needed, not {what}")));
    };
    let dtype = untyped.dtype();
    let Ok(typed) = array.cast::<PyArrayDyn<f32>>() else {
        let text = format!("input '{name}': float32 is needed, not {dtype}; array.astype(numpy.float32) makes it");
        return Err(PyValueError::new_err(text));
    };
    if !untyped.is_aligned() {
        return Err(PyValueError::new_err(format!("input '{name}': its elements do not lie on multiples of 4 bytes; a copy's do")));
    }
    let got: Vec<usize> = untyped.shape().to_vec();
    let want: Vec<usize> = port.dims.iter().map(|&d| d as usize).collect();
    let without_ones = |dims: &[usize]| dims.iter().skip_while(|&&d| d == 1).copied().collect::<Vec<_>>();
    if without_ones(&got) != without_ones(&want) {
        return Err(PyValueError::new_err(format!("input '{name}': shape {} is needed, not {}", shape(&want), shape(&got))));
    }
    typed.try_readonly().map_err(|e| PyValueError::new_err(format!("input '{name}': {e}")))
}

/// Copies an array, whatever its strides, to its place.
pub fn copy(from: &PyReadonlyArrayDyn<'_, f32>, to: &mut [f32]) {
    // In Fortran's order its memory is in one piece, too.
    match from.as_slice() {
        Ok(slice) if from.is_c_contiguous() && slice.len() == to.len() => to.copy_from_slice(slice),
        _ => to.iter_mut().zip(from.as_array()).for_each(|(to, &from)| *to = from),
    }
}

/// A copy of an array in the order of its axes.
pub fn values(from: &PyReadonlyArrayDyn<'_, f32>) -> PyResult<Vec<f32>> {
    let (array, mut copy) = (from.as_array(), Vec::new());
    let short = |_| PyMemoryError::new_err(format!("no memory for a copy of an array of shape {}", shape(array.shape())));
    copy.try_reserve_exact(array.len()).map_err(short)?;
    copy.extend(array.iter());
    Ok(copy)
}

/// A new array, for which numpy raises what it raises where memory is short.
pub fn made<'py>(py: Python<'py>, values: &[f32], dims: &[u32]) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let empty = py.import("numpy")?.getattr("empty")?.call1((PyTuple::new(py, dims)?, "float32"))?;
    let array = empty.cast_into::<PyArrayDyn<f32>>().map_err(PyErr::from)?;
    array.try_readwrite()?.as_slice_mut()?.copy_from_slice(values);
    Ok(array)
}

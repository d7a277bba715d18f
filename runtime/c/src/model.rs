//! Handles of models.
#![expect(unsafe_code, reason = "exported functions, and pointers from C")]
#![expect(clippy::missing_safety_doc, reason = "the header says at its top what all callers keep")]

use crate::handle;
use crate::status::{Failure, Result, Status, guard};
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

/// A verified model. Threads may share it. It lives until it and all its sessions are freed.
#[derive(Debug)]
pub struct Model {
    /// The caller, if it did not free it yet, and sessions.
    users: AtomicUsize,
    pub(crate) inner: sepal::Model<'static>,
    /// Names of inputs, then of outputs, each with a NUL at its end.
    names: Vec<u8>,
}

/// What the axes of an input or output mean in the network that was converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Layout {
    /// Not known, or not an image.
    Unknown = 0,
    /// Batch, rows, columns, channels.
    Nhwc = 1,
    /// Batch, channels, rows, columns.
    Nchw = 2,
}

/// An input or output. Its elements are 32-bit floats, in the order of its axes, without gaps.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Port {
    /// Its name in the network that was converted; lives as long as the model.
    pub name: *const c_char,
    /// How many floats it has.
    pub elements: usize,
    /// How many axes it has, at most 8.
    pub rank: u32,
    /// What they mean.
    pub layout: Layout,
    /// Their extents, the outermost first; 0 from `rank` on.
    pub dims: [u32; 8],
}

impl Model {
    fn names(model: &sepal::Model) -> Result<Vec<u8>> {
        let all = || model.inputs().chain(model.outputs());
        let mut names = handle::list(all().map(|port| port.name.len() + 1).sum())?;
        for port in all() {
            // A name ends where C would end it.
            names.extend(port.name.bytes().take_while(|&byte| byte != 0));
            names.push(0);
        }
        Ok(names)
    }

    fn port(&self, which: usize) -> Option<Port> {
        let port = self.inner.inputs().chain(self.inner.outputs()).nth(which)?;
        let name = self.names.split_inclusive(|&byte| byte == 0).nth(which)?;
        let mut dims = [0; 8];
        dims.iter_mut().zip(port.dims).for_each(|(to, &from)| *to = from);
        Some(Port {
            name: name.as_ptr().cast(),
            elements: port.dims.iter().map(|&d| d as usize).product(),
            rank: port.dims.len() as u32,
            layout: match port.layout {
                sepal::Layout::Unknown => Layout::Unknown,
                sepal::Layout::Nhwc => Layout::Nhwc,
                sepal::Layout::Nchw => Layout::Nchw,
            },
            dims,
        })
    }

    /// One user more.
    pub(crate) fn keep(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// One user less; the last one drops it.
    ///
    /// # Safety
    /// `model` is a live handle, and the user who leaves does not use it any more.
    pub(crate) unsafe fn leave(model: *const Model) {
        // SAFETY: the handle is alive, since this user still counts.
        let users = unsafe { &(*model).users };
        // What other users did happens before it is dropped.
        if users.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: handles are made by `hand_out` with `handle::make`, and nobody is left who could use it.
            unsafe { handle::free(model.cast_mut()) };
        }
    }
}

/// Makes a handle of a model and stores it at `out`, which is not null.
///
/// # Safety
/// `out` is null or may be written.
unsafe fn hand_out(out: *mut *mut Model, make: impl FnOnce() -> Result<sepal::Model<'static>>) -> Status {
    if !out.is_null() {
        // SAFETY: by the contract of this function.
        unsafe { out.write(core::ptr::null_mut()) };
    }
    guard(|| {
        if out.is_null() {
            return Err(Failure::null("out"));
        }
        let inner = make()?;
        let names = Model::names(&inner)?;
        let model = handle::make(Model { users: AtomicUsize::new(1), inner, names })?;
        // SAFETY: by the contract of this function.
        unsafe { out.write(model) };
        Ok(())
    })
}

/// Bytes from C.
///
/// # Safety
/// `bytes` is null, or so many bytes that nobody changes while the result is in use.
unsafe fn slice<'a>(bytes: *const c_void, len: usize) -> Result<&'a [u8]> {
    if bytes.is_null() {
        return Err(Failure::null("bytes"));
    }
    if isize::try_from(len).is_err() {
        return Err(Failure::new(Status::Argument, format_args!("{len} bytes are more than memory can hold")));
    }
    // SAFETY: not null, not too long; the rest is the contract of this function.
    Ok(unsafe { core::slice::from_raw_parts(bytes.cast(), len) })
}

/// Maps a file (without the feature `mmap`, reads it) and verifies its structure. `path` is UTF-8.
///
/// The file must not be changed in place while the model or one of its sessions lives: replace it by renaming another.
///
/// `out` receives the model; null if this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_open(path: *const c_char, out: *mut *mut Model) -> Status {
    let make = || {
        if path.is_null() {
            return Err(Failure::null("path"));
        }
        // SAFETY: not null; the header asks for a text that ends with NUL.
        open(unsafe { CStr::from_ptr(path) })
    };
    // SAFETY: the header asks for a pointer that may be written, or null.
    unsafe { hand_out(out, make) }
}

#[cfg(feature = "std")]
fn open(path: &CStr) -> Result<sepal::Model<'static>> {
    let text = path.to_str().map_err(|_| Failure::new(Status::Argument, "path is not UTF-8"))?;
    sepal::Model::open(text).map_err(|e| match e {
        sepal::LoadError::Io(e) => Failure::system(Status::Io, tail(text), &e),
        e => e.into(),
    })
}

/// The end of a path, so that what is wrong with it fits after it.
#[cfg(feature = "std")]
fn tail(path: &str) -> &str {
    &path[path.ceil_char_boundary(path.len().saturating_sub(256))..]
}

#[cfg(not(feature = "std"))]
fn open(_: &CStr) -> Result<sepal::Model<'static>> {
    Err(Failure::new(Status::Feature, "built without the feature `std`"))
}

/// Verifies a model in the caller's memory, which must begin at a multiple of 64 bytes and stay, unchanged, until the model and all
/// its sessions are freed.
///
/// `out` receives the model; null if this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_from_memory(bytes: *const c_void, len: usize, out: *mut *mut Model) -> Status {
    // SAFETY: the header asks for so many bytes that outlive the model, and for an `out` that may be written, or for null.
    unsafe { hand_out(out, || Ok(sepal::Model::from_bytes(slice(bytes, len)?)?)) }
}

/// Copies a model from memory of any alignment, and verifies the copy. Needs the feature `std`.
///
/// `out` receives the model; null if this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_copy(bytes: *const c_void, len: usize, out: *mut *mut Model) -> Status {
    // SAFETY: the header asks for so many bytes and for an `out` that may be written, or for null.
    unsafe { hand_out(out, || copy(slice(bytes, len)?)) }
}

#[cfg(feature = "std")]
fn copy(bytes: &[u8]) -> Result<sepal::Model<'static>> {
    let error = || Failure::new(Status::Memory, format_args!("no memory for a model of {} bytes", bytes.len()));
    Ok(sepal::Model::from_owned(sepal::AlignedBytes::copy(bytes).ok_or_else(error)?)?)
}

#[cfg(not(feature = "std"))]
fn copy(_: &[u8]) -> Result<sepal::Model<'static>> {
    Err(Failure::new(Status::Feature, "built without the feature `std`"))
}

/// How many plans the file has: the same network for several shapes of its inputs, over the same weights. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_plans(model: *const Model) -> usize {
    // SAFETY: the header asks for a live handle or null.
    unsafe { live(model) }.map_or(0, |model| model.inner.plans().len())
}

/// A model of the same file that runs by plan `index`: with inputs, outputs and an arena of its own, and the same weights, which are not
/// copied. A loaded model runs by plan 0. What `sepal_model_from_memory` says of the bytes holds for it, too; otherwise neither needs the
/// other, and each is freed by itself.
///
/// `out` receives the model; null if this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_plan(model: *const Model, index: usize, out: *mut *mut Model) -> Status {
    let make = || {
        // SAFETY: the header asks for a live handle or null.
        let inner = &unsafe { needed(model) }?.inner;
        let error = || Failure::new(Status::Argument, format_args!("index {index}: the model has {} plans", inner.plans().len()));
        inner.plan(index).ok_or_else(error)
    };
    // SAFETY: the header asks for a pointer that may be written, or null.
    unsafe { hand_out(out, make) }
}

/// A model from C.
///
/// # Safety
/// `model` is null or a live handle.
unsafe fn live<'a>(model: *const Model) -> Option<&'a Model> {
    // SAFETY: by the contract of this function.
    unsafe { model.as_ref() }
}

/// A model from C without which a call fails.
///
/// # Safety
/// As [`live`].
pub(crate) unsafe fn needed<'a>(model: *const Model) -> Result<&'a Model> {
    // SAFETY: by the contract of this function.
    unsafe { live(model) }.ok_or_else(|| Failure::null("model"))
}

/// Reads all weights and compares them with the hash in the file. The functions above do not: they take a time that does not grow
/// with the weights, and memory safety does not depend on them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_verify(model: *const Model) -> Status {
    // SAFETY: the header asks for a live handle or null.
    guard(|| Ok(unsafe { needed(model) }?.inner.view().verify_weights()?))
}

/// Gives up the caller's right to use the model, which lives on while it has sessions. Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_free(model: *mut Model) {
    if !model.is_null() {
        // SAFETY: the header asks for a live handle that its caller does not use any more.
        unsafe { Model::leave(model) };
    }
}

/// The instruction set that the model runs with: "scalar", "avx2", "avx512" or "neon". Null for null.
#[unsafe(no_mangle)]
#[cfg_attr(not(feature = "scalar"), allow(unreachable_code, unused_variables, reason = "without a set there is no model"))]
pub unsafe extern "C" fn sepal_model_isa(model: *const Model) -> *const c_char {
    // SAFETY: the header asks for a live handle or null.
    let Some(model) = (unsafe { live(model) }) else { return core::ptr::null() };
    let name = match model.inner.isa().name() {
        "scalar" => c"scalar",
        "avx2" => c"avx2",
        "avx512" => c"avx512",
        "neon" => c"neon",
        _ => c"unknown",
    };
    name.as_ptr()
}

/// Bytes of memory that a session of so many threads needs besides the model. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_arena_bytes(model: *const Model, threads: u32) -> usize {
    // SAFETY: the header asks for a live handle or null.
    unsafe { live(model) }.map_or(0, |model| model.inner.arena_bytes(threads as usize))
}

/// How much work an inference is: at most about so many multiply-adds or other accesses to elements, on one thread. A CPU with wide
/// vectors does 10^9 a second and mostly far more, without any some 10^8. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_work(model: *const Model) -> u64 {
    // SAFETY: the header asks for a live handle or null.
    unsafe { live(model) }.map_or(0, |model| model.inner.work())
}

/// How many inputs the network has. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_inputs(model: *const Model) -> usize {
    // SAFETY: the header asks for a live handle or null.
    unsafe { live(model) }.map_or(0, |model| model.inner.inputs().len())
}

/// How many outputs the network has. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_outputs(model: *const Model) -> usize {
    // SAFETY: the header asks for a live handle or null.
    unsafe { live(model) }.map_or(0, |model| model.inner.outputs().len())
}

/// Describes an input.
///
/// `out` is left alone if this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_input(model: *const Model, index: usize, out: *mut Port) -> Status {
    // SAFETY: the header asks for a live handle and an `out` that may be written, or for null.
    guard(|| unsafe { describe(needed(model)?, index, false, out) })
}

/// Describes an output.
///
/// `out` is left alone if this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_model_output(model: *const Model, index: usize, out: *mut Port) -> Status {
    // SAFETY: the header asks for a live handle and an `out` that may be written, or for null.
    guard(|| unsafe { describe(needed(model)?, index, true, out) })
}

/// # Safety
/// `out` is null or may be written.
unsafe fn describe(model: &Model, index: usize, output: bool, out: *mut Port) -> Result<()> {
    let (inputs, outputs) = (model.inner.inputs().len(), model.inner.outputs().len());
    let (before, count, noun) = if output { (inputs, outputs, "outputs") } else { (0, inputs, "inputs") };
    if out.is_null() {
        return Err(Failure::null("out"));
    }
    let port = if index < count { model.port(before + index) } else { None };
    let Some(port) = port else {
        return Err(Failure::new(Status::Argument, format_args!("index {index}: the model has {count} {noun}")));
    };
    // SAFETY: not null; the rest is the contract of this function.
    unsafe { out.write(port) };
    Ok(())
}

//! Handles of sessions.
#![expect(unsafe_code, reason = "exported functions, and pointers from C")]
#![expect(clippy::missing_safety_doc, reason = "the header says at its top what all callers keep")]

use crate::handle;
use crate::model::{Model, needed};
use crate::status::{Failure, Result, Status, guard};
use core::ffi::c_void;

/// The memory of an inference. One thread may use it at a time.
#[derive(Debug)]
pub struct Session {
    /// Borrows from `model`, so it must go first: fields are dropped in this order.
    inner: sepal::Session<'static>,
    _model: User,
}

/// A user of a model.
#[derive(Debug)]
struct User(*const Model);

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: `hand_out` counted this user, of a handle that was alive.
        unsafe { Model::leave(self.0) };
    }
}

/// Makes a handle of a session and stores it at `out`.
///
/// # Safety
/// `model` is null or a live handle; `out` is null or may be written; the session that `make` makes borrows from nothing but the
/// model that it gets, and from memory that outlives the handle.
unsafe fn hand_out(
    model: *const Model,
    out: *mut *mut Session,
    make: impl FnOnce(&'static sepal::Model<'static>) -> Result<sepal::Session<'static>>,
) -> Status {
    if !out.is_null() {
        // SAFETY: by the contract of this function.
        unsafe { out.write(core::ptr::null_mut()) };
    }
    guard(|| {
        if out.is_null() {
            return Err(Failure::null("out"));
        }
        // SAFETY: the handle is alive, and stays so while the user counts that goes into the session: longer than `inner` lives, which
        // is the only one that has this reference.
        let live: &'static Model = unsafe { needed(model) }?;
        live.keep();
        let user = User(model);
        let session = handle::make(Session { inner: make(&live.inner)?, _model: user })?;
        // SAFETY: by the contract of this function.
        unsafe { out.write(session) };
        Ok(())
    })
}

/// Allocates the arena, and starts `threads - 1` threads, at most 63. Without the feature `threads` only 1 is possible; without the
/// feature `std` there is only `sepal_session_in_arena`.
///
/// `out` receives the session; null if this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_session_new(model: *const Model, threads: u32, out: *mut *mut Session) -> Status {
    // SAFETY: the header asks for a live handle and an `out` that may be written, or for null. The arena is the session's own.
    unsafe { hand_out(model, out, |model| new(model, threads)) }
}

#[cfg(feature = "std")]
fn new(model: &'static sepal::Model<'static>, threads: u32) -> Result<sepal::Session<'static>> {
    Ok(sepal::Session::new(model, sepal::Options { threads: threads as usize })?)
}

#[cfg(not(feature = "std"))]
fn new(_: &'static sepal::Model<'static>, _: u32) -> Result<sepal::Session<'static>> {
    Err(Failure::new(Status::Feature, "built without the feature `std`"))
}

/// A session of one thread in the caller's memory, of which `sepal_model_arena_bytes(model, 1)` bytes are used: they must begin at
/// a multiple of 64, and belong to the session until it is freed. Besides the handle, nothing is allocated.
///
/// `out` receives the session; null if this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_session_in_arena(
    model: *const Model,
    arena: *mut c_void,
    bytes: usize,
    out: *mut *mut Session,
) -> Status {
    let make = |model: &'static sepal::Model<'static>| {
        if arena.is_null() {
            return Err(Failure::null("arena"));
        }
        let need = model.arena_bytes(1);
        if bytes < need {
            return Err(Failure::new(Status::Arena, format_args!("the arena has {bytes} bytes and needs {need}")));
        }
        // Before anything is written to it.
        if !(arena as usize).is_multiple_of(64) {
            return Err(sepal::SessionError::ArenaAlignment.into());
        }
        // SAFETY: the header asks for so many bytes that belong to the session alone. They may be uninitialised: they are written
        // before there is a reference to them.
        let arena: &'static mut [u8] = unsafe {
            arena.cast::<u8>().write_bytes(0, need);
            core::slice::from_raw_parts_mut(arena.cast(), need)
        };
        Ok(sepal::Session::in_arena(model, arena)?)
    };
    // SAFETY: the header asks for a live handle and an `out` that may be written, or for null.
    unsafe { hand_out(model, out, make) }
}

/// Stops the session's threads and gives back its memory. Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_session_free(session: *mut Session) {
    if !session.is_null() {
        // SAFETY: the header asks for a live handle that is not used any more; `hand_out` made it with `handle::make`.
        unsafe { handle::free(session) };
    }
}

/// Where to write an input before each run: it lies in the arena and is used up by the run. As many floats as
/// `sepal_model_input` says; the address never changes. Null if there is no such input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_session_input(session: *mut Session, index: usize) -> *mut f32 {
    // SAFETY: the header asks for null or a live handle that no other thread uses. What the caller writes by this pointer later, it writes
    // between calls on this session, while nothing else of the program looks at the arena and no function of ours is running: every
    // reference to it lives within a call, whose borrows are told to the optimiser for its length.
    let session = unsafe { session.as_mut() };
    session.and_then(|s| s.inner.input_mut(index)).map_or(core::ptr::null_mut(), <[f32]>::as_mut_ptr)
}

/// Where an output is after a run, until the next one. As many floats as `sepal_model_output` says; the address never changes.
/// Null if there is no such output.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_session_output(session: *const Session, index: usize) -> *const f32 {
    // SAFETY: the header asks for null or a live handle that no other thread runs.
    let session = unsafe { session.as_ref() };
    session.and_then(|s| s.inner.output(index)).map_or(core::ptr::null(), <[f32]>::as_ptr)
}

/// Runs the network on the inputs. It allocates nothing and waits for nothing but its own threads. It fails only if the model was
/// changed in place after it had been verified.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sepal_session_run(session: *mut Session) -> Status {
    guard(|| {
        // SAFETY: the header asks for null or a live handle that no other thread uses.
        unsafe { session.as_mut() }.ok_or_else(|| Failure::null("session"))?.inner.run();
        Ok(())
    })
}

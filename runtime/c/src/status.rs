//! What functions return.
#![expect(unsafe_code, reason = "exported functions")]

use core::ffi::{CStr, c_char};
use core::fmt;
use sepal::{FormatError, FormatErrorKind, LoadError, SessionError};

/// The version of this interface. It changes only when a program that was compiled against an older one would no longer
/// run right; functions and numbers may be added without.
pub const SEPAL_ABI_VERSION: u32 = 1;

/// What a function returns. The numbers never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// An argument is a null pointer, or an index too large, or a text that is not UTF-8.
    Argument = 1,
    /// The file cannot be read.
    Io = 2,
    /// The bytes are not a sound model.
    Format = 3,
    /// The model was written for another version of the format.
    Version = 4,
    /// The model was damaged: it was cut off, or a hash does not match.
    Damaged = 5,
    /// The model or the arena does not begin at a multiple of 64 bytes.
    Alignment = 6,
    /// The model, or the call, needs a part of the library that was left out when it was built.
    Feature = 7,
    /// This CPU lacks the instruction set that was asked for, or all of this build.
    Cpu = 8,
    /// There is not so much memory.
    Memory = 9,
    /// The arena is too short.
    Arena = 10,
    /// So many threads are not possible, or one could not be started.
    Threads = 11,
    /// An error of the library itself, or of a file that was changed in place while it was in use.
    Internal = 12,
}

/// A status that is not `Ok`, and why.
pub(crate) struct Failure {
    status: Status,
    #[cfg(feature = "std")]
    text: std::string::String,
}

pub(crate) type Result<T> = core::result::Result<T, Failure>;

impl Failure {
    /// `text` is what the user will read.
    pub fn new(status: Status, text: impl fmt::Display) -> Self {
        #[cfg(not(feature = "std"))]
        let _ = text;
        Failure {
            status,
            #[cfg(feature = "std")]
            text: std::string::ToString::to_string(&text),
        }
    }

    /// An argument that must not be null.
    pub fn null(name: &str) -> Self {
        Self::new(Status::Argument, format_args!("{name} is a null pointer"))
    }
}

impl From<FormatError> for Failure {
    fn from(e: FormatError) -> Self {
        let status = match e.kind() {
            FormatErrorKind::Version => Status::Version,
            FormatErrorKind::Alignment => Status::Alignment,
            FormatErrorKind::Length | FormatErrorKind::StructureHash | FormatErrorKind::WeightsHash => Status::Damaged,
            _ => Status::Format,
        };
        Self::new(status, e)
    }
}

impl From<LoadError> for Failure {
    fn from(e: LoadError) -> Self {
        let status = match &e {
            LoadError::Format(e) => return (*e).into(),
            #[cfg(feature = "std")]
            LoadError::Io(io) if io.kind() == std::io::ErrorKind::OutOfMemory => Status::Memory,
            #[cfg(feature = "std")]
            LoadError::Io(_) => Status::Io,
            LoadError::Feature { .. } => Status::Feature,
            LoadError::Isa | LoadError::NoIsa => Status::Cpu,
            _ => Status::Internal,
        };
        Self::new(status, e)
    }
}

impl From<SessionError> for Failure {
    fn from(e: SessionError) -> Self {
        let status = match &e {
            SessionError::Memory { .. } => Status::Memory,
            SessionError::ArenaLength { .. } => Status::Arena,
            SessionError::ArenaAlignment => Status::Alignment,
            SessionError::Threads { .. } => Status::Threads,
            #[cfg(feature = "std")]
            SessionError::Spawn(_) => Status::Threads,
            _ => Status::Internal,
        };
        Self::new(status, e)
    }
}

/// Runs what may fail, keeps the text of a failure and makes a number of it. No panic leaves it.
pub(crate) fn guard(work: impl FnOnce() -> Result<()>) -> Status {
    #[cfg(feature = "std")]
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<std::string::String>().map(std::string::String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("the library panicked");
        let failure = Failure::new(Status::Internal, text);
        // Dropping it runs code that could panic in turn.
        core::mem::forget(payload);
        Err(failure)
    });
    #[cfg(not(feature = "std"))]
    let result = work();
    match result {
        Ok(()) => Status::Ok,
        Err(failure) => {
            #[cfg(feature = "std")]
            last::set(failure.text);
            failure.status
        }
    }
}

#[cfg(feature = "std")]
mod last {
    use core::cell::RefCell;
    use core::ffi::c_char;
    use std::ffi::CString;

    std::thread_local! {
        static TEXT: RefCell<CString> = RefCell::default();
    }

    pub fn set(text: std::string::String) {
        let text = CString::new(text.replace('\0', "?")).unwrap_or_default();
        // Not there any more while the thread ends: then nobody will ask.
        let _ = TEXT.try_with(|last| last.replace(text));
    }

    pub fn get() -> *const c_char {
        TEXT.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
    }
}

/// The `SEPAL_ABI_VERSION` of the library. A program that finds another one than that of its header should not go on.
#[unsafe(no_mangle)]
pub extern "C" fn sepal_abi_version() -> u32 {
    SEPAL_ABI_VERSION
}

/// The version of the library, as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn sepal_version() -> *const c_char {
    const TEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    TEXT.as_ptr().cast()
}

/// What a status means, in a few words; for a number that is none, "unknown status". Never null.
#[unsafe(no_mangle)]
pub extern "C" fn sepal_status_text(status: i32) -> *const c_char {
    let text: &CStr = match status {
        0 => c"done",
        1 => c"an argument is not valid",
        2 => c"the file cannot be read",
        3 => c"not a sound model",
        4 => c"a version of the format that this library cannot read",
        5 => c"the model is damaged",
        6 => c"the memory does not begin at a multiple of 64 bytes",
        7 => c"needs a part that this library was built without",
        8 => c"this CPU lacks the instruction set",
        9 => c"out of memory",
        10 => c"the arena is too short",
        11 => c"so many threads are not possible",
        12 => c"internal error, or the model was changed while in use",
        _ => c"unknown status",
    };
    text.as_ptr()
}

/// Why the last call on this thread failed that did, in one line; empty if none did. Never null; valid until the next call on this
/// thread that fails. A library built without the feature `std` has no such texts: see `sepal_status_text`.
#[unsafe(no_mangle)]
pub extern "C" fn sepal_last_error() -> *const c_char {
    #[cfg(feature = "std")]
    return last::get();
    #[cfg(not(feature = "std"))]
    return c"".as_ptr();
}

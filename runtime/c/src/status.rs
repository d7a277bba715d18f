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

/// A status that is not `Ok`. Why it is not is the text of the last error as soon as there is a failure: a failure is never dropped.
pub(crate) struct Failure(Status);

pub(crate) type Result<T> = core::result::Result<T, Failure>;

impl Failure {
    /// `text` is what the user will read. It must not allocate: where memory is short, the standard library ends the process.
    pub fn new(status: Status, text: impl fmt::Display) -> Self {
        #[cfg(feature = "std")]
        last::set(text);
        #[cfg(not(feature = "std"))]
        let _ = text;
        Failure(status)
    }

    /// An argument that must not be null.
    pub fn null(name: &str) -> Self {
        Self::new(Status::Argument, format_args!("{name} is a null pointer"))
    }

    /// What the system refused, `what` in other words.
    #[cfg(feature = "std")]
    pub fn system(status: Status, what: &str, e: &std::io::Error) -> Self {
        let status = if e.kind() == std::io::ErrorKind::OutOfMemory { Status::Memory } else { status };
        match e.raw_os_error() {
            // Its own words would be put into a `String`.
            Some(code) => Self::new(status, format_args!("{what}: {} (os error {code})", e.kind())),
            None => Self::new(status, format_args!("{what}: {e}")),
        }
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
            LoadError::Io(e) => return Self::system(Status::Io, "the file", e),
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
            SessionError::Spawn(e) => return Self::system(Status::Threads, "cannot start a thread", e),
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
    result.map_or_else(|failure| failure.0, |()| Status::Ok)
}

/// The text of each thread's last error, in memory that is there from the thread's beginning.
#[cfg(feature = "std")]
mod last {
    use core::cell::Cell;
    use core::ffi::c_char;
    use core::fmt::{Display, Error, Result, Write};

    /// Most bytes of a text, with the NUL at its end.
    const MOST: usize = 1024;
    /// The end of a text that would be longer.
    const CUT: &str = "…";

    std::thread_local! {
        static TEXT: [Cell<u8>; MOST] = const { [const { Cell::new(0) }; MOST] };
    }

    /// One line, whatever is in the paths and names that are written to it.
    struct Line {
        bytes: [u8; MOST],
        len: usize,
    }

    impl Write for Line {
        fn write_str(&mut self, text: &str) -> Result {
            text.chars().try_for_each(|c| self.write_char(c))
        }

        fn write_char(&mut self, c: char) -> Result {
            let c = if commands(c) { char::REPLACEMENT_CHARACTER } else { c };
            let most = MOST - 1 - CUT.len();
            let room = self.bytes.get_mut(self.len..most).filter(|room| room.len() >= c.len_utf8()).ok_or(Error)?;
            self.len += c.encode_utf8(room).len();
            Ok(())
        }
    }

    /// Whether a character would command a terminal, end the line or turn the direction of writing.
    fn commands(c: char) -> bool {
        c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }

    pub fn set(text: impl Display) {
        let mut line = Line { bytes: [0; MOST], len: 0 };
        if write!(line, "{text}").is_err() {
            line.bytes[line.len..line.len + CUT.len()].copy_from_slice(CUT.as_bytes());
        }
        TEXT.with(|last| last.iter().zip(line.bytes).for_each(|(to, byte)| to.set(byte)));
    }

    pub fn get() -> *const c_char {
        TEXT.with(|last| last.as_ptr().cast())
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

/// Why the last call on this thread failed that did, in one line of at most 1023 bytes; empty if none did. Characters of paths and
/// names that would command a terminal are replaced. Never null; valid until the next call on this thread that fails, or the thread
/// ends. A library built without the feature `std` has no such texts: see `sepal_status_text`.
#[unsafe(no_mangle)]
pub extern "C" fn sepal_last_error() -> *const c_char {
    #[cfg(feature = "std")]
    return last::get();
    #[cfg(not(feature = "std"))]
    return c"".as_ptr();
}

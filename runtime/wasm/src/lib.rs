//! The runtime as a WebAssembly module without imports: `web/sepal.js` is its other half.
//!
//! One instance holds one model, which is never freed: whoever wants another one makes another instance of the same compiled module,
//! which takes less than a millisecond, and leaves the first to the garbage collector. JavaScript asks for room for a file
//! ([`reserve`]), writes it there, calls [`load`], fills inputs in place ([`input`]), calls [`run`] and reads outputs ([`output`]).
//! Whatever it passes, nothing outside of what was reserved is read. Texts are where [`text`] says.
#![no_std]
#![expect(unsafe_code, reason = "memory that JavaScript fills, and statics of a module that has one thread")]

use core::arch::wasm32::{memory_grow, unreachable};
use core::cell::{Cell, OnceCell, RefCell};
use core::fmt::{self, Write};
use sepal::{Isa, Layout, Model, Port, Session};
use sepal_format::preprocessing::Preprocessing;
use sepal_format::record::section;

/// What only one thread uses.
struct Single<T>(T);

// SAFETY: the module is built without atomics, so that its memory is not shared: an instance has one thread.
unsafe impl<T> Sync for Single<T> {}

static MODEL: Single<OnceCell<Model<'static>>> = Single(OnceCell::new());
static SESSION: Single<RefCell<Option<Session<'static>>>> = Single(RefCell::new(None));
/// Address and length of what was reserved for the file, until it is taken.
static ROOM: Single<Cell<Option<(usize, usize)>>> = Single(Cell::new(None));
static TEXT: Single<RefCell<Text>> = Single(RefCell::new(Text { bytes: [0; 512], len: 0 }));

/// The last text: an error.
struct Text {
    bytes: [u8; 512],
    len: usize,
}

impl Write for Text {
    /// What does not fit is left out.
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            let Some(room) = self.bytes.get_mut(self.len..self.len + c.len_utf8()) else { break };
            self.len += c.encode_utf8(room).len();
        }
        Ok(())
    }
}

fn say(text: &dyn fmt::Display) {
    if let Ok(mut to) = TEXT.0.try_borrow_mut() {
        to.len = 0;
        // Never fails.
        let _ = write!(to, "{text}");
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    say(&info.message());
    unreachable()
}

/// Address of so many new bytes, which begin at a multiple of 64; `None` if there is not so much memory, or if
/// no slice may be so long.
fn grow(bytes: usize) -> Option<usize> {
    const PAGE: usize = 1 << 16;
    isize::try_from(bytes).ok()?;
    let before = memory_grow::<0>(bytes.div_ceil(PAGE).max(1));
    before.checked_mul(PAGE).filter(|_| before != usize::MAX)
}

/// Makes room for a file of so many bytes. Gives its address, or 0 if there is not so much memory.
#[unsafe(no_mangle)]
pub extern "C" fn reserve(bytes: usize) -> usize {
    let room = grow(bytes);
    ROOM.0.set(room.map(|at| (at, bytes)));
    if room.is_none() {
        say(&format_args!("no memory for a file of {bytes} bytes"));
    }
    room.unwrap_or(0)
}

/// Verifies the file in the room that was reserved, and makes a session of it. `scalar` other than 0 runs it without vectors. Gives
/// 1, or 0 with a text that says why not.
#[unsafe(no_mangle)]
pub extern "C" fn load(scalar: u32) -> u32 {
    match try_load(scalar != 0) {
        Ok(()) => 1,
        Err(()) => 0,
    }
}

fn try_load(scalar: bool) -> Result<(), ()> {
    let Some((at, len)) = ROOM.0.take().filter(|_| MODEL.0.get().is_none()) else {
        say(&"an instance takes one model: reserve, write the file, load");
        return Err(());
    };
    // SAFETY: `grow` made these bytes and nobody else has them: `ROOM` was empty but for them and is now empty. JavaScript may write
    // there while the model is in use, as another process may to a file that is mapped: then results are wrong or `run` panics.
    let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(at as *const u8, len) };
    let mut model = Model::from_bytes(bytes).map_err(|e| say(&e))?;
    if scalar {
        let isa = Isa::by_name("scalar").ok_or_else(|| say(&"built without the feature `scalar`"))?;
        model = model.with_isa(isa);
    }
    let need = model.arena_bytes(1);
    let arena = grow(need).ok_or_else(|| say(&format_args!("no memory for an arena of {need} bytes")))?;
    // SAFETY: as above; a session's inputs and outputs are for JavaScript to write and read between runs.
    let arena: &'static mut [u8] = unsafe { core::slice::from_raw_parts_mut(arena as *mut u8, need) };
    let model = MODEL.0.get_or_init(|| model);
    let session = Session::in_arena(model, arena).map_err(|e| say(&e))?;
    SESSION.0.replace(Some(session));
    Ok(())
}

/// Runs the network on its inputs, which are used up by it. Gives 1, or 0 if no model was loaded.
#[unsafe(no_mangle)]
pub extern "C" fn run() -> u32 {
    match SESSION.0.borrow_mut().as_mut() {
        Some(session) => {
            session.run();
            1
        }
        None => 0,
    }
}

/// Where input `i` is to be written before each run; 0 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn input(i: usize) -> usize {
    SESSION.0.borrow_mut().as_mut().and_then(|s| s.input_mut(i)).map_or(0, |floats| floats.as_mut_ptr() as usize)
}

/// Where output `i` is after a run; 0 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn output(i: usize) -> usize {
    SESSION.0.borrow().as_ref().and_then(|s| s.output(i)).map_or(0, |floats| floats.as_ptr() as usize)
}

/// How many inputs there are.
#[unsafe(no_mangle)]
pub extern "C" fn inputs() -> usize {
    MODEL.0.get().map_or(0, |m| m.inputs().len())
}

/// How many outputs there are.
#[unsafe(no_mangle)]
pub extern "C" fn outputs() -> usize {
    MODEL.0.get().map_or(0, |m| m.outputs().len())
}

/// A port by its number: inputs, then outputs.
fn port<T>(i: usize, f: impl FnOnce(Port<'static>) -> T) -> Option<T> {
    let model = MODEL.0.get()?;
    model.inputs().chain(model.outputs()).nth(i).map(f)
}

/// How many axes a port has; inputs are numbered first.
#[unsafe(no_mangle)]
pub extern "C" fn rank(i: usize) -> usize {
    port(i, |p| p.dims.len()).unwrap_or(0)
}

/// The extent of an axis of a port.
#[unsafe(no_mangle)]
pub extern "C" fn extent(i: usize, axis: usize) -> u32 {
    port(i, |p| p.dims.get(axis).copied()).flatten().unwrap_or(0)
}

/// What the axes of a port mean: 1 for NHWC, 2 for NCHW, 0 if that is not known.
#[unsafe(no_mangle)]
pub extern "C" fn layout(i: usize) -> u32 {
    port(i, |p| match p.layout {
        Layout::Nhwc => 1,
        Layout::Nchw => 2,
        Layout::Unknown => 0,
    })
    .unwrap_or(0)
}

/// A text by its number: 0 the last error, 1 the labels, a line feed after each, 2 the instruction set, from 3 on the names of ports.
/// Gives its address; its length is [`text_len`].
#[unsafe(no_mangle)]
pub extern "C" fn text(which: usize) -> usize {
    with_text(which, |t| t.as_ptr() as usize)
}

/// Bytes of a text.
#[unsafe(no_mangle)]
pub extern "C" fn text_len(which: usize) -> usize {
    with_text(which, <[u8]>::len)
}

fn with_text<T>(which: usize, f: impl FnOnce(&[u8]) -> T) -> T {
    match which {
        0 => {
            let text = TEXT.0.borrow();
            f(text.bytes.get(..text.len).unwrap_or(&[]))
        }
        1 => f(labels().unwrap_or("").as_bytes()),
        2 => f(MODEL.0.get().map_or("", |m| m.isa().name()).as_bytes()),
        _ => f(port(which - 3, |p| p.name).unwrap_or("").as_bytes()),
    }
}

fn labels() -> Option<&'static str> {
    let section = MODEL.0.get()?.view().section(section::PREPROCESSING)?;
    Preprocessing::parse(section).ok().map(|(_, labels)| labels)
}

/// Bytes of memory of an inference.
#[unsafe(no_mangle)]
pub extern "C" fn arena_bytes() -> usize {
    MODEL.0.get().map_or(0, |m| m.arena_bytes(1))
}

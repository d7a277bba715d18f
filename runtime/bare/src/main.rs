//! A model in read-only memory, an arena in a static buffer, no heap, no operating system: prints the bits of the output through the
//! debugger's interface (semihosting), one word in hexadecimal a line.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "the arena and the debugger of a microcontroller, and what it starts with")]

use core::arch::{asm, global_asm};
use core::fmt::{self, Write};
use sepal::{Model, Session};

/// Most bytes of an arena: a model that needs more is refused.
const ARENA: usize = 1 << 20;

#[repr(C, align(64))]
struct Aligned<T>(T);

static MODEL: &[u8] = &Aligned(*include_bytes!(concat!(env!("SEPAL_CASE"), "/model.sepal"))).0;
static INPUT: &[u8] = include_bytes!(concat!(env!("SEPAL_CASE"), "/input.f32"));
static mut MEMORY: Aligned<[u8; ARENA]> = Aligned([0; ARENA]);

// The first words of memory: where the stack begins, and where to go at the start and after any fault. The floating point unit is off
// at the start.
global_asm!(
    ".section .vectors, \"a\"",
    ".word stack_top",
    ".word reset",
    ".rept 14",
    ".word fault",
    ".endr",
    ".section .text.reset, \"ax\"",
    ".global reset",
    ".thumb_func",
    "reset:",
    "ldr r0, =0xe000ed88",
    "ldr r1, [r0]",
    "orr r1, r1, #0xf00000",
    "str r1, [r0]",
    "dsb",
    "isb",
    "b start",
    ".pool",
);

/// A request to the debugger.
fn debugger(operation: u32, argument: usize) {
    // SAFETY: the instruction stops for the debugger, which reads the memory that the argument of these two operations names: a text
    // that ends with NUL, or two words.
    unsafe {
        asm!("bkpt 0xab", inout("r0") operation => _, in("r1") argument);
    }
}

struct Debugger;

impl Write for Debugger {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.as_bytes().chunks(63) {
            let mut line = [0u8; 64];
            line[..piece.len()].copy_from_slice(piece);
            debugger(0x04, line.as_ptr() as usize);
        }
        Ok(())
    }
}

/// Ends the emulation.
fn exit(code: usize) -> ! {
    let block = [0x2_0026, code];
    debugger(0x20, block.as_ptr() as usize);
    loop {}
}

fn run() -> Result<(), &'static str> {
    let model = Model::from_bytes(MODEL).map_err(|_| "the model is refused")?;
    let need = model.arena_bytes(1);
    // SAFETY: `start` runs once, on the only thread that there is: this is the only reference.
    let memory = unsafe { &mut (*(&raw mut MEMORY)).0 };
    let arena = memory.get_mut(..need).ok_or("the static buffer is too short")?;
    let mut session = Session::in_arena(&model, arena).map_err(|_| "the arena is refused")?;
    let input = session.input_mut(0).ok_or("no input")?;
    for (to, from) in input.iter_mut().zip(INPUT.chunks_exact(4)) {
        *to = f32::from_le_bytes([from[0], from[1], from[2], from[3]]);
    }
    session.run();
    for value in session.output(0).ok_or("no output")? {
        writeln!(Debugger, "{:08x}", value.to_bits()).map_err(|_| "no debugger")?;
    }
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    match run() {
        Ok(()) => exit(0),
        Err(why) => {
            let _ = writeln!(Debugger, "{why}");
            exit(1)
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn fault() -> ! {
    let _ = writeln!(Debugger, "fault");
    exit(2)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let _ = writeln!(Debugger, "{info}");
    exit(3)
}

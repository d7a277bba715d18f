//! In place of the standard library: memory from `malloc`, panics to `abort`.
#![expect(unsafe_code, reason = "functions of the C library")]

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;

// SAFETY: as the C standard declares them; `abort` asks nothing of who calls it.
unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn free(memory: *mut c_void);
    safe fn abort() -> !;
}

struct Malloc;

// SAFETY: `malloc` gives memory that is free and aligned for any type of the C language, that is, at least to two words, or null;
// larger alignments are refused. `free` takes what `malloc` gave.
unsafe impl GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 2 * size_of::<usize>() {
            return core::ptr::null_mut();
        }
        // SAFETY: any size may be asked for.
        unsafe { malloc(layout.size()).cast() }
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: by the contract of this function `memory` comes from `alloc`, which took it from `malloc`.
        unsafe { free(memory.cast()) };
    }
}

#[global_allocator]
static MALLOC: Malloc = Malloc;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    abort()
}

//! Counts the command's heap calls, so that `bench` and `demo` can show that an inference makes none.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static CALLS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Heap calls (allocations, reallocations, releases) of the whole process so far.
pub fn heap_calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// The system's allocator behind a counter.
struct Counting;

fn count() {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

// SAFETY: every method passes its arguments on to `System` unchanged, and gives back what `System` gives; the counter is an
// atomic that itself never allocates. So whatever the caller promises of layouts and pointers holds for `System` as it stands.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises, passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises, passed on; `ptr` came from `System` by way of this allocator.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises, passed on; `ptr` came from `System` by way of this allocator.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_allocation_is_seen() {
        let before = super::heap_calls();
        drop(std::hint::black_box(vec![1u8; 100]));
        assert!(super::heap_calls() >= before + 2);
    }
}

//! An inference does not touch the heap.

mod common;

use sepal::{AlignedBytes, Model, Options, Session};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Counts the calls of all threads.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every method hands its arguments to the system's allocator, under the same contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, SeqCst);
        // SAFETY: see above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, SeqCst);
        // SAFETY: see above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, SeqCst);
        // SAFETY: see above.
        unsafe { System.realloc(p, layout, size) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, SeqCst);
        // SAFETY: see above.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// Without the test harness, whose own thread allocates when it likes.
fn main() {
    let (file, inputs, want) = common::all_ops();
    let bytes = AlignedBytes::copy(&file).unwrap();
    let model = Model::from_bytes(&bytes).unwrap();
    let before = CALLS.load(SeqCst);
    drop(std::hint::black_box(Vec::<u8>::with_capacity(10)));
    assert_eq!(CALLS.load(SeqCst) - before, 2, "the allocator does not count");

    for threads in [1, 2] {
        let mut session = Session::new(&model, Options { threads }).unwrap();
        let before = CALLS.load(SeqCst);
        for round in 0..5 {
            for (i, values) in inputs.iter().enumerate() {
                session.input_mut(i).unwrap().copy_from_slice(values);
            }
            session.run();
            assert_eq!(session.output(0).unwrap(), want[0]);
            assert_eq!(CALLS.load(SeqCst) - before, 0, "heap calls in run {round} with {threads} threads");
            // Long enough for the threads to go to sleep, which must not cost any either.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    let mut arena = AlignedBytes::zeroed(model.arena_bytes(1)).unwrap();
    let before = CALLS.load(SeqCst);
    let model = Model::from_bytes(&bytes).unwrap();
    let mut session = Session::in_arena(&model, &mut arena).unwrap();
    session.run();
    drop(session);
    // Reading SEPAL_ISA is the standard library's: loading may allocate for it where it is set.
    if std::env::var_os("SEPAL_ISA").is_none() {
        assert_eq!(CALLS.load(SeqCst) - before, 0, "heap calls in loading and in a caller's arena");
    }
    println!("no heap calls: ok");
}

//! An inference does not touch the heap.

mod common;

use sepal::{AlignedBytes, Model, Options, Session, SessionError};

#[global_allocator]
static HEAP: sepal_heap::Counting = sepal_heap::Counting;

// Without the test harness, whose own thread allocates when it likes.
fn main() {
    let (file, inputs, want) = common::all_ops();
    let bytes = AlignedBytes::copy(&file).unwrap();
    let model = Model::from_bytes(&bytes).unwrap();
    let before = sepal_heap::calls();
    drop(std::hint::black_box(Vec::<u8>::with_capacity(10)));
    assert_eq!(sepal_heap::calls() - before, 2, "the allocator does not count");

    for threads in [1, 2] {
        let mut session = Session::new(&model, Options { threads }).unwrap();
        let before = sepal_heap::calls();
        for round in 0..5 {
            for (i, values) in inputs.iter().enumerate() {
                session.input_mut(i).unwrap().copy_from_slice(values);
            }
            session.run();
            assert_eq!(session.output(0).unwrap(), want[0]);
            assert_eq!(sepal_heap::calls() - before, 0, "heap calls in run {round} with {threads} threads");
            // Long enough for the threads to go to sleep, which must not cost any either.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    let mut arena = AlignedBytes::zeroed(model.arena_bytes(1)).unwrap();
    let before = sepal_heap::calls();
    let model = Model::from_bytes(&bytes).unwrap();
    let mut session = Session::in_arena(&model, &mut arena).unwrap();
    session.run();
    drop(session);
    assert_eq!(sepal_heap::calls() - before, 0, "heap calls in loading and in a caller's arena");
    println!("no heap calls: ok");
    without_memory(&bytes, &inputs, &want[0]);
    println!("no memory: ok");
}

/// Where the heap gives nothing, a caller's arena is enough, and all else is an error.
fn without_memory(bytes: &[u8], inputs: &[Vec<f32>], want: &[f32]) {
    let model = Model::from_bytes(bytes).unwrap();
    let mut arena = AlignedBytes::zeroed(model.arena_bytes(1)).unwrap();
    let mut got = vec![0.0; want.len()];
    // No assertion inside: a failing one would allocate its message.
    let (new, copy, read, loads, ran) = sepal_heap::without_memory(|| {
        let new = Session::new(&model, Options::default()).map(|_| ());
        let copy = AlignedBytes::copy(bytes).map(|_| ());
        let read = AlignedBytes::read("Cargo.toml").map(|_| ());
        let loaded = Model::from_bytes(bytes);
        let ran = loaded.as_ref().ok().and_then(|model| {
            let mut session = Session::in_arena(model, &mut arena).ok()?;
            for (i, values) in inputs.iter().enumerate() {
                session.input_mut(i)?.copy_from_slice(values);
            }
            session.run();
            got.copy_from_slice(session.output(0)?);
            Some(())
        });
        let refused = Session::in_arena(&model, &mut [0; 64]).map(|_| ());
        (new, copy, read, loaded.is_ok() && refused.is_err(), ran)
    });
    let need = model.arena_bytes(1);
    assert!(matches!(new, Err(SessionError::Memory { bytes }) if bytes == need), "{new:?}");
    assert_eq!(copy, None);
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::OutOfMemory);
    assert!(loads && ran.is_some());
    assert!(got == want, "other values without a heap");
}

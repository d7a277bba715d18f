//! A run touches no heap, the arena is exactly as large as the model says, and reading a source takes a multiple of its length.

use sepal::{Model, Options, Session, SessionError};
use sepal_converter::convert::{ConvertOptions, Converted, convert_bytes};

#[global_allocator]
static HEAP: sepal_heap::Counting = sepal_heap::Counting;

// Without the test harness: the counters are the whole process's, and its own thread allocates when it likes.
fn main() {
    let tests: [(&str, fn()); 5] = [
        ("runs_without_heap_calls_on_one_and_two_threads", runs_without_heap_calls_on_one_and_two_threads),
        ("the_arena_is_as_large_as_the_model_says", the_arena_is_as_large_as_the_model_says),
        ("reading_takes_a_multiple_of_the_file", reading_takes_a_multiple_of_the_file),
        ("what_was_found_stays_within_its_bounds", what_was_found_stays_within_its_bounds),
        ("what_was_found_is_planned_within_its_bounds", what_was_found_is_planned_within_its_bounds),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
}

const FIXTURES: [(&str, &[u8]); 7] = [
    ("mini_xception.keras", sepal_fixtures::MINI_XCEPTION_KERAS),
    ("mini_xception.h5", sepal_fixtures::MINI_XCEPTION_H5),
    ("mini_xception.onnx", sepal_fixtures::MINI_XCEPTION_ONNX),
    ("mini_xception_nchw.onnx", sepal_fixtures::MINI_XCEPTION_NCHW_ONNX),
    ("mini_inception.keras", sepal_fixtures::MINI_INCEPTION_KERAS),
    ("mini_inception.h5", sepal_fixtures::MINI_INCEPTION_H5),
    ("mini_inception.onnx", sepal_fixtures::MINI_INCEPTION_ONNX),
];

fn converted(name: &str, source: &[u8]) -> Converted {
    let options = ConvertOptions { no_verify: true, ..ConvertOptions::default() };
    convert_bytes(name, source, &options, &mut ()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Heap calls during `body`.
fn heap_calls(body: impl FnOnce()) -> u64 {
    let before = sepal_heap::calls();
    body();
    sepal_heap::calls() - before
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn runs_without_heap_calls_on_one_and_two_threads() {
    assert_eq!(heap_calls(|| drop(std::hint::black_box(vec![1u8; 100]))), 2, "the counter counts");
    for (name, source) in FIXTURES {
        let converted = converted(name, source);
        let model = Model::from_bytes(converted.bytes()).unwrap();
        for threads in [1, 2] {
            let mut session = Session::new(&model, Options { threads }).unwrap();
            // No run goes before: the first one must be free of the heap, too, so nothing may be initialised lazily.
            let calls = heap_calls(|| {
                session.input_mut(0).unwrap().fill(0.5);
                session.run();
                std::hint::black_box(session.output(0));
            });
            assert_eq!(calls, 0, "{name} on {threads} threads");
            assert!(session.output(0).unwrap().iter().all(|v| v.is_finite()), "{name}");
        }
    }
}

fn the_arena_is_as_large_as_the_model_says() {
    for (name, source) in FIXTURES {
        let converted = converted(name, source);
        let model = Model::from_bytes(converted.bytes()).unwrap();
        let need = model.arena_bytes(1);
        let mut memory = vec![0xa5u8; need + 128];
        let start = memory.as_ptr().align_offset(64);

        for wrong in [need - 1, need + 1, 0] {
            let refused = Session::in_arena(&model, &mut memory[start..start + wrong]);
            assert!(
                matches!(refused, Err(SessionError::ArenaLength { need: n, got }) if (n, got) == (need, wrong)),
                "{name} {wrong}"
            );
        }
        let skewed = Session::in_arena(&model, &mut memory[start + 4..start + 4 + need]);
        assert!(matches!(skewed, Err(SessionError::ArenaAlignment)), "{name}");

        let mut want = Session::new(&model, Options::default()).unwrap();
        want.input_mut(0).unwrap().fill(0.5);
        want.run();
        memory.fill(0xa5);
        let mut output = [0f32; 10];
        let arena = &mut memory[start..start + need];
        let calls = heap_calls(|| {
            let mut session = Session::in_arena(&model, arena).unwrap();
            session.input_mut(0).unwrap().fill(0.5);
            session.run();
            output.copy_from_slice(session.output(0).unwrap());
        });
        assert_eq!(calls, 0, "{name}: a session in the caller's arena allocates nothing");
        assert_eq!(bits(&output), bits(want.output(0).unwrap()), "{name}");
        let outside = memory[..start].iter().chain(&memory[start + need..]);
        assert!(outside.copied().all(|b| b == 0xa5), "{name}: written outside the arena");
    }
}

fn reading_takes_a_multiple_of_the_file() {
    use sepal_converter::import::{HEAP_BYTES, HEAP_RATIO, Options, import_bytes};
    let most = |source: &[u8]| {
        let before = sepal_heap::restart_peak();
        drop(import_bytes(source, None, &Options::default()));
        sepal_heap::peak() - before
    };
    for (name, source) in FIXTURES {
        let used = most(source);
        println!("{name}: {used} bytes of the heap, {:.1} times the file", used as f64 / source.len() as f64);
        assert!(used <= 8 * source.len() + (1 << 20), "{name}: {used}");
        // Lengths and extents that lie, one at a time.
        let start = source.len().saturating_sub(4096);
        for at in (0..4096).chain(start..source.len()).step_by(61) {
            let mut bad = source.to_vec();
            let end = (at + 4).min(bad.len());
            bad[at..end].fill(0xff);
            let used = most(&bad);
            assert!(used <= HEAP_BYTES + HEAP_RATIO * bad.len(), "{name}, {at}: {used}");
        }
    }
}

/// Files that readers of the code made to take gigabytes: see the folders. Each says what it is by its name.
fn what_was_found_stays_within_its_bounds() {
    for (folder, count) in [("keras_found", 18), ("extents_found", 12)] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let before = sepal_heap::restart_peak();
            let read = sepal_converter::import::import_bytes(&bytes, None, &sepal_converter::import::Options::default());
            let used = sepal_heap::peak().saturating_sub(before);
            // None of them is one that a framework would write, and all of them are far below the bound.
            assert!(read.is_err(), "{}", path.display());
            assert!(used < 64 << 20, "{}: {used} bytes", path.display());
            files += 1;
        }
        assert_eq!(files, count);
    }
}

/// Files that readers of the code made to take gigabytes or minutes where networks are planned. All of them may be converted.
fn what_was_found_is_planned_within_its_bounds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/passes_found");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // As `sepal check` does.
        let emit = sepal_converter::emit::Options { max_error: 0.0, ..Default::default() };
        let options = ConvertOptions { no_verify: true, emit, ..ConvertOptions::default() };
        let (before, start) = (sepal_heap::restart_peak(), std::time::Instant::now());
        let converted = convert_bytes("found", &bytes, &options, &mut ());
        let (used, seconds) = (sepal_heap::peak().saturating_sub(before), start.elapsed().as_secs_f64());
        println!("{}: {used} bytes of the heap, {seconds:.1} s", path.display());
        assert!(converted.is_ok(), "{}: {:?}", path.display(), converted.err());
        // At most 70 MB and two seconds; without what keeps them in bounds gigabytes or more than ten seconds.
        assert!(used < 128 << 20, "{}: {used} bytes", path.display());
        assert!(seconds < 10.0, "{}: {seconds} s", path.display());
        files += 1;
    }
    assert_eq!(files, 8);
}

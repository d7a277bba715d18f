//! Files that are not there, vanish, shrink or are signed by somebody else; memory of the wrong size.

mod common;

use sepal::{AlignedBytes, FormatErrorKind, Limits, LoadError, Model, Options, Session, SessionError};
use sepal_format::op::Params;
use sepal_format::record::*;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A folder of a test's own; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sepal-faults-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn model(&self) -> PathBuf {
        let path = self.0.join("m.sepal");
        fs::write(&path, common::all_ops().0).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(model: &Model) -> Vec<f32> {
    let mut session = Session::new(model, Options::default()).unwrap();
    (0..model.inputs().len()).for_each(|i| session.input_mut(i).unwrap().fill(0.25));
    session.run();
    session.output(0).unwrap().to_vec()
}

#[test]
fn what_is_not_there_or_no_file() {
    let f = Folder::new("none");
    let kind = |e: LoadError| match e {
        LoadError::Io(e) => e.kind(),
        e => panic!("{e}"),
    };
    assert_eq!(kind(Model::open(f.0.join("nobody.sepal")).unwrap_err()), ErrorKind::NotFound);
    assert_eq!(AlignedBytes::read(f.0.join("nobody.sepal")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(kind(Model::open(&f.0).unwrap_err()), ErrorKind::InvalidInput);
    // Neither waits for a pipe nor reads a device without end.
    if cfg!(unix) {
        assert_eq!(kind(Model::open("/dev/zero").unwrap_err()), ErrorKind::InvalidInput);
        assert_eq!(AlignedBytes::read("/dev/zero").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    fs::write(f.0.join("empty.sepal"), b"").unwrap();
    assert!(Model::open(f.0.join("empty.sepal")).is_err());
    // Says that it has no bytes, and has some.
    if cfg!(target_os = "linux") {
        assert!(Model::open("/proc/self/status").is_err());
    }
}

#[test]
#[cfg(unix)]
fn unreadable() {
    use std::os::unix::fs::PermissionsExt;
    let f = Folder::new("unreadable");
    let path = f.model();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("SKIPPED: this user may read everything");
        return;
    }
    assert!(matches!(Model::open(&path), Err(LoadError::Io(e)) if e.kind() == ErrorKind::PermissionDenied));
}

#[test]
fn a_file_that_vanishes_or_is_replaced_is_still_there() {
    let f = Folder::new("vanishes");
    let path = f.model();
    let model = Model::open(&path).unwrap();
    let want = run(&model);
    fs::write(f.0.join("other"), b"something else").unwrap();
    fs::rename(f.0.join("other"), &path).unwrap();
    assert_eq!(run(&model), want);
    fs::remove_file(&path).unwrap();
    assert_eq!(run(&model), want);
    assert!(Model::open(&path).is_err());
}

/// While somebody cuts a file off and restores it all the time, reading it gives it whole or an error.
#[test]
fn a_file_that_shrinks_while_it_is_read() {
    let f = Folder::new("shrinks");
    let path = f.model();
    let whole = fs::read(&path).unwrap();
    let stop = AtomicBool::new(false);
    let (mut sound, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut len = 0;
            while !stop.load(Relaxed) {
                len = (len + 4099) % whole.len();
                fs::write(&path, &whole[..len]).unwrap();
                fs::write(&path, &whole).unwrap();
            }
        });
        for _ in 0..300 {
            match AlignedBytes::read(&path).map_err(LoadError::Io).and_then(Model::from_owned) {
                Ok(model) if model.view().verify_weights().is_ok() => sound += 1,
                _ => refused += 1,
            }
        }
        stop.store(true, Relaxed);
    });
    println!("{sound} whole, {refused} refused");
    assert!(refused > 0);
}

#[test]
fn memory_of_the_wrong_size_or_place() {
    let bytes = AlignedBytes::copy(&common::all_ops().0).unwrap();
    let model = Model::from_bytes(&bytes).unwrap();
    let need = model.arena_bytes(1);
    let mut memory = AlignedBytes::zeroed(need + 128).unwrap();
    for wrong in [0, 1, need - 1, need + 1, need - 64, need + 64] {
        let refused = Session::in_arena(&model, &mut memory[..wrong]);
        assert!(matches!(refused, Err(SessionError::ArenaLength { need: n, got }) if (n, got) == (need, wrong)));
    }
    for skew in [1, 4, 16, 32, 63] {
        assert!(matches!(Session::in_arena(&model, &mut memory[skew..skew + need]), Err(SessionError::ArenaAlignment)), "{skew}");
    }
    let mut session = Session::in_arena(&model, &mut memory[64..64 + need]).unwrap();
    assert!(session.input_mut(99).is_none() && session.output(99).is_none());
    for threads in [0, 65, usize::MAX] {
        assert!(matches!(Session::new(&model, Options { threads }), Err(SessionError::Threads { .. })));
    }
}

#[test]
fn limits() {
    let bytes = AlignedBytes::copy(&common::all_ops().0).unwrap();
    let model = || Model::from_bytes(&bytes).unwrap();
    let exact = Limits { arena_bytes: model().arena_bytes(1), work: model().work() };
    assert!(exact.work > model().view().plan().macs);
    model().within(exact).unwrap();
    let less = model().within(Limits { arena_bytes: exact.arena_bytes - 1, ..exact });
    assert!(matches!(less, Err(LoadError::Limit { what: "bytes of memory", .. })));
    let less = model().within(Limits { work: exact.work - 1, ..exact });
    assert!(matches!(less, Err(LoadError::Limit { what: "operations", .. })));
    // The largest of all plans counts, whichever is asked.
    let bytes = AlignedBytes::copy(&common::two_plans().0).unwrap();
    let small = || Model::from_bytes(&bytes).unwrap().plan(1).unwrap();
    let whole = Limits { arena_bytes: small().plan(0).unwrap().arena_bytes(1), work: u64::MAX };
    assert_eq!(small().within(whole).unwrap().plan_number(), 1);
    assert!(small().within(Limits { arena_bytes: small().arena_bytes(1), ..whole }).is_err());
}

/// A file of so many tensors of these dims, one of which is given.
fn crafted(tensors: u32, dims: [u32; 4], given: u32, steps: &[Step]) -> AlignedBytes {
    let bytes = dims.iter().map(|&d| u64::from(d)).product::<u64>() * 4;
    let end = steps.len() as u32;
    let tensor = |i: u32| Tensor {
        dtype: dtype::F32,
        place: place::ARENA,
        offset: bytes * u64::from(i),
        dims,
        pixel: dims[3],
        first: 0,
        last: end,
        zero_point: 0,
        scale: 0.0,
        rows: 0,
        reserved: [0; 2],
    };
    let io = |role, tensor| {
        let [n, h, w, c] = dims;
        Io {
            role,
            tensor,
            name: NONE,
            name_len: 0,
            rank: 4,
            layout: 1,
            dtype: dtype::F32,
            reserved: 0,
            dims: [n, h, w, c, 0, 0, 0, 0],
        }
    };
    let model = sepal_format::write::Model {
        plan: Plan { tensor_bytes: bytes * u64::from(tensors), scratch_bytes: 0, macs: 0, reserved: [0; 5] },
        tensors: (0..tensors).map(tensor).collect(),
        steps: steps.to_vec(),
        pipelines: vec![],
        io: vec![io(role::INPUT, given), io(role::OUTPUT, steps[0].output)],
        names: vec![],
        extra: vec![],
    };
    AlignedBytes::copy(&model.structure(&[])).unwrap()
}

fn crafted_step<P: Params>(p: &P, output: u32, flags: u32) -> Step {
    let inputs = [0, NONE, NONE, NONE];
    Step { op: P::OP as u32, flags, inputs, output, name: NONE, name_len: 0, reserved: [0; 3], params: p.bytes() }
}

/// Every pixel the largest of all pixels, by a window over the whole image and its surroundings.
fn pool(side: u32) -> AlignedBytes {
    let (kernel, pad) = ([2 * side; 2], [side; 2]);
    let window = WindowRecord { kernel, stride: [1; 2], dilation: [1; 2], pad, pad_end: pad };
    crafted(2, [1, side, side, 16], 0, &[crafted_step(&PoolParams { window, kind: 0, reserved: 0 }, 1, 0)])
}

/// What a small file can ask for is bounded by its length, and what it asks for is known before it runs.
#[test]
fn a_small_file_cannot_ask_for_hours() {
    let kind = |side: u32| match Model::from_bytes(&pool(side)) {
        Ok(_) => None,
        Err(LoadError::Format(e)) => Some(e.kind()),
        Err(e) => panic!("{e}"),
    };
    assert_eq!(pool(8).len(), 16384);
    assert_eq!(kind(300), None);
    // 1000^4 taps of 16 channels: hours.
    assert_eq!(kind(1000), Some(FormatErrorKind::Excess));
    assert_eq!(kind(40_000), Some(FormatErrorKind::Excess));
    let bytes = pool(40);
    let model = Model::from_bytes(&bytes).unwrap();
    assert!(model.work() >= 40 * 40 * 40 * 40 * 16 / 4, "{}", model.work());
    let start = std::time::Instant::now();
    run(&model);
    let most = std::time::Duration::from_nanos(model.work() * 100);
    assert!(start.elapsed() < most, "{:?} for {} operations", start.elapsed(), model.work());
}

/// Verifying takes steps times tensors at most. With `SEPAL_RECORDS=16384`, the most that a file may have of either.
#[test]
fn many_records_load_soon() {
    let records = std::env::var("SEPAL_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2048);
    let act = sepal_format::Act::RELU.record();
    let step = crafted_step(&ActivationParams { act, reserved: 0 }, 0, IN_PLACE);
    // Every step writes the last tensor, which lies behind all others, and all are alive all the time.
    let last = records - 1;
    let step = Step { inputs: [last, NONE, NONE, NONE], output: last, ..step };
    let bytes = crafted(records, [1, 1, 1, 16], last, &vec![step; records as usize]);
    let start = std::time::Instant::now();
    let loaded = Model::from_bytes(&bytes).map(|m| m.work());
    println!("{records} steps and tensors, {} bytes: {:?} in {:?}", bytes.len(), loaded, start.elapsed());
    assert!(start.elapsed().as_secs() < 20);
    loaded.unwrap();
}

/// Nobody has a terabyte: an error, before anything is touched.
#[test]
fn an_arena_that_no_machine_has() {
    let mut b = common::all_ops_builder();
    b.tensor_bytes = 1 << 33;
    let file = b.file();
    let bytes = AlignedBytes::copy(&file).unwrap();
    let model = Model::from_bytes(&bytes).unwrap();
    assert!(model.within(Limits { arena_bytes: 1 << 30, work: u64::MAX }).is_err());
    for tensor_bytes in [1 << 40, 1 << 50, 1 << 62] {
        b.tensor_bytes = tensor_bytes;
        let bytes = AlignedBytes::copy(&b.file()).unwrap();
        let Err(LoadError::Format(e)) = Model::from_bytes(&bytes) else { panic!("accepted") };
        assert_eq!(e.kind(), FormatErrorKind::Excess);
    }
}

#[cfg(feature = "sign")]
mod signed {
    use super::*;

    /// From RFC 8032, 7.1: key pair 1, whose message is empty, and key pair 3.
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const EMPTY: &str = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
    const PUBLIC3: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    const OF_AF82: &str = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    #[test]
    fn signatures_of_the_standard() {
        use sepal::sign::is_signed;
        assert!(is_signed(b"", &hex(EMPTY), &hex(PUBLIC)));
        assert!(is_signed(b"\xaf\x82", &hex(OF_AF82), &hex(PUBLIC3)));
        assert!(!is_signed(b"\xaf\x82", &hex(OF_AF82), &hex(PUBLIC)));
        assert!(!is_signed(b"\xaf\x83", &hex(OF_AF82), &hex(PUBLIC3)));
        for i in 0..64 {
            let mut bad = hex(EMPTY);
            bad[i] ^= 1;
            assert!(!is_signed(b"", &bad, &hex(PUBLIC)), "byte {i}");
        }
        // The neutral element is a key that would have signed everything.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut zero = [0; 64];
        zero[0] = 1;
        assert!(!is_signed(b"anything", &zero, &neutral));
    }

    #[test]
    fn unsigned_files_are_refused() {
        let f = Folder::new("unsigned");
        let path = f.model();
        let key = hex(PUBLIC);
        assert!(matches!(Model::load_verified(&path, &key), Err(LoadError::Io(e)) if e.kind() == ErrorKind::NotFound));
        for signature in [&[][..], &[0; 64], &[1; 63], &hex::<64>(EMPTY)] {
            fs::write(f.0.join("m.sepal.sig"), signature).unwrap();
            assert!(matches!(Model::load_verified(&path, &key), Err(LoadError::Signature)));
        }
        // Of any length, and no more of it is read than a signature has.
        fs::File::create(f.0.join("m.sepal.sig")).unwrap().set_len(1 << 42).unwrap();
        assert!(matches!(Model::load_verified(&path, &key), Err(LoadError::Signature)));
        let bytes = AlignedBytes::read(&path).unwrap();
        assert!(matches!(Model::from_signed(&bytes, &hex(EMPTY), &key), Err(LoadError::Signature)));
    }
}

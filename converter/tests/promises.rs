//! What the command promises beyond its grammar: the same bytes from one source, the same bits with every instruction set and
//! number of threads, an exit code for every mistake, tolerances by an index.

mod folder;

use folder::Folder;
use sepal_fixtures as fixtures;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

impl Folder {
    /// With the mini-Xception and pictures in it.
    fn with_network(test: &str) -> Self {
        let folder = Folder::new(test);
        let write = |name: &str, bytes: &[u8]| fs::write(folder.0.join(name), bytes).unwrap();
        write("net.keras", fixtures::MINI_XCEPTION_KERAS);
        write("seven.png", fixtures::DIGITS[7].png);
        write("three.png", fixtures::DIGITS[3].png);
        write("labels.txt", fixtures::LABELS.map(|l| format!("digit {l}")).join("\n").as_bytes());
        folder
    }

    /// With `net.sepal` converted.
    fn converted(test: &str) -> Self {
        let folder = Folder::with_network(test);
        folder.ok(&["convert", "net.keras", "--no-verify"]);
        folder
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sepal")).args(args).current_dir(&self.0).output().unwrap()
    }

    /// Runs a command that must succeed and gives its standard output.
    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{args:?}: progress only on a terminal");
        String::from_utf8(out.stdout).unwrap()
    }

    /// Runs a command that must fail with a code and gives its standard error.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        let out = self.run(args);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
        assert!(!text.contains("panicked"), "{args:?}: {text}");
        text
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path).to_string_lossy().into_owned()
}

#[test]
fn convert_checks_itself_and_is_reproducible() {
    let f = Folder::with_network("convert");
    let text = f.ok(&["convert", "net.keras", "--explain", "--report", "report.json"]);
    assert!(text.contains("19 of 19 folded") && text.contains("passed") && text.contains("block1_conv1_bn"), "{text}");
    f.ok(&["convert", "net.keras", "-o", "again.sepal"]);
    assert_eq!(fs::read(f.path("net.sepal")).unwrap(), fs::read(f.path("again.sepal")).unwrap());
    let report: Value = serde_json::from_slice(&fs::read(f.path("report.json")).unwrap()).unwrap();
    assert_eq!(report["batch_norms"].as_array().unwrap().len(), 19);
    assert_eq!(report["batch_norms"][0]["folded"], true);
    let want = ["again.sepal", "labels.txt", "net.keras", "net.sepal", "report.json", "seven.png", "three.png"];
    assert_eq!(f.names(), want, "nothing else is left");
}

#[test]
fn exit_codes() {
    let f = Folder::converted("codes");
    fs::write(f.path("rubbish.onnx"), "rubbish").unwrap();
    fs::write(f.path("cut.keras"), &fixtures::MINI_XCEPTION_KERAS[..20_000]).unwrap();
    let sepal = fs::read(f.path("net.sepal")).unwrap();
    fs::write(f.path("short.sepal"), &sepal[..sepal.len() - 64]).unwrap();
    f.ok(&["--version"]);
    f.ok(&["help", "convert"]);
    f.fails(1, &[]);
    f.fails(1, &["frobnicate"]);
    f.fails(1, &["convert", "net.keras", "--input-shape", "1,x"]);
    f.fails(1, &["run", "net.sepal", "--input", "labels.txt"]);
    f.fails(1, &["run", "net.sepal", "--input", "nobody=seven.png"]);
    f.fails(1, &["bench", "net.sepal", "--threads", "0"]);
    f.fails(1, &["bench", "net.sepal", "--isa", "sse9"]);
    f.fails(1, &["verify", "net.sepal"]);
    for source in ["rubbish.onnx", "cut.keras"] {
        f.fails(2, &["convert", source]);
        f.fails(2, &["check", source]);
        f.fails(2, &["info", source]);
    }
    f.fails(2, &["run", "short.sepal", "--input", "seven.png"]);
    f.fails(2, &["info", "short.sepal"]);
    f.fails(1, &["convert", "net.keras", "--weights", "f8", "-o", "half.sepal"]);
    f.fails(2, &["convert", "net.keras", "--quantize", "int8", "--calibrate", ".", "-o", "byte.sepal"]);
    f.fails(1, &["convert", "net.keras", "--report", "r.txt", "-o", "text.sepal"]);
    fs::write(f.path("rubbish.png"), "rubbish").unwrap();
    f.fails(2, &["run", "net.sepal", "--input", "rubbish.png"]);
    f.fails(4, &["convert", "nobody.keras"]);
    f.fails(4, &["convert", "net.keras", "-o", "no/such/folder/net.sepal", "--no-verify"]);
    f.fails(4, &["bench", "nobody.sepal"]);
    assert!(!f.names().iter().any(|n| n.contains("tmp") || n.contains("half")), "{:?}", f.names());
}

#[test]
fn outputs_have_the_same_bits_however_they_are_computed() {
    let f = Folder::converted("run");
    let text = f.ok(&["run", "net.sepal", "--input", "seven.png", "--top", "1", "--labels", "labels.txt", "--output", "one.npz"]);
    assert!(text.contains("digit 7"), "{text}");
    f.ok(&["run", "net.sepal", "--input", "seven.png", "--input", "three.png", "--output", "two.npz"]);
    let read = |name: &str| sepal_converter::data::npz::read_npz(&f.path(name)).unwrap();
    let (one, two) = (read("one.npz"), read("two.npz"));
    assert_eq!(one.keys().collect::<Vec<_>>(), ["classes"]);
    assert_eq!(two.keys().collect::<Vec<_>>(), ["y0_0", "y1_0"]);
    assert_eq!(one["classes"], two["y0_0"]);
    assert_eq!(one["classes"].shape, [1, 10]);
    for other in [["--threads", "3"], ["--isa", "scalar"]] {
        f.ok(&[&["run", "net.sepal", "--input", "seven.png", "--output", "other.npz"], &other[..]].concat());
        assert_eq!(read("other.npz"), one, "the same bits with {other:?}");
    }
}

/// One file for two batches: over the weights of one, each plan with the bits of a file of its own, chosen by the input.
#[test]
fn several_plans_in_one_file() {
    use sepal_converter::data::npz::{Array, read_npz, write_npz};
    let f = Folder::converted("plans");
    let text = f.ok(&["convert", "net.keras", "-o", "plans.sepal", "--plan", "batch=1,3", "--plan", "size=32,40x36"]);
    assert!(text.contains("batch=3,size=40x36") && text.contains("image 3x40x36x1"), "{text}");
    f.ok(&["convert", "net.keras", "-o", "three.sepal", "--no-verify", "--input-shape", "3,32,32,1"]);
    let info: Value = serde_json::from_str(&f.ok(&["info", "plans.sepal", "--json"])).unwrap();
    let own: Value = serde_json::from_str(&f.ok(&["info", "three.sepal", "--json"])).unwrap();
    let plans = info["plans"].as_array().unwrap();
    assert_eq!((plans.len(), &plans[2]["inputs"][0]["shape"]), (4, &serde_json::json!([3, 32, 32, 1])));
    assert_eq!(plans[2]["arena_bytes"], own["arena_bytes"]);
    assert!(info["weights_bytes"].as_u64().unwrap() < 2 * own["weights_bytes"].as_u64().unwrap());

    let values: Vec<f32> = (0..3 * 32 * 32).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
    let input = |n: usize| Array { shape: vec![n, 32, 32, 1], values: values[..n * 32 * 32].to_vec() };
    for n in [1, 2, 3] {
        write_npz(&f.path(&format!("x{n}.npz")), &[("image".into(), input(n))]).unwrap();
    }
    for (model, x, y) in [("plans", "x3", "a"), ("three", "x3", "b"), ("plans", "x1", "c"), ("net", "x1", "d")] {
        f.ok(&["run", &format!("{model}.sepal"), "--input", &format!("{x}.npz"), "--output", &format!("{y}.npz")]);
    }
    let read = |name: &str| read_npz(&f.path(name)).unwrap();
    assert_eq!(read("a.npz"), read("b.npz"));
    assert_eq!(read("c.npz"), read("d.npz"));
    let refused = f.fails(2, &["run", "plans.sepal", "--input", "x2.npz"]);
    assert!(refused.contains("plan 0 for image 1x32x32x1") && refused.contains("plan 3 for image 3x40x36x1"), "{refused}");
    f.fails(2, &["run", "plans.sepal", "--input", "x1.npz", "--plan", "batch=3"]);
    f.fails(1, &["bench", "plans.sepal", "--runs", "1", "--plan", "4"]);
    assert!(f.ok(&["bench", "plans.sepal", "--runs", "1", "--plan", "batch=3,size=40x36"]).contains("plan 3"));
    f.ok(&["run", "plans.sepal", "--input", "seven.png", "--plan", "size=40x36"]);
    f.ok(&["verify", "plans.sepal", "--golden", &repository("fixtures/golden/mini_xception.npz"), "--atol", "2e-5"]);
    let diff = f.ok(&["diff", "net.keras", "plans.sepal"]);
    assert_eq!(diff.matches("No layer is off").count(), 4, "{diff}");
    f.ok(&["diff", "net.keras", "plans.sepal", "--plan", "1", "--html", "one.html"]);
    f.fails(1, &["diff", "net.keras", "plans.sepal", "--html", "all.html"]);
    f.ok(&["convert", "net.keras", "-o", "in.sepal", "--plan", "batch=1,2", "--mean", "0.5", "--std", "0.5", "--fold-input"]);
    f.fails(1, &["convert", "net.keras", "-o", "no.sepal", "--plan", "rows=1,2"]);
    f.fails(1, &["convert", "net.keras", "-o", "no.sepal", "--plan", "batch=1,2,3,4,5,6,7,8,9"]);
    assert!(f.fails(2, &["convert", "net.keras", "-o", "no.sepal", "--plan", "size=2"]).contains("plan size=2"));
}

/// `x` of an open batch, plus `bias` of 1 by 4, in ONNX.
const BIASED: &[u8] = b"\x08\x08:O\x0a\x11\x0a\x01x\x0a\x04bias\x12\x01y\x22\x03Add\x12\x01gZ\x14\x0a\x01x\x12\x0f\x0a\x0d\x08\x01\x12\x09\x0a\x03\x12\x01n\x0a\x02\x08\x04Z\x16\x0a\x04bias\x12\x0e\x0a\x0c\x08\x01\x12\x08\x0a\x02\x08\x01\x0a\x02\x08\x04b\x09\x0a\x01y\x12\x04\x0a\x02\x08\x01B\x04\x0a\x00\x10\x11";

/// A plan is known by the batch of the inputs that have one.
#[test]
fn plans_leave_what_has_no_batch() {
    use sepal_converter::data::npz::{Array, read_npz, write_npz};
    let f = Folder::converted("biased");
    std::fs::write(f.path("biased.onnx"), BIASED).unwrap();
    f.ok(&["convert", "biased.onnx", "-o", "biased.sepal", "--plan", "batch=1,2"]);
    let array = |shape: [usize; 2], values: &[f32]| Array { shape: shape.to_vec(), values: values.to_vec() };
    let x = array([2, 4], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    write_npz(&f.path("in.npz"), &[("x".into(), x), ("bias".into(), array([1, 4], &[1.0; 4]))]).unwrap();
    f.ok(&["run", "biased.sepal", "--input", "in.npz", "--output", "out.npz", "--plan", "batch=2"]);
    assert_eq!(read_npz(&f.path("out.npz")).unwrap()["y"].values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    f.fails(1, &["run", "biased.sepal", "--input", "in.npz", "--plan", "batch=3"]);
    assert!(f.ok(&["diff", "biased.onnx", "biased.sepal", "--plan", "batch=1"]).contains("No layer is off"));
}

#[test]
fn verify_holds_to_an_index_and_to_the_hash() {
    let f = Folder::converted("verify");
    let golden = repository("fixtures/golden/mini_xception.npz");
    assert!(f.ok(&["verify", "net.sepal", "--golden", &golden]).contains("within"));
    assert!(f.fails(3, &["verify", "net.sepal", "--golden", &golden, "--atol", "0", "--rtol", "0"]).contains("y0_0"));

    // What `run` makes of the same file's inputs is what `verify` expects.
    f.ok(&["run", "net.sepal", "--input", &golden, "--output", "got.npz"]);
    let mut arrays = sepal_converter::data::npz::read_npz(golden.as_ref()).unwrap();
    arrays.extend(sepal_converter::data::npz::read_npz(&f.path("got.npz")).unwrap());
    let list: Vec<_> = arrays.clone().into_iter().collect();
    sepal_converter::data::npz::write_npz(&f.path("own.npz"), &list).unwrap();
    f.ok(&["verify", "net.sepal", "--golden", "own.npz", "--atol", "0", "--rtol", "0"]);

    let index = r#"{"models": [{"name": "net", "format": "keras", "golden": "own.npz", "outputs": [{}],
        "tolerance": {"max_abs": [1e-9], "log_max_abs": 1e-9}}]}"#;
    fs::write(f.path("models.json"), index).unwrap();
    f.ok(&["verify", "net.sepal", "--index", "models.json", "--name", "net"]);
    f.fails(3, &["verify", "net.sepal", "--golden", &golden, "--index", "models.json", "--name", "net"]);
    f.fails(2, &["verify", "net.sepal", "--index", "models.json", "--name", "nobody"]);
    fs::write(f.path("text.json"), index.replace(r#""log_max_abs": 1e-9"#, r#""log_max_abs": "1e-9""#)).unwrap();
    assert!(f.fails(2, &["verify", "net.sepal", "--index", "text.json", "--name", "net"]).contains("log_max_abs is no number"));

    // A flipped bit of a weight: found by the hash, whatever the outputs are.
    let mut bytes = fs::read(f.path("net.sepal")).unwrap();
    let last = bytes.len() - 5000;
    bytes[last] ^= 1;
    fs::write(f.path("flipped.sepal"), bytes).unwrap();
    f.fails(2, &["verify", "flipped.sepal", "--golden", &golden]);
}

#[test]
fn nothing_that_is_read_is_written_over() {
    let f = Folder::converted("over");
    let before = (fs::read(f.path("net.keras")).unwrap(), fs::read(f.path("net.sepal")).unwrap());
    fs::rename(f.path("net.sepal"), f.path("net.json")).unwrap();
    f.fails(1, &["convert", "net.keras", "-o", "new.json", "--report", "new.json"]);
    f.fails(1, &["run", "net.json", "--input", "seven.png", "--output", "net.json"]);
    f.fails(1, &["run", "net.json", "--input", "seven.png", "--output", "./seven.png"]);
    f.fails(1, &["bench", "net.json", "--runs", "1", "--trace", "net.json"]);
    fs::rename(f.path("net.json"), f.path("net.sepal")).unwrap();
    assert_eq!(before, (fs::read(f.path("net.keras")).unwrap(), fs::read(f.path("net.sepal")).unwrap()));
    assert_eq!(f.names(), ["labels.txt", "net.keras", "net.sepal", "seven.png", "three.png"]);
}

#[test]
fn a_flipped_bit_of_the_weights_or_the_version_is_noticed() {
    let f = Folder::converted("flip");
    let good = fs::read(f.path("net.sepal")).unwrap();
    for at in [10, good.len() - 100, good.len() / 2] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(f.path("bad.sepal"), bad).unwrap();
        f.fails(2, &["run", "bad.sepal", "--input", "seven.png"]);
        f.fails(2, &["info", "bad.sepal"]);
        f.fails(2, &["bench", "bad.sepal", "--runs", "1"]);
    }
}

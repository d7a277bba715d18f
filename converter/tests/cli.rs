//! The `sepal` command as scripts see it: exit codes, files, fields.

mod folder;

use folder::Folder;
use sepal_converter::data::npz::{Array, read_npz, write_npz};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

impl Folder {
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.0.join(name), bytes).unwrap();
        self.path(name)
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
    /// The mini-Xception, converted.
    fn model(&self) -> String {
        let source = self.file("digits.keras", sepal_fixtures::MINI_XCEPTION_KERAS);
        ok(&["convert", &source, "--no-verify"]);
        self.path("digits.sepal")
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sepal"));
    command.args(args).stdin(Stdio::null()).env_remove("SEPAL_ISA");
    command
}

fn sepal(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// Standard output of a command that must succeed.
fn ok(args: &[&str]) -> String {
    let out = sepal(args);
    assert_eq!(out.status.code(), Some(0), "{args:?}: {}", text(&out.stderr));
    text(&out.stdout)
}

/// Standard error of a command that must end with `code` and say why, on standard error only.
fn fails(code: i32, args: &[&str]) -> String {
    let out = sepal(args);
    let why = text(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{args:?}: {why}");
    assert!(why.starts_with("error: ") && !why.contains("panicked"), "{args:?}: {why}");
    assert_eq!(text(&out.stdout), "", "{args:?}");
    why
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

fn fixture(name: &str) -> String {
    fixtures().join(name).to_str().unwrap().to_string()
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn help_is_no_error_and_nonsense_is_usage() {
    assert!(ok(&["--help"]).contains("Exit codes"));
    assert!(ok(&["--version"]).starts_with("sepal "));
    for command in ["convert", "check", "info", "run", "verify", "keygen", "sign", "features", "diff", "bench", "demo"] {
        let help = ok(&[command, "--help"]);
        assert!(help.contains("Usage: sepal"), "{command}");
        assert!(help.lines().all(|l| l.chars().count() <= 120), "{command}: a line is too long");
    }
    for args in [&["frobnicate"][..], &["convert"], &["run"], &["bench", "m.sepal", "--threads", "0"]] {
        fails(1, args);
    }
    let network = fixtures().join("../runtime/tests/data/v1/all-ops-1.sepal");
    assert!(fails(1, &["run", network.to_str().unwrap()]).contains("--input is needed"));
    assert_eq!(sepal(&[]).status.code(), Some(1));
}

#[test]
fn convert_writes_beside_the_source_and_replaces_only_by_force() {
    let folder = Folder::new("convert");
    let source = folder.file("digits.keras", sepal_fixtures::MINI_XCEPTION_KERAS);
    let said = ok(&["convert", &source, "--explain"]);
    assert!(said.contains("19 of 19 folded") && said.contains("self-check"), "{said}");
    let target = folder.path("digits.sepal");
    let first = std::fs::read(&target).unwrap();
    assert_eq!(folder.names(), ["digits.keras", "digits.sepal"]);

    std::fs::write(&target, b"mine").unwrap();
    assert!(fails(4, &["convert", &source]).contains("--force"));
    assert_eq!(std::fs::read(&target).unwrap(), b"mine");
    ok(&["convert", &source, "--force"]);
    assert!(std::fs::read(&target).unwrap() == first, "the same bytes every time");

    let (other, report) = (folder.path("other.sepal"), folder.path("folds.json"));
    ok(&["convert", &source, "-o", &other, "--report", &report, "--no-verify"]);
    assert!(std::fs::read(&other).unwrap() == first, "the self-check leaves no trace");
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert!(report.is_object() || report.is_array());

    // One file by two spellings, which does not exist yet.
    let (same, spelt) = (folder.path("same.json"), folder.path("./same.json"));
    fails(1, &["convert", &source, "-o", &same, "--report", &spelt]);
    assert!(!std::fs::exists(&same).unwrap());
    #[cfg(unix)]
    {
        let link = folder.path("link.sepal");
        std::os::unix::fs::symlink("same.json", &link).unwrap();
        fails(1, &["convert", &source, "-o", &link, "--report", &same, "--force"]);
        std::fs::remove_file(&link).unwrap();
    }

    fails(1, &["convert", &source, "-o", &source, "--force"]);
    assert!(std::fs::read(&source).unwrap() == sepal_fixtures::MINI_XCEPTION_KERAS);
}

#[test]
fn a_failed_conversion_leaves_nothing() {
    let folder = Folder::new("fail");
    let whole = folder.file("whole.keras", sepal_fixtures::MINI_XCEPTION_KERAS);
    let half = folder.file("half.keras", &sepal_fixtures::MINI_XCEPTION_KERAS[..200_000]);
    let empty = folder.file("empty.onnx", b"");
    let noise = folder.file("noise.h5", b"not a network, and not for a long time yet");
    let before = folder.names();
    for source in [&half, &empty, &noise] {
        fails(2, &["convert", source]);
        fails(2, &["check", source]);
        fails(2, &["info", source]);
    }
    let missing = folder.path("missing.keras");
    for command in ["convert", "check", "info"] {
        fails(4, &[command, &missing]);
    }
    fails(4, &["convert", &whole, "--no-verify", "-o", &folder.path("no/such/folder.sepal")]);
    fails(4, &["convert", &whole, "--no-verify", "--force", "-o", folder.0.to_str().unwrap()]);
    fails(1, &["convert", &whole, "--weights", "f8"]);
    assert_eq!(folder.names(), before);
}

/// A field of a protocol buffer: bytes under a tag.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 1 << 14);
    let n = bytes.len();
    let mut out = vec![tag << 3 | 2, (n & 0x7f) as u8 | 0x80, (n >> 7) as u8];
    out.extend_from_slice(bytes);
    out
}

/// An ONNX network of a chain of nodes (name, operator) on a 1x4 input.
fn chain(nodes: &[(&str, &str)]) -> Vec<u8> {
    let dims = [field(1, &[8, 1]), field(1, &[8, 4])].concat();
    let typed = field(2, &field(1, &[vec![8, 1], field(2, &dims)].concat()));
    let value = |name: &str| [field(1, name.as_bytes()), typed.clone()].concat();
    let mut graph = Vec::new();
    let mut from = "x".to_string();
    for (name, op) in nodes {
        let to = format!("{name}_out");
        let node = [field(1, from.as_bytes()), field(2, to.as_bytes()), field(3, name.as_bytes()), field(4, op.as_bytes())];
        graph.extend(field(1, &node.concat()));
        from = to;
    }
    graph.extend([field(2, b"chain"), field(11, &value("x")), field(12, &value(&from))].concat());
    [vec![8, 8], field(7, &graph), field(8, &[16, 13])].concat()
}

#[test]
fn everything_unsupported_is_listed_at_once() {
    let folder = Folder::new("unsupported");
    let good = folder.file("good.onnx", &chain(&[("first", "Relu"), ("second", "Sigmoid")]));
    assert!(ok(&["check", &good]).contains("fully supported"));
    let bad = folder.file("bad.onnx", &chain(&[("alpha", "LSTM"), ("good", "Relu"), ("beta", "TopK"), ("gamma", "NonZero")]));
    for command in ["check", "convert"] {
        let why = fails(2, &[command, &bad]);
        for word in ["alpha", "LSTM", "beta", "TopK", "gamma", "NonZero"] {
            assert!(why.contains(word), "{command}: {word} is missing in {why}");
        }
        assert!(why.contains("3 things"), "{why}");
    }
    assert_eq!(folder.names(), ["bad.onnx", "good.onnx"]);
}

#[test]
fn tflite_files_are_known_by_their_identifier() {
    let folder = Folder::new("tflite");
    // Whatever the name says.
    let source = folder.file("small_net.keras", include_bytes!("data/tflite/small_net.tflite"));
    let golden = folder.file("small_net.npz", include_bytes!("data/tflite/small_net.npz"));
    let said = ok(&["check", &source]);
    assert!(said.contains("fully supported (tflite;"), "{said}");
    assert!(ok(&["convert", &source]).contains("self-check"));
    let model = folder.path("small_net.sepal");
    ok(&["run", &model, "--input", &golden, "--output", &folder.path("y.npz")]);
    let two = folder.file("two.tflite", include_bytes!("data/tflite/signatures/two.tflite"));
    for command in ["check", "convert"] {
        fails(1, &[command, &two, "--signature", "classify"]);
        assert!(!ok(&[command, &two, "--signature", "squash"]).contains("rectify"));
        std::fs::remove_file(folder.path("two.sepal")).ok();
        assert!(ok(&[command, &two]).contains("signatures rectify, squash"));
    }
    let refused = folder.file("quantised.tflite", include_bytes!("data/tflite/refused/quantised.tflite"));
    for command in ["check", "convert", "info"] {
        assert!(fails(2, &[command, &refused]).contains("the network is quantised"));
    }
    let bad = folder.file("bad.tflite", include_bytes!("data/tflite/refused/unsupported.tflite"));
    let why = fails(2, &["check", &bad]);
    for word in ["MATRIX_DIAG", "SEGMENT_SUM", "ARG_MAX", "3 things"] {
        assert!(why.contains(word), "{word} is missing in {why}");
    }
}

#[test]
fn info_says_the_same_of_a_source_and_its_file() {
    let folder = Folder::new("info");
    let model = folder.model();
    let json = |path: &str| -> Value { serde_json::from_str(&ok(&["info", path, "--json"])).unwrap() };
    let (mut of_model, mut of_source) = (json(&model), json(&folder.path("digits.keras")));
    assert_eq!(of_model["inputs"][0]["shape"], serde_json::json!([1, 32, 32, 1]));
    assert_eq!(of_model["outputs"][0]["shape"], serde_json::json!([1, 10]));
    for field in ["schema", "macs", "weights_bytes", "arena_bytes", "file_bytes"] {
        assert!(of_model[field].as_u64().unwrap() > 0, "{field}");
    }
    assert!(!of_model["steps"].as_array().unwrap().is_empty());
    of_model["file"].take();
    of_source["file"].take();
    assert_eq!(of_model, of_source);
    for path in [&model, &folder.path("digits.keras")] {
        assert!(ok(&["info", path]).contains("1x32x32x1"));
    }
}

/// What a file says of its network's work may be anything.
#[test]
fn shares_of_steps_are_of_all_steps() {
    let said = ok(&["info", concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/tests/data/v1/fast-1.sepal")]);
    let shares: Vec<f64> = said.lines().filter_map(|line| line.strip_suffix(" %")?.rsplit(' ').next()?.parse().ok()).collect();
    assert_eq!(shares.len(), 13, "{said}");
    assert!((shares.iter().sum::<f64>() - 100.0).abs() < 1.0, "{said}");
}

#[test]
fn arrays_go_in_and_come_out_by_name_or_number() {
    let folder = Folder::new("arrays");
    let model = folder.model();
    let golden = fixture("golden/mini_xception.npz");
    let stored = read_npz(golden.as_ref()).unwrap();
    let out = folder.path("out.npz");
    let names = |path: &str| read_npz(path.as_ref()).unwrap().into_keys().collect::<Vec<String>>();

    ok(&["run", &model, "--input", &golden, "--output", &out]);
    let got = read_npz(out.as_ref()).unwrap();
    assert_eq!(names(&out), ["y0_0", "y1_0", "y2_0"]);
    for (name, y) in &got {
        let want = &stored[name];
        assert_eq!(y.shape, want.shape);
        assert!(y.values.iter().zip(&want.values).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
    }

    let info: Value = serde_json::from_str(&ok(&["info", &model, "--json"])).unwrap();
    let (input, output) = (info["inputs"][0]["name"].as_str().unwrap(), info["outputs"][0]["name"].as_str().unwrap());
    let write = |name: &str, key: &str, shape: &[usize]| {
        let array = Array { shape: shape.to_vec(), values: stored["x0"].values.clone() };
        write_npz(folder.path(name).as_ref(), &[(key.to_string(), array)]).unwrap();
        folder.path(name)
    };
    let (named, single) = (write("named.npz", input, &[1, 32, 32, 1]), write("single.npz", "whatever", &[32, 32, 1]));
    for source in [named, format!("{input}={single}"), single.clone()] {
        ok(&["run", &model, "--input", &source, "--output", &out]);
        assert_eq!(names(&out), [output]);
        assert_eq!(read_npz(out.as_ref()).unwrap()[output].values, got["y0_0"].values);
    }

    std::fs::remove_file(&out).unwrap();
    let shaped = write("shaped.npz", input, &[1, 1024]);
    fails(2, &["run", &model, "--input", &shaped, "--output", &out]);
    fails(4, &["run", &model, "--input", &folder.path("missing.npz"), "--output", &out]);
    assert!(!Path::new(&out).exists());
    fails(4, &["run", &model, "--input", &single, "--output", &folder.path("no/such/out.npz")]);
    fails(4, &["run", &folder.path("missing.sepal"), "--input", &single]);
    fails(2, &["run", &single, "--input", &single]);

    fails(1, &["run", &model, "--input", &single, "--output", &folder.path("y.txt")]);
    let labels = folder.path("labels.txt");
    std::fs::write(&labels, b"caf\xe9\n").unwrap();
    fails(2, &["run", &model, "--input", &single, "--top", "1", "--labels", &labels]);
    let nans = Array { shape: vec![1, 32, 32, 1], values: vec![f32::NAN; 1024] };
    write_npz(folder.path("nan.npz").as_ref(), &[("x".to_owned(), nans)]).unwrap();
    assert!(ok(&["run", &model, "--input", &folder.path("nan.npz")]).contains("(10 of 10 NaN)"));
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let odd = folder.0.join(std::ffi::OsStr::from_bytes(b"\xff\xfe.npz"));
        std::fs::copy(&single, &odd).unwrap();
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_sepal")).arg("run").arg(&model).arg("--input").arg(&odd).output();
        assert!(out.unwrap().status.success());
    }
}

#[test]
fn pictures_are_read_and_labelled() {
    let folder = Folder::new("pictures");
    let model = folder.model();
    let words: Vec<String> = (0..10).map(|i| format!("word{i}")).collect();
    let labels = folder.file("labels.txt", words.join("\n").as_bytes());
    for digit in sepal_fixtures::DIGITS {
        let png = folder.file("digit.png", digit.png);
        let said = ok(&["run", &model, "--input", &png, "--top", "2", "--labels", &labels]);
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.lines().next().unwrap().ends_with(&words[digit.label]), "{said}");
    }
    let broken = folder.file("broken.png", &sepal_fixtures::DIGITS[0].png[..100]);
    fails(2, &["run", &model, "--input", &broken]);
    fails(1, &["run", &model, "--input", &broken, "--labels", &labels]);
}

#[test]
fn what_does_not_fit_the_network_is_usage() {
    let folder = Folder::new("fit");
    let source = folder.file("digits.keras", sepal_fixtures::MINI_XCEPTION_KERAS);
    let few = folder.file("few.txt", b"one\ntwo\n");
    let before = folder.names();
    let unfit: [(&[&str], &str); 8] = [
        (&["--plan", "batch=1,2,3,4,5,6,7,8,9"], "at most 8"),
        (&["--normalize", "imagenet"], "3 channels"),
        (&["--mean", "1,2,3,4"], "4 channels"),
        (&["--color", "bgr"], "no colours"),
        (&["--labels", &few], "2 labels"),
        (&["--outputs", "nowhere"], "nowhere"),
        (&["--input-shape", "nowhere=1,32,32,1"], "nowhere"),
        (&["--input-shape", "1,32"], "[1, 32]"),
    ];
    for (option, word) in unfit {
        let why = fails(1, &[&["convert", &source, "--no-verify"], option].concat());
        assert!(why.contains(word) && !why.contains("not a network"), "{option:?}: {why}");
    }
    assert_eq!(folder.names(), before);

    let digit = folder.file("digit.png", sepal_fixtures::DIGITS[0].png);
    let model = folder.model();
    let why = fails(1, &["run", &model, "--input", &digit, "--top", "1", "--labels", &few]);
    assert!(why.contains("2 labels"), "{why}");
}

#[test]
fn verify_tells_right_from_wrong() {
    let folder = Folder::new("verify");
    let model = folder.model();
    let golden = fixture("golden/mini_xception.npz");
    ok(&["verify", &model, "--golden", &golden]);
    ok(&["verify", &model, "--index", &fixture("models.json"), "--name", "mini_xception.keras", "--threads", "2"]);
    let mut arrays = read_npz(Path::new(&golden)).unwrap();
    let said = ok(&["verify", &model, "--golden", &golden]);
    assert!(!said.contains("Not compared"), "{said}");
    arrays.insert("y0_1".into(), arrays["y0_0"].clone());
    let more = folder.path("more.npz");
    write_npz(Path::new(&more), &arrays.into_iter().collect::<Vec<_>>()).unwrap();
    let said = ok(&["verify", &model, "--golden", &more]);
    assert!(said.contains("Not compared, for no output has the name: y0_1\n"), "{said}");
    let wrong = sepal(&["verify", &model, "--golden", &golden, "--atol", "0", "--rtol", "0"]);
    assert_eq!(wrong.status.code(), Some(3), "{}", text(&wrong.stderr));
    fails(2, &["verify", &model, "--index", &fixture("models.json"), "--name", "nobody"]);
    fails(4, &["verify", &model, "--golden", &folder.path("missing.npz")]);
    fails(1, &["verify", &model]);

    let mut bytes = std::fs::read(&model).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let damaged = folder.file("damaged.sepal", &bytes);
    fails(2, &["verify", &damaged, "--golden", &golden]);
    let cut = folder.file("cut.sepal", &bytes[..bytes.len() / 2]);
    fails(2, &["info", &cut]);
}

#[test]
fn halves_are_smaller_and_close() {
    let folder = Folder::new("halves");
    let floats = folder.model();
    let source = folder.path("digits.keras");
    let (halves, report) = (folder.path("halves.sepal"), folder.path("report.json"));
    let args = ["convert", &source, "--weights", "f16", "-o", &halves, "--explain", "--report", &report];
    let said = ok(&args);
    assert!(said.contains("limit 1e-3") && said.contains("weights rounded") && said.contains("weights of"), "{said}");
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let all = report["halves"].as_array().unwrap();
    assert!(!all.is_empty() && all.iter().all(|r| r["type"] == "f16" && r["relative_error"].as_f64().unwrap() < 5e-4));

    let info = |path: &str| -> Value { serde_json::from_str(&ok(&["info", path, "--json"])).unwrap() };
    let weights = |path: &str| info(path)["weights_bytes"].as_f64().unwrap();
    // Much of this small network is depthwise weights and biases.
    assert!(weights(&halves) < 0.75 * weights(&floats), "{} of {}", weights(&halves), weights(&floats));
    let steps = info(&halves)["steps"].as_array().unwrap().clone();
    assert!(steps.iter().any(|s| s["kernel"].as_str().unwrap().ends_with(".f16")));

    let golden = fixture("golden/mini_xception.npz");
    assert!(ok(&["verify", &halves, "--golden", &golden]).contains("of range"));
    let strict = sepal(&["verify", &halves, "--golden", &golden, "--atol", "1e-7"]);
    assert_eq!(strict.status.code(), Some(3), "{}", text(&strict.stderr));
    ok(&["verify", &halves, "--golden", &golden, "--atol", "1e-2"]);
    let bench: Value = serde_json::from_str(&ok(&["bench", &halves, "--runs", "2", "--json"])).unwrap();
    assert_eq!(bench["allocations"], 0);
}

#[test]
fn bench_prints_the_promised_fields_one_object_a_line() {
    let folder = Folder::new("bench");
    let model = folder.model();
    let said = ok(&["bench", &model, "--threads", "1,2", "--warmup", "1", "--runs", "5", "--json", "--profile"]);
    let lines: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    let mut want = vec![
        "schema",
        "model",
        "isa",
        "threads",
        "warmup",
        "runs",
        "load_ms",
        "first_ms",
        "min",
        "median",
        "mean",
        "p90",
        "p99",
        "max",
        "times_ms",
        "macs",
        "arena_bytes",
        "weights_bytes",
        "allocations",
        "steps",
    ];
    want.sort_unstable();
    for (object, threads) in lines.iter().zip([1, 2]) {
        assert_eq!(keys(object), want);
        assert_eq!((&object["threads"], &object["runs"]), (&threads.into(), &5.into()));
        assert_eq!(object["times_ms"].as_array().unwrap().len(), 5);
        assert_eq!(object["allocations"], 0);
        let steps = object["steps"].as_array().unwrap();
        assert!(!steps.is_empty());
        let mut fields = ["index", "name", "kind", "kernel", "ms", "macs", "bytes", "gflops", "percent_of_peak"];
        fields.sort_unstable();
        assert_eq!(keys(&steps[0]), fields);
    }
    let plain = ok(&["bench", &model, "--runs", "2", "--json", "--isa", "scalar"]);
    let plain: Value = serde_json::from_str(plain.trim()).unwrap();
    assert_eq!((plain.get("steps"), &plain["isa"]), (None, &"scalar".into()));
    assert!(ok(&["bench", &model, "--runs", "2", "--csv"]).lines().count() >= 2);
    ok(&["bench", &model, "--runs", "2", "--profile"]);
    fails(1, &["bench", &model, "--isa", "abacus"]);
}

#[test]
fn demo_reads_the_pictures() {
    let said = ok(&["demo", "--plain"]);
    assert!(said.contains("10 pictures, 10 right"), "{said}");
}

#[test]
fn features_lists_what_a_build_needs() {
    let folder = Folder::new("features");
    let model = folder.model();
    let list = ok(&["features", &model]);
    let list: Vec<&str> = list.trim_end().split(',').collect();
    assert!(list.contains(&"separable") && list.contains(&"softmax"), "{list:?}");
    assert!(!list.contains(&"resize") && !list.contains(&"depthwise-5x5"), "{list:?}");
    assert_eq!(ok(&["features", &model, &model]).trim_end().split(',').count(), list.len());
}

/// 64 GB, which no test could read, but their first bytes tell.
#[test]
fn large_files_that_are_no_models_are_not_read() {
    let folder = Folder::new("large");
    let model = std::fs::read(fixtures().join("../runtime/tests/data/v1/all-ops-1.sepal")).unwrap();
    for (begin, said) in [(&b"another"[..], "not a Sepal model"), (&model, "truncated or has trailing bytes")] {
        let path = folder.file("large.sepal", begin);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 36).unwrap();
        for args in [&["features", &path][..], &["run", &path, "--input", "x.npy"], &["verify", &path, "--golden", "y.npz"]] {
            let text = fails(2, args);
            assert!(text.contains(said), "{args:?}: {text}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::new("pipe");
    let model = folder.model();
    for args in [&["info", &model][..], &["info", &model, "--json"], &["demo", "--plain"], &["--help"]] {
        let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        let why = text(&out.stderr);
        assert!(!why.contains("panicked") && out.status.code() == Some(0), "{args:?}: {:?} {why}", out.status);
    }
}

/// The network with names that command the terminal, turn the direction of writing, and end lines, and one that also has an operator
/// of such a name.
fn hostile_sources(folder: &Folder) -> [String; 2] {
    // Of the same length, since lengths are written before them.
    let replace = |bytes: &mut Vec<u8>, from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let places: Vec<usize> =
            bytes.windows(from.len()).enumerate().filter(|(_, w)| *w == from.as_bytes()).map(|(i, _)| i).collect();
        assert!(!places.is_empty(), "{from}");
        places.iter().for_each(|&i| bytes[i..i + to.len()].copy_from_slice(to.as_bytes()));
    };
    let mut source = sepal_fixtures::MINI_XCEPTION_ONNX.to_vec();
    replace(&mut source, "mini_xception_1", "\x1b]0;t\x07\u{9b}2J\u{202e}\nx");
    replace(&mut source, "Identity:0", HOSTILE);
    replace(&mut source, "tf2onnx", "\x1b[1m\u{2067}");
    let good = folder.file("good.onnx", &source);
    replace(&mut source, "MaxPool", "Max\x1b[m\n");
    [good, folder.file("bad.onnx", &source)]
}

/// The name of its output.
const HOSTILE: &str = "I\x1b[31m\u{202e}\n";

#[test]
fn names_from_files_do_not_command_the_terminal() {
    let folder = Folder::new("terminal");
    let [good, bad] = hostile_sources(&folder);
    let commands = |c: char| c.is_control() && !"\n\t".contains(c) || ('\u{202a}'..='\u{2069}').contains(&c);
    let harmless = |code: i32, args: &[&str]| {
        let out = sepal(args);
        let said = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {said}");
        assert!(!said.contains(commands), "{args:?}: {said:?}");
        assert!(!said.lines().any(|line| line.starts_with("x/")), "{args:?}: a name began a line: {said}");
        said
    };
    assert!(harmless(2, &["check", &bad]).contains("Max\u{fffd}[m\u{fffd}"));
    harmless(0, &["check", &good]);
    harmless(0, &["convert", &good, "--no-verify", "--explain"]);
    let model = folder.path("good.sepal");
    harmless(0, &["info", &model]);
    let json: Value = serde_json::from_str(&harmless(0, &["info", &model, "--json"])).unwrap();
    assert_eq!(json["outputs"][0]["name"], HOSTILE);
    harmless(0, &["bench", &model, "--runs", "1", "--warmup", "0", "--profile"]);
    harmless(0, &["bench", &model, "--runs", "1", "--warmup", "0", "--csv"]);
    let digit = fixtures().join("images/digit_0.png");
    let digit = digit.to_str().unwrap();
    harmless(0, &["run", &model, "--input", digit]);
    let labels = folder.file("labels.txt", "\x1b[31mred\u{202e}\n".repeat(10).as_bytes());
    harmless(0, &["run", &model, "--input", digit, "--labels", &labels, "--top", "2"]);
    let array = folder.path("a.npz");
    write_npz(Path::new(&array), &[("\x1b[31ma\n".to_owned(), Array { shape: vec![2], values: vec![0.0; 2] })]).unwrap();
    harmless(2, &["run", &model, "--input", &array]);
    harmless(2, &["verify", &model, "--golden", &array]);
    harmless(4, &["check", "no\x1b[31m\u{202e}.onnx"]);
    harmless(1, &["run", &model, "--input", "\x1b[31m=a.npz"]);
    harmless(1, &["\x1b[31m"]);
}

//! Runs ONNX's own tests of its operators, which `benches/python/make_onnx_node_tests.py` writes out, and makes the table of what is
//! supported from what passes: `conformance CASES [--check | --write] TABLE`.
//!
//! A case passes if it converts (self-check against the f64 interpreter included), runs, and its outputs have the right shapes and are
//! within ONNX's tolerances and a hundred-thousandth of their range. An operator is supported where every case passes that is about
//! f32 tensors of known shapes. `--check` fails if the table is not what it should be, `--write` writes it.

use sepal::{Model, Options, Session};
use sepal_converter::Error;
use sepal_converter::convert::{ConvertOptions, convert_bytes};
use sepal_converter::import::MAX_PIECES;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

type Bytes<'a> = (u64, u64, &'a [u8]);

/// The fields of a protobuf message: number, varint, bytes.
fn fields(mut at: &[u8]) -> Option<Vec<Bytes<'_>>> {
    fn varint(at: &mut &[u8]) -> Option<u64> {
        let mut v = 0;
        for shift in (0..64).step_by(7) {
            let (&b, rest) = at.split_first()?;
            *at = rest;
            v |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return Some(v);
            }
        }
        None
    }
    let mut all = Vec::new();
    while !at.is_empty() {
        let key = varint(&mut at)?;
        match key & 7 {
            0 => all.push((key >> 3, varint(&mut at)?, &[][..])),
            2 => {
                let len = usize::try_from(varint(&mut at)?).ok()?;
                let (bytes, rest) = at.split_at_checked(len)?;
                at = rest;
                all.push((key >> 3, 0, bytes));
            }
            _ => return None,
        }
    }
    Some(all)
}

/// Shape and elements of a tensor of floats as numpy writes it: packed or single dims, raw data.
fn tensor(path: &Path) -> Option<(Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).ok()?;
    let (mut dims, mut data) = (Vec::new(), Vec::new());
    for (number, value, bytes) in fields(&bytes)? {
        match number {
            1 => dims.push(value as usize),
            9 => data = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            _ => {}
        }
    }
    Some((dims, data))
}

/// `NAME_0.pb`, `NAME_1.pb`, ...
fn tensors(folder: &Path, name: &str) -> Vec<(Vec<usize>, Vec<f32>)> {
    (0..).map_while(|i| tensor(&folder.join(format!("{name}_{i}.pb")))).collect()
}

/// What a case came to.
enum Outcome {
    Passed,
    /// Sepal says that it does not do this.
    Refused(String),
    Failed(String),
}

fn run(folder: &Path) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| computed(folder))) {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(outcome)) => outcome,
        Err(_) => Outcome::Failed("panic".into()),
    }
}

fn computed(folder: &Path) -> Result<(), Outcome> {
    let fail = |what: String| Outcome::Failed(what);
    let bytes = std::fs::read(folder.join("model.onnx")).map_err(|e| fail(e.to_string()))?;
    let converted =
        convert_bytes("model.onnx", &bytes, &ConvertOptions::default(), &mut ()).map_err(|e| match e {
            Error::Unsupported(all) => Outcome::Refused(all.first().map_or(String::new(), |u| {
                if u.what.contains("operator is") { format!("needs {}", u.kind) } else { u.what.clone() }
            })),
            // A mask of infinities, say.
            Error::Invalid(what) if what.contains("not finite") => Outcome::Refused("a constant that is not finite".into()),
            e => fail(e.to_string()),
        })?;
    let model = Model::from_bytes(converted.bytes()).map_err(|e| fail(e.to_string()))?;
    let mut session = Session::new(&model, Options::default()).map_err(|e| fail(e.to_string()))?;
    for (i, (_, x)) in tensors(folder, "input").iter().enumerate() {
        match session.input_mut(i) {
            Some(input) if input.len() == x.len() => input.copy_from_slice(x),
            // An input that no output depends on.
            None => {}
            Some(_) => return Err(fail(format!("input {i} has another size"))),
        }
    }
    session.run();
    for (i, (shape, want)) in tensors(folder, "output").iter().enumerate() {
        let info = model.outputs().nth(i).ok_or_else(|| fail(format!("output {i} is missing")))?;
        if info.dims.iter().map(|&d| d as usize).ne(shape.iter().copied()) {
            return Err(fail(format!("output {i} has shape {:?} instead of {shape:?}", info.dims)));
        }
        let got = session.output(i).unwrap_or_default();
        // What a test has of four decimals is no more exact than that.
        let rounded = want.iter().all(|w| (w * 1e4 - (w * 1e4).round()).abs() < 0.01);
        let close = if rounded { 1e-3 } else { 1e-5 };
        let range = want.iter().filter(|v| v.is_finite()).fold(0f32, |m, v| m.max(v.abs()));
        for (k, (&g, &w)) in got.iter().zip(want).enumerate() {
            let off = (g - w).abs();
            let same = g == w || (g.is_nan() && w.is_nan()) || off <= (1e-7 + 1e-3 * w.abs()).min(close * range.max(1e-2));
            if !same {
                return Err(fail(format!("output {i}, element {k}: {g}, should be {w}")));
            }
        }
    }
    Ok(())
}

/// The cases of an operator.
#[derive(Default)]
struct Operator {
    passed: usize,
    /// Reason and number of cases.
    other: BTreeMap<String, usize>,
    refused: BTreeMap<String, usize>,
    failed: Vec<String>,
}

fn list(reasons: &BTreeMap<String, usize>) -> String {
    let all: Vec<String> = reasons.iter().map(|(why, n)| format!("{n} {why}")).collect();
    all.join(", ").replace('|', "\\|")
}

fn table(version: &str, all: &BTreeMap<String, Operator>) -> String {
    let full = |o: &Operator| o.passed > 0 && o.refused.is_empty() && o.failed.is_empty();
    let part = |o: &Operator| o.passed > 0 && !full(o);
    let cases: usize = all.values().filter(|o| full(o)).map(|o| o.passed).sum();
    let mut text = format!(
        "# ONNX operators\n\nMade by `cargo run -p sepal-benches --bin conformance`, which runs the node tests of {version} through conversion and\n\
         runtime, and checked by `.ci/run`: an operator is listed as supported where every test passes that is about f32 tensors of known shapes.\n\
         What a test passes as inputs but a network holds as weights is frozen into the model.\n\n\
         What a network computes is put in another order by slices, at most {MAX_PIECES} for a node: Slice with a negative step, Gather and its kin by\n\
         indices in no order, Compress, ReverseSequence, Tile, and Pad with elements of the tensor. More are refused, by an error that says so.\n\n\
         **{} operators, all of whose {cases} tests pass.**\n\n| operator | tests passed | tests of other things, and of what |\n|---|---|---|\n",
        all.values().filter(|o| full(o)).count()
    );
    for (name, o) in all.iter().filter(|(_, o)| full(o)) {
        let _ = writeln!(text, "| {name} | {} | {} |", o.passed, list(&o.other));
    }
    text.push_str("\n## In part\n\nThe tests that are refused, each by an error that names the reason.\n\n| operator | tests passed | refused | tests of other things |\n|---|---|---|---|\n");
    for (name, o) in all.iter().filter(|(_, o)| part(o)) {
        let _ = writeln!(text, "| {name} | {} | {} | {} |", o.passed, list(&o.refused), list(&o.other));
    }
    text.push_str(
        "\n## Only where their inputs are constant, or not at all\n\n| operator | why its tests do not run |\n|---|---|\n",
    );
    for (name, o) in all.iter().filter(|(_, o)| o.passed == 0) {
        let mut why = o.other.clone();
        o.refused.iter().for_each(|(reason, n)| *why.entry(reason.clone()).or_default() += n);
        let _ = writeln!(text, "| {name} | {} |", list(&why));
    }
    text
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(cases) = args.first() else {
        eprintln!("conformance CASES [--check | --write] TABLE");
        return ExitCode::from(1);
    };
    let Ok(lines) = std::fs::read_to_string(Path::new(cases).join("cases.tsv")) else {
        eprintln!("{cases} has no cases.tsv; benches/python/make_onnx_node_tests.py makes it");
        return ExitCode::from(4);
    };
    let version = lines.lines().next().unwrap_or("").trim_start_matches("# ").to_string();
    let mut all: BTreeMap<String, Operator> = BTreeMap::new();
    let (mut passed, mut failed, mut refused, mut skipped) = (0, 0, 0, 0);
    for line in lines.lines().skip(1) {
        let [name, op, reason] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        let entry = all.entry(op.to_string()).or_default();
        if !reason.is_empty() {
            *entry.other.entry(reason.to_string()).or_default() += 1;
            skipped += 1;
            continue;
        }
        match run(&Path::new(cases).join(name)) {
            Outcome::Passed => {
                entry.passed += 1;
                passed += 1;
            }
            Outcome::Refused(why) => {
                if std::env::var_os("VERBOSE").is_some() {
                    println!("refused {name} ({op}): {why}");
                }
                *entry.refused.entry(why).or_default() += 1;
                refused += 1;
            }
            Outcome::Failed(what) => {
                println!("FAILED {name} ({op}): {what}");
                entry.failed.push(name.to_string());
                failed += 1;
            }
        }
    }
    let text = table(&version, &all);
    let full = all.values().filter(|o| o.passed > 0 && o.refused.is_empty() && o.failed.is_empty()).count();
    println!("{passed} passed, {failed} failed, {refused} refused, {skipped} of other things; {full} operators in full");
    match args.get(1..) {
        Some([how, path]) if how == "--write" => {
            if let Err(e) = std::fs::write(path, text) {
                eprintln!("{path}: {e}");
                return ExitCode::from(4);
            }
        }
        Some([how, path]) if how == "--check" && std::fs::read_to_string(path).ok().as_deref() != Some(&*text) => {
            eprintln!("{path} is not what the tests say; write it anew with --write");
            return ExitCode::from(3);
        }
        _ => {}
    }
    ExitCode::from(u8::from(failed > 0))
}

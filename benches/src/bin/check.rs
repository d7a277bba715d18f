//! The developers' check of what the compiler does not check: which crate may use which, where `unsafe` may be written, how
//! long a file may be. `cargo run -p sepal-benches --bin check`; exit code 1 when a rule is broken.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Each crate with the crates of the workspace that it may use: strictly those below it. Tests may use any.
const LAYERS: [(&str, &[&str]); 9] = [
    ("sepal-format", &[]),
    ("sepal-kernels", &["sepal-format"]),
    ("sepal-testing", &["sepal-format", "sepal-kernels"]),
    ("sepal", &["sepal-format", "sepal-kernels"]),
    ("sepal-c", &["sepal"]),
    ("sepal-fixtures", &[]),
    ("sepal-heap", &[]),
    ("sepal-converter", &["sepal-format", "sepal-kernels", "sepal", "sepal-fixtures", "sepal-heap"]),
    (
        "sepal-benches",
        &["sepal-format", "sepal-kernels", "sepal-testing", "sepal", "sepal-fixtures", "sepal-heap", "sepal-converter"],
    ),
];

/// The files in which `unsafe` may be written, and what for.
const UNSAFE: [(&str, &str); 18] = [
    ("kernels/src/simd/aarch64.rs", "the CPU's control word of floats"),
    ("kernels/src/simd/arm.rs", "the CPU's control word of floats"),
    ("kernels/src/simd/avx2.rs", "instructions that the CPU was asked for"),
    ("kernels/src/simd/avx512.rs", "instructions that the CPU was asked for"),
    ("kernels/src/simd/neon.rs", "instructions that the CPU was asked for"),
    ("kernels/src/simd/wasm.rs", "instructions that a module was built for"),
    ("kernels/src/simd/x86.rs", "the CPU's control word of floats, and asking the CPU without the standard library"),
    ("runtime/src/map.rs", "mapping a file is a promise that it stays as it is"),
    (
        "runtime/src/pool.rs",
        "jobs on a caller's stack, run by threads that live longer; scoped threads would start anew for each step",
    ),
    ("runtime/bare/src/main.rs", "the arena and the debugger of a microcontroller"),
    ("runtime/c/src/handle.rs", "what C calls and is called"),
    ("runtime/c/src/hosted.rs", "what C calls and is called"),
    ("runtime/c/src/model.rs", "what C calls and is called"),
    ("runtime/c/src/session.rs", "what C calls and is called"),
    ("runtime/c/src/status.rs", "what C calls and is called"),
    ("runtime/python/src/model.rs", "arrays over memory that a Python object keeps"),
    ("runtime/wasm/src/lib.rs", "memory that JavaScript fills, and statics of a module with one thread"),
    ("converter/heap/src/lib.rs", "an allocator that counts; tests, measurements and the command, never the library"),
];

/// The page that tells of them.
const PAGE: &str = concat!("docs/un", "safe.md");

/// Crates that work without the standard library.
const NO_STD: [&str; 3] = ["runtime/format/src/lib.rs", "kernels/src/lib.rs", "runtime/src/lib.rs"];

/// Most lines of a source file.
const MAX_LINES: usize = 800;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut broken = Vec::new();
    broken.extend(layers(&root));
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    for file in &files {
        let name = file.strip_prefix(&root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        match std::fs::read_to_string(file) {
            Ok(text) => broken.extend(source(&name, &text)),
            Err(e) => broken.push(format!("{name}: {e}")),
        }
    }
    for file in NO_STD {
        if !std::fs::read_to_string(root.join(file)).is_ok_and(|t| t.contains("no_std")) {
            broken.push(format!("{file}: is not no_std"));
        }
    }
    let page = std::fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    for (file, what_for) in UNSAFE {
        if !page.contains(&format!("`{file}`")) {
            broken.push(format!("{PAGE}: does not name {file} ({what_for})"));
        }
        match std::fs::read_to_string(root.join(file)) {
            Ok(text) if text.lines().any(|l| has_word(code(l), concat!("un", "safe"))) => {}
            _ => broken.push(format!("{file}: is not there or needs no {} ({what_for})", concat!("un", "safe"))),
        }
    }
    for path in manifests(&root) {
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) if demands_reasons(&text) => {}
            _ => {
                broken.push(format!("{name}: no [lints], which ask for the reason of everything that is {}", concat!("un", "safe")))
            }
        }
    }
    for line in &broken {
        eprintln!("{line}");
    }
    println!("{} files, {} rules broken", files.len(), broken.len());
    ExitCode::from(u8::from(!broken.is_empty()))
}

/// Compares the crates' dependencies with [`LAYERS`].
fn layers(root: &Path) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo).args(["metadata", "--format-version=1", "--no-deps"]).current_dir(root).output();
    let json = output.map_err(|e| e.to_string()).and_then(|o| {
        serde_json::from_slice::<Value>(&o.stdout).map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&o.stderr)))
    });
    match json {
        Ok(json) => edges(&json),
        Err(e) => vec![format!("cargo metadata: {e}")],
    }
}

fn edges(metadata: &Value) -> Vec<String> {
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut broken = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, below)) = LAYERS.iter().find(|(n, _)| *n == name) else {
            broken.push(format!("{name}: a crate that has no layer; add it to LAYERS"));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let to = dependency["name"].as_str().unwrap_or_default();
            if dependency["kind"] != "dev" && names.contains(to) && !below.contains(&to) {
                broken.push(format!("{name} must not use {to}: it is not below"));
            }
        }
    }
    broken
}

/// Every `.rs` file that is the project's own.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            // What Cargo builds lies beside a manifest.
            let built = name == "target" && folder.join("Cargo.toml").exists();
            if !name.starts_with('.') && !built {
                sources(&path, files);
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// The rules of one file.
fn source(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        broken.push(format!("{name}: {lines} lines, more than {MAX_LINES}"));
    }
    let word = concat!("un", "safe");
    // A lint's level may stand anywhere in a list, or on a line of its own.
    let allowed = |line: &str| {
        has_word(line, &format!("{word}_code"))
            && !["deny", "forbid"].iter().any(|level| line.contains(&format!("{level}({word}_code")))
    };
    if let Some(i) = text.lines().position(|l| has_word(code(l), word) || allowed(code(l)))
        && !UNSAFE.iter().any(|(file, _)| *file == name)
    {
        broken.push(format!("{name}:{}: {word} outside the files that may have it", i + 1));
    }
    // Clippy asks for it, too, but sees only what is compiled for the machine that it runs on.
    let bare = (0..lines).filter(|&i| !reasoned(text, i));
    broken.extend(bare.map(|i| format!("{name}:{}: {word} without a SAFETY comment", i + 1)));
    broken
}

/// Manifests of all crates that become part of a program, in the workspace or outside of it.
fn manifests(root: &Path) -> Vec<PathBuf> {
    let folders =
        ["kernels", "converter", "converter/heap", "runtime", "runtime/format", "runtime/c", "runtime/bare", "runtime/wasm"];
    folders.iter().chain(&["runtime/python"]).map(|folder| root.join(folder).join("Cargo.toml")).collect()
}

/// Whether a manifest has the lints of the workspace.
fn demands_reasons(manifest: &str) -> bool {
    let word = concat!("un", "safe");
    manifest.contains("[lints]\nworkspace = true")
        || [format!("{word}_code"), format!("undocumented_{word}_blocks")]
            .iter()
            .all(|l| manifest.contains(&format!("{l} = \"deny\"")))
}

/// Whether the line or a comment right above it says why what is there may be; other lines need not.
fn reasoned(text: &str, at: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let word = concat!("un", "safe");
    let site = [" {", " impl"].iter().any(|after| code(lines[at]).contains(&format!("{word}{after}")));
    let above = lines[..at].iter().rev().take_while(|line| line.trim_start().starts_with("//"));
    !site || above.into_iter().any(|line| line.contains("SAFETY: "))
}

/// A line without its comment, which begins outside of texts.
fn code(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| {
        let before = line[..*at].replace("\\\\", "").replace("\\\"", "").replace("'\"'", "");
        before.matches('"').count().is_multiple_of(2)
    });
    comment.map_or(line, |(at, _)| &line[..at])
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sees_an_edge_upwards() {
        let metadata = |to: &str, kind: Value| {
            json!({ "packages": [
                { "name": "sepal-kernels", "dependencies": [{ "name": to, "kind": kind }] },
                { "name": "sepal", "dependencies": [] },
                { "name": "sepal-format", "dependencies": [] },
            ] })
        };
        assert_eq!(edges(&metadata("sepal", Value::Null)).len(), 1);
        assert_eq!(edges(&metadata("sepal-format", Value::Null)).len(), 0);
        assert_eq!(edges(&metadata("sepal", json!("dev"))).len(), 0);
        assert_eq!(edges(&metadata("bytemuck", Value::Null)).len(), 0);
    }

    #[test]
    fn sees_the_word_in_code_only() {
        let word = concat!("un", "safe");
        let rules = |text: &str| source("converter/src/x.rs", text).len();
        assert_eq!(rules(&format!("f({word} {{ }})")), 2);
        assert_eq!(rules(&format!(r#"f("//", '"', {word} fn a())"#)), 1);
        assert_eq!(rules(&format!(r#"f("\"", "\\") // {word} fn a()"#)), 0);
        assert_eq!(rules(&format!("#![allow({word}_code)]")), 1);
        assert_eq!(rules(&format!("#![allow(\n    dead_code, {word}_code\n)]")), 1);
        assert_eq!(rules(&format!("#![forbid({word}_code)]")), 0);
        assert_eq!(rules(&format!("// {word} {{ }}\n/// {word}\n#![deny({word}_code)]")), 0);
        assert_eq!(source("kernels/src/simd/neon.rs", &format!("// SAFETY: why\n{word} {{ }}")).len(), 0);
        assert_eq!(source("runtime/tests/a.rs", &format!("// SAFETY: why\n{word} impl GlobalAlloc for A {{}}")).len(), 1);
    }

    #[test]
    fn sees_what_has_no_reason() {
        let word = concat!("un", "safe");
        let file = "kernels/src/simd/neon.rs";
        assert_eq!(source(file, &format!("// SAFETY: why\nlet x = {word} {{ y }};\n\nlet x = {word} {{ y }};")).len(), 1);
        assert_eq!(source(file, &format!("// SAFETY: why\n// and why\n{word} impl A for B {{}}\n#[{word}(no_mangle)]")).len(), 0);
        assert!(demands_reasons("[lints]\nworkspace = true\n") && !demands_reasons("[package]\nname = \"a\"\n"));
    }

    #[test]
    fn sees_a_file_that_is_too_long() {
        assert_eq!(source("a.rs", &"\n".repeat(MAX_LINES + 1)).len(), 1);
        assert_eq!(source("a.rs", &"\n".repeat(MAX_LINES)).len(), 0);
    }
}

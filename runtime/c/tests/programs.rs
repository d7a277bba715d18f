//! Programs in C and C++, built with the system's compilers, against the static and the shared library.
#![cfg(target_os = "linux")]

use sepal::{AlignedBytes, Model, Options, Session};
use sepal_converter::convert::{ConvertOptions, convert_bytes};
use sepal_fixtures as fixtures;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where this test lies, and beside it what it links.
fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_path_buf()
}

fn tool(cpp: bool) -> Command {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cc::Build::new();
    build.cargo_metadata(false).target(&triple).host(&triple).opt_level(1).cpp(cpp).warnings(false);
    let mut command = build.get_compiler().to_command();
    command.arg(if cpp { "-std=c++17" } else { "-std=c99" }).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    command
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Builds a program of one source; gives its path.
fn program(source: &str, shared: bool) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = format!("{}-{}", source.replace(['/', '.'], "-"), if shared { "shared" } else { "static" });
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut command = tool(source.ends_with(".cpp"));
    command.arg("-D_POSIX_C_SOURCE=200809L").arg("-I").arg(root.join("include")).arg(root.join(source)).arg("-o").arg(&to);
    if shared {
        command.arg("-L").arg(libraries()).args(["-lsepal_c", "-lpthread", "-lm"]);
        command.arg(format!("-Wl,-rpath,{}", libraries().display()));
    } else {
        command.arg(libraries().join("libsepal_c.a")).args(["-lpthread", "-ldl", "-lm"]);
    }
    succeeds(&mut command);
    to
}

fn raw(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A model, an input and what the Rust interface makes of it, in files and the last as text, too.
fn case() -> ([PathBuf; 3], String) {
    let source = fixtures::MINI_XCEPTION_KERAS;
    let plans = sepal_converter::plans::product(&["batch=1,2".parse().unwrap()]);
    let options = ConvertOptions { plans, ..ConvertOptions::default() };
    let converted = convert_bytes("mini_xception.keras", source, &options, &mut ()).unwrap();
    let file = converted.bytes();
    let model = Model::from_owned(AlignedBytes::copy(file).unwrap()).unwrap();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let (pixels, _) = fixtures::digits().next().unwrap();
    let input = fixtures::upsample(pixels);
    session.input_mut(0).unwrap().copy_from_slice(&input);
    session.run();
    let output = session.output(0).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let paths = ["model.sepal", "input.f32", "want.f32"].map(|name| folder.join(name));
    for (path, bytes) in paths.iter().zip([file, &raw(&input), &raw(output)]) {
        std::fs::write(path, bytes).unwrap();
    }
    (paths, output.iter().map(|v| format!("{v:?}\n")).collect())
}

#[test]
fn programs_in_c_and_cpp_give_the_bits_of_rust() {
    let (paths, want) = case();
    for shared in [false, true] {
        let said = succeeds(Command::new(program("tests/api.c", shared)).args(&paths));
        assert!(said.ends_with("all promises kept\n"), "{said}");
        // The standard library allocates where it reads a variable.
        let said = succeeds(Command::new(program("tests/memory.c", shared)).arg(&paths[0]).env_remove("SEPAL_ISA"));
        assert!(said.ends_with("every shortage is a status\n"), "{said}");
        for source in ["examples/run.c", "examples/run.cpp"] {
            let said = succeeds(Command::new(program(source, shared)).args(&paths[..2]));
            let numbers = |text: &str| text.lines().map(|line| line.parse::<f32>().unwrap().to_bits()).collect::<Vec<_>>();
            assert_eq!(numbers(&said), numbers(&want), "{source}");
        }
    }
}

/// The header as cbindgen makes it is what `.ci/c` compares; here, that every exported function is declared in it and no other.
#[test]
fn the_header_declares_what_the_library_exports() {
    let exported = succeeds(Command::new("nm").args(["-D", "--defined-only"]).arg(libraries().join("libsepal_c.so")));
    let mut exported: Vec<&str> =
        exported.lines().filter_map(|line| line.split(' ').nth(2)).filter(|n| n.starts_with("sepal_")).collect();
    let header = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/sepal.h")).unwrap();
    let mut declared: Vec<&str> = header
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '('))
        .filter_map(|word| word.split_once('(').map(|(name, _)| name))
        .filter(|name| name.starts_with("sepal_"))
        .collect();
    exported.sort_unstable();
    declared.sort_unstable();
    declared.dedup();
    assert_eq!(exported, declared);
}

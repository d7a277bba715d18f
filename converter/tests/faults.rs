//! What the command leaves behind when the disk is full or it is killed: the file as it was, or whole, and nothing else. And
//! signatures.

mod folder;

use folder::Folder;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

impl Folder {
    /// With the mini-Xception in it.
    fn with_network(test: &str) -> Self {
        let folder = Folder::new(test);
        fs::write(folder.0.join("net.onnx"), sepal_fixtures::MINI_XCEPTION_ONNX).unwrap();
        folder
    }

    fn sepal(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sepal")).args(args).current_dir(&self.0).output().unwrap()
    }

    /// Runs a command that must end with a code and gives what it said.
    fn ends(&self, code: i32, args: &[&str]) -> String {
        let out = self.sepal(args);
        let text = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
        text
    }
}

/// Files may have so many kilobytes: a disk that is full in the middle of writing.
#[cfg(target_os = "linux")]
const FULL: &str = "ulimit -f 64; exec \"$0\" convert net.onnx --no-verify --force";

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_leaves_what_was_there() {
    let f = Folder::with_network("full");
    let run = || {
        let script = format!("trap '' XFSZ; {FULL}");
        Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_sepal")]).current_dir(&f.0).output().unwrap()
    };
    for before in [None, Some(b"as it was")] {
        if let Some(bytes) = before {
            fs::write(f.0.join("net.sepal"), bytes).unwrap();
        }
        let out = run();
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(4), "{text}");
        assert!(text.contains("net.sepal"), "{text}");
        assert_eq!(fs::read(f.0.join("net.sepal")).ok().as_deref(), before.map(|b| &b[..]));
        assert_eq!(f.names().len(), 1 + usize::from(before.is_some()), "{:?}", f.names());
    }
}

/// The signal of the limit ends the process in the middle of a write, with no chance to clean up, as SIGKILL would.
#[test]
#[cfg(target_os = "linux")]
fn a_process_that_dies_while_it_writes_leaves_nothing() {
    use std::os::unix::process::ExitStatusExt;
    let f = Folder::with_network("dies");
    let out = Command::new("sh").args(["-c", FULL, env!("CARGO_BIN_EXE_sepal")]).current_dir(&f.0).output().unwrap();
    assert!(out.status.signal().is_some(), "{out:?}");
    let names = f.names();
    if names.len() > 1 && names.iter().any(|n| n.ends_with(".tmp")) {
        println!("SKIPPED: the file system of {} has no files without a name", f.0.display());
        return;
    }
    assert_eq!(names, ["net.onnx"]);
}

/// SIGKILL at any time: the file is as it was, there or not, or it is whole.
#[test]
#[cfg(unix)]
fn a_killed_conversion_leaves_no_half_file() {
    let f = Folder::with_network("killed");
    let start = Instant::now();
    f.ends(0, &["convert", "net.onnx", "--no-verify", "-o", "whole.sepal"]);
    let took = start.elapsed();
    let whole = fs::read(f.0.join("whole.sepal")).unwrap();
    let args = ["convert", "net.onnx", "--no-verify", "--force"];
    let tries = std::env::var("SEPAL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12u32);
    let (mut killed, mut there) = (0, 0);
    // In every second try there is a file already.
    let old = |i: u32| (i % 2 == 1).then_some(&b"as it was"[..]);
    for i in 0..tries {
        if let Some(bytes) = old(i) {
            fs::write(f.0.join("net.sepal"), bytes).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_sepal"));
        let mut child = command.args(args).current_dir(&f.0).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(took * (i * 7 % tries) / tries);
        let _ = child.kill();
        killed += usize::from(child.wait().unwrap().code().is_none());
        let path = f.0.join("net.sepal");
        let got = fs::read(&path).ok();
        let written = got.as_deref() == Some(&whole[..]);
        assert!(written || got.as_deref() == old(i), "a half file after try {i}");
        there += usize::from(written);
        let _ = fs::remove_file(&path);
    }
    println!("{killed} of {tries} were killed, {there} had written the file");
    assert!(killed > 0);
    assert_eq!(f.names(), ["net.onnx", "whole.sepal"]);
}

#[test]
fn keys_and_signatures_are_told_from_other_files() {
    let f = Folder::with_network("keys");
    f.ends(0, &["convert", "net.onnx", "--no-verify"]);
    f.ends(0, &["keygen", "vendor"]);
    assert!(f.ends(2, &["sign", "net.sepal", "--key", "vendor.pub"]).contains("is not a secret key: it may be a public one"));
    let secret = fs::read(f.0.join("vendor.key")).unwrap();
    let mut damaged = secret.clone();
    damaged[40] ^= 1;
    fs::write(f.0.join("damaged.key"), damaged).unwrap();
    assert!(f.ends(2, &["sign", "net.sepal", "--key", "damaged.key"]).contains("is not a secret key"));
    fs::write(f.0.join("zero.key"), [0; 64]).unwrap();
    assert!(f.ends(2, &["sign", "net.sepal", "--key", "zero.key"]).contains("all zeros"));
    // As they once were, with the public key beside it and without.
    fs::write(f.0.join("vendor.key"), &secret[..32]).unwrap();
    fs::write(f.0.join("lonely.key"), &secret[..32]).unwrap();
    assert!(f.ends(2, &["sign", "net.sepal", "--key", "lonely.key"]).contains("without its public key in lonely.pub"));
    assert!(!f.names().contains(&"net.sepal.sig".to_owned()));
    f.ends(0, &["sign", "net.sepal", "--key", "vendor.key"]);
    f.ends(0, &["verify", "net.sepal", "--public-key", "vendor.pub"]);
    // Nothing of what has another length is read.
    fs::File::create(f.0.join("net.sepal.sig")).unwrap().set_len(1 << 42).unwrap();
    let said = f.ends(2, &["verify", "net.sepal", "--public-key", "vendor.pub"]);
    assert!(said.contains("a signature has 64 bytes, not 4398046511104"), "{said}");
}

#[test]
fn what_is_signed_is_loaded_and_nothing_else() {
    let f = Folder::with_network("sign");
    f.ends(0, &["convert", "net.onnx", "--no-verify"]);
    f.ends(0, &["keygen", "vendor"]);
    f.ends(0, &["keygen", "other"]);
    assert!(f.ends(4, &["keygen", "vendor"]).contains("exists"));
    assert!(f.ends(0, &["sign", "net.sepal", "--key", "vendor.key"]).contains("net.sepal.sig"));
    f.ends(4, &["sign", "net.sepal", "--key", "vendor.key"]);
    f.ends(0, &["sign", "net.sepal", "--key", "vendor.key", "--force"]);
    f.ends(0, &["verify", "net.sepal", "--public-key", "vendor.pub"]);
    f.ends(3, &["verify", "net.sepal", "--public-key", "other.pub"]);
    f.ends(2, &["sign", "net.onnx", "--key", "vendor.key"]);
    f.ends(2, &["sign", "net.sepal", "--key", "net.onnx", "--force"]);
    f.ends(1, &["verify", "net.sepal"]);
    let public: [u8; 32] = fs::read(f.0.join("vendor.pub")).unwrap().try_into().unwrap();
    assert_ne!(public[..], fs::read(f.0.join("other.pub")).unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(f.0.join("vendor.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let path = f.0.join("net.sepal");
    let model = sepal::Model::load_verified(&path, &public).unwrap();
    assert_eq!(model.inputs().len(), 1);
    // A weight, the structure, the length; and the key.
    let good = fs::read(&path).unwrap();
    for change in [|b: &mut Vec<u8>| *b.last_mut().unwrap() ^= 1, |b: &mut Vec<u8>| b[200] ^= 1, |b: &mut Vec<u8>| b.push(0)] {
        let mut bad = good.clone();
        change(&mut bad);
        fs::write(&path, &bad).unwrap();
        assert!(matches!(sepal::Model::load_verified(&path, &public), Err(sepal::LoadError::Signature)));
        f.ends(3, &["verify", "net.sepal", "--public-key", "vendor.pub"]);
    }
    fs::write(&path, &good).unwrap();
    sepal::Model::load_verified(&path, &public).unwrap();
    let other: [u8; 32] = fs::read(f.0.join("other.pub")).unwrap().try_into().unwrap();
    assert!(matches!(sepal::Model::load_verified(&path, &other), Err(sepal::LoadError::Signature)));
    // What ran is what was verified, whatever becomes of the file.
    fs::write(&path, b"").unwrap();
    let mut session = sepal::Session::new(&model, sepal::Options::default()).unwrap();
    session.input_mut(0).unwrap().fill(0.5);
    session.run();
    assert!((session.output(0).unwrap().iter().sum::<f32>() - 1.0).abs() < 1e-3);
}

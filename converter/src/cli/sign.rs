//! `sepal keygen`, `sepal sign`, and what `sepal verify --public-key` checks.

use super::engine;
use super::failure::{Failure, VERIFICATION};
use super::out;
use ed25519_compact::{KeyPair, Seed};
use sepal::sign::{KEY, is_signed};
use sepal_converter::file::{open_regular, same_file, write_secret, write_whole};
use std::ffi::OsStr;
use std::io::{Error, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

const KEYGEN: &str = "\
Writes NAME.key (64 bytes, secret: whoever has it can sign; readable by its owner only) and NAME.pub
(32 bytes, for the programs that load models: Model::load_verified).

Example:
  sepal keygen vendor";

/// `sepal keygen`.
#[derive(Debug, clap::Args)]
#[command(after_help = KEYGEN)]
pub struct KeygenArgs {
    /// Name of the two files, without their endings
    name: PathBuf,
}

const SIGN: &str = "\
Writes the Ed25519 signature of all bytes of MODEL, 64 bytes, to MODEL.sig. MODEL must be sound.

Example:
  sepal sign model.sepal --key vendor.key
  sepal verify model.sepal --public-key vendor.pub";

/// `sepal sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = SIGN)]
pub struct SignArgs {
    /// Converted network
    model: PathBuf,
    /// Secret key, as `sepal keygen` writes it
    #[arg(long, value_name = "NAME.key")]
    key: PathBuf,
    /// Replace MODEL.sig if it exists
    #[arg(long)]
    force: bool,
}

/// Bytes of a secret key.
const SECRET: usize = 64;

/// A path with something after its last character.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsStr::new(ending));
    name.into()
}

fn read<const N: usize>(path: &Path, what: &str) -> Result<[u8; N], Failure> {
    let io = |e| Failure::io(path, &e);
    let mut file = open_regular(path).map_err(io)?;
    // Before it is read: it may have any length.
    let len = file.metadata().map_err(io)?.len();
    if len != N as u64 {
        return Err(Failure::invalid(format!("{}: {what} has {N} bytes, not {len}", path.display())));
    }
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// A secret key: the seed and then the public key, so that nothing else is taken for one. It was the seed alone once, which nothing
/// but the public key beside it tells from any other 32 bytes.
fn secret(path: &Path) -> Result<KeyPair, Failure> {
    let wrong = |why: &str| Failure::invalid(format!("{} is not a secret key: {why}", path.display()));
    let len = path.metadata().map_err(|e| Failure::io(path, &e))?.len();
    if len == KEY as u64 {
        let pair = pair(path, read(path, "a secret key")?)?;
        let beside = path.with_extension("pub");
        return match read::<KEY>(&beside, "a public key") {
            Ok(public) if public == *pair.pk => Ok(pair),
            _ => Err(wrong(&format!("it may be a public one, or an old one without its public key in {}", beside.display()))),
        };
    }
    let bytes: [u8; SECRET] = read(path, "a secret key")?;
    let seed: [u8; KEY] = std::array::from_fn(|i| bytes[i]);
    let pair = pair(path, seed)?;
    if *pair.sk == bytes { Ok(pair) } else { Err(wrong("its two halves do not belong together")) }
}

fn pair(path: &Path, seed: [u8; KEY]) -> Result<KeyPair, Failure> {
    // Of which no key is made.
    if seed == [0; KEY] {
        return Err(Failure::invalid(format!("{} is not a secret key: it is all zeros", path.display())));
    }
    Ok(KeyPair::from_seed(Seed::new(seed)))
}

pub fn keygen(args: KeygenArgs) -> Result<(), Failure> {
    let (secret, public) = (with_ending(&args.name, ".key"), with_ending(&args.name, ".pub"));
    let pair = KeyPair::from_seed(Seed::default());
    let failed = |path: &Path, e: Error| match e.kind() {
        ErrorKind::AlreadyExists => Failure::io(path, &Error::new(ErrorKind::AlreadyExists, "exists already; no key is replaced")),
        _ => Failure::io(path, &e),
    };
    write_secret(&secret, &*pair.sk).map_err(|e| failed(&secret, e))?;
    let written = write_whole(&public, false, |file| file.write_all(&*pair.pk));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&secret);
        failed(&public, e)
    })?;
    out::print(&format!("{} is secret; {} goes with the programs that load models\n", secret.display(), public.display()))
}

pub fn sign(args: SignArgs) -> Result<(), Failure> {
    let target = with_ending(&args.model, ".sig");
    if same_file(&target, &args.key) {
        return Err(Failure::usage(format!("{} is the key", target.display())));
    }
    let pair = secret(&args.key)?;
    let bytes = sepal::AlignedBytes::read(&args.model).map_err(|e| Failure::io(&args.model, &e))?;
    // Nobody should vouch for a file that nobody can load.
    engine::sound(&args.model, &bytes)?;
    let signature = pair.sk.sign(&*bytes, None);
    write_whole(&target, args.force, |file| file.write_all(&*signature)).map_err(|e| Failure::io(&target, &e))?;
    out::print(&format!("{} → {}\n", args.model.display(), target.display()))
}

/// An error unless the owner of a public key has signed the bytes of a model.
pub fn check(model: &Path, bytes: &[u8], key: &Path) -> Result<(), Failure> {
    let key: [u8; KEY] = read(key, "a public key")?;
    let signature = read(&with_ending(model, ".sig"), "a signature")?;
    if !is_signed(bytes, &signature, &key) {
        return Err(Failure::new(VERIFICATION, format!("{}: the signature is not one of this file by this key", model.display())));
    }
    out::print(&format!("{} is signed with the key\n", model.display()))
}

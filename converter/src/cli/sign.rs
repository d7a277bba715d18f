//! `sepal keygen`, `sepal sign`, and what `sepal verify --public-key` checks.

use super::engine;
use super::failure::{Failure, VERIFICATION};
use super::out;
use ed25519_compact::{KeyPair, Seed};
use sepal::sign::{KEY, is_signed};
use sepal_converter::file::{read_whole, same_file, write_secret, write_whole};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

const KEYGEN: &str = "\
Writes NAME.key (32 bytes, secret: whoever has it can sign; readable by its owner only) and NAME.pub
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

/// A path with something after its last character.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsStr::new(ending));
    name.into()
}

fn read<const N: usize>(path: &Path, what: &str) -> Result<[u8; N], Failure> {
    let bytes = read_whole(path).map_err(|e| Failure::io(path, &e))?;
    let len = bytes.len();
    let wrong = |_| Failure::invalid(format!("{}: {what} has {N} bytes, not {len}", path.display()));
    <[u8; N]>::try_from(bytes).map_err(wrong)
}

pub fn keygen(args: KeygenArgs) -> Result<(), Failure> {
    let (secret, public) = (with_ending(&args.name, ".key"), with_ending(&args.name, ".pub"));
    let seed = Seed::default();
    let pair = KeyPair::from_seed(seed);
    write_secret(&secret, &*seed).map_err(|e| Failure::io(&secret, &e))?;
    let written = write_whole(&public, false, |file| file.write_all(&*pair.pk));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&secret);
        Failure::io(&public, &e)
    })?;
    out::print(&format!("{} is secret; {} goes with the programs that load models\n", secret.display(), public.display()))
}

pub fn sign(args: SignArgs) -> Result<(), Failure> {
    let target = with_ending(&args.model, ".sig");
    if same_file(&target, &args.key) {
        return Err(Failure::usage(format!("{} is the key", target.display())));
    }
    let seed = Seed::new(read(&args.key, "a secret key")?);
    let bytes = sepal::AlignedBytes::read(&args.model).map_err(|e| Failure::io(&args.model, &e))?;
    // Nobody should vouch for a file that nobody can load.
    engine::sound(&args.model, &bytes)?;
    let signature = KeyPair::from_seed(seed).sk.sign(&*bytes, None);
    write_whole(&target, args.force, |file| file.write_all(&*signature)).map_err(|e| Failure::io(&target, &e))?;
    out::print(&format!("{} → {}\n", args.model.display(), target.display()))
}

/// An error unless the owner of a public key has signed a model.
pub fn check(model: &Path, key: &Path) -> Result<(), Failure> {
    let key: [u8; KEY] = read(key, "a public key")?;
    let signature = read(&with_ending(model, ".sig"), "a signature")?;
    let bytes = read_whole(model).map_err(|e| Failure::io(model, &e))?;
    if !is_signed(&bytes, &signature, &key) {
        return Err(Failure::new(VERIFICATION, format!("{}: the signature is not one of this file by this key", model.display())));
    }
    out::print(&format!("{} is signed with the key\n", model.display()))
}

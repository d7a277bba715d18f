//! Files on disk: read whole, written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// All bytes of a regular file. A pipe or a device, which may have no end, is refused.
///
/// # Errors
/// What the system says, or [`ErrorKind::InvalidInput`] for what is not a file.
pub fn read_whole(path: &Path) -> Result<Vec<u8>> {
    regular(path)?;
    std::fs::read(path)
}

/// Opens a regular file to be read.
///
/// # Errors
/// As [`read_whole`].
pub fn open_regular(path: &Path) -> Result<File> {
    regular(path)?;
    File::open(path)
}

fn regular(path: &Path) -> Result<()> {
    let kind = path.metadata()?;
    if kind.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, "is a folder, not a file"));
    }
    if !kind.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "is not a regular file; copy what it gives to one"));
    }
    Ok(())
}

/// Writes a file under a temporary name in the same folder and renames it, so that nothing half-written is ever seen.
///
/// # Errors
/// What the system says; [`ErrorKind::AlreadyExists`] for a file that exists, unless `force`.
pub fn write_whole(path: &Path, force: bool, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    if !force {
        refuse_existing(path)?;
    }
    // A link stays one: what it points to is replaced. What is no file, a pipe or a device, is written to and stays.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let path = target.as_path();
    if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        return write(&mut OpenOptions::new().write(true).open(path)?);
    }
    let (temporary, mut file) = Temporary::beside(path)?;
    write(&mut file).and_then(|()| file.sync_all())?;
    drop(file);
    temporary.become_file(path, force)
}

/// Whether two names are of the same existing file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// An error if `path` exists; for asking before the work is done.
///
/// # Errors
/// Of kind [`ErrorKind::AlreadyExists`].
pub fn refuse_existing(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() { Err(exists()) } else { Ok(()) }
}

fn exists() -> Error {
    Error::new(ErrorKind::AlreadyExists, "exists already; --force replaces it")
}

/// A file that is removed unless it becomes the real one.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn beside(path: &Path) -> Result<(Self, File)> {
        let name = path.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "not a file name"))?;
        for attempt in 0..100 {
            let own = format!(".{}.{}-{attempt}.tmp", name.to_string_lossy(), std::process::id());
            let own = path.with_file_name(own);
            match OpenOptions::new().write(true).create_new(true).open(&own) {
                Ok(file) => return Ok((Temporary(Some(own)), file)),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(Error::new(ErrorKind::AlreadyExists, "no temporary name is free in its folder"))
    }

    fn become_file(mut self, path: &Path, force: bool) -> Result<()> {
        let own = self.0.take().unwrap_or_default();
        if !force {
            // A link, unlike a rename, never replaces a file that came into being meanwhile.
            match std::fs::hard_link(&own, path) {
                Ok(()) => return std::fs::remove_file(&own),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    self.0 = Some(own);
                    return Err(exists());
                }
                Err(_) => {} // A file system without links.
            }
        }
        std::fs::rename(&own, path).inspect_err(|_| self.0 = Some(own))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

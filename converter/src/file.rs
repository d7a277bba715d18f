//! Files on disk: read whole, written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// All bytes of a regular file. A pipe or a device, which may have no end, is refused.
///
/// # Errors
/// What the system says, or [`ErrorKind::InvalidInput`] for what is not a file.
pub fn read_whole(path: &Path) -> Result<Vec<u8>> {
    regular(path)?;
    std::fs::read(path)
}

/// As [`read_whole`], of a file of at most so many bytes: holes cost nothing.
///
/// # Errors
/// As [`read_whole`], or [`ErrorKind::InvalidData`] for what is longer.
pub fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>> {
    let (mut bytes, file) = (Vec::new(), open_regular(path)?);
    if file.metadata()?.len() > most {
        return Err(Error::new(ErrorKind::InvalidData, format!("has more than {most} bytes")));
    }
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
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
        // As TensorFlow calls what it saves.
        let saved = path.join("saved_model.pb").is_file();
        let what = if saved {
            "is a folder of TensorFlow; load it with Keras and save it as a .keras file"
        } else {
            "is a folder, not a file"
        };
        return Err(Error::new(ErrorKind::IsADirectory, what));
    }
    if !kind.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "is not a regular file; copy what it gives to one"));
    }
    Ok(())
}

/// Writes a file without a name in the same folder and gives it its name when it is whole, so that nothing half-written is ever
/// seen, nor left by a process that is killed. A whole one has a temporary name for the moment in which it replaces another, and all
/// the time where the system has no files without one: a killed process leaves it.
///
/// # Errors
/// What the system says; [`ErrorKind::AlreadyExists`] for a file that exists, unless `force`.
pub fn write_whole(path: &Path, force: bool, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    if !force {
        refuse_existing(path)?;
    }
    // A link to a file stays one: what it points to is replaced, or made. What is no file, a pipe or a device, is written to and stays.
    let target = match path.canonicalize() {
        Ok(target) => target,
        Err(_) if path.exists() => path.to_owned(),
        Err(_) => followed(path)?,
    };
    let path = target.as_path();
    if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        return write(&mut OpenOptions::new().write(true).open(path)?);
    }
    if let Some(mut file) = nameless::beside(path) {
        write(&mut file).and_then(|()| file.sync_all())?;
        match nameless::link(&file, path) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::AlreadyExists && !force => return Err(exists()),
            Err(_) => {} // It exists and is to be replaced, or the system gives no name to a file without one.
        }
        let name = |own: &Path| match nameless::link(&file, own) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => copy(&mut &file, own),
            named => named,
        };
        let (temporary, ()) = Temporary::made(path, name)?;
        return temporary.become_file(path, force);
    }
    let (temporary, mut file) = Temporary::beside(path)?;
    write(&mut file).and_then(|()| file.sync_all())?;
    drop(file);
    temporary.become_file(path, force)
}

/// Writes a new file that only its owner may read.
///
/// # Errors
/// What the system says; [`ErrorKind::AlreadyExists`] for a file that exists.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|e| if e.kind() == ErrorKind::AlreadyExists { exists() } else { e })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| drop(std::fs::remove_file(path)))
}

/// Files that have no name until they are whole: the system removes them when the process ends, however it ends.
#[cfg(target_os = "linux")]
mod nameless {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
    use std::fs::File;
    use std::io::Result;
    use std::os::fd::AsRawFd;
    use std::path::Path;

    /// One in the folder of `path`; `None` where the file system has no such thing.
    pub fn beside(path: &Path) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        open(super::folder(path), flags, Mode::from_raw_mode(0o666)).ok().map(File::from)
    }

    /// Gives it a name that is not taken.
    pub fn link(file: &File, path: &Path) -> Result<()> {
        Ok(linkat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod nameless {
    use std::fs::File;
    use std::io::{Error, ErrorKind, Result};
    use std::path::Path;

    pub fn beside(_: &Path) -> Option<File> {
        None
    }

    pub fn link(_: &File, _: &Path) -> Result<()> {
        Err(Error::from(ErrorKind::Unsupported))
    }
}

/// Whether two names are of the same file, which need not exist yet.
pub fn same_file(a: &Path, b: &Path) -> bool {
    a == b
        || match (identity(a), identity(b)) {
            (Some(a), Some(b)) => a == b,
            (None, None) => match (followed(a), followed(b)) {
                (Ok(a), Ok(b)) => a.file_name() == b.file_name() && same_file(folder(&a), folder(&b)),
                _ => false, // Nothing is written there.
            },
            _ => false,
        }
}

/// Where links lead that lead to no file yet.
fn followed(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    // Systems follow no more.
    for _ in 0..40 {
        let Ok(link) = std::fs::read_link(&path) else { return Ok(path) };
        path = folder(&path).join(link);
    }
    Err(Error::new(ErrorKind::InvalidInput, "is a link over a circle of links, or over more than the system follows; remove it"))
}

/// Where a file is or would be.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What tells a file from all others, by whichever of its names.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().ok().map(|m| (m.dev(), m.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
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

/// Writes a file's bytes to a new one, which is removed again if that fails.
fn copy(file: &mut &File, to: &Path) -> Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).open(to)?;
    let copied = file.seek(SeekFrom::Start(0)).and_then(|_| std::io::copy(file, &mut new)).and_then(|_| new.sync_all());
    copied.inspect_err(|_| drop(std::fs::remove_file(to)))
}

/// A file that is removed unless it becomes the real one.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn beside(path: &Path) -> Result<(Self, File)> {
        Self::made(path, |own| OpenOptions::new().write(true).create_new(true).open(own))
    }

    /// What `make` makes under a name in the folder of `path` that is not taken.
    fn made<T>(path: &Path, mut make: impl FnMut(&Path) -> Result<T>) -> Result<(Self, T)> {
        let name = path.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "not a file name"))?;
        for attempt in 0..100 {
            let own = format!(".{}.{}-{attempt}.tmp", name.to_string_lossy(), std::process::id());
            let own = path.with_file_name(own);
            match make(&own) {
                Ok(made) => return Ok((Temporary(Some(own)), made)),
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

//! Opening a file.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a file to be read, if it is one.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    // Before it is opened: to open a pipe would wait for somebody to write into it.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
    }
    File::open(path)
}

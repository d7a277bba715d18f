//! Attributes and datasets of an HDF5 file.
//!
//! Sizes in the file are claims: nothing is allocated before it is held against a budget made from the file's own length.

use crate::error::{Result, invalid};
use hdf5_reader::{Datatype, Hdf5File, OpenOptions};
use std::cell::Cell;
use std::collections::HashMap;

/// A weight of this many bytes is accepted from any file, however small.
const FREE_BYTES: usize = 16 << 20;
/// Deflated chunks may hold this many times the bytes of the file.
const MAX_RATIO: usize = 64;
/// No more than this is ever read from one file.
const MAX_BYTES: usize = 4 << 30;

/// An open HDF5 file.
pub(super) struct File {
    file: Hdf5File,
    /// Bytes that may still be read from datasets.
    budget: Cell<usize>,
}

/// A dataset that has been found but not read.
pub(super) struct Dataset {
    inner: hdf5_reader::Dataset,
    path: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// Product of the extents.
    pub len: usize,
}

impl File {
    /// Opens a file that lies in memory.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    pub fn open(bytes: Vec<u8>) -> Result<File> {
        let length = bytes.len() as u64;
        let budget = bytes.len().saturating_mul(MAX_RATIO).saturating_add(FREE_BYTES).min(MAX_BYTES);
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_chunk_bytes(budget)
            .with_max_read_bytes(budget)
            .with_max_object_header_bytes(bytes.len().min(64 << 20));
        let file = Hdf5File::from_vec_with_options(bytes, options).map_err(|e| invalid(format!("not a sound HDF5 file: {e}")))?;
        let superblock = file.superblock();
        let end = superblock.base_address.saturating_add(superblock.eof_address);
        if end > length {
            return Err(invalid(format!("the HDF5 file is cut off: it has {length} bytes of {end}")));
        }
        Ok(File { file, budget: Cell::new(budget) })
    }

    /// Whether there is a group at a path.
    pub fn has_group(&self, path: &str) -> bool {
        self.file.group(path).is_ok()
    }

    /// The names of the groups in a group.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    pub fn groups(&self, path: &str) -> Result<Vec<String>> {
        let names = self.file.group(path).and_then(|g| g.member_names());
        Ok(names.map_err(|e| invalid(format!("HDF5 group `{path}`: {e}")))?.0)
    }

    /// A string attribute of a group; `None` if the group has no such attribute.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    pub fn text(&self, group: &str, name: &str) -> Result<Option<String>> {
        match self.attribute(group, name)? {
            None => Ok(None),
            Some(a) => a.read_string().map(Some).map_err(|e| invalid(format!("attribute `{name}` of `{group}`: {e}"))),
        }
    }

    /// A list of strings in an attribute of a group. Keras cuts long lists into the attributes `name0`, `name1`, ...
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    pub fn texts(&self, group: &str, name: &str) -> Result<Option<Vec<String>>> {
        let read = |a: hdf5_reader::Attribute| {
            // An empty list is written as an array of floats.
            if a.num_elements().is_ok_and(|n| n == 0) {
                return Ok(Vec::new());
            }
            a.read_strings().map_err(|e| invalid(format!("attribute `{}` of `{group}`: {e}", a.name)))
        };
        let mut attributes: HashMap<String, hdf5_reader::Attribute> = HashMap::new();
        for a in self.attributes(group)? {
            attributes.entry(a.name.clone()).or_insert(a);
        }
        if let Some(a) = attributes.remove(name) {
            return read(a).map(Some);
        }
        let mut all: Option<Vec<String>> = None;
        for i in 0.. {
            let Some(a) = attributes.remove(&format!("{name}{i}")) else { break };
            all.get_or_insert_default().extend(read(a)?);
        }
        Ok(all)
    }

    fn attribute(&self, group: &str, name: &str) -> Result<Option<hdf5_reader::Attribute>> {
        Ok(self.attributes(group)?.into_iter().find(|a| a.name == name))
    }

    fn attributes(&self, group: &str) -> Result<Vec<hdf5_reader::Attribute>> {
        let attributes = self.file.group(group).and_then(|g| g.attributes());
        attributes.map_err(|e| invalid(format!("HDF5 group `{group}`: {e}")))
    }

    /// Finds a dataset.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if there is none, or if it claims more bytes than the file can be believed to hold.
    pub fn dataset(&self, path: &str) -> Result<Dataset> {
        let inner = self.file.dataset(path).map_err(|e| invalid(format!("weight `{path}`: {e}")))?;
        let too_large = || invalid(format!("weight `{path}` claims the shape {:?}, more than the file can hold", inner.shape()));
        let shape: Option<Vec<usize>> = inner.shape().iter().map(|&d| usize::try_from(d).ok()).collect();
        let shape = shape.ok_or_else(too_large)?;
        let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(too_large)?;
        if len.checked_mul(8).is_none_or(|bytes| bytes > MAX_BYTES) {
            return Err(too_large());
        }
        Ok(Dataset { inner, path: path.into(), shape, len })
    }

    /// Reads a dataset of floats, widened or narrowed to f32.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if the bytes are not there, are not floats, or exceed the budget.
    pub fn read(&self, dataset: &Dataset) -> Result<Vec<f32>> {
        let Dataset { inner, path, len, .. } = dataset;
        let fail = |e: hdf5_reader::error::Error| invalid(format!("weight `{path}`: {e}"));
        let Datatype::FloatingPoint { size, .. } = inner.dtype() else {
            return Err(invalid(format!("weight `{path}` holds {:?}, not floats", inner.dtype())));
        };
        let left = self.budget.get().checked_sub(len.saturating_mul(usize::from(*size).max(4)));
        self.budget.set(left.ok_or_else(|| invalid(format!("weight `{path}`: the file claims more weights than it can hold")))?);
        match size {
            4 => {
                let mut values = Vec::new();
                values.try_reserve_exact(*len).map_err(|_| invalid(format!("weight `{path}`: no memory for {len} values")))?;
                values.resize(*len, 0f32);
                inner.read_into(&mut values).map_err(fail)?;
                Ok(values)
            }
            8 => Ok(inner.read_array::<f64>().map_err(fail)?.into_iter().map(|v| v as f32).collect()),
            2 => {
                let bytes = inner.read_native_bytes().map_err(fail)?;
                let halves = bytes.as_chunks::<2>().0;
                Ok(halves.iter().map(|&b| half::f16::from_ne_bytes(b).to_f32()).collect())
            }
            other => Err(invalid(format!("weight `{path}` holds floats of {other} bytes"))),
        }
    }
}

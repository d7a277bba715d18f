//! Attributes and datasets of an HDF5 file.
//!
//! Sizes in the file are claims: nothing is allocated before it is held against a budget made from the file's own length.

use super::groups::{Known, Why};
use crate::error::{Result, invalid};
use hdf5_reader::filters::{FILTER_DEFLATE, FILTER_FLETCHER32, FILTER_SHUFFLE};
use hdf5_reader::global_heap::GlobalHeapCollection;
use hdf5_reader::io::Cursor;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::attribute::AttributeMessage;
use hdf5_reader::messages::layout::{ChunkIndexing, DataLayout};
use hdf5_reader::object_header::ObjectHeader;
use hdf5_reader::{
    Attribute, BytesStorage, Datatype, Hdf5File, OpenOptions, Storage, StorageBuffer, StringPadding, StringSize, VarLenKind,
};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// A weight of this many bytes is accepted from any file, however small.
const FREE_BYTES: usize = 16 << 20;
/// Deflated chunks may hold this many times the bytes of the file.
const MAX_RATIO: usize = 64;
/// Headers, groups and heaps are read this many times the bytes of the file, at most, and these bytes besides. What is read may take
/// fifty times as much once it is parsed; of Keras' own files it is less than they have.
const HEADER_RATIO: usize = 2;
const FREE_HEADER_BYTES: usize = 2 << 20;
/// No more than this is ever read from one file.
const MAX_BYTES: usize = 4 << 30;

/// A string takes so many bytes besides its own, in memory and in the maps that it passes.
pub(super) const BYTES_PER_OBJECT: usize = 64;

/// What the reader keeps of where a chunk lies.
const BYTES_PER_CHUNK: u64 = 256;

/// An open HDF5 file.
pub(super) struct File {
    file: Hdf5File,
    storage: Arc<Paid>,
    known: RefCell<Known>,
    /// Bytes that may still be fetched for datasets, and to find them.
    fetch: Cell<usize>,
    /// Bytes that may still be read from attributes and datasets.
    budget: Cell<usize>,
}

/// The file's bytes, of which each read is paid for: what parts of a file share, the reader parses for each of them.
struct Paid {
    bytes: BytesStorage,
    /// Bytes that may still be read.
    left: AtomicUsize,
}

impl Storage for Paid {
    fn len(&self) -> u64 {
        self.bytes.len()
    }

    fn read_range(&self, offset: u64, len: usize) -> hdf5_reader::error::Result<StorageBuffer> {
        let paid = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(len));
        paid.map_err(|_| hdf5_reader::error::Error::ResourceLimit("the file is read again and again".into()))?;
        self.bytes.read_range(offset, len)
    }
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
    /// Opens a file that lies in memory. What it may take is measured by `source` bytes: its own, or those of the zip that it was
    /// packed in.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    pub fn open(bytes: Vec<u8>, source: usize) -> Result<File> {
        let length = bytes.len() as u64;
        let source = source.min(bytes.len());
        let budget = source.saturating_mul(MAX_RATIO).saturating_add(FREE_BYTES).min(MAX_BYTES);
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_chunk_bytes(budget)
            .with_max_read_bytes(budget)
            .with_max_object_header_bytes(bytes.len().min(64 << 20));
        let left = source.saturating_mul(HEADER_RATIO).saturating_add(FREE_HEADER_BYTES);
        let storage = Arc::new(Paid { bytes: BytesStorage::new(bytes), left: AtomicUsize::new(left) });
        let file = Hdf5File::from_storage_with_options(storage.clone(), options);
        let file = file.map_err(|e| invalid(format!("not a sound HDF5 file: {e}")))?;
        let superblock = file.superblock();
        let end = superblock.base_address.saturating_add(superblock.eof_address);
        if end > length {
            return Err(invalid(format!("the HDF5 file is cut off: it has {length} bytes of {end}")));
        }
        Ok(File { file, storage, known: RefCell::default(), fetch: Cell::new(budget), budget: Cell::new(budget) })
    }

    /// The reader of the file.
    pub fn reader(&self) -> &Hdf5File {
        &self.file
    }

    /// Groups that have been read.
    pub fn known(&self) -> &RefCell<Known> {
        &self.known
    }

    /// Whether there is a group at a path.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if what leads there is not sound.
    pub fn has_group(&self, path: &str) -> Result<bool> {
        Ok(self.find(path)?.is_some_and(|address| self.is_group(address)))
    }

    /// The names of the groups in a group.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    pub fn groups(&self, path: &str) -> Result<Vec<String>> {
        let address = self.find(path)?.ok_or_else(|| missing(path))?;
        let links = self.links(address, path)?;
        Ok(links.iter().filter(|&(_, &address)| self.is_group(address)).map(|(name, _)| name.clone()).collect())
    }

    /// A string attribute of a group; `None` if the group has no such attribute.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    pub fn text(&self, group: &str, name: &str) -> Result<Option<String>> {
        let header = self.header(group)?;
        let all = self.attributes(&header, group)?;
        let Some(attribute) = all.iter().find(|a| a.name == name) else { return Ok(None) };
        let mut strings = self.strings(group, attribute)?;
        let first = strings.pop().filter(|_| strings.is_empty());
        first.map(Some).ok_or_else(|| invalid(format!("attribute `{name}` of `{group}` is not one string")))
    }

    /// A list of strings in an attribute of a group. Keras cuts long lists into the attributes `name0`, `name1`, ...
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    pub fn texts(&self, group: &str, name: &str) -> Result<Option<Vec<String>>> {
        let header = self.header(group)?;
        let mut named: HashMap<&str, &AttributeMessage> = HashMap::new();
        let attributes = self.attributes(&header, group)?;
        for a in &attributes {
            named.entry(&a.name).or_insert(a);
        }
        if let Some(a) = named.get(name) {
            return self.strings(group, a).map(Some);
        }
        let mut all: Option<Vec<String>> = None;
        for i in 0.. {
            let Some(a) = named.get(format!("{name}{i}").as_str()) else { break };
            all.get_or_insert_default().extend(self.strings(group, a)?);
        }
        Ok(all)
    }

    fn header(&self, group: &str) -> Result<Arc<ObjectHeader>> {
        let address = self.find(group)?.ok_or_else(|| missing(group))?;
        self.file.get_or_parse_header(address).map_err(|e| invalid(format!("HDF5 group `{group}`: {e}")))
    }

    /// The attributes of a group.
    fn attributes<'a>(&self, header: &'a ObjectHeader, group: &str) -> Result<Vec<Cow<'a, AttributeMessage>>> {
        let mut all = Vec::new();
        for message in &header.messages {
            match message {
                HdfMessage::Attribute(a) => all.push(Cow::Borrowed(a)),
                HdfMessage::AttributeInfo(info) => {
                    let dense = self.dense_attributes(info);
                    let dense = dense.map_err(|Why(why)| invalid(format!("attributes of HDF5 group `{group}`: {why}")))?;
                    all.extend(dense.into_iter().map(Cow::Owned));
                }
                _ => {}
            }
        }
        Ok(all)
    }

    /// The strings of an attribute. Those of variable length lie elsewhere in the file, where many may refer to one: the reader
    /// would copy it for each, so they are read here, and each is paid for.
    fn strings(&self, group: &str, attribute: &AttributeMessage) -> Result<Vec<String>> {
        let AttributeMessage { name, datatype, dataspace, raw_data } = attribute;
        let fail = |e: String| invalid(format!("attribute `{name}` of `{group}`: {e}"));
        let count = match dataspace.num_elements() {
            // An empty list is written as an array of floats.
            Ok(0) => return Ok(Vec::new()),
            Ok(n) => usize::try_from(n).map_err(|e| fail(e.to_string()))?,
            Err(e) => return Err(fail(e.to_string())),
        };
        let padding = match datatype {
            Datatype::String { size: StringSize::Variable, padding, .. } => *padding,
            Datatype::VarLen { kind: VarLenKind::String, padding, .. } => *padding,
            _ => {
                self.pay(raw_data.len() + count.min(raw_data.len()) * BYTES_PER_OBJECT).map_err(fail)?;
                return Attribute::from_message(attribute.clone()).read_strings().map_err(|e| fail(e.to_string()));
            }
        };
        let address_bytes = usize::from(self.file.superblock().offset_size);
        let reference = 4 + address_bytes + 4;
        if raw_data.len() / reference < count {
            return Err(fail(format!("{count} strings do not fit into {} bytes", raw_data.len())));
        }
        // What was read last: writers put the strings of a list behind each other.
        let mut heap: Option<(u64, HashMap<u32, Vec<u8>>)> = None;
        let mut strings = Vec::new();
        for at in raw_data.chunks_exact(reference).take(count) {
            let address = at[4..4 + address_bytes].iter().rev().fold(0u64, |a, &b| a << 8 | u64::from(b));
            let index = u32::from_le_bytes(at[4 + address_bytes..].try_into().expect("four bytes"));
            if index == 0 {
                self.pay(BYTES_PER_OBJECT).map_err(fail)?;
                strings.push(String::new());
                continue;
            }
            let objects = match &mut heap {
                Some((a, objects)) if *a == address => objects,
                _ => {
                    let (storage, superblock) = (self.file.storage(), self.file.superblock());
                    let heap_of = GlobalHeapCollection::parse_at_storage;
                    let found = self.fetching(|| heap_of(storage, address, superblock.offset_size, superblock.length_size));
                    let found = found.map_err(|e| fail(e.to_string()))?.objects;
                    self.pay(found.iter().map(|o| o.data.len() + BYTES_PER_OBJECT).sum()).map_err(fail)?;
                    let objects = found.into_iter().rev().map(|o| (u32::from(o.index), o.data)).collect();
                    &mut heap.insert((address, objects)).1
                }
            };
            let bytes = objects.get(&index).ok_or_else(|| fail(format!("no string {index} in the heap at {address:#x}")))?;
            self.pay(bytes.len() + BYTES_PER_OBJECT).map_err(fail)?;
            let last = |pad: u8| bytes.iter().rposition(|&b| b != pad).map_or(0, |i| i + 1);
            let text = match padding {
                StringPadding::NullTerminate => bytes.split(|&b| b == 0).next().unwrap_or_default(),
                StringPadding::NullPad => &bytes[..last(0)],
                StringPadding::SpacePad => &bytes[..last(b' ')],
            };
            strings.push(String::from_utf8(text.to_vec()).map_err(|e| fail(e.to_string()))?);
        }
        Ok(strings)
    }

    /// Takes bytes from what may still be read.
    ///
    /// # Errors
    /// What to say if there are not so many left.
    pub fn pay(&self, bytes: usize) -> std::result::Result<(), String> {
        let left = self.budget.get().checked_sub(bytes).ok_or("the file claims more than it can hold")?;
        self.budget.set(left);
        Ok(())
    }

    /// Finds a dataset.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if there is none, or if it claims more bytes than the file can be believed to hold.
    pub fn dataset(&self, path: &str) -> Result<Dataset> {
        let fail = |e: hdf5_reader::error::Error| invalid(format!("weight `{path}`: {e}"));
        let address = self.find(path)?.ok_or_else(|| invalid(format!("weight `{path}` is not there")))?;
        // The header stays in memory. What the reader fetches to find it again does not.
        let header = self.file.get_or_parse_header(address).map_err(fail)?;
        self.check_dataset(&header).map_err(|why| invalid(format!("weight `{path}`: {why}")))?;
        let inner = self.fetching(|| self.file.dataset(path)).map_err(fail)?;
        let too_large = || invalid(format!("weight `{path}` claims the shape {:?}, more than the file can hold", inner.shape()));
        let shape: Option<Vec<usize>> = inner.shape().iter().map(|&d| usize::try_from(d).ok()).collect();
        let shape = shape.ok_or_else(too_large)?;
        let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(too_large)?;
        if len.checked_mul(8).is_none_or(|bytes| bytes > MAX_BYTES) {
            return Err(too_large());
        }
        Ok(Dataset { inner, path: path.into(), shape, len })
    }

    /// Pays for what the reader copies of a header for each path that leads to it, and once more.
    fn check_dataset(&self, header: &ObjectHeader) -> std::result::Result<(), String> {
        let offset_size = self.file.superblock().offset_size;
        for message in &header.messages {
            let bytes = match message {
                HdfMessage::Datatype(d) => parts(&d.datatype).saturating_mul(BYTES_PER_OBJECT),
                HdfMessage::FilterPipeline(p) => {
                    // Behind any others, or one behind itself, the reader unpacks without a limit.
                    let ids: Vec<u16> = p.filters.iter().map(|f| f.id).collect();
                    let twice = ids.iter().enumerate().any(|(i, id)| ids[..i].contains(id));
                    if twice || ids.iter().any(|id| ![FILTER_DEFLATE, FILTER_SHUFFLE, FILTER_FLETCHER32].contains(id)) {
                        return Err(format!("is packed by filters {ids:?}; save it by h5py's `gzip` or without any"));
                    }
                    0
                }
                HdfMessage::ExternalFiles(_) => return Err("lies in another file, which is not read".into()),
                HdfMessage::AttributeInfo(i) if !Cursor::is_undefined_offset(i.fractal_heap_address, offset_size) => {
                    return Err("has attributes in dense storage, which Keras does not use".into());
                }
                HdfMessage::Attribute(a) => a.name.len() + a.raw_data.len() + parts(&a.datatype).saturating_mul(BYTES_PER_OBJECT),
                HdfMessage::FillValue(f) => f.value.as_ref().map_or(0, Vec::len),
                HdfMessage::DataLayout(l) => match &l.layout {
                    DataLayout::Compact { data } => data.len(),
                    DataLayout::Chunked { chunk_indexing: Some(ChunkIndexing::BTreeV2), .. } => {
                        return Err("has several extents that may grow, which Keras does not do; save it without `maxshape`".into());
                    }
                    _ => 0,
                },
                _ => 0,
            };
            self.pay(2 * (bytes + BYTES_PER_OBJECT))?;
        }
        Ok(())
    }

    /// Reads a dataset of floats, widened or narrowed to f32.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if the bytes are not there, are not floats, or exceed the budget.
    pub fn read(&self, dataset: &Dataset) -> Result<Vec<f32>> {
        let Dataset { inner, path, len, .. } = dataset;
        let Datatype::FloatingPoint { size, .. } = inner.dtype() else {
            return Err(invalid(format!("weight `{path}` holds no floats")));
        };
        // Chunks are unpacked whole, however little of them lies within the extents.
        let chunk = inner.chunks().unwrap_or_default();
        let counts = inner.shape().iter().zip(&chunk).map(|(&d, &chunk)| d.div_ceil(chunk.max(1).into()));
        let chunks = if chunk.is_empty() { 0 } else { counts.fold(1, u64::saturating_mul) };
        let elements = chunk.iter().map(|&c| u64::from(c)).fold(chunks, u64::saturating_mul).max(*len as u64);
        let bytes = elements.saturating_mul((*size).max(4).into()).saturating_add(chunks.saturating_mul(BYTES_PER_CHUNK));
        self.pay(usize::try_from(bytes).unwrap_or(usize::MAX)).map_err(|e| invalid(format!("weight `{path}`: {e}")))?;
        self.fetching(|| dataset.values(*size))
    }

    /// Does what fetches bytes that are not kept. Not within itself.
    pub fn fetching<T>(&self, work: impl FnOnce() -> T) -> T {
        let left_for_headers = self.storage.left.swap(self.fetch.get(), Relaxed);
        let done = work();
        self.fetch.set(self.storage.left.swap(left_for_headers, Relaxed));
        done
    }
}

impl Dataset {
    /// The values, floats of `size` bytes each.
    fn values(&self, size: u8) -> Result<Vec<f32>> {
        let Dataset { inner, path, len, .. } = self;
        let fail = |e: hdf5_reader::error::Error| invalid(format!("weight `{path}`: {e}"));
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

/// How many parts a type has, names counted by their bytes.
pub(super) fn parts(datatype: &Datatype) -> usize {
    match datatype {
        Datatype::Compound { fields, .. } => fields.iter().map(|f| 2 + f.name.len() / BYTES_PER_OBJECT + parts(&f.datatype)).sum(),
        Datatype::Enum { base, members } => {
            parts(base) + members.iter().map(|m| 2 + (m.name.len() + m.value.len()) / BYTES_PER_OBJECT).sum::<usize>()
        }
        Datatype::Array { base, dims } => 1 + dims.len() + parts(base),
        Datatype::VarLen { base, .. } => 1 + parts(base),
        Datatype::Opaque { tag, .. } => 1 + tag.len() / BYTES_PER_OBJECT,
        _ => 1,
    }
}

fn missing(group: &str) -> crate::Error {
    invalid(format!("there is no HDF5 group `{group}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_is_paid_again() {
        let storage = Paid { bytes: BytesStorage::new(vec![1; 8]), left: AtomicUsize::new(20) };
        assert!(storage.read_range(0, 8).is_ok());
        assert!(storage.read_range(4, 4).is_ok());
        assert!(storage.read_range(4, 8).is_err());
        let said = storage.read_range(0, 1).err().map(|e| e.to_string());
        assert!(said.is_some_and(|s| s.contains("again and again")));
    }
}

//! Attributes and datasets of an HDF5 file.
//!
//! Sizes in the file are claims: nothing is allocated before it is held against a budget made from the file's own length.

use super::groups::{Known, Why};
use crate::error::{Result, invalid};
use hdf5_reader::btree_v1::collect_btree_v1_leaves_storage;
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
/// Weights have no more axes. What is kept of a chunk grows with them.
const MAX_WEIGHT_RANK: usize = 8;
/// A tree may be this much longer than the file that it lies in, of which it reads each node once.
const FREE_TREE_BYTES: usize = 1 << 20;

/// An open HDF5 file.
pub(super) struct File {
    file: Hdf5File,
    storage: Arc<Paid>,
    known: RefCell<Known>,
    /// Bytes that may still be fetched for datasets, and to find them.
    fetch: Cell<usize>,
    /// Bytes that one tree may take to be read.
    tree: usize,
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
    /// What it holds, if these are floats.
    floats: Option<Floats>,
    /// The tree that says where its chunks lie.
    tree: Option<u64>,
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
        let tree = source.saturating_mul(2).saturating_add(FREE_TREE_BYTES);
        Ok(File { file, storage, known: RefCell::default(), fetch: Cell::new(budget), tree, budget: Cell::new(budget) })
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
        self.pay(links.len() * BYTES_PER_OBJECT).map_err(|why| invalid(format!("HDF5 group `{path}`: {why}")))?;
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
        // Many layers may have one group.
        self.pay(all.len() * BYTES_PER_OBJECT).map_err(|e| invalid(format!("attributes of HDF5 group `{group}`: {e}")))?;
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
        let floats = self.fetching(|| inner.raw_datatype()).map_err(fail)?;
        let floats = Floats::of(&floats);
        let too_large = || invalid(format!("weight `{path}` claims the shape {:?}, more than the file can hold", inner.shape()));
        let shape: Option<Vec<usize>> = inner.shape().iter().map(|&d| usize::try_from(d).ok()).collect();
        let shape = shape.ok_or_else(too_large)?;
        let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(too_large)?;
        if shape.len() > MAX_WEIGHT_RANK {
            return Err(invalid(format!("weight `{path}` has {} axes; no layer takes more than {MAX_WEIGHT_RANK}", shape.len())));
        }
        if len.checked_mul(8).is_none_or(|bytes| bytes > MAX_BYTES) {
            return Err(too_large());
        }
        let tree = header.messages.iter().find_map(|message| match message {
            HdfMessage::DataLayout(l) => match l.layout {
                DataLayout::Chunked { address, chunk_indexing: None, .. } => Some(address),
                _ => None,
            },
            _ => None,
        });
        Ok(Dataset { inner, floats, tree, path: path.into(), shape, len })
    }

    /// Pays for what the reader copies of a header for each path that leads to it, and once more.
    fn check_dataset(&self, header: &ObjectHeader) -> std::result::Result<(), String> {
        let offset_size = self.file.superblock().offset_size;
        let grows = header.messages.iter().any(|m| match m {
            HdfMessage::Dataspace(d) => d.max_dims.as_ref().is_some_and(|max| *max != d.dims),
            _ => false,
        });
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
                // The reader takes it for what fills a dataset that was not written; HDF5 does not.
                HdfMessage::Attribute(a) if a.name == "_FillValue" => {
                    return Err("has an attribute `_FillValue`, which Keras does not write; remove it".into());
                }
                HdfMessage::Attribute(a) => a.name.len() + a.raw_data.len() + parts(&a.datatype).saturating_mul(BYTES_PER_OBJECT),
                HdfMessage::FillValue(f) => f.value.as_ref().map_or(0, Vec::len),
                HdfMessage::DataLayout(l) => match &l.layout {
                    DataLayout::Compact { data } => data.len(),
                    DataLayout::Chunked { chunk_indexing: Some(ChunkIndexing::BTreeV2), .. } => {
                        return Err("has several extents that may grow, which Keras does not do; save it without `maxshape`".into());
                    }
                    // HDF5 counts chunks through the extents that may come; the reader through those that are there.
                    DataLayout::Chunked {
                        chunk_indexing: Some(ChunkIndexing::FixedArray { .. } | ChunkIndexing::Implicit),
                        ..
                    } if grows => {
                        return Err("has extents that may grow, which Keras does not do; save it without `maxshape`".into());
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
        let floats = dataset.floats.ok_or_else(|| invalid(format!("weight `{path}` holds no floats of a usual kind")))?;
        // Chunks are unpacked whole, however little of them lies within the extents.
        let chunk = inner.chunks().unwrap_or_default();
        let counts = inner.shape().iter().zip(&chunk).map(|(&d, &chunk)| d.div_ceil(chunk.max(1).into()));
        let chunks = if chunk.is_empty() { 0 } else { counts.fold(1, u64::saturating_mul) };
        let elements = chunk.iter().map(|&c| u64::from(c)).fold(chunks, u64::saturating_mul).max(*len as u64);
        let bytes = elements
            .saturating_mul(if floats == Floats::F64 { 8 } else { 4 })
            .saturating_add(chunks.saturating_mul(BYTES_PER_CHUNK));
        self.pay(usize::try_from(bytes).unwrap_or(usize::MAX)).map_err(|e| invalid(format!("weight `{path}`: {e}")))?;
        self.check_chunks(dataset).map_err(|e| invalid(format!("weight `{path}`: {e}")))?;
        self.fetching(|| dataset.values(floats))
    }

    /// Reads the tree that says where chunks lie as the reader will, but within bounds: its nodes may overlap.
    fn check_chunks(&self, dataset: &Dataset) -> std::result::Result<(), String> {
        let superblock = self.file.superblock();
        let (offset_size, length_size) = (superblock.offset_size, superblock.length_size);
        let Some(root) = dataset.tree.filter(|&root| !Cursor::is_undefined_offset(root, offset_size)) else { return Ok(()) };
        let rank = u32::try_from(dataset.shape.len()).map_err(|e| e.to_string())?;
        let (storage, leaves) = (self.file.storage(), collect_btree_v1_leaves_storage);
        let read = self.in_tree(|| leaves(storage, root, offset_size, length_size, Some(rank), &[], None));
        read.map(|_| ()).map_err(|e| e.to_string())
    }

    /// Does what reads one tree.
    pub fn in_tree<T>(&self, work: impl FnOnce() -> T) -> T {
        let all = self.fetch.get();
        let allowed = all.min(self.tree);
        self.fetch.set(allowed);
        let done = self.fetching(work);
        self.fetch.set(all - (allowed - self.fetch.get()));
        done
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
    fn values(&self, floats: Floats) -> Result<Vec<f32>> {
        let Dataset { inner, path, len, .. } = self;
        let fail = |e: hdf5_reader::error::Error| invalid(format!("weight `{path}`: {e}"));
        match floats {
            Floats::F32 => {
                let mut values = Vec::new();
                values.try_reserve_exact(*len).map_err(|_| invalid(format!("weight `{path}`: no memory for {len} values")))?;
                values.resize(*len, 0f32);
                inner.read_into(&mut values).map_err(fail)?;
                Ok(values)
            }
            Floats::F64 => Ok(inner.read_array::<f64>().map_err(fail)?.into_iter().map(|v| v as f32).collect()),
            Floats::F16 | Floats::Bf16 => {
                let bytes = inner.read_native_bytes().map_err(fail)?;
                let halves = bytes.as_chunks::<2>().0.iter();
                Ok(match floats {
                    Floats::F16 => halves.map(|&b| half::f16::from_ne_bytes(b).to_f32()).collect(),
                    _ => halves.map(|&b| half::bf16::from_ne_bytes(b).to_f32()).collect(),
                })
            }
        }
    }
}

/// Floats that are read, of either byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floats {
    F16,
    Bf16,
    F32,
    F64,
}

impl Floats {
    /// Of a datatype message. HDF5 leaves open where in its bytes a float has which bits; the reader takes that for given by the size.
    fn of(message: &[u8]) -> Option<Floats> {
        let (head, size) = (message.get(..4)?, message.get(4..8)?);
        // Keras has numpy write bf16 as two bytes of no kind; it writes nothing else so.
        if head[0] & 0xf == 5 && size == [2, 0, 0, 0] {
            return Some(Floats::Bf16);
        }
        let bits = message.get(8..20)?;
        // Class 1; the mantissa's first bit is implied; the order of bytes is one of the two.
        if head[0] & 0xf != 1 || head[1] & 0x70 != 0x20 {
            return None;
        }
        let [first, precision] = [0, 2].map(|i| u16::from_le_bytes([bits[i], bits[i + 1]]));
        let bias = u32::from_le_bytes(bits[8..12].try_into().ok()?);
        let [exponent_at, exponent, mantissa_at, mantissa] = [bits[4], bits[5], bits[6], bits[7]];
        let (floats, known) = match (u32::from_le_bytes(size.try_into().ok()?), exponent) {
            (2, 5) => (Floats::F16, (16, 10, 15)),
            (2, 8) => (Floats::Bf16, (16, 7, 127)),
            (4, 8) => (Floats::F32, (32, 23, 127)),
            (8, 11) => (Floats::F64, (64, 52, 1023)),
            _ => return None,
        };
        let plain = first == 0 && mantissa_at == 0 && exponent_at == mantissa && u16::from(head[2]) + 1 == precision;
        (plain && known == (precision, mantissa, bias)).then_some(floats)
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
    fn floats_are_known_by_their_bits() {
        let f32 = [0x11, 0x20, 0x1f, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
        let f16 = [0x11, 0x21, 0x0f, 0, 2, 0, 0, 0, 0, 0, 16, 0, 10, 5, 0, 10, 15, 0, 0, 0];
        let bf16 = [0x11, 0x20, 0x0f, 0, 2, 0, 0, 0, 0, 0, 16, 0, 7, 8, 0, 7, 127, 0, 0, 0];
        assert_eq!([f32, f16, bf16].map(|m| Floats::of(&m)), [Floats::F32, Floats::F16, Floats::Bf16].map(Some));
        assert_eq!(Floats::of(&f32[..19]), None);
        // As numpy writes the bf16 of Keras 3, and three bytes of no kind.
        assert_eq!(Floats::of(&[0x15, 0, 0, 0, 2, 0, 0, 0]), Some(Floats::Bf16));
        assert_eq!(Floats::of(&[0x15, 0, 0, 0, 3, 0, 0, 0]), None);
        // The class, the order of a VAX, the sign's place, the size, each of the properties.
        for (at, other) in
            [(0, 0x10), (1, 0x61), (2, 30), (4, 8), (8, 1), (10, 31), (12, 22), (13, 7), (14, 1), (15, 22), (16, 100)]
        {
            let mut odd = f32;
            odd[at] = other;
            assert_eq!(Floats::of(&odd), None, "{at}");
        }
    }

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

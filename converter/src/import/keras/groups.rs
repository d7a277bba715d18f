//! Groups of an HDF5 file: which objects a group links to, and its attributes where these are many.
//!
//! The reader looks paths up by itself, but copies names and follows links whatever they add up to. So a path is followed here first,
//! through links that are paid for, to nothing but objects: what the reader then does for the same path is bounded.

use super::h5::{BYTES_PER_OBJECT, File, parts};
use crate::error::{Result, invalid};
use crate::import::MAX_NAME;
use hdf5_reader::Storage;
use hdf5_reader::btree_v1::collect_btree_v1_leaves_storage;
use hdf5_reader::btree_v2::{BTreeV2Header, BTreeV2Record, collect_btree_v2_records_storage};
use hdf5_reader::fractal_heap::{FractalHeap, FractalHeapDirectBlockCache};
use hdf5_reader::io::Cursor;
use hdf5_reader::local_heap::LocalHeap;
use hdf5_reader::messages::attribute::AttributeMessage;
use hdf5_reader::messages::attribute_info::AttributeInfoMessage;
use hdf5_reader::messages::link::LinkTarget;
use hdf5_reader::messages::link_info::LinkInfoMessage;
use hdf5_reader::messages::symbol_table_msg::SymbolTableMessage;
use hdf5_reader::messages::{HdfMessage, attribute, link};
use hdf5_reader::symbol_table::SymbolTableNode;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// The addresses of what a group links to, by name.
type Links = BTreeMap<String, u64>;

/// What is known of groups, by their addresses.
pub(super) type Known = HashMap<u64, Rc<Links>>;

/// Longest path, in names: a network within a network takes three.
const MAX_FOLDERS: usize = 256;

/// A link takes so many bytes besides its name.
const BYTES_PER_LINK: usize = 128;

/// The type of a tree of links by their names' hashes and the bytes of its records; the same of attributes.
const LINKS: (u8, u16) = (5, 11);
const ATTRIBUTES: (u8, u16) = (8, 17);

/// Takes a link: its name, and the address of its target if that is an object.
type Add<'a> = dyn FnMut(&str, Option<u64>) -> Step<()> + 'a;

type Step<T> = std::result::Result<T, Why>;

/// Why links or attributes are not taken. Whoever asked says of what.
pub(super) struct Why(pub String);

impl<E: ToString> From<E> for Why {
    fn from(e: E) -> Self {
        Why(e.to_string())
    }
}

impl File {
    /// The address of the object at a path; `None` if there is none.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a group on the way that is not sound, or has other links than to objects.
    pub(super) fn find(&self, path: &str) -> Result<Option<u64>> {
        if path.len() > MAX_NAME {
            return Err(invalid(format!("an HDF5 path of {} bytes; shorten it to {MAX_NAME}", path.len())));
        }
        let root = self.reader().superblock().root_object_header_address();
        let mut address = root.map_err(|e| invalid(format!("the HDF5 file has no root: {e}")))?;
        for (depth, part) in path.split('/').filter(|p| !p.is_empty()).enumerate() {
            let links = self.links(address, path)?;
            // The reader looks at each of them once more.
            let paid = self.pay(1 + links.len() / 8);
            paid.map_err(|why| invalid(format!("HDF5 path `{path}`: {why}")))?;
            if depth == MAX_FOLDERS {
                return Err(invalid(format!("an HDF5 path of more than {MAX_FOLDERS} folders: `{path}`")));
            }
            match links.get(part) {
                Some(&next) => address = next,
                None => return Ok(None),
            }
        }
        Ok(Some(address))
    }

    /// What the object at an address links to, if it is a group; `path` is where it was found, for errors.
    pub(super) fn links(&self, address: u64, path: &str) -> Result<Rc<Links>> {
        if let Some(known) = self.known().borrow().get(&address) {
            return Ok(known.clone());
        }
        let links = self.read_links(address).map_err(|Why(why)| invalid(format!("HDF5 path `{path}`: {why}")))?;
        let links = Rc::new(links);
        self.known().borrow_mut().insert(address, links.clone());
        Ok(links)
    }

    fn read_links(&self, address: u64) -> Step<Links> {
        let mut links = Links::new();
        let mut add = |name: &str, target: Option<u64>| {
            // For the reader, which keeps two of its own, too.
            self.pay(3 * (name.len() + BYTES_PER_LINK))?;
            let target =
                target.ok_or_else(|| format!("`{name}` is a link to a name, which Keras does not use and is not followed"))?;
            match links.insert(name.to_owned(), target) {
                None => Ok(()),
                Some(_) => Err(Why(format!("`{name}` is there twice"))),
            }
        };
        let header = self.reader().get_or_parse_header(address)?;
        for message in &header.messages {
            match message {
                HdfMessage::SymbolTable(table) => self.in_tree(|| self.symbols(table, &mut add))?,
                HdfMessage::Link(link) => add(&link.name, hard(&link.target))?,
                HdfMessage::LinkInfo(info) => self.dense_links(info, &mut add)?,
                _ => {}
            }
        }
        Ok(links)
    }

    /// Links of the first kind of groups: symbols in the leaves of a tree, names in a heap.
    fn symbols(&self, table: &SymbolTableMessage, add: &mut Add<'_>) -> Step<()> {
        let (storage, offset_size, length_size) = self.parts();
        let heap = LocalHeap::parse_at_storage(storage, table.heap_address, offset_size, length_size)?;
        let size = usize::try_from(heap.data_segment_size)?;
        let names = storage.read_range(heap.data_segment_address, size)?;
        let name_at = |offset: u64| {
            let rest = usize::try_from(offset).ok().and_then(|at| names.as_ref().get(at..));
            // Looking for its end is work, too.
            let end = rest.and_then(|r| r.iter().take(MAX_NAME + 1).position(|&b| b == 0));
            let name = end.zip(rest).and_then(|(end, rest)| std::str::from_utf8(&rest[..end]).ok());
            name.ok_or_else(|| format!("a name that does not end, or is longer than {MAX_NAME} bytes, or is no text"))
        };
        let leaves = collect_btree_v1_leaves_storage(storage, table.btree_address, offset_size, length_size, None, &[], None)?;
        for (_, address) in leaves {
            let head = storage.read_range(address, 8)?;
            let count = u16::from_le_bytes([head.as_ref()[6], head.as_ref()[7]]);
            let node = storage.read_range(address, 8 + usize::from(count) * (2 * usize::from(offset_size) + 24))?;
            let node = SymbolTableNode::parse(&mut Cursor::new(node.as_ref()), offset_size, length_size)?;
            for entry in &node.entries {
                // 2: its target is a name.
                add(name_at(entry.link_name_offset)?, (entry.cache_type != 2).then_some(entry.object_header_address))?;
            }
        }
        Ok(())
    }

    /// Links of the second kind of groups that have too many for their header.
    fn dense_links(&self, info: &LinkInfoMessage, add: &mut Add<'_>) -> Step<()> {
        let (_, offset_size, length_size) = self.parts();
        self.dense(info.fractal_heap_address, info.btree_name_index_address, LINKS, &mut |bytes| {
            let link = link::parse(&mut Cursor::new(bytes), offset_size, length_size, bytes.len())?;
            add(&link.name, hard(&link.target))
        })
    }

    /// Attributes that are too many for their header.
    pub(super) fn dense_attributes(&self, info: &AttributeInfoMessage) -> Step<Vec<AttributeMessage>> {
        let (_, offset_size, length_size) = self.parts();
        let mut all = Vec::new();
        self.dense(info.fractal_heap_address, info.btree_name_index_address, ATTRIBUTES, &mut |bytes| {
            let parsed = attribute::parse(&mut Cursor::new(bytes), offset_size, length_size, bytes.len())?;
            self.pay(2 * bytes.len() + (1 + parts(&parsed.datatype)).saturating_mul(BYTES_PER_OBJECT))?;
            all.push(parsed);
            Ok(())
        })?;
        Ok(all)
    }

    /// Each link or attribute of a heap that a tree of that kind records; nothing where there is no heap.
    fn dense(&self, heap: u64, tree: u64, kind: (u8, u16), each: &mut dyn FnMut(&[u8]) -> Step<()>) -> Step<()> {
        let (storage, offset_size, length_size) = self.parts();
        if Cursor::is_undefined_offset(heap, offset_size) {
            return Ok(());
        }
        let heap = FractalHeap::parse_at_storage(storage, heap, offset_size, length_size)?;
        // What is packed may unpack to any length.
        if heap.io_filters_len != 0 {
            return Err(Why("its links or attributes are packed, which Keras does not do".into()));
        }
        let tree = BTreeV2Header::parse_at_storage(storage, tree, offset_size, length_size)?;
        // Records of another size may be far more than are read.
        if (tree.btree_type, tree.record_size) != kind {
            return Err(Why("its tree of links or attributes holds something else".into()));
        }
        let mut blocks = FractalHeapDirectBlockCache::default();
        for record in collect_btree_v2_records_storage(storage, &tree, offset_size, length_size, None, &[], None)? {
            let (BTreeV2Record::LinkNameHash { heap_id, .. } | BTreeV2Record::AttributeNameHash { heap_id, .. }) = record else {
                continue;
            };
            let object = || heap.get_object_storage_cached(&heap_id, storage, offset_size, length_size, &mut blocks);
            each(&self.fetching(object)?)?;
        }
        Ok(())
    }

    /// Whether the object at an address is a group.
    pub(super) fn is_group(&self, address: u64) -> bool {
        let group = |m: &HdfMessage| matches!(m, HdfMessage::SymbolTable(_) | HdfMessage::LinkInfo(_) | HdfMessage::Link(_));
        self.reader().get_or_parse_header(address).is_ok_and(|h| h.messages.iter().any(group))
    }

    fn parts(&self) -> (&dyn Storage, u8, u8) {
        let superblock = self.reader().superblock();
        (self.reader().storage(), superblock.offset_size, superblock.length_size)
    }
}

fn hard(target: &LinkTarget) -> Option<u64> {
    match target {
        LinkTarget::Hard { address } => Some(*address),
        _ => None,
    }
}

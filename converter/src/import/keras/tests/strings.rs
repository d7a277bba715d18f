//! Lists of strings in HDF5 attributes, which lie elsewhere in the file.

use super::super::h5::File;

fn open(bytes: Vec<u8>) -> File {
    let source = bytes.len();
    File::open(bytes, source).unwrap()
}

/// A file whose root has the attribute `names`: `count` references to one string of `bytes` characters.
fn file_of_names(count: usize, bytes: usize) -> Vec<u8> {
    const HEADER: u64 = 96;
    let attribute = {
        let mut a = vec![1, 0];
        for size in [6u16, 16, 16] {
            a.extend(size.to_le_bytes());
        }
        a.extend(b"names\0\0\0");
        // Strings of variable length, UTF-8, ended by a zero; made of strings of one byte.
        a.extend([0x19, 1, 1, 0, 16, 0, 0, 0, 0x13, 0, 0, 0, 1, 0, 0, 0]);
        a.extend([1, 1, 0, 0, 0, 0, 0, 0]);
        a.extend((count as u64).to_le_bytes());
        let heap = HEADER + 16 + 8 + a.len() as u64 + 16 * count as u64;
        for _ in 0..count {
            a.extend((bytes as u32).to_le_bytes());
            a.extend(heap.to_le_bytes());
            a.extend(1u32.to_le_bytes());
        }
        a
    };
    let heap_len = 16 + 16 + bytes.next_multiple_of(8);
    let end = HEADER + 16 + 8 + (attribute.len() + heap_len) as u64;

    let mut file = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0".to_vec();
    for address in [0, u64::MAX, end, u64::MAX, 0, HEADER, 0, 0, 0] {
        file.extend(address.to_le_bytes());
    }
    file.extend([1, 0, 1, 0, 1, 0, 0, 0]);
    file.extend((8 + attribute.len() as u64).to_le_bytes());
    file.extend(12u16.to_le_bytes());
    file.extend((attribute.len() as u16).to_le_bytes());
    file.extend([0; 4]);
    file.extend(attribute);
    file.extend(b"GCOL\x01\0\0\0");
    file.extend((heap_len as u64).to_le_bytes());
    file.extend([1, 0, 1, 0, 0, 0, 0, 0]);
    file.extend((bytes as u64).to_le_bytes());
    file.resize(file.len() + bytes, b'n');
    file.resize(end as usize, 0);
    file
}

#[test]
fn many_names_are_read() {
    let file = open(file_of_names(4000, 11));
    let names = file.texts("", "names").unwrap().unwrap();
    assert_eq!(names.len(), 4000);
    assert!(names.iter().all(|n| n == "nnnnnnnnnnn"));
    assert_eq!(file.texts("", "others").unwrap(), None);
    assert!(file.text("", "names").is_err());

    let file = open(file_of_names(1, 100_000));
    assert_eq!(file.text("", "names").unwrap().unwrap().len(), 100_000);
    assert_eq!(file.texts("", "names").unwrap().unwrap().len(), 1);
}

/// A string that is stored once and meant four thousand times would take gigabytes.
#[test]
fn names_are_paid_for() {
    let file = open(file_of_names(4000, 1 << 20));
    let said = file.texts("", "names").unwrap_err().to_string();
    assert!(said.contains("claims more than it can hold"), "{said}");
}

/// A file whose root is a group of the first kind with such symbols: where their names begin in `heap`, and the kinds of their
/// targets, all of which are the root.
fn file_of_symbols(heap: &[u8], symbols: &[(u64, u32)]) -> Vec<u8> {
    const HEADER: u64 = 96;
    let tree = HEADER + 16 + 8 + 16;
    let node = tree + 24 + 24;
    let names = node + 8 + 40 * symbols.len() as u64;
    let end = names + 32 + heap.len() as u64;
    let mut file = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0".to_vec();
    let put = |file: &mut Vec<u8>, words: &[u64]| words.iter().for_each(|w| file.extend(w.to_le_bytes()));
    put(&mut file, &[0, u64::MAX, end, u64::MAX, 0, HEADER, 0, 0, 0]);
    file.extend([1, 0, 1, 0, 1, 0, 0, 0]);
    put(&mut file, &[24, 0x10_0011, tree, names]);
    file.extend(b"TREE\0\0\x01\0");
    put(&mut file, &[u64::MAX, u64::MAX, 0, node, 0]);
    file.extend(b"SNOD\x01\0");
    file.extend((symbols.len() as u16).to_le_bytes());
    for &(name, kind) in symbols {
        put(&mut file, &[name, HEADER, kind.into(), 0, 0]);
    }
    file.extend(b"HEAP\0\0\0\0");
    put(&mut file, &[heap.len() as u64, u64::MAX, names + 32]);
    file.extend(heap);
    assert_eq!(file.len() as u64, end);
    file
}

#[test]
fn links_are_followed_to_objects_only() {
    let find = |heap: &[u8], symbols: &[(u64, u32)], path: &str| {
        let file = open(file_of_symbols(heap, symbols));
        file.has_group(path).map_err(|e| e.to_string())
    };
    let heap = b"\0a\0bc\0";
    assert_eq!(find(heap, &[(1, 0), (3, 1)], "a"), Ok(true));
    assert_eq!(find(heap, &[(1, 0), (3, 1)], "bc/a/bc"), Ok(true));
    assert_eq!(find(heap, &[(1, 0), (3, 1)], "a/b"), Ok(false));
    let said = |heap: &[u8], symbols: &[(u64, u32)], path: &str| find(heap, symbols, path).unwrap_err();
    assert!(said(heap, &[(1, 0), (3, 2)], "a").contains("`bc` is a link to a name"));
    assert!(said(heap, &[(1, 0), (1, 0)], "a").contains("twice"));
    assert!(said(heap, &[(1, 0)], &"a/".repeat(4096)).contains("shorten"));
    assert!(said(&[b'n'; 5000], &[(1, 0)], "a").contains("does not end"));
    // Sixty thousand names of some thousand bytes, each a part of the one before.
    let mut long = vec![b'n'; 4000];
    long.push(0);
    let many: Vec<u8> = (0..16u8).flat_map(|i| long.iter().map(move |&b| if b == 0 { 0 } else { b'a' + i })).collect();
    let parts: Vec<(u64, u32)> = (0..many.len() as u64).filter(|i| many[*i as usize] != 0).map(|i| (i, 0)).collect();
    assert!(said(&many, &parts, "a").contains("claims more"));
}

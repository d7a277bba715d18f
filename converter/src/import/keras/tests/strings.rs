//! Lists of strings in HDF5 attributes, which lie elsewhere in the file.

use super::super::h5::File;

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
    let file = File::open(file_of_names(4000, 11)).unwrap();
    let names = file.texts("", "names").unwrap().unwrap();
    assert_eq!(names.len(), 4000);
    assert!(names.iter().all(|n| n == "nnnnnnnnnnn"));
    assert_eq!(file.texts("", "others").unwrap(), None);
    assert!(file.text("", "names").is_err());

    let file = File::open(file_of_names(1, 100_000)).unwrap();
    assert_eq!(file.text("", "names").unwrap().unwrap().len(), 100_000);
    assert_eq!(file.texts("", "names").unwrap().unwrap().len(), 1);
}

/// A string that is stored once and meant four thousand times would take gigabytes.
#[test]
fn names_are_paid_for() {
    let file = File::open(file_of_names(4000, 1 << 20)).unwrap();
    let said = file.texts("", "names").unwrap_err().to_string();
    assert!(said.contains("claims more than it can hold"), "{said}");
}

//! Numpy's files: `.npy` arrays and `.npz` archives of them, read into f32 and written as f32.
//!
//! Any numeric type is read; the order in memory is always C. Sizes are checked against the file before anything is
//! allocated, so a damaged header costs nothing.

use super::DataError;
use crate::file::write_whole;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;

/// Longest header that is read; numpy's own are 128 bytes.
const MAX_HEADER: usize = 1 << 16;
/// Deflate cannot shrink anything by more than this.
const MAX_DEFLATE_RATIO: u64 = 1032;
/// Most elements of a file of one array: a gigabyte. Holes cost nothing.
const MOST_ELEMENTS: u64 = 1 << 28;
/// Elements that an archive may have besides one for each of its bytes: 256 MB of constants, say.
const FREE_ELEMENTS: u64 = 1 << 26;

/// An array in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extents; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements; as many as the product of the extents.
    pub values: Vec<f32>,
}

/// The arrays of an archive by name.
pub type Arrays = BTreeMap<String, Array>;

/// Reads a `.npy` file.
///
/// # Errors
/// [`DataError`], also for what is not an array of numbers.
pub fn read_npy(path: &Path) -> Result<Array, DataError> {
    let file = open(path)?;
    let len = file.metadata().map_err(|e| DataError::io(path, e))?.len();
    parse_npy(BufReader::new(file), len, MOST_ELEMENTS).map_err(|e| DataError::invalid(path, e))
}

/// Reads every array of a `.npz` file.
///
/// # Errors
/// [`DataError`], also for what is not an archive of arrays of numbers.
pub fn read_npz(path: &Path) -> Result<Arrays, DataError> {
    let file = open(path)?;
    parse_npz(BufReader::new(file)).map_err(|e| DataError::invalid(path, e))
}

/// Reads every array of an archive.
///
/// # Errors
/// Says what is not an archive of arrays of numbers.
pub fn parse_npz(mut reader: impl Read + Seek) -> Result<Arrays, String> {
    let len = reader.seek(SeekFrom::End(0)).map_err(|e| e.to_string())?;
    // Members may lie in the same bytes, of which each then takes what it pleases.
    let (mut bytes, mut elements) = (len, len.saturating_add(FREE_ELEMENTS));
    let mut zip = zip::ZipArchive::new(reader).map_err(|e| format!("not an .npz archive: {e}"))?;
    let mut all = Arrays::new();
    for i in 0..zip.len() {
        let member = zip.by_index(i).map_err(|e| format!("member {i} of the archive: {e}"))?;
        let name = member.name().map_err(|e| format!("member {i} of the archive: {e}"))?;
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        let (packed, len) = (member.compressed_size(), member.size());
        if len / MAX_DEFLATE_RATIO > packed {
            return Err(format!("array {name}: {packed} bytes cannot unpack to {len}"));
        }
        bytes = bytes.checked_sub(packed).ok_or_else(|| format!("array {name}: the file is shorter than its members"))?;
        let array = parse_npy(member, len, elements).map_err(|e| format!("array {name}: {e}"))?;
        elements -= array.values.len() as u64;
        all.insert(name, array);
    }
    Ok(all)
}

/// Writes an archive whose members are stored, in the order given. The same arrays give the same bytes.
///
/// # Errors
/// [`DataError::Io`].
pub fn write_npz(path: &Path, arrays: &[(String, Array)]) -> Result<(), DataError> {
    let mut bytes = Vec::new();
    npz(arrays, &mut bytes)
        .and_then(|()| write_whole(path, true, |file| file.write_all(&bytes)))
        .map_err(|e| DataError::io(path, e))
}

/// The archive as bytes.
fn npz(arrays: &[(String, Array)], out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut zip = zip::ZipWriter::new(Cursor::new(out));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, array) in arrays {
        zip.start_file(format!("{name}.npy"), options)?;
        zip.write_all(&npy_header(&array.shape))?;
        for chunk in array.values.chunks(4096) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|v| v.to_le_bytes()).collect();
            zip.write_all(&bytes)?;
        }
    }
    zip.finish()?;
    Ok(())
}

/// Format 1.0, padded so that the data begin at a multiple of 64.
fn npy_header(shape: &[usize]) -> Vec<u8> {
    let extents: String = match shape {
        [one] => format!("{one},"),
        many => many.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let mut dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({extents}), }}");
    let len = (10 + dict.len() + 1).next_multiple_of(64) - 10;
    dict.extend(std::iter::repeat_n(' ', len - 1 - dict.len()));
    dict.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((len as u16).to_le_bytes());
    out.extend(dict.into_bytes());
    out
}

/// What a header says.
struct Header {
    kind: u8,
    item: usize,
    big_endian: bool,
    fortran: bool,
    shape: Vec<usize>,
}

/// Reads an array of at most so many elements from a stream of `len` bytes.
fn parse_npy(mut r: impl Read, len: u64, most: u64) -> Result<Array, String> {
    let mut start = [0; 8];
    read_exact(&mut r, &mut start)?;
    if &start[..6] != b"\x93NUMPY" {
        return Err("not a .npy array".into());
    }
    if !matches!(start[6], 1..=3) {
        return Err(format!("a .npy file of version {}, of which 1 to 3 are known", start[6]));
    }
    let (before, header_len) = if start[6] == 1 {
        let mut n = [0; 2];
        read_exact(&mut r, &mut n)?;
        (10, usize::from(u16::from_le_bytes(n)))
    } else {
        let mut n = [0; 4];
        read_exact(&mut r, &mut n)?;
        (12, u32::from_le_bytes(n) as usize)
    };
    if header_len > MAX_HEADER {
        return Err(format!("a .npy header of {header_len} bytes"));
    }
    let mut text = vec![0; header_len];
    read_exact(&mut r, &mut text)?;
    let header = parse_header(&String::from_utf8_lossy(&text))?;

    let count = header.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let bytes = count.and_then(|n| n.checked_mul(header.item));
    let room = len.saturating_sub((before + header_len) as u64);
    let (Some(count), Some(bytes)) = (count, bytes) else {
        return Err(format!("an array of impossible shape {:?}", header.shape));
    };
    if bytes as u64 != room {
        return Err(format!("shape {:?} needs {bytes} bytes of data, there are {room}", header.shape));
    }
    let turned = header.fortran && header.shape.iter().filter(|&&d| d > 1).count() > 1;
    // To be turned round, all are there twice.
    let most = if turned { most / 2 } else { most };
    if count as u64 > most {
        return Err(format!("it has {count} elements, of which at most {most} are read; store fewer"));
    }
    let mut values = Vec::new();
    let mut buffer = vec![0; header.item * 4096];
    let mut left = count;
    while left > 0 {
        let n = left.min(4096);
        let part = &mut buffer[..n * header.item];
        read_exact(&mut r, part)?;
        values.extend(part.chunks_exact_mut(header.item).map(|item| {
            if header.big_endian {
                item.reverse();
            }
            number(header.kind, item)
        }));
        left -= n;
    }
    // An archive holds what it has read against its checksum when it comes to the end.
    match r.read(&mut [0]) {
        Ok(0) => {}
        Ok(_) => return Err("it is longer than its header says".into()),
        Err(e) => return Err(format!("the array is damaged: {e}")),
    }
    if turned {
        values = to_c_order(&header.shape, &values);
    }
    Ok(Array { shape: header.shape, values })
}

/// One little-endian element; `parse_header` has checked kind and size.
fn number(kind: u8, b: &[u8]) -> f32 {
    let mut wide = [0u8; 8];
    wide[..b.len()].copy_from_slice(b);
    let unsigned = u64::from_le_bytes(wide);
    match (kind, b.len()) {
        (b'f', 2) => half::f16::from_bits(unsigned as u16).to_f32(),
        (b'f', 4) => f32::from_bits(unsigned as u32),
        (b'f', _) => f64::from_bits(unsigned) as f32,
        (b'i', n) => {
            let unused = 64 - 8 * n as u32;
            ((unsigned << unused) as i64 >> unused) as f32
        }
        _ => unsigned as f32,
    }
}

/// Elements stored first axis fastest, in C order.
fn to_c_order(shape: &[usize], values: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    // Extent, index and step of each axis, the last one first: that index changes fastest.
    let mut axes = Vec::new();
    let mut step = 1;
    for &d in shape.iter().filter(|&&d| d != 1) {
        axes.insert(0, (d, 0, step));
        step *= d;
    }
    let mut at = 0;
    for _ in 0..values.len() {
        out.push(values[at]);
        for (d, i, step) in &mut axes {
            *i += 1;
            at += *step;
            if *i < *d {
                break;
            }
            at -= *d * *step;
            *i = 0;
        }
    }
    out
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }`, keys in any order.
fn parse_header(text: &str) -> Result<Header, String> {
    let value = |key: &str| {
        let at = text.find(&format!("'{key}'"))? + key.len() + 2;
        Some(text[at..].trim_start().strip_prefix(':')?.trim_start())
    };
    let bad = |what: &str| format!("a .npy header without a usable {what}: {}", text.trim_end());
    let descr = value("descr").and_then(|v| v.strip_prefix('\'')).and_then(|v| v.split('\'').next());
    let descr = descr.filter(|d| d.is_ascii()).ok_or_else(|| bad("element type (structured arrays are not read)"))?;
    let (order, kind, size) = match descr.as_bytes() {
        [order @ (b'<' | b'>' | b'|' | b'='), kind, ..] => (*order, *kind, &descr[2..]),
        _ => return Err(bad("element type")),
    };
    let item = match (kind, size) {
        (b'b' | b'i' | b'u', "1") => 1,
        (b'f' | b'i' | b'u', "2") => 2,
        (b'f' | b'i' | b'u', "4") => 4,
        (b'f' | b'i' | b'u', "8") => 8,
        _ => return Err(format!("elements of type {descr}; real numbers are needed")),
    };
    let fortran = match value("fortran_order") {
        Some(v) if v.starts_with("True") => true,
        Some(v) if v.starts_with("False") => false,
        _ => return Err(bad("fortran_order")),
    };
    let inside = value("shape").and_then(|v| v.strip_prefix('(')).and_then(|v| v.split_once(')'));
    let (inside, _) = inside.ok_or_else(|| bad("shape"))?;
    let extents = inside.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.trim_end_matches('L').parse());
    let shape = extents.collect::<Result<Vec<usize>, _>>().map_err(|_| bad("shape"))?;
    if shape.len() > 32 {
        return Err(bad("shape"));
    }
    Ok(Header { kind, item, big_endian: order == b'>', fortran, shape })
}

fn read_exact(r: &mut impl Read, buffer: &mut [u8]) -> Result<(), String> {
    r.read_exact(buffer).map_err(|e| format!("the array is cut short or damaged: {e}"))
}

fn open(path: &Path) -> Result<File, DataError> {
    crate::file::open_regular(path).map_err(|e| DataError::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn npy(dict: &str, data: &[u8]) -> Vec<u8> {
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((dict.len() as u16).to_le_bytes());
        out.extend(dict.as_bytes());
        out.extend(data);
        out
    }

    fn parse(bytes: &[u8]) -> Result<Array, String> {
        parse_npy(bytes, bytes.len() as u64, u64::MAX)
    }

    #[test]
    fn reads_every_numeric_type() {
        for (descr, data, want) in [
            ("<f4", 1.5f32.to_le_bytes().to_vec(), 1.5),
            (">f4", 1.5f32.to_be_bytes().to_vec(), 1.5),
            ("<f8", (-2.25f64).to_le_bytes().to_vec(), -2.25),
            ("<f2", half::f16::from_f32(0.5).to_le_bytes().to_vec(), 0.5),
            ("|i1", vec![0xff], -1.0),
            ("|u1", vec![0xff], 255.0),
            ("|b1", vec![1], 1.0),
            ("<i4", (-7i32).to_le_bytes().to_vec(), -7.0),
            (">i2", (-300i16).to_be_bytes().to_vec(), -300.0),
            ("<u8", 9u64.to_le_bytes().to_vec(), 9.0),
        ] {
            let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1,), }}\n");
            assert_eq!(parse(&npy(&dict, &data)).unwrap(), Array { shape: vec![1], values: vec![want] }, "{descr}");
        }
    }

    #[test]
    fn turns_fortran_order_round() {
        let data: Vec<u8> = [1u8, 2, 3, 4, 5, 6].to_vec();
        let a = parse(&npy("{'shape': (2, 3), 'descr': '|u1', 'fortran_order': True}", &data)).unwrap();
        assert_eq!(a.values, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        let data: Vec<u8> = (0..24).collect();
        let a = parse(&npy("{'shape': (1, 2, 3, 1, 4), 'descr': '|u1', 'fortran_order': True}", &data)).unwrap();
        let want = (0..24).map(|i| (i / 12 + i / 4 % 3 * 2 + i % 4 * 6) as f32);
        assert!(a.values.iter().copied().eq(want), "{:?}", a.values);
        // Twice as much memory, so half as many.
        let bytes = npy("{'shape': (4, 6), 'descr': '|u1', 'fortran_order': True}", &data);
        let most = |most| parse_npy(&bytes[..], bytes.len() as u64, most);
        assert!(most(48).is_ok() && most(47).is_err());
    }

    #[test]
    fn refuses_shapes_that_the_file_cannot_hold() {
        for shape in ["(18446744073709551615, 2)", "(1000000000000,)", "(3,)", "(-1,)", "(x,)"] {
            let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
            assert!(parse(&npy(&dict, &[0; 8])).is_err(), "{shape}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("sepal-npz-{}.npz", std::process::id()));
        let arrays = vec![
            ("a/b:0".to_owned(), Array { shape: vec![2, 3], values: vec![1.0, -2.0, 3.0, 0.5, f32::MIN_POSITIVE, 9.0] }),
            ("one".to_owned(), Array { shape: vec![1], values: vec![4.0] }),
            ("scalar".to_owned(), Array { shape: vec![], values: vec![5.0] }),
        ];
        write_npz(&path, &arrays).unwrap();
        let first = std::fs::read(&path).unwrap();
        assert_eq!(read_npz(&path).unwrap(), arrays.iter().cloned().collect::<Arrays>());
        write_npz(&path, &arrays).unwrap();
        assert_eq!(first, std::fs::read(&path).unwrap(), "the same arrays give the same bytes");
        std::fs::remove_file(&path).unwrap();
    }

    /// An array of so many zeros of one byte, which is unpacked to four.
    fn packed(elements: usize) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a.npy", SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated)).unwrap();
        let dict = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({elements},), }}");
        zip.write_all(&npy(&dict, &vec![0; elements])).unwrap();
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn archives_that_unpack_beyond_measure_are_refused() {
        let all = parse_npz(Cursor::new(packed(1 << 20))).unwrap();
        assert_eq!(all["a"].values.len(), 1 << 20);
        let refused = parse_npz(Cursor::new(packed((FREE_ELEMENTS + (1 << 20)) as usize))).unwrap_err();
        assert!(refused.contains("are read"), "{refused}");
    }

    #[test]
    fn damaged_members_of_an_archive_are_refused() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a.npy", SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored)).unwrap();
        zip.write_all(&npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", &[1, 2, 3])).unwrap();
        let mut bytes = zip.finish().unwrap().into_inner();
        assert_eq!(parse_npz(Cursor::new(bytes.clone())).unwrap()["a"].values, [1.0, 2.0, 3.0]);
        let at = bytes.windows(3).position(|w| w == [1, 2, 3]).unwrap();
        bytes[at + 1] ^= 8;
        let refused = parse_npz(Cursor::new(bytes)).unwrap_err();
        assert!(refused.contains("damaged"), "{refused}");
    }

    /// A directory with an entry for the same bytes under each of some names.
    #[test]
    fn members_of_an_archive_do_not_share_bytes() {
        let one = packed(1 << 16);
        let at = |signature: &[u8]| one.windows(4).rposition(|w| w == signature).unwrap();
        let (directory, end) = (at(b"PK\x01\x02"), at(b"PK\x05\x06"));
        let several = |count: u16| {
            let mut bytes = one[..directory].to_vec();
            for i in 0..count {
                let mut entry = one[directory..end].to_vec();
                let name = entry.windows(5).position(|w| w == b"a.npy").unwrap();
                entry[name] = b'a' + i as u8;
                bytes.extend(entry);
            }
            let len = bytes.len() - directory;
            let mut last = one[end..].to_vec();
            last[8..10].copy_from_slice(&count.to_le_bytes());
            last[10..12].copy_from_slice(&count.to_le_bytes());
            last[12..16].copy_from_slice(&(len as u32).to_le_bytes());
            bytes.extend(last);
            parse_npz(Cursor::new(bytes))
        };
        assert_eq!(several(1).unwrap().len(), 1);
        let refused = several(20).unwrap_err();
        assert!(refused.contains("shorter than its members"), "{refused}");
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse_npz(std::io::Cursor::new(bytes.clone()));
            let mut with_magic = b"\x93NUMPY\x01\x00".to_vec();
            with_magic.extend(bytes);
            let _ = parse(&with_magic);
        }

        #[test]
        fn any_header_gives_an_answer(dict in "[{]'descr': '[<>|]?[fiub]?[0-9]{0,2}', 'fortran_order': (True|False), 'shape': [(][0-9, ]{0,30}[)]") {
            let _ = parse(&npy(&dict, &[0; 16]));
        }
    }
}

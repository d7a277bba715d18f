//! The flatbuffer wire format, read in place.
//!
//! A table is a position with a little list of offsets, one per field, of which any may be missing. Every offset is checked against
//! the bytes at hand before it is followed, nothing is copied, and nothing recurses: a reader of a table in a table asks for it.

use crate::import::fail::Fail;
use std::fmt;
use std::ops::Range;

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireError {
    /// An offset leads out of the file.
    Outside,
    /// A list of field offsets that is shorter than its own header.
    Fields,
    /// A name that is not UTF-8.
    Utf8,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => write!(f, "an offset leads out of the file"),
            Self::Fields => write!(f, "a table has an impossible list of fields"),
            Self::Utf8 => write!(f, "a name is not UTF-8"),
        }
    }
}

impl From<WireError> for Fail {
    fn from(e: WireError) -> Self {
        Self::Invalid(e.to_string())
    }
}

type Wire<T> = Result<T, WireError>;

/// A number of the wire.
pub(super) trait Scalar: Copy {
    /// Bytes of it.
    const SIZE: usize;
    /// From exactly that many bytes.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! scalars {
    ($($ty:ty),*) => {
        $(impl Scalar for $ty {
            const SIZE: usize = size_of::<$ty>();
            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$ty>()];
                own.copy_from_slice(bytes);
                <$ty>::from_le_bytes(own)
            }
        })*
    };
}

scalars!(u8, i8, u16, i32, u32, i64, u64, f32);

fn scalar<T: Scalar>(bytes: &[u8], at: usize) -> Wire<T> {
    let end = at.checked_add(T::SIZE).ok_or(WireError::Outside)?;
    bytes.get(at..end).map(T::read).ok_or(WireError::Outside)
}

/// Follows the unsigned offset at a position.
fn follow(bytes: &[u8], at: usize) -> Wire<usize> {
    let offset = scalar::<u32>(bytes, at)? as usize;
    at.checked_add(offset).filter(|&to| to < bytes.len()).ok_or(WireError::Outside)
}

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offsets of the fields, two bytes each.
    fields: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table that a file begins with.
    pub(super) fn root(bytes: &'a [u8]) -> Wire<Self> {
        Self::new(bytes, follow(bytes, 0)?)
    }

    fn new(bytes: &'a [u8], at: usize) -> Wire<Self> {
        let back = i64::from(scalar::<i32>(bytes, at)?);
        let list = usize::try_from(at as i64 - back).map_err(|_| WireError::Outside)?;
        let len = usize::from(scalar::<u16>(bytes, list)?);
        // The list counts its own length and that of the table.
        if len < 4 || len % 2 != 0 {
            return Err(WireError::Fields);
        }
        let end = list.checked_add(len).ok_or(WireError::Outside)?;
        let fields = bytes.get(list + 4..end).ok_or(WireError::Outside)?;
        Ok(Self { bytes, at, fields })
    }

    /// Where a field lies, if it is there.
    fn field(&self, n: usize) -> Option<usize> {
        let offset = self.fields.get(2 * n..2 * n + 2).map(u16::read)?;
        (offset != 0).then(|| self.at + usize::from(offset))
    }

    /// A number; fields that hold the default are left out.
    pub(super) fn get<T: Scalar>(&self, n: usize, default: T) -> Wire<T> {
        self.field(n).map_or(Ok(default), |at| scalar(self.bytes, at))
    }

    pub(super) fn flag(&self, n: usize) -> Wire<bool> {
        Ok(self.get(n, 0u8)? != 0)
    }

    pub(super) fn table(&self, n: usize) -> Wire<Option<Table<'a>>> {
        self.field(n).map(|at| Self::new(self.bytes, follow(self.bytes, at)?)).transpose()
    }

    /// Where a vector of elements of `size` bytes lies; nowhere if it is not there.
    fn elements(&self, n: usize, size: usize) -> Wire<Range<usize>> {
        let Some(at) = self.field(n) else { return Ok(0..0) };
        let at = follow(self.bytes, at)?;
        let len = (scalar::<u32>(self.bytes, at)? as usize).checked_mul(size).ok_or(WireError::Outside)?;
        let end = (at + 4).checked_add(len).filter(|&end| end <= self.bytes.len()).ok_or(WireError::Outside)?;
        Ok(at + 4..end)
    }

    /// The bytes of a vector of bytes; empty if it is not there.
    pub(super) fn bytes(&self, n: usize) -> Wire<&'a [u8]> {
        Ok(&self.bytes[self.elements(n, 1)?])
    }

    /// A vector of numbers; empty if it is not there.
    pub(super) fn list<T: Scalar>(&self, n: usize) -> Wire<impl ExactSizeIterator<Item = T> + use<'a, T>> {
        Ok(self.bytes[self.elements(n, T::SIZE)?].chunks_exact(T::SIZE).map(T::read))
    }

    pub(super) fn str(&self, n: usize) -> Wire<&'a str> {
        std::str::from_utf8(self.bytes(n)?).map_err(|_| WireError::Utf8)
    }

    /// A vector of tables; empty if it is not there.
    pub(super) fn tables(&self, n: usize) -> Wire<Vec<Table<'a>>> {
        self.elements(n, 4)?.step_by(4).map(|at| Self::new(self.bytes, follow(self.bytes, at)?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with a byte, an int, nothing, a string and a list of two empty tables.
    fn file() -> Vec<u8> {
        let mut b = vec![];
        let u32s = |b: &mut Vec<u8>, v: u32| b.extend(v.to_le_bytes());
        u32s(&mut b, 20); // 0: the root
        b.extend([14, 0, 20, 0, 4, 0, 8, 0, 0, 0, 12, 0, 16, 0, 0, 0]); // 4: offsets of five fields
        u32s(&mut b, 16); // 20: the table, its list 16 bytes before
        b.extend([7, 0, 0, 0]); // 24
        b.extend((-5i32).to_le_bytes()); // 28
        u32s(&mut b, 8); // 32: the string at 40
        u32s(&mut b, 12); // 36: the tables at 48
        u32s(&mut b, 2); // 40
        b.extend(b"hi\0\0");
        u32s(&mut b, 2); // 48
        u32s(&mut b, 12); // 52: the table at 64
        u32s(&mut b, 8); // 56: the same
        b.extend([4, 0, 4, 0]); // 60: no fields
        u32s(&mut b, 4); // 64
        b
    }

    #[test]
    fn reads_every_kind_of_field() {
        let b = file();
        let t = Table::root(&b).unwrap();
        assert_eq!((t.get(0, 0i8), t.get(1, 0i32), t.get(2, 9i32), t.get(99, 1.5f32)), (Ok(7), Ok(-5), Ok(9), Ok(1.5)));
        assert_eq!((t.flag(0), t.flag(2), t.str(3), t.str(2)), (Ok(true), Ok(false), Ok("hi"), Ok("")));
        assert_eq!(t.list::<u8>(3).unwrap().collect::<Vec<_>>(), b"hi");
        assert_eq!(t.tables(4).unwrap().len(), 2);
        assert!(t.table(2).unwrap().is_none());
        assert_eq!(t.tables(4).unwrap()[0].get(0, 3u8), Ok(3));
    }

    #[test]
    fn no_offset_leads_out() {
        let good = file();
        let read = |b: &[u8]| -> Wire<()> {
            let t = Table::root(b)?;
            t.get(0, 0i8)?;
            t.get(1, 0i32)?;
            t.str(3)?;
            t.list::<i64>(4)?.count();
            t.tables(4)?;
            t.table(4)?;
            Ok(())
        };
        for len in 0..good.len() {
            assert!(read(&good[..len]).is_err(), "{len}");
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut b = good.clone();
                b[at] = value;
                let _ = read(&b);
                b[at..].fill(value);
                let _ = read(&b);
            }
        }
    }
}

//! The protobuf wire format, read in place.
//!
//! Every length is checked against the bytes at hand before it is used, nothing is copied, and nothing recurses: a message is
//! a flat walk over its fields, and whoever wants a nested one walks its bytes in turn.

use crate::import::MAX_NAME;
use crate::import::fail::Fail;
use std::fmt;

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireError {
    /// They end inside a field.
    Truncated,
    /// A number of more than 64 bits.
    Varint,
    /// A field number or a wire type that protobuf does not have (or the groups it no longer has).
    Tag,
    /// A field has another wire type than the schema says.
    Type(u32),
    /// A name that is not UTF-8.
    Utf8,
    /// A name of so many bytes.
    Name(usize),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the file ends inside a field"),
            Self::Varint => write!(f, "a number of more than 64 bits"),
            Self::Tag => write!(f, "an impossible field tag"),
            Self::Type(n) => write!(f, "field {n} has the wrong wire type"),
            Self::Utf8 => write!(f, "a name is not UTF-8"),
            Self::Name(len) => write!(f, "a name of {len} bytes; shorten it to {MAX_NAME}"),
        }
    }
}

impl From<WireError> for Fail {
    fn from(e: WireError) -> Self {
        Self::Invalid(e.to_string())
    }
}

/// One field as it lies in the bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    /// Integers, booleans, enums.
    Varint(u64),
    /// Doubles.
    Fixed64([u8; 8]),
    /// Strings, nested messages, packed repeated numbers.
    Bytes(&'a [u8]),
    /// Floats.
    Fixed32([u8; 4]),
}

impl<'a> Field<'a> {
    /// A signed number; protobuf writes a negative one in two's complement of 64 bits.
    pub(super) fn int(self, number: u32) -> Result<i64, WireError> {
        match self {
            Self::Varint(v) => Ok(v as i64),
            _ => Err(WireError::Type(number)),
        }
    }

    /// A float.
    pub(super) fn float(self, number: u32) -> Result<f32, WireError> {
        match self {
            Self::Fixed32(b) => Ok(f32::from_le_bytes(b)),
            _ => Err(WireError::Type(number)),
        }
    }

    /// Bytes or a nested message.
    pub(super) fn bytes(self, number: u32) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(b) => Ok(b),
            _ => Err(WireError::Type(number)),
        }
    }

    /// A name.
    pub(super) fn str(self, number: u32) -> Result<&'a str, WireError> {
        match self.bytes(number)? {
            bytes if bytes.len() > MAX_NAME => Err(WireError::Name(bytes.len())),
            bytes => std::str::from_utf8(bytes).map_err(|_| WireError::Utf8),
        }
    }

    /// Adds the numbers of a repeated integer field, packed or not.
    pub(super) fn ints(self, number: u32, out: &mut Vec<i64>) -> Result<(), WireError> {
        match self {
            Self::Varint(v) => out.push(v as i64),
            Self::Bytes(mut b) => {
                while !b.is_empty() {
                    out.push(varint(&mut b)? as i64);
                }
            }
            _ => return Err(WireError::Type(number)),
        }
        Ok(())
    }

    /// Adds the numbers of a repeated float field, packed or not.
    pub(super) fn floats(self, number: u32, out: &mut Vec<f32>) -> Result<(), WireError> {
        match self {
            Self::Fixed32(b) => out.push(f32::from_le_bytes(b)),
            Self::Bytes(b) => {
                let (chunks, rest) = b.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(WireError::Truncated);
                }
                out.extend(chunks.iter().map(|c| f32::from_le_bytes(*c)));
            }
            _ => return Err(WireError::Type(number)),
        }
        Ok(())
    }

    /// Adds the numbers of a repeated double field, packed or not.
    pub(super) fn doubles(self, number: u32, out: &mut Vec<f64>) -> Result<(), WireError> {
        match self {
            Self::Fixed64(b) => out.push(f64::from_le_bytes(b)),
            Self::Bytes(b) => {
                let (chunks, rest) = b.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(WireError::Truncated);
                }
                out.extend(chunks.iter().map(|c| f64::from_le_bytes(*c)));
            }
            _ => return Err(WireError::Type(number)),
        }
        Ok(())
    }
}

/// The fields of a message, in the order they are written. Ends after the first error.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// Walks a message.
pub(super) fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields { rest: bytes }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = field(&mut self.rest);
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<(u32, Field<'a>), WireError> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).map_err(|_| WireError::Tag)?;
    if number == 0 || number >= 1 << 29 {
        return Err(WireError::Tag);
    }
    let value = match tag & 7 {
        0 => Field::Varint(varint(rest)?),
        1 => Field::Fixed64(fixed(rest)?),
        2 => {
            let len = usize::try_from(varint(rest)?).map_err(|_| WireError::Truncated)?;
            let (head, tail) = rest.split_at_checked(len).ok_or(WireError::Truncated)?;
            *rest = tail;
            Field::Bytes(head)
        }
        5 => Field::Fixed32(fixed(rest)?),
        _ => return Err(WireError::Tag),
    };
    Ok((number, value))
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
    *rest = tail;
    Ok(*head)
}

fn varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0u64;
    for i in 0..10 {
        let (&byte, tail) = rest.split_first().ok_or(WireError::Truncated)?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return Err(WireError::Varint);
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::Varint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u32, Field<'_>)>, WireError> {
        fields(bytes).collect()
    }

    #[test]
    fn reads_every_wire_type() {
        let got = all(&[0x08, 0xac, 0x02, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f]).unwrap();
        assert_eq!(got[0], (1, Field::Varint(300)));
        assert_eq!(got[1].1.str(2), Ok("hi"));
        assert_eq!(got[2].1.float(3), Ok(1.0));
        let minus = all(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).unwrap();
        assert_eq!(minus[0].1.int(1), Ok(-1));
    }

    #[test]
    fn packed_and_single_numbers_are_the_same() {
        let (mut a, mut b) = (vec![], vec![]);
        Field::Bytes(&[1, 0xac, 2]).ints(1, &mut a).unwrap();
        Field::Varint(1).ints(1, &mut b).unwrap();
        Field::Varint(300).ints(1, &mut b).unwrap();
        assert_eq!(a, b);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(all(&[0x12, 5, b'h']), Err(WireError::Truncated));
        assert_eq!(all(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Err(WireError::Truncated));
        assert_eq!(all(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(WireError::Varint));
        assert_eq!(all(&[0x0b]), Err(WireError::Tag));
        assert_eq!(all(&[0x00, 0x00]), Err(WireError::Tag));
        assert_eq!(Field::Bytes(&[0; 3]).floats(1, &mut vec![]), Err(WireError::Truncated));
        assert_eq!(Field::Bytes(&[0xff]).str(1), Err(WireError::Utf8));
    }
}

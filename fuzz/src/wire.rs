//! Mutations of protobuf messages (ONNX) that leave all lengths right: fields change, vanish, appear twice, change places with others.

use crate::random::Random;

/// Deeper than that, bytes are bytes.
const DEPTH: usize = 12;

#[derive(Clone)]
struct Field {
    number: u64,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Varint(u64),
    /// Four bytes or eight.
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    /// Bytes that are a message, or could be one.
    Message(Vec<Field>),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take(bytes: &mut &[u8], len: usize) -> Option<Vec<u8>> {
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head.to_vec())
}

fn parse(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        // ONNX has no larger ones; text that begins with a letter is mostly refused by this.
        let number = (1..=64).contains(&(key >> 3)).then_some(key >> 3)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed(take(&mut bytes, 8)?),
            5 => Value::Fixed(take(&mut bytes, 4)?),
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                let inner = take(&mut bytes, len)?;
                match parse(&inner, depth + 1).filter(|m| depth < DEPTH && !m.is_empty()) {
                    Some(message) => Value::Message(message),
                    None => Value::Bytes(inner),
                }
            }
            _ => return None,
        };
        fields.push(Field { number, value });
    }
    Some(fields)
}

fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        let mut key = |wire: u64| put(field.number << 3 | wire, out);
        match &field.value {
            Value::Varint(value) => {
                key(0);
                put(*value, out);
            }
            Value::Fixed(bytes) => {
                key(if bytes.len() == 8 { 1 } else { 5 });
                out.extend(bytes);
            }
            Value::Bytes(bytes) => {
                key(2);
                put(bytes.len() as u64, out);
                out.extend(bytes);
            }
            Value::Message(inner) => {
                key(2);
                let mut bytes = Vec::new();
                write(inner, &mut bytes);
                put(bytes.len() as u64, out);
                out.extend(bytes);
            }
        }
    }
}

fn count(fields: &[Field]) -> usize {
    fields.iter().map(|f| 1 + if let Value::Message(m) = &f.value { count(m) } else { 0 }).sum()
}

/// Field `n` of all, in their order, with the message it is in and its place there.
fn find(fields: &mut Vec<Field>, n: &mut usize, then: &mut dyn FnMut(&mut Vec<Field>, usize)) -> bool {
    for i in 0..fields.len() {
        if *n == 0 {
            then(fields, i);
            return true;
        }
        *n -= 1;
        if let Value::Message(inner) = &mut fields[i].value
            && find(inner, n, then)
        {
            return true;
        }
    }
    false
}

/// One to three fields of a message, or what libFuzzer does to the bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    let Some(mut message) = parse(&data[..size], 0).filter(|m| !m.is_empty() && random.below(8) > 0) else {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    };
    for _ in 0..1 + random.below(3) {
        // A field from anywhere, to be put elsewhere.
        let mut other = None;
        let mut n = random.below(count(&message));
        find(&mut message, &mut n, &mut |fields, i| other = Some(fields[i].clone()));
        let mut n = random.below(count(&message));
        find(&mut message, &mut n, &mut |fields, i| match random.below(10) {
            0 => drop(fields.remove(i)),
            1 => {
                let twice = fields[i].clone();
                fields.insert(i, twice);
            }
            2 => {
                let with = random.below(fields.len());
                fields.swap(i, with);
            }
            3 => fields.extend(other.clone()),
            // The value of another field: its name, its numbers, its whole message.
            4 | 5 => fields[i].value = other.as_ref().map_or(Value::Varint(0), |f| f.value.clone()),
            6 => fields[i].number = 1 + random.below(24) as u64,
            _ => match &mut fields[i].value {
                Value::Varint(value) => *value = random.number(*value),
                Value::Fixed(bytes) => {
                    let new = random.number(0).to_le_bytes();
                    bytes.iter_mut().zip(new).for_each(|(to, from)| *to = from);
                }
                Value::Bytes(bytes) => {
                    let (len, room) = (bytes.len(), bytes.len() + 16);
                    bytes.resize(room, 0);
                    let len = libfuzzer_sys::fuzzer_mutate(bytes, len, room);
                    bytes.truncate(len);
                }
                Value::Message(inner) => inner.truncate(random.below(inner.len())),
            },
        });
        if message.is_empty() {
            break;
        }
    }
    let mut out = Vec::new();
    write(&message, &mut out);
    if out.len() > max_size {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    data[..out.len()].copy_from_slice(&out);
    out.len()
}

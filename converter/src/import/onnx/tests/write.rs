//! A writer of models, for what no exporter writes.

/// A message under construction.
#[derive(Clone, Default)]
pub(super) struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.0.push(v as u8);
    }

    pub(super) fn int(mut self, field: u32, v: i64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(v as u64);
        self
    }

    pub(super) fn bytes(mut self, field: u32, v: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(v.len() as u64);
        self.0.extend_from_slice(v);
        self
    }

    pub(super) fn text(self, field: u32, v: &str) -> Self {
        self.bytes(field, v.as_bytes())
    }

    pub(super) fn message(self, field: u32, v: &Message) -> Self {
        self.bytes(field, &v.0)
    }
}

/// An attribute of integers.
pub(super) fn ints(name: &str, values: &[i64]) -> Message {
    values.iter().fold(Message::default().text(1, name).int(20, 7), |m, &v| m.int(8, v))
}

/// An attribute of one integer.
pub(super) fn int(name: &str, value: i64) -> Message {
    Message::default().text(1, name).int(20, 2).int(3, value)
}

/// An attribute of one float.
pub(super) fn float(name: &str, value: f32) -> Message {
    let mut m = Message::default().text(1, name).int(20, 1);
    m.varint(2 << 3 | 5);
    m.0.extend_from_slice(&value.to_le_bytes());
    m
}

/// An attribute of text.
pub(super) fn text(name: &str, value: &str) -> Message {
    Message::default().text(1, name).int(20, 3).text(4, value)
}

pub(super) fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Message {
    let m = inputs.iter().fold(Message::default(), |m, i| m.text(1, i));
    let m = outputs.iter().fold(m, |m, o| m.text(2, o)).text(4, op);
    attributes.iter().fold(m, |m, a| m.message(5, a))
}

/// Floats as raw data; `dims` may lie.
pub(super) fn floats(name: &str, dims: &[i64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    dims.iter().fold(Message::default(), |m, &d| m.int(1, d)).int(2, 1).text(8, name).bytes(9, &raw)
}

/// Integers of 64 bits as raw data.
pub(super) fn int64s(name: &str, dims: &[i64], values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    dims.iter().fold(Message::default(), |m, &d| m.int(1, d)).int(2, 7).text(8, name).bytes(9, &raw)
}

/// An extent that Paddle has no name for.
pub(super) const OPEN: i64 = i64::MIN;

/// The name and shape of a float tensor; an extent below 0 has the name `d` and its number.
pub(super) fn value(name: &str, dims: &[i64]) -> Message {
    input_of(name, 1, dims)
}

/// [`value`] of another element type.
pub(super) fn input_of(name: &str, ty: i64, dims: &[i64]) -> Message {
    let mut shape = Message::default();
    for &d in dims {
        let dim = match d {
            OPEN => Message::default().text(2, "?"),
            0.. => Message::default().int(1, d),
            _ => Message::default().text(2, &format!("d{}", -d)),
        };
        shape = shape.message(1, &dim);
    }
    let tensor = Message::default().int(1, ty).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

/// A model with one input `x` of shape `[1, 2, 4, 4]`, or other `inputs`.
pub(super) fn model(opset: i64, inputs: &[Message], inits: &[Message], nodes: &[Message], outputs: &[&str]) -> Vec<u8> {
    let mut g = nodes.iter().fold(Message::default().text(2, "g"), |g, n| g.message(1, n));
    g = inits.iter().fold(g, |g, t| g.message(5, t));
    let x = [value("x", &[1, 2, 4, 4])];
    g = if inputs.is_empty() { &x } else { inputs }.iter().fold(g, |g, i| g.message(11, i));
    g = outputs.iter().fold(g, |g, o| g.message(12, &Message::default().text(1, o)));
    Message::default().int(1, 8).message(7, &g).message(8, &Message::default().int(2, opset)).0
}

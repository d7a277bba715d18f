//! The attributes of a layer.

use crate::error::{Error, Result, Unsupported, invalid};
use crate::import::shape::{MAX_RANK, MAX_STEP};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt::Write as _;

/// What Keras takes in place of 0, unless a program says otherwise.
pub(in super::super) const EPSILON: f32 = 1e-7;

/// The configuration of one layer, and what it asks for in vain.
pub(in super::super) struct Cfg<'a> {
    /// Path of the layer.
    pub path: &'a str,
    /// Keras's class name.
    pub class: &'a str,
    /// Python module of the class, or empty.
    pub module: &'a str,
    /// 1, 2 or 3.
    pub keras: u32,
    /// Whether bilinear `UpSampling2D` of Keras 2 is known to take the middles of pixels.
    pub middles: bool,
    /// The attributes.
    pub map: &'a Map<String, Value>,
    faults: RefCell<Vec<Unsupported>>,
}

impl<'a> Cfg<'a> {
    /// A configuration without faults.
    pub fn new(path: &'a str, class: &'a str, module: &'a str, keras: u32, map: &'a Map<String, Value>) -> Cfg<'a> {
        Cfg { path, class, module, keras, middles: false, map, faults: RefCell::default() }
    }

    /// What has been refused.
    pub fn into_faults(self) -> Vec<Unsupported> {
        self.faults.into_inner()
    }

    /// How much has been refused.
    pub fn faults(&self) -> usize {
        self.faults.borrow().len()
    }

    /// Records something that Sepal does not do; parsing goes on.
    pub fn refuse(&self, what: impl Into<String>, remedy: impl Into<String>) {
        let (node, kind) = (self.path.into(), self.class.into());
        self.faults.borrow_mut().push(Unsupported { node, kind, what: what.into(), remedy: remedy.into() });
    }

    /// Refuses weights that are not floats.
    pub fn refuse_quantized(&self) {
        if let Some(mode) = self.get("quantization_config").or(self.get("quantization_mode")) {
            self.refuse(format!("quantization = {}", short(mode)), "save the network with float weights");
        }
    }

    /// The error for an attribute that makes no sense.
    pub fn bad(&self, key: &str) -> Error {
        let value = self.map.get(key).map_or("missing".into(), short);
        invalid(format!("layer `{}` ({}): attribute `{key}` is {value}", self.path, self.class))
    }

    /// An attribute, `None` if it is missing or null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// A flag.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => flag(v).ok_or_else(|| self.bad(key)),
        }
    }

    /// A number, possibly wrapped as a numpy scalar.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        let Some(v) = self.get(key) else { return Ok(None) };
        match values(v) {
            Some((_, data)) if data.len() == 1 => Ok(Some(data[0])),
            _ => Err(self.bad(key)),
        }
    }

    /// A count of at least 1.
    pub fn count(&self, key: &str) -> Result<usize> {
        self.get(key).and_then(positive).ok_or_else(|| self.bad(key))
    }

    /// Two counts from a number or a list. One-dimensional layers, which run as images of one row, have a list of one and get
    /// a 1 before it.
    pub fn extents(&self, key: &str, rank: usize, default: Option<usize>) -> Result<[usize; 2]> {
        let list = match (self.get(key), default) {
            (None, default) => default.map(|d| vec![d; rank]),
            (Some(Value::Array(a)), _) => a.iter().map(step).collect(),
            (Some(v), _) => step(v).map(|n| vec![n; rank]),
        };
        match (rank, list.as_deref()) {
            (1, Some(&[n])) => Ok([1, n]),
            (2, Some(&[a, b])) => Ok([a, b]),
            (2, Some(&[n])) => Ok([n, n]),
            _ => Err(self.bad(key)),
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(v) => v.as_str().map(Some).ok_or_else(|| self.bad(key)),
        }
    }

    /// Refuses a layout other than channels last.
    pub fn channels_last(&self) -> Result<()> {
        let key = if self.map.contains_key("dim_ordering") { "dim_ordering" } else { "data_format" };
        match self.text(key)? {
            None | Some("channels_last" | "tf" | "default") => {}
            Some(other) => self.refuse(
                format!("{key} = {}", short(format_args!("{other:?}"))),
                "build the network with data_format=\"channels_last\" and copy the weights",
            ),
        }
        Ok(())
    }

    /// Whether `padding` is `same`; refuses what is neither that nor `valid`.
    pub fn padding(&self, causal: bool) -> Result<Padding> {
        let key = if self.map.contains_key("border_mode") { "border_mode" } else { "padding" };
        match self.text(key)?.unwrap_or("valid") {
            "same" => Ok(Padding::Same),
            "valid" => Ok(Padding::Valid),
            "causal" if causal => Ok(Padding::Causal),
            other => {
                self.refuse(
                    format!("{key} = {}", short(format_args!("{other:?}"))),
                    "use \"same\" or \"valid\", or an explicit padding layer",
                );
                Ok(Padding::Valid)
            }
        }
    }
}

/// How a window is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Padding {
    /// Not at all.
    Valid,
    /// So that the output has `ceil(in / stride)` positions; the odd pixel goes to the end.
    Same,
    /// So that no output sees a later input.
    Causal,
}

/// A flag, which Python takes for 0 or 1, and Keras keeps as it was given.
pub(in super::super) fn flag(v: &Value) -> Option<bool> {
    match v {
        Value::Bool(flag) => Some(*flag),
        v => [0.0, 1.0].iter().position(|&n| v.as_f64() == Some(n)).map(|n| n == 1),
    }
}

/// A number or a (nested) list of numbers, possibly wrapped as a numpy array or a tensor: its extents and its elements.
pub(in super::super) fn values(v: &Value) -> Option<(Vec<usize>, Vec<f64>)> {
    nested(v, 0)
}

/// [`values`] of a list within so many others, each of which copies it.
fn nested(v: &Value, depth: usize) -> Option<(Vec<usize>, Vec<f64>)> {
    if depth > MAX_RANK {
        return None;
    }
    match v {
        Value::Number(n) => Some((Vec::new(), vec![n.as_f64()?])),
        Value::Object(o) => {
            let inner = o.get("config").and_then(Value::as_object).unwrap_or(o);
            nested(inner.get("value").filter(|v| !v.is_object())?, depth + 1)
        }
        Value::Array(list) => {
            let mut shape = None;
            let mut data = Vec::new();
            for item in list {
                let (s, d) = nested(item, depth + 1)?;
                if shape.get_or_insert_with(|| s.clone()) != &s {
                    return None;
                }
                data.extend(d);
            }
            let mut full = vec![list.len()];
            full.extend(shape?);
            Some((full, data))
        }
        _ => None,
    }
}

/// How many parts a value has, texts by their length: the work of looking at it.
pub(in super::super) fn weight(v: &Value) -> usize {
    1 + match v {
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(key, v)| 1 + key.len() / 8 + weight(v)).sum(),
        Value::String(text) => text.len() / 8,
        _ => 0,
    }
}

/// A window's extent or step, of which the largest is far beyond any picture.
fn step(v: &Value) -> Option<usize> {
    positive(v).filter(|&n| n as i64 <= MAX_STEP)
}

fn positive(v: &Value) -> Option<usize> {
    v.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0)
}

/// A value as it goes into a message: its first characters, however long it is.
pub(in super::super) fn short(v: impl std::fmt::Display) -> String {
    /// Takes so many characters, and fails at the next one.
    struct Line {
        text: String,
        left: usize,
    }
    impl std::fmt::Write for Line {
        fn write_str(&mut self, s: &str) -> std::fmt::Result {
            for c in s.chars() {
                self.left = self.left.checked_sub(1).ok_or(std::fmt::Error)?;
                self.text.push(c);
            }
            Ok(())
        }
    }
    let mut line = Line { text: String::new(), left: 80 };
    if write!(line, "{v}").is_err() {
        line.text += "...";
    }
    line.text
}

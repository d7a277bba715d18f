//! Numbers that follow from shapes alone, as TensorFlow's functions compute them: `tf.shape` and what is made of it.
//!
//! Keras 2 writes down `tf.reshape(x, [-1, tf.shape(x)[1] * 2])` as calls of functions, as if the network computed the shape. All shapes
//! are known when it is converted, so these calls become numbers, and no nodes.
//!
//! Integers are those of `int32`; floats are rounded to f32 after each operation but for those of f64, into which TensorFlow divides
//! integers.

use super::cfg::values;
use super::function::{Bound, X, Y};
use super::slicing::{Entry, entry};
use super::{Emit, Operand, Operands};
use crate::error::Result;
use crate::import::shape;
use serde_json::{Value, json};

/// Most numbers that a call may make.
const MAX_NUMBERS: usize = 1 << 16;
/// What a number or a list of JSON costs, in elements of the budget.
const NUMBER: usize = 8;

/// What a function computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// The extents of a tensor.
    Shape,
    /// Their product.
    Size,
    /// How many there are.
    Rank,
    Same,
    Cast,
    Binary(Pair),
    Unary(One),
    /// Of all elements of a list.
    Fold(Pair),
    Stack,
    Concat,
    Reshape,
    Squeeze,
    ExpandDims,
    GetItem,
    Gather,
    Unstack,
    /// As many of a number, or of one that is given.
    Fill(Option<f64>),
    Range,
}

/// An operation on two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pair {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Max,
    Min,
}

/// An operation on a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum One {
    Negative,
    Floor,
    Ceil,
    Round,
    Sqrt,
}

/// The function of a name, without its module.
pub(super) fn named(name: &str) -> Option<Way> {
    Some(match name {
        "shape" => Way::Shape,
        "size" => Way::Size,
        "rank" => Way::Rank,
        "identity" | "stop_gradient" => Way::Same,
        "cast" => Way::Cast,
        "add" | "add_v2" => Way::Binary(Pair::Add),
        "subtract" | "sub" => Way::Binary(Pair::Sub),
        "multiply" | "mul" => Way::Binary(Pair::Mul),
        "divide" | "truediv" => Way::Binary(Pair::Div),
        "floordiv" | "floor_div" => Way::Binary(Pair::FloorDiv),
        "mod" | "floormod" => Way::Binary(Pair::Mod),
        "maximum" => Way::Binary(Pair::Max),
        "minimum" => Way::Binary(Pair::Min),
        "negative" => Way::Unary(One::Negative),
        "floor" => Way::Unary(One::Floor),
        "ceil" => Way::Unary(One::Ceil),
        "round" => Way::Unary(One::Round),
        "sqrt" => Way::Unary(One::Sqrt),
        "reduce_sum" => Way::Fold(Pair::Add),
        "reduce_prod" => Way::Fold(Pair::Mul),
        "reduce_max" => Way::Fold(Pair::Max),
        "reduce_min" => Way::Fold(Pair::Min),
        "stack" => Way::Stack,
        "concat" => Way::Concat,
        "reshape" => Way::Reshape,
        "squeeze" => Way::Squeeze,
        "expand_dims" => Way::ExpandDims,
        "getitem" => Way::GetItem,
        "gather" => Way::Gather,
        "unstack" => Way::Unstack,
        "zeros" => Way::Fill(Some(0.0)),
        "ones" => Way::Fill(Some(1.0)),
        "fill" => Way::Fill(None),
        "range" => Way::Range,
        _ => return None,
    })
}

/// The type of numbers; of two the later one is that of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Integer,
    Single,
    Double,
}

impl Kind {
    /// By TensorFlow's name, or by its number.
    fn named(name: &Value) -> Option<Kind> {
        match (name.as_str(), name.as_u64()) {
            (Some("int32" | "int64"), _) | (_, Some(3 | 9)) => Some(Kind::Integer),
            (Some("float32"), _) | (_, Some(1)) => Some(Kind::Single),
            (Some("float64"), _) | (_, Some(2)) => Some(Kind::Double),
            _ => None,
        }
    }

    /// A number as this type has it; nothing for one that it has not.
    fn round(self, n: f64) -> Option<f64> {
        let n = if self == Kind::Single { f64::from(n as f32) } else { n };
        let fits = if self == Kind::Integer { n.abs() <= f64::from(i32::MAX) && n.fract() == 0.0 } else { n.is_finite() };
        fits.then_some(n)
    }
}

/// An array.
#[derive(Clone, Debug)]
struct Numbers {
    kind: Kind,
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Numbers {
    /// As the configuration has them, or as [`write`](Self::write) has written them. A constant of Python is rounded when something is
    /// computed with it, whose type it takes.
    fn read(v: &Value) -> Option<Numbers> {
        let (shape, data) = values(v).filter(|(_, data)| data.len() <= MAX_NUMBERS)?;
        let double = v.get("config").and_then(|c| c.get("dtype")).and_then(Value::as_str) == Some("float64");
        let kind = if double { Kind::Double } else { kind(v) };
        Some(Numbers { kind, shape, data })
    }

    /// As JSON; f64 is said, since nothing else would tell.
    fn write(&self) -> Option<Value> {
        let number = |&n: &f64| {
            let n = self.kind.round(n)?;
            Some(if self.kind == Kind::Integer { Value::from(n as i64) } else { Value::from(n) })
        };
        let mut level = self.data.iter().map(number).collect::<Option<Vec<_>>>()?;
        for &extent in self.shape.iter().rev() {
            let (parts, mut all) = (level.len() / extent.max(1), level.into_iter());
            level = (0..parts).map(|_| all.by_ref().take(extent).collect()).collect();
        }
        let [only] = &level[..] else { return None };
        Some(match self.kind {
            Kind::Double => json!({ "class_name": "__numpy__", "config": { "value": only, "dtype": "float64" } }),
            _ => only.clone(),
        })
    }

    /// The numbers and lists of what is written.
    fn weight(&self) -> usize {
        let mut lists = 1;
        let all = self.shape.iter().map(|&extent| {
            lists *= extent;
            lists
        });
        1 + all.sum::<usize>()
    }

    fn integers(shape: Vec<usize>, data: &[usize]) -> Numbers {
        Numbers { kind: Kind::Integer, shape, data: data.iter().map(|&n| n as f64).collect() }
    }

    fn scalar(&self, n: f64) -> Numbers {
        Numbers { kind: self.kind, shape: Vec::new(), data: vec![n] }
    }

    fn list(&self, data: Vec<f64>) -> Numbers {
        Numbers { kind: self.kind, shape: vec![data.len()], data }
    }

    /// The elements, if they are whole and one row of them at most.
    fn extents(&self) -> Option<Vec<usize>> {
        let whole = |&n: &f64| (n >= 0.0 && n.fract() == 0.0 && n <= f64::from(i32::MAX)).then_some(n as usize);
        if self.shape.len() > 1 { None } else { self.data.iter().map(whole).collect() }
    }
}

/// The type of a number or of a nest of lists, of which the same is in all.
fn kind(v: &Value) -> Kind {
    match v {
        Value::Array(list) => list.iter().map(kind).max().unwrap_or(Kind::Integer),
        v if v.is_f64() => Kind::Single,
        _ => Kind::Integer,
    }
}

impl Pair {
    fn of(self, kind: Kind, a: f64, b: f64) -> Option<f64> {
        let (a, b) = (kind.round(a)?, kind.round(b)?);
        kind.round(match self {
            Pair::Add => a + b,
            Pair::Sub => a - b,
            Pair::Mul => a * b,
            // Of f32 the quotient in f64, rounded, is that in f32.
            Pair::Div => a / b,
            Pair::FloorDiv if kind == Kind::Integer && b != 0.0 => (a / b).floor(),
            Pair::Mod if kind == Kind::Integer && b != 0.0 => a - (a / b).floor() * b,
            // Near whole numbers TensorFlow's of floats are matters of rounding.
            Pair::FloorDiv | Pair::Mod => return None,
            Pair::Max => a.max(b),
            Pair::Min => a.min(b),
        })
    }
}

/// Whether a function tells something of a tensor without its elements.
pub(super) fn asks_shape(way: Way) -> bool {
    matches!(way, Way::Shape | Way::Size | Way::Rank)
}

/// The results of a function; nothing for what is not known here.
///
/// # Errors
/// If its arguments are none that it can have, or there are too many numbers in the network.
pub(super) fn compute(way: Way, e: &mut Emit<'_>, b: &Bound<'_>) -> Result<Option<Vec<Value>>> {
    let Some(made) = results(way, e, b)? else { return Ok(None) };
    let cost = made.iter().map(|numbers| numbers.weight() * NUMBER).sum();
    e.afford(cost)?;
    *e.budget -= cost;
    Ok(made.iter().map(Numbers::write).collect())
}

fn results(way: Way, e: &Emit<'_>, b: &Bound<'_>) -> Result<Option<Vec<Numbers>>> {
    if asks_shape(way) {
        let shape = match b.get(X, 0) {
            Some(Operand::Tensor(made)) => Some(e.shape(made.value)),
            Some(Operand::Value(v)) => values(v).map(|(shape, _)| shape),
            None => None,
        };
        let integers = b.value(e, &["out_type"], 1)?.is_none_or(|name| Kind::named(name) == Some(Kind::Integer));
        return Ok(shape.filter(|_| integers).map(|shape| {
            vec![match way {
                Way::Shape => Numbers::integers(vec![shape.len()], &shape),
                Way::Size => Numbers::integers(Vec::new(), &[shape.iter().product()]),
                _ => Numbers::integers(Vec::new(), &[shape.len()]),
            }]
        }));
    }
    let numbers = |names: &[&str], at: usize| Ok::<_, crate::Error>(b.value(e, names, at)?.and_then(Numbers::read));
    let dtype = |at: usize| Ok::<_, crate::Error>(b.value(e, &["dtype"], at)?.map(Kind::named));
    let one = |found: Option<Numbers>| found.map(|numbers| vec![numbers]);
    let axis = |at: usize| b.integers(e, &["axis"], at);
    match way {
        Way::Stack | Way::Concat => {
            // What is joined has the positions.
            let axis = axis(usize::MAX)?;
            return Ok(one(joined(b.all(), way == Way::Stack, axis.as_deref())));
        }
        Way::Fill(number) => {
            // The extents are one list, or what is left of one.
            let many = b.all().args.len() > 1;
            let dims = if many { joined(b.all(), true, None) } else { numbers(&["shape", "dims"], 0)? };
            let value = match number {
                Some(value) => {
                    dtype(1)?.unwrap_or(Some(Kind::Single)).map(|kind| Numbers { kind, shape: Vec::new(), data: vec![value] })
                }
                None => numbers(&["value"], usize::MAX)?,
            };
            return Ok(one(filled(dims, value)));
        }
        Way::Range => {
            let (start, limit, delta) = (numbers(&["start"], 0)?, numbers(&["limit"], 1)?, numbers(&["delta"], 2)?);
            let given = dtype(3)?.is_none_or(|kind| kind == Some(Kind::Integer));
            return Ok(one(range([start, limit, delta]).filter(|_| given)));
        }
        _ => {}
    }
    let Some(x) = numbers(X, 0)? else { return Ok(None) };
    let row = x.shape.len() <= 1;
    let found = match way {
        Way::Same => Some(x),
        Way::Cast => dtype(1)?.flatten().and_then(|kind| {
            let cast = |&n: &f64| kind.round(if kind == Kind::Integer { n.trunc() } else { n });
            Some(Numbers { kind, data: x.data.iter().map(cast).collect::<Option<_>>()?, shape: x.shape.clone() })
        }),
        Way::Binary(pair) => numbers(Y, 1)?.and_then(|y| binary(pair, &x, &y)),
        Way::Unary(op) => unary(op, &x),
        Way::Fold(pair) => {
            let all = axis(1)?.is_none_or(|axis| matches!(axis[..], [0 | -1])) && row && !b.flag(e, &["keepdims"], 2)?;
            let mut folded = x.data.iter().skip(1).try_fold(x.data[0], |sum, &n| pair.of(x.kind, sum, n));
            folded.take_if(|_| !all);
            folded.map(|n| x.scalar(n))
        }
        Way::Reshape => {
            let target = b.integers(e, &["shape"], 1)?.unwrap_or_default();
            shape::reshape(&x.shape, &target, true).ok().map(|shape| Numbers { shape, ..x })
        }
        Way::Squeeze => axis(1)?.is_none().then(|| Numbers { shape: x.shape.iter().copied().filter(|&d| d != 1).collect(), ..x }),
        Way::ExpandDims => match axis(1)?.as_deref() {
            Some([0]) => Some(Numbers { shape: [&[1], &x.shape[..]].concat(), ..x }),
            Some([-1]) => Some(Numbers { shape: [&x.shape[..], &[1]].concat(), ..x }),
            _ => None,
        },
        Way::GetItem => b.value(e, &["slice_spec"], 1)?.filter(|_| x.shape.len() == 1).and_then(|index| item(&x, index)),
        Way::Gather => {
            let batch = b.integers(e, &["batch_dims"], 4)?.is_some_and(|axes| axes != [0]);
            let first = axis(3)?.is_none_or(|axis| axis == [0]) && x.shape.len() == 1 && !batch;
            numbers(&["indices"], 1)?.filter(|_| first).and_then(|at| {
                // TensorFlow counts none from the end.
                let one = |&n: &f64| x.data.get(usize::try_from(n as i64).ok()?).copied();
                let data = at.data.iter().map(one).collect::<Option<_>>()?;
                (at.kind == Kind::Integer).then_some(Numbers { kind: x.kind, shape: at.shape, data })
            })
        }
        Way::Unstack => {
            let given = b.integers(e, &["num"], 1)?.is_some_and(|n| n != [x.data.len() as i64]);
            let first = axis(2)?.is_none_or(|axis| matches!(axis[..], [0 | -1])) && x.shape.len() == 1;
            return Ok((first && !given).then(|| x.data.iter().map(|&n| x.scalar(n)).collect()));
        }
        _ => None,
    };
    Ok(one(found))
}

/// Numbers side by side along a new axis, or lists one behind the other.
fn joined(all: &Operands, stack: bool, axis: Option<&[i64]>) -> Option<Numbers> {
    if !axis.is_none_or(|axis| matches!(axis, [0 | -1])) {
        return None;
    }
    let one = |operand: &Operand| if let Operand::Value(v) = operand { Numbers::read(v) } else { None };
    let parts = all.args.iter().map(one).collect::<Option<Vec<_>>>()?;
    let axes = usize::from(!stack);
    let fits = parts.iter().all(|part| part.shape.len() == axes) && !parts.is_empty();
    let kind = parts.iter().map(|part| part.kind).max()?;
    let data: Vec<f64> = parts.into_iter().flat_map(|part| part.data).collect();
    fits.then(|| Numbers { kind, shape: vec![data.len()], data })
}

fn filled(dims: Option<Numbers>, value: Option<Numbers>) -> Option<Numbers> {
    let (shape, value) = (dims?.extents()?, value?);
    let count = shape::count(&shape).filter(|n| (1..=MAX_NUMBERS).contains(n) && shape.len() <= shape::MAX_RANK)?;
    let [n] = value.data[..] else { return None };
    Some(Numbers { kind: value.kind, shape, data: vec![n; count] })
}

/// From 0 to the first number if there is no second one.
fn range([start, limit, delta]: [Option<Numbers>; 3]) -> Option<Numbers> {
    let whole = |numbers: &Numbers| {
        let n = numbers.kind.round(numbers.data[0])?;
        (numbers.kind == Kind::Integer && numbers.shape.is_empty()).then_some(n as i64)
    };
    let start = whole(&start?)?;
    let step = delta.map_or(Some(1), |delta| whole(&delta))?;
    let (start, end) = limit.map_or(Some((0, start)), |limit| Some((start, whole(&limit)?)))?;
    if step <= 0 || end <= start {
        return None;
    }
    let count = (end - start + step - 1) as usize / step as usize;
    let data: Vec<f64> = (0..count.min(MAX_NUMBERS)).map(|i| (start + i as i64 * step) as f64).collect();
    (1..=MAX_NUMBERS).contains(&count).then(|| Numbers { kind: Kind::Integer, shape: vec![count], data })
}

/// Of two of one shape, or of one with a single number.
fn binary(pair: Pair, x: &Numbers, y: &Numbers) -> Option<Numbers> {
    let single = |numbers: &Numbers| numbers.shape.is_empty();
    if x.shape != y.shape && !single(x) && !single(y) {
        return None;
    }
    // TensorFlow divides integers in f64.
    let kind = match x.kind.max(y.kind) {
        Kind::Integer if pair == Pair::Div => Kind::Double,
        kind => kind,
    };
    let at = |numbers: &Numbers, i: usize| numbers.data[if single(numbers) { 0 } else { i }];
    let shape = if single(x) { &y.shape } else { &x.shape };
    let data = (0..x.data.len().max(y.data.len())).map(|i| pair.of(kind, at(x, i), at(y, i))).collect::<Option<_>>()?;
    Some(Numbers { kind, shape: shape.clone(), data })
}

fn unary(op: One, x: &Numbers) -> Option<Numbers> {
    let of = |&n: &f64| {
        let n = x.kind.round(n)?;
        x.kind.round(match op {
            One::Negative => -n,
            One::Floor => n.floor(),
            One::Ceil => n.ceil(),
            One::Round => n.round_ties_even(),
            One::Sqrt => n.sqrt(),
        })
    };
    let data = x.data.iter().map(of).collect::<Option<_>>()?;
    (op == One::Negative || x.kind != Kind::Integer).then(|| Numbers { kind: x.kind, shape: x.shape.clone(), data })
}

/// An element of a list, or some of them.
fn item(x: &Numbers, index: &Value) -> Option<Numbers> {
    let list = index.as_array().map_or(std::slice::from_ref(index), |list| list);
    let [only] = list else { return None };
    match entry(only)? {
        Entry::At(i) => Some(x.scalar(x.data[shape::index(i, x.data.len()).ok()?])),
        Entry::Range([first, end, step]) => {
            let (start, len) = shape::slice(x.data.len(), first, end, step).ok()?;
            let at = |i: usize| usize::try_from(start + i as i64 * step).ok().and_then(|at| x.data.get(at).copied());
            (0..len).map(at).collect::<Option<_>>().map(|data| x.list(data))
        }
        Entry::Rest => Some(x.clone()),
        Entry::New => None,
    }
}

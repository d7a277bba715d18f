//! Numbers that follow from shapes alone, as TensorFlow's functions compute them: `tf.shape` and what is made of it.
//!
//! Keras 2 writes down `tf.reshape(x, [-1, tf.shape(x)[1] * 2])` as calls of functions, as if the network computed the shape. All shapes
//! are known when it is converted, so these calls become numbers, and no nodes.
//!
//! Integers are those of `int32`; floats are rounded to f32 after each operation but for those of f64, into which TensorFlow divides
//! integers.

use super::cfg::values;
use super::function::{Bound, X, Y};
use super::numbers::{Kind, MAX_NUMBERS, Numbers, One, Pair};
use super::slicing::{self, Entry};
use super::{Emit, Operand, Operands};
use crate::error::Result;
use crate::import::shape;
use serde_json::Value;

/// What a number or a list of JSON costs, in elements of the budget.
const NUMBER: usize = 8;
/// What a call costs of which nothing is made, whatever has been tried.
const REFUSED: usize = 1 << 13;
/// Most results of a call.
const MAX_RESULTS: usize = 1024;

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
    /// Of all elements along axes.
    Fold(Pair),
    Mean,
    Stack,
    Concat,
    Reshape,
    Transpose,
    Squeeze,
    ExpandDims,
    GetItem,
    Gather,
    Slice,
    StridedSlice,
    Split,
    Unstack,
    BroadcastTo,
    Tile,
    Repeat,
    Where,
    /// As many of a number, or of one that is given.
    Fill(Option<f64>),
    /// The same as an array has elements.
    Like(f64),
    Range,
    Linspace,
    Eye,
    OneHot,
    /// What lies near the diagonal, zeros elsewhere.
    Band,
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
        "pow" => Way::Binary(Pair::Pow),
        "maximum" => Way::Binary(Pair::Max),
        "minimum" => Way::Binary(Pair::Min),
        "greater" => Way::Binary(Pair::Greater),
        "greater_equal" => Way::Binary(Pair::GreaterEqual),
        "less" => Way::Binary(Pair::Less),
        "less_equal" => Way::Binary(Pair::LessEqual),
        "equal" => Way::Binary(Pair::Equal),
        "not_equal" => Way::Binary(Pair::NotEqual),
        "negative" => Way::Unary(One::Negative),
        "abs" => Way::Unary(One::Abs),
        "square" => Way::Unary(One::Square),
        "floor" => Way::Unary(One::Floor),
        "ceil" => Way::Unary(One::Ceil),
        "round" => Way::Unary(One::Round),
        "sqrt" => Way::Unary(One::Sqrt),
        "rsqrt" => Way::Unary(One::Rsqrt),
        "exp" => Way::Unary(One::Exp),
        "log" => Way::Unary(One::Log),
        "sin" => Way::Unary(One::Sin),
        "cos" => Way::Unary(One::Cos),
        "reduce_sum" => Way::Fold(Pair::Add),
        "reduce_prod" => Way::Fold(Pair::Mul),
        "reduce_max" => Way::Fold(Pair::Max),
        "reduce_min" => Way::Fold(Pair::Min),
        "reduce_mean" => Way::Mean,
        "stack" => Way::Stack,
        "concat" => Way::Concat,
        "reshape" => Way::Reshape,
        "transpose" => Way::Transpose,
        "squeeze" => Way::Squeeze,
        "expand_dims" => Way::ExpandDims,
        "getitem" => Way::GetItem,
        "gather" => Way::Gather,
        "slice" => Way::Slice,
        "strided_slice" => Way::StridedSlice,
        "split" => Way::Split,
        "unstack" => Way::Unstack,
        "broadcast_to" => Way::BroadcastTo,
        "tile" => Way::Tile,
        "repeat" => Way::Repeat,
        "where" => Way::Where,
        "zeros" => Way::Fill(Some(0.0)),
        "ones" => Way::Fill(Some(1.0)),
        "fill" => Way::Fill(None),
        "zeros_like" => Way::Like(0.0),
        "ones_like" => Way::Like(1.0),
        "range" => Way::Range,
        "linspace" => Way::Linspace,
        "eye" => Way::Eye,
        "one_hot" => Way::OneHot,
        "band_part" => Way::Band,
        _ => return None,
    })
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
    let made = results(way, &Args { e, b })?;
    let cost = made.as_ref().map_or(REFUSED, |made| made.iter().map(|numbers| numbers.weight() * NUMBER).sum());
    e.afford(cost)?;
    *e.budget -= cost;
    Ok(made.and_then(|made| made.iter().map(Numbers::write).collect()))
}

/// The arguments of a function.
struct Args<'a> {
    e: &'a Emit<'a>,
    b: &'a Bound<'a>,
}

/// An axis, which may be counted from the end.
fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    shape::axis(axis, rank).ok()
}

impl Args<'_> {
    fn numbers(&self, names: &[&str], at: usize) -> Result<Option<Numbers>> {
        Ok(self.b.value(self.e, names, at)?.and_then(Numbers::read))
    }

    /// A type, if there is none that is not known; without a word the `default`.
    fn dtype(&self, at: usize, default: Kind) -> Result<Option<Kind>> {
        Ok(self.b.value(self.e, &["dtype"], at)?.map_or(Some(default), Kind::named))
    }

    fn integers(&self, name: &str, at: usize) -> Result<Option<Vec<i64>>> {
        self.b.integers(self.e, &[name], at)
    }

    /// An axis; without a word the `default`.
    fn axis(&self, at: usize, default: i64, rank: usize) -> Result<Option<usize>> {
        Ok(axis_of(self.b.whole(self.e, &["axis"], at, default)?, rank))
    }

    /// The axes of a reduction, all of them without a word, each once, and whether they stay.
    fn reduced(&self, rank: usize) -> Result<Option<(Vec<usize>, bool)>> {
        let list = self.integers("axis", 1)?.unwrap_or_else(|| (0..rank as i64).collect());
        let keep_dims = self.b.flag(self.e, &["keepdims"], 2)?;
        let mut axes = Vec::new();
        for axis in list {
            match axis_of(axis, rank).filter(|axis| !axes.contains(axis)) {
                Some(axis) => axes.push(axis),
                None => return Ok(None),
            }
        }
        Ok(Some((axes, keep_dims)))
    }
}

fn results(way: Way, args: &Args<'_>) -> Result<Option<Vec<Numbers>>> {
    let Args { e, b } = args;
    let one = |found: Option<Numbers>| found.map(|numbers| vec![numbers]);
    match way {
        Way::Shape | Way::Size | Way::Rank => {
            let shape = match b.get(X, 0) {
                Some(Operand::Tensor(made)) => Some(e.shape(made.value)),
                Some(Operand::Value(v)) => values(v).map(|(shape, _)| shape),
                None => None,
            };
            let integers = b.value(e, &["out_type"], 1)?.is_none_or(|name| Kind::named(name) == Some(Kind::Integer));
            let told = |shape: Vec<usize>| match way {
                Way::Shape => Numbers::integers(vec![shape.len()], &shape),
                Way::Size => Numbers::integers(Vec::new(), &[shape.iter().product()]),
                _ => Numbers::integers(Vec::new(), &[shape.len()]),
            };
            return Ok(one(shape.filter(|_| integers).map(told)));
        }
        Way::Stack | Way::Concat => {
            // What is joined has the positions.
            let axis = b.whole(e, &["axis"], usize::MAX, 0)?;
            return Ok(one(joined(b.all(), way == Way::Stack, axis)));
        }
        Way::Fill(number) => {
            // The extents are one list, or what is left of one; the type has a name.
            let many = b.all().args.len() > 1;
            let dims = if many { joined(b.all(), true, 0) } else { args.numbers(&["shape", "dims"], 0)? };
            let value = match number {
                Some(value) => {
                    args.dtype(usize::MAX, Kind::Single)?.map(|kind| Numbers { kind, shape: Vec::new(), data: vec![value] })
                }
                None => args.numbers(&["value"], usize::MAX)?.filter(|value| value.data.len() == 1),
            };
            let filled = dims.and_then(|dims| Numbers { shape: Vec::new(), ..value? }.broadcast(&dims.extents()?));
            return Ok(one(filled));
        }
        Way::Range => {
            let all = [args.numbers(&["start"], 0)?, args.numbers(&["limit"], 1)?, args.numbers(&["delta"], 2)?];
            let kind = args.dtype(3, Kind::Integer)?;
            return Ok(one(range(all).and_then(|range| range.cast(kind?))));
        }
        Way::Linspace => {
            let (start, stop) = (args.numbers(&["start"], 0)?, args.numbers(&["stop"], 1)?);
            let (num, first) = (args.numbers(&["num"], 2)?, args.axis(4, 0, 1)? == Some(0));
            return Ok(one(first.then(|| linspace(start?, stop?, num?.whole()?)).flatten()));
        }
        Way::Eye => {
            let rows = args.numbers(&["num_rows"], 0)?.and_then(|n| n.whole());
            let columns = args.numbers(&["num_columns"], 1)?.map_or(rows, |n| n.whole());
            let kind = args.dtype(3, Kind::Single)?;
            return Ok(one(rows.zip(columns).and_then(|size| ones_where(&[size.0, size.1], kind?, |i, j| i == j))));
        }
        _ => {}
    }
    let Some(x) = args.numbers(if way == Way::Where { &["condition"] } else { X }, 0)? else { return Ok(None) };
    let rank = x.shape.len();
    let all_axes = |list: &[i64], rank: usize| list.iter().map(|&axis| axis_of(axis, rank)).collect::<Option<Vec<_>>>();
    let extents = |list: Option<Vec<i64>>| list?.into_iter().map(|n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>();
    Ok(one(match way {
        Way::Same => Some(x),
        Way::Cast => b.value(e, &["dtype"], 1)?.and_then(Kind::named).and_then(|kind| x.cast(kind)),
        Way::Binary(pair) => args.numbers(Y, 1)?.and_then(|y| x.binary(pair, &y)),
        Way::Unary(op) => x.unary(op),
        Way::Fold(pair) => args.reduced(rank)?.and_then(|(axes, keep)| x.fold(pair, &axes, keep)),
        Way::Mean => args.reduced(rank)?.filter(|_| x.kind.is_float()).and_then(|(axes, keep)| {
            let terms = axes.iter().map(|&axis| x.shape[axis]).product::<usize>();
            let count = Numbers { kind: x.kind, shape: Vec::new(), data: vec![terms as f64] };
            x.fold(Pair::Add, &axes, keep)?.binary(Pair::Div, &count)
        }),
        Way::Reshape => {
            let target = args.integers("shape", 1)?.unwrap_or_default();
            shape::reshape(&x.shape, &target, true).ok().map(|shape| Numbers { shape, ..x })
        }
        Way::Transpose => match args.integers("perm", 1)? {
            None => x.transpose(&(0..rank).rev().collect::<Vec<_>>()),
            Some(list) => all_axes(&list, rank).and_then(|perm| x.transpose(&perm)),
        },
        Way::Squeeze => {
            let ones = || (0..rank).filter(|&axis| x.shape[axis] == 1).map(|axis| axis as i64).collect();
            let list = args.integers("axis", 1)?.unwrap_or_else(ones);
            all_axes(&list, rank).filter(|axes| axes.iter().all(|&axis| x.shape[axis] == 1)).map(|axes| Numbers {
                shape: (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| x.shape[axis]).collect(),
                ..x
            })
        }
        Way::ExpandDims => args.axis(1, 0, rank + 1)?.and_then(|axis| x.expanded(axis)),
        // `x[None]` says nothing else.
        Way::GetItem => x.item(b.value(e, &["slice_spec"], 1)?.unwrap_or(&Value::Null)),
        Way::Gather => {
            let (at, axis) = (args.numbers(&["indices"], 1)?, args.axis(3, 0, rank)?);
            let batch = args.integers("batch_dims", 4)?.is_some_and(|axes| axes != [0]);
            at.filter(|at| !batch && !at.kind.is_float()).and_then(|at| x.gather(&at, axis?))
        }
        Way::Slice => {
            let (start, size) = (extents(args.integers("begin", 1)?), args.integers("size", 2)?);
            start.zip(size).and_then(|(start, size)| {
                // -1 is TensorFlow's word for all that is left.
                let len = |(axis, &n): (usize, &i64)| {
                    if n == -1 { x.shape.get(axis)?.checked_sub(*start.get(axis)?) } else { usize::try_from(n).ok() }
                };
                let to = size.iter().enumerate().map(len).collect::<Option<Vec<_>>>()?;
                x.part(&start, to)
            })
        }
        Way::StridedSlice => {
            let (begin, end) = (args.integers("begin", 1)?.unwrap_or_default(), args.integers("end", 2)?.unwrap_or_default());
            let steps = args.integers("strides", 3)?.unwrap_or_else(|| vec![1; begin.len()]);
            let one = |((&start, &stop), &step): ((&i64, &i64), &i64)| Entry::Range([start, stop, step]);
            let index: Vec<Entry> = begin.iter().zip(&end).zip(&steps).map(one).collect();
            if index.len() == begin.len() && end.len() == begin.len() { x.at(index) } else { None }
        }
        Way::Split => {
            let axis = args.axis(2, 0, rank)?;
            let count = b.value(e, &["num_or_size_splits"], 1)?.and_then(Value::as_i64);
            let list = args.integers("num_or_size_splits", 1)?.unwrap_or_default();
            return Ok(axis.filter(|_| count.is_none_or(|n| n <= MAX_RESULTS as i64) && list.len() <= MAX_RESULTS).and_then(
                |axis| {
                    let lens =
                        count.map_or_else(|| slicing::sizes(x.shape[axis], &list), |count| slicing::equal(x.shape[axis], count))?;
                    let mut start = vec![0; rank];
                    let part = |len: usize| {
                        let mut to = x.shape.clone();
                        to[axis] = len;
                        let part = x.part(&start, to);
                        start[axis] += len;
                        part
                    };
                    lens.into_iter().map(part).collect()
                },
            ));
        }
        Way::Unstack => {
            let axis = args.axis(2, 0, rank)?;
            let given = args.integers("num", 1)?;
            let few = |axis: &usize| x.shape[*axis] <= MAX_RESULTS;
            return Ok(axis.filter(few).filter(|&axis| given.is_none_or(|n| n == [x.shape[axis] as i64])).and_then(|axis| {
                let one = |i: usize| {
                    let before = (0..axis).map(|_| Entry::Range([0, i64::MAX, 1]));
                    x.at(before.chain([Entry::At(i as i64)]).collect())
                };
                (0..x.shape[axis]).map(one).collect()
            }));
        }
        Way::BroadcastTo => extents(args.integers("shape", 1)?).and_then(|to| x.broadcast(&to)),
        Way::Tile => extents(args.integers("multiples", 1)?).and_then(|times| x.tile(&times)),
        Way::Repeat => {
            let (times, axis) = (args.numbers(&["repeats"], 1)?.and_then(|n| n.whole()), args.integers("axis", 2)?);
            let times = times.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
            match axis.as_deref() {
                Some(&[axis]) => times.zip(axis_of(axis, rank)).and_then(|(times, axis)| x.repeat(times, axis)),
                _ => None,
            }
        }
        Way::Where => args.numbers(&["x"], 1)?.zip(args.numbers(&["y"], 2)?).and_then(|(yes, no)| x.choose(&yes, &no)),
        Way::Like(number) => {
            let kind = args.dtype(1, x.kind)?;
            kind.and_then(|kind| Numbers { kind, shape: Vec::new(), data: vec![number] }.broadcast(&x.shape))
        }
        Way::OneHot => {
            let (depth, kind) = (args.numbers(&["depth"], 1)?.and_then(|n| n.whole()), args.dtype(5, Kind::Single)?);
            let last = args.integers("axis", 4)?.is_none_or(|axis| axis == [-1]);
            let plain = [("on_value", 2, 1.0), ("off_value", 3, 0.0)];
            let mut usual = last && !x.kind.is_float();
            for (name, at, value) in plain {
                usual &= b.number(e, &[name], at)?.is_none_or(|n| n == value);
            }
            let depth = depth.and_then(|n| usize::try_from(n).ok()).filter(|n| usual && (1..=MAX_NUMBERS).contains(n));
            depth.and_then(|n| {
                let places = Numbers::integers(vec![n], &(0..n).collect::<Vec<_>>());
                x.expanded(rank)?.binary(Pair::Equal, &places)?.cast(kind?)
            })
        }
        Way::Band => {
            let bounds = [args.numbers(&["num_lower"], 1)?, args.numbers(&["num_upper"], 2)?].map(|n| n.and_then(|n| n.whole()));
            match (&x.shape[..], bounds) {
                (&[.., rows, columns], [Some(lower), Some(upper)]) => {
                    let near = |i: i64, j: i64| (lower < 0 || i - j <= lower) && (upper < 0 || j - i <= upper);
                    ones_where(&[rows as i64, columns as i64], x.kind, near).and_then(|band| x.binary(Pair::Mul, &band))
                }
                _ => None,
            }
        }
        _ => None,
    }))
}

/// Numbers side by side along a new axis, or one behind the other along one that they have.
fn joined(all: &Operands, stack: bool, axis: i64) -> Option<Numbers> {
    let one = |operand: &Operand| if let Operand::Value(v) = operand { Numbers::read(v) } else { None };
    let mut parts = all.args.iter().map(one).collect::<Option<Vec<_>>>()?;
    let rank = parts.first()?.shape.len() + usize::from(stack);
    let axis = axis_of(axis, rank)?;
    if stack {
        parts = parts.into_iter().map(|part| part.expanded(axis)).collect::<Option<_>>()?;
    }
    Numbers::concat(&parts, axis)
}

/// From 0 to the first number if there is no second one.
fn range([start, limit, delta]: [Option<Numbers>; 3]) -> Option<Numbers> {
    let whole = |numbers: Numbers| numbers.whole().filter(|_| numbers.shape.is_empty());
    let start = whole(start?)?;
    let step = delta.map_or(Some(1), whole)?;
    let (start, end) = limit.map_or(Some((0, start)), |limit| Some((start, whole(limit)?)))?;
    if step <= 0 || end <= start {
        return None;
    }
    let count = (end - start + step - 1) as usize / step as usize;
    let data: Vec<f64> = (0..count.min(MAX_NUMBERS)).map(|i| (start + i as i64 * step) as f64).collect();
    (count <= MAX_NUMBERS).then(|| Numbers { kind: Kind::Integer, shape: vec![count], data })
}

/// So many floats at equal distances, of which the last is `stop`.
fn linspace(start: Numbers, stop: Numbers, num: i64) -> Option<Numbers> {
    let kind = start.kind.max(stop.kind);
    let ([first], [last]) = (&start.data[..], &stop.data[..]) else { return None };
    let count = usize::try_from(num).ok().filter(|n| (1..=MAX_NUMBERS).contains(n))?;
    let (first, last) = (kind.round(*first)?, kind.round(*last)?);
    let step = kind.round(kind.round(last - first)? / (count - 1).max(1) as f64)?;
    let one = |i: usize| if i > 0 && i + 1 == count { Some(last) } else { kind.round(first + kind.round(step * i as f64)?) };
    let data = (0..count).map(one).collect::<Option<_>>()?;
    (kind.is_float() && start.shape.is_empty() && stop.shape.is_empty()).then(|| Numbers { kind, shape: vec![count], data })
}

/// A matrix of ones and zeros.
fn ones_where(size: &[i64; 2], kind: Kind, one: impl Fn(i64, i64) -> bool) -> Option<Numbers> {
    let [rows, columns] = *size;
    let shape = size.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>()?;
    shape::count(&shape).filter(|n| (1..=MAX_NUMBERS).contains(n))?;
    let data = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| f64::from(u8::from(one(i, j)))).collect();
    Some(Numbers { kind, shape, data })
}

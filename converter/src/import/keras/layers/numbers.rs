//! Arrays of numbers as numpy has them, for what is computed when a network is converted.

use super::cfg::values;
use super::slicing::{Entry, entry};
use crate::import::shape;
use serde_json::{Value, json};

/// Most numbers of an array.
pub(super) const MAX_NUMBERS: usize = 1 << 16;

/// The type of numbers; of two the later one is that of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// 0 and 1.
    Truth,
    /// Of 32 bits.
    Integer,
    Single,
    Double,
}

impl Kind {
    /// By TensorFlow's name, or by its number.
    pub fn named(name: &Value) -> Option<Kind> {
        match (name.as_str(), name.as_u64()) {
            (Some("bool"), _) | (_, Some(10)) => Some(Kind::Truth),
            (Some("int32" | "int64"), _) | (_, Some(3 | 9)) => Some(Kind::Integer),
            (Some("float32"), _) | (_, Some(1)) => Some(Kind::Single),
            (Some("float64"), _) | (_, Some(2)) => Some(Kind::Double),
            _ => None,
        }
    }

    /// Whether it has more than whole numbers.
    pub fn is_float(self) -> bool {
        self >= Kind::Single
    }

    /// A number as this type has it; nothing for one that it has not.
    pub fn round(self, n: f64) -> Option<f64> {
        let n = if self == Kind::Single { f64::from(n as f32) } else { n };
        let fits = if self.is_float() { n.is_finite() } else { n.abs() <= f64::from(i32::MAX) && n.fract() == 0.0 };
        fits.then_some(n)
    }

    /// A number of any type as this one has it.
    fn cast(self, n: f64) -> Option<f64> {
        match self {
            Kind::Truth => Some(f64::from(u8::from(n != 0.0))),
            Kind::Integer => self.round(n.trunc()),
            _ => self.round(n),
        }
    }
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
    Pow,
    Max,
    Min,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Equal,
    NotEqual,
}

impl Pair {
    /// Whether the result is true or false.
    fn compares(self) -> bool {
        matches!(self, Pair::Greater | Pair::GreaterEqual | Pair::Less | Pair::LessEqual | Pair::Equal | Pair::NotEqual)
    }

    /// Of numbers of this type.
    fn of(self, kind: Kind, a: f64, b: f64) -> Option<f64> {
        let (a, b) = (kind.round(a)?, kind.round(b)?);
        let truth = |truth: bool| f64::from(u8::from(truth));
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
            Pair::Pow if kind.is_float() || b >= 0.0 => a.powf(b),
            Pair::Pow => return None,
            Pair::Max => a.max(b),
            Pair::Min => a.min(b),
            Pair::Greater => truth(a > b),
            Pair::GreaterEqual => truth(a >= b),
            Pair::Less => truth(a < b),
            Pair::LessEqual => truth(a <= b),
            Pair::Equal => truth(a == b),
            Pair::NotEqual => truth(a != b),
        })
    }
}

/// An operation on a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum One {
    Negative,
    Abs,
    Square,
    Floor,
    Ceil,
    Round,
    Sqrt,
    Rsqrt,
    Exp,
    Log,
    Sin,
    Cos,
}

/// An array.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub kind: Kind,
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// How far apart the elements are that follow each other along each axis.
fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// The type of a number or of a nest of lists, of which the same is in all.
fn kind(v: &Value) -> Kind {
    match v {
        Value::Array(list) => list.iter().map(kind).max().unwrap_or(Kind::Integer),
        v if v.is_f64() => Kind::Single,
        _ => Kind::Integer,
    }
}

impl Numbers {
    /// As the configuration has them, or as [`write`](Self::write) has written them. A constant of Python is rounded when something is
    /// computed with it, whose type it takes.
    pub fn read(v: &Value) -> Option<Numbers> {
        let (shape, data) = values(v).filter(|(_, data)| data.len() <= MAX_NUMBERS)?;
        let said = v.get("config").and_then(|c| c.get("dtype")).and_then(Kind::named);
        Some(Numbers { kind: said.unwrap_or_else(|| kind(v)), shape, data })
    }

    /// As JSON; f64 and truth values are said, since nothing else would tell.
    pub fn write(&self) -> Option<Value> {
        let number = |&n: &f64| {
            let n = self.kind.round(n)?;
            Some(if self.kind.is_float() { Value::from(n) } else { Value::from(n as i64) })
        };
        let mut level = self.data.iter().map(number).collect::<Option<Vec<_>>>()?;
        for &extent in self.shape.iter().rev() {
            let (parts, mut all) = (level.len() / extent.max(1), level.into_iter());
            level = (0..parts).map(|_| all.by_ref().take(extent).collect()).collect();
        }
        let [only] = &level[..] else { return None };
        let said = match self.kind {
            Kind::Double => "float64",
            Kind::Truth => "bool",
            _ => return Some(only.clone()),
        };
        Some(json!({ "class_name": "__numpy__", "config": { "value": only, "dtype": said } }))
    }

    /// The numbers and lists of what is written.
    pub fn weight(&self) -> usize {
        let mut lists = 1;
        let all = self.shape.iter().map(|&extent| {
            lists *= extent;
            lists
        });
        1 + all.sum::<usize>()
    }

    /// Whole numbers.
    pub fn integers(shape: Vec<usize>, data: &[usize]) -> Numbers {
        Numbers { kind: Kind::Integer, shape, data: data.iter().map(|&n| n as f64).collect() }
    }

    /// The elements, if they are whole and one row of them at most.
    pub fn extents(&self) -> Option<Vec<usize>> {
        let whole = |&n: &f64| (n >= 0.0 && n.fract() == 0.0 && n <= f64::from(i32::MAX)).then_some(n as usize);
        if self.shape.len() > 1 { None } else { self.data.iter().map(whole).collect() }
    }

    /// The only element, if it is whole.
    pub fn whole(&self) -> Option<i64> {
        match self.data[..] {
            [n] if !self.kind.is_float() => self.kind.round(n).map(|n| n as i64),
            _ => None,
        }
    }

    /// An array of this shape, each of whose elements is the one at the place that is said for its own.
    fn pick(&self, shape: Vec<usize>, place: impl Fn(&[usize]) -> usize) -> Option<Numbers> {
        let count = shape::count(&shape).filter(|n| (1..=MAX_NUMBERS).contains(n) && shape.len() <= shape::MAX_RANK)?;
        let mut at = vec![0; shape.len()];
        let mut data = Vec::with_capacity(count);
        for _ in 0..count {
            data.push(*self.data.get(place(&at))?);
            for axis in (0..at.len()).rev() {
                at[axis] += 1;
                if at[axis] < shape[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
        Some(Numbers { kind: self.kind, shape, data })
    }

    /// As many axes as there are, an extent of 1 made any other.
    pub fn broadcast(&self, to: &[usize]) -> Option<Numbers> {
        let fits = shape::broadcast(&self.shape, to).is_ok_and(|both| both == to);
        let (steps, ahead) = (strides(&self.shape), to.len().checked_sub(self.shape.len()).filter(|_| fits)?);
        self.pick(to.to_vec(), |at| {
            (0..self.shape.len()).filter(|&axis| self.shape[axis] != 1).map(|axis| at[ahead + axis] * steps[axis]).sum()
        })
    }

    /// The axes in another order.
    pub fn transpose(&self, perm: &[usize]) -> Option<Numbers> {
        let steps = strides(&self.shape);
        let to = perm.iter().map(|&axis| self.shape.get(axis).copied()).collect::<Option<Vec<_>>>()?;
        let whole = perm.len() == self.shape.len() && (0..perm.len()).all(|axis| perm.contains(&axis));
        self.pick(to, |at| at.iter().zip(perm).map(|(i, &axis)| i * steps[axis]).sum()).filter(|_| whole)
    }

    /// Each axis so many times.
    pub fn tile(&self, times: &[usize]) -> Option<Numbers> {
        if times.len() != self.shape.len() {
            return None;
        }
        let to = self.shape.iter().zip(times).map(|(d, n)| d.checked_mul(*n)).collect::<Option<Vec<_>>>()?;
        let steps = strides(&self.shape);
        self.pick(to, |at| (0..at.len()).map(|axis| at[axis] % self.shape[axis] * steps[axis]).sum())
    }

    /// Each element along an axis so many times.
    pub fn repeat(&self, times: usize, axis: usize) -> Option<Numbers> {
        let (mut to, steps) = (self.shape.clone(), strides(&self.shape));
        to[axis] = to[axis].checked_mul(times)?;
        self.pick(to, |at| (0..at.len()).map(|a| if a == axis { at[a] / times } else { at[a] } * steps[a]).sum())
    }

    /// Along each axis so many elements from a place on.
    pub fn part(&self, start: &[usize], to: Vec<usize>) -> Option<Numbers> {
        let rank = self.shape.len();
        let fits = start.len() == rank && to.len() == rank && (0..rank).all(|a| start[a] + to[a] <= self.shape[a]);
        let steps = strides(&self.shape);
        if !fits { None } else { self.pick(to, |at| (0..rank).map(|a| (start[a] + at[a]) * steps[a]).sum()) }
    }

    /// The elements at indices along an axis; none is counted from the end.
    pub fn gather(&self, at: &Numbers, axis: usize) -> Option<Numbers> {
        let extent = self.shape[axis];
        let indices = at.data.iter().map(|&n| (n >= 0.0 && n < extent as f64).then_some(n as usize)).collect::<Option<Vec<_>>>()?;
        let (behind, rank) = (axis + at.shape.len(), at.shape.len());
        let to = [&self.shape[..axis], &at.shape, &self.shape[axis + 1..]].concat();
        let (steps, rows) = (strides(&self.shape), strides(&at.shape));
        self.pick(to, |place| {
            let row: usize = (0..rank).map(|a| place[axis + a] * rows[a]).sum();
            let before: usize = (0..axis).map(|a| place[a] * steps[a]).sum();
            let after: usize = (behind..place.len()).map(|a| place[a] * steps[axis + 1 + a - behind]).sum();
            before + indices[row] * steps[axis] + after
        })
    }

    /// `x[index]`.
    pub fn item(&self, index: &Value) -> Option<Numbers> {
        let list = index.as_array().map_or(std::slice::from_ref(index), |list| list);
        self.at(list.iter().map(entry).collect::<Option<_>>()?)
    }

    /// The elements that the entries of an index name.
    pub fn at(&self, mut entries: Vec<Entry>) -> Option<Numbers> {
        let named = entries.iter().filter(|one| matches!(one, Entry::At(_) | Entry::Range(_))).count();
        let rest = self.shape.len().checked_sub(named)?;
        if !entries.iter().any(|one| matches!(one, Entry::Rest)) {
            entries.push(Entry::Rest);
        }
        let steps = strides(&self.shape);
        // Where the first element is, and how far apart those of each new axis are.
        let (mut axis, mut first, mut to, mut apart) = (0, 0, Vec::new(), Vec::new());
        for one in entries {
            match one {
                Entry::New => {
                    to.push(1);
                    apart.push(0);
                }
                Entry::Rest => {
                    to.extend(self.shape.get(axis..axis + rest)?);
                    apart.extend(steps[axis..axis + rest].iter().map(|&step| step as i64));
                    axis += rest;
                }
                Entry::At(i) => {
                    first += (shape::index(i, *self.shape.get(axis)?).ok()? * steps[axis]) as i64;
                    axis += 1;
                }
                Entry::Range([from, end, step]) => {
                    let (start, len) = shape::slice(*self.shape.get(axis)?, from, end, step).ok()?;
                    first += start * steps[axis] as i64;
                    to.push(len);
                    apart.push(step.checked_mul(steps[axis] as i64)?);
                    axis += 1;
                }
            }
        }
        self.pick(to, |at| {
            let place = at.iter().zip(&apart).fold(first, |place, (&i, step)| place.wrapping_add((i as i64).wrapping_mul(*step)));
            usize::try_from(place).unwrap_or(usize::MAX)
        })
    }

    /// Everything along axes made one number.
    pub fn fold(&self, pair: Pair, axes: &[usize], keep_dims: bool) -> Option<Numbers> {
        let steps = strides(&self.shape);
        let kept: Vec<usize> = (0..self.shape.len()).map(|a| if axes.contains(&a) { 1 } else { self.shape[a] }).collect();
        let over: Vec<usize> = axes.iter().map(|&a| self.shape[a]).collect();
        let terms = shape::count(&over)?;
        let inner = strides(&over);
        // The places of the first of each sum, and how far from there the others are.
        let places = Numbers::integers(self.shape.clone(), &(0..self.data.len()).collect::<Vec<_>>());
        let starts = places.pick(kept.clone(), |at| at.iter().zip(&steps).map(|(i, step)| i * step).sum())?;
        let away = |t: usize| (0..axes.len()).map(|a| t / inner[a] % over[a] * steps[axes[a]]).sum::<usize>();
        let one = |&start: &f64| {
            let term = |t: usize| self.data[start as usize + away(t)];
            (1..terms).try_fold(term(0), |sum, t| pair.of(self.kind, sum, term(t)))
        };
        let data = starts.data.iter().map(one).collect::<Option<_>>()?;
        let to = (0..kept.len()).filter(|a| keep_dims || !axes.contains(a)).map(|a| kept[a]).collect();
        Some(Numbers { kind: self.kind, shape: to, data })
    }

    /// Each element as another type has it.
    pub fn cast(&self, kind: Kind) -> Option<Numbers> {
        let data = self.data.iter().map(|&n| kind.cast(n)).collect::<Option<_>>()?;
        Some(Numbers { kind, shape: self.shape.clone(), data })
    }

    pub fn unary(&self, op: One) -> Option<Numbers> {
        let of = |&n: &f64| {
            let n = self.kind.round(n)?;
            self.kind.round(match op {
                One::Negative => -n,
                One::Abs => n.abs(),
                One::Square => n * n,
                One::Floor => n.floor(),
                One::Ceil => n.ceil(),
                One::Round => n.round_ties_even(),
                One::Sqrt => n.sqrt(),
                One::Rsqrt => 1.0 / n.sqrt(),
                One::Exp => n.exp(),
                One::Log => n.ln(),
                One::Sin => n.sin(),
                One::Cos => n.cos(),
            })
        };
        let whole = matches!(op, One::Negative | One::Abs | One::Square) && self.kind == Kind::Integer;
        let data = self.data.iter().map(of).collect::<Option<_>>()?;
        (whole || self.kind.is_float()).then(|| Numbers { kind: self.kind, shape: self.shape.clone(), data })
    }

    /// Of two whose shapes fit.
    pub fn binary(&self, pair: Pair, other: &Numbers) -> Option<Numbers> {
        let shape = shape::broadcast(&self.shape, &other.shape).ok()?;
        let (x, y) = (self.broadcast(&shape)?, other.broadcast(&shape)?);
        // TensorFlow divides integers in f64.
        let kind = match x.kind.max(y.kind) {
            Kind::Integer if pair == Pair::Div => Kind::Double,
            Kind::Truth if !pair.compares() => return None,
            kind => kind,
        };
        let data = x.data.iter().zip(&y.data).map(|(&x, &y)| pair.of(kind, x, y)).collect::<Option<_>>()?;
        Some(Numbers { kind: if pair.compares() { Kind::Truth } else { kind }, shape, data })
    }

    /// The elements of one where this is true, those of the other elsewhere.
    pub fn choose(&self, yes: &Numbers, no: &Numbers) -> Option<Numbers> {
        let shape = shape::broadcast(&shape::broadcast(&self.shape, &yes.shape).ok()?, &no.shape).ok()?;
        let (truth, yes, no) = (self.broadcast(&shape)?, yes.broadcast(&shape)?, no.broadcast(&shape)?);
        let data = (0..truth.data.len()).map(|i| if truth.data[i] != 0.0 { yes.data[i] } else { no.data[i] }).collect();
        (self.kind == Kind::Truth).then(|| Numbers { kind: yes.kind.max(no.kind), shape, data })
    }

    /// Arrays one behind the other along an axis.
    pub fn concat(parts: &[Numbers], axis: usize) -> Option<Numbers> {
        let first = parts.first()?;
        let fits = |part: &Numbers| {
            part.shape.len() == first.shape.len() && (0..first.shape.len()).all(|a| a == axis || part.shape[a] == first.shape[a])
        };
        if axis >= first.shape.len() || !parts.iter().all(fits) {
            return None;
        }
        let total: usize = parts.iter().map(|part| part.data.len()).sum();
        let inner: usize = first.shape[axis + 1..].iter().product();
        let outer: usize = first.shape[..axis].iter().product();
        if total > MAX_NUMBERS {
            return None;
        }
        let mut data = Vec::with_capacity(total);
        for i in 0..outer {
            for part in parts {
                let len = part.shape[axis] * inner;
                data.extend(&part.data[i * len..(i + 1) * len]);
            }
        }
        let mut shape = first.shape.clone();
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        Some(Numbers { kind: parts.iter().map(|part| part.kind).max()?, shape, data })
    }

    /// With an axis of one element more.
    pub fn expanded(mut self, axis: usize) -> Option<Numbers> {
        (axis <= self.shape.len() && self.shape.len() < shape::MAX_RANK).then(|| {
            self.shape.insert(axis, 1);
            self
        })
    }
}

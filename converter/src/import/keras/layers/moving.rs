//! Functions that move elements, repeat them or sum them up along an axis, or take nothing but a tensor's shape.

use super::Emit;
use super::activation::axis_of;
use super::function::Bound;
use super::shape::transpose;
use super::slicing;
use crate::error::Result;
use crate::import::parts::{MAX_PIECES, Part, whole};
use crate::import::shape::broadcast;
use crate::ir::{Op, ValueId};

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// What leaves an axis at one end comes in at the other.
    Roll,
    /// The last element first, along an axis or those that are named.
    Flip(Option<i64>),
    /// What lies on one side of a diagonal, and nothing but where that is all.
    Triangle {
        lower: bool,
    },
    Tile,
    /// Each element, one behind the other.
    Repeat,
    /// A quarter of a turn, several times.
    Rot90,
    /// A part of this size.
    Cut,
    SwapAxes,
    MoveAxis,
    BroadcastTo,
    /// As many of a number, or of one that is given.
    Fill(Option<f32>),
    CumSum,
    /// Nothing but along an axis of one element, of which it gives the element, or its place.
    OfOne(Gives),
}

/// What is made of an axis of one element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gives {
    Element,
    /// The same, of what goes through all axes where none is named.
    Product,
    /// The place of each, which is 0.
    Places,
    /// The place of the one that is looked for, without the axis.
    Place,
}

/// The function of a name in snake case, without its module.
pub(super) fn named(name: &str, keras: u32) -> Option<Way> {
    Some(match name {
        "roll" => Way::Roll,
        "flip" | "reverse" | "reverse_v2" => Way::Flip(None),
        "flipud" if keras >= 3 => Way::Flip(Some(0)),
        "fliplr" if keras >= 3 => Way::Flip(Some(1)),
        "tril" if keras >= 3 => Way::Triangle { lower: true },
        "triu" if keras >= 3 => Way::Triangle { lower: false },
        "tile" => Way::Tile,
        // TensorFlow has others of the names, of pictures and of rows.
        "repeat" if keras >= 3 => Way::Repeat,
        "rot90" if keras >= 3 => Way::Rot90,
        "slice" => Way::Cut,
        "swapaxes" => Way::SwapAxes,
        "moveaxis" => Way::MoveAxis,
        "broadcast_to" => Way::BroadcastTo,
        "zeros_like" => Way::Fill(Some(0.0)),
        "ones_like" => Way::Fill(Some(1.0)),
        "full_like" if keras >= 3 => Way::Fill(None),
        "cumsum" => Way::CumSum,
        "cumprod" => Way::OfOne(Gives::Product),
        "sort" => Way::OfOne(Gives::Element),
        "argsort" => Way::OfOne(Gives::Places),
        "argmax" | "argmin" | "arg_max" | "arg_min" => Way::OfOne(Gives::Place),
        _ => return None,
    })
}

/// Appends as many of a number as a shape has elements.
pub(super) fn filled(e: &mut Emit<'_>, number: f32, shape: &[usize]) -> Result<ValueId> {
    let one = e.constant(&number.to_string(), &[1], vec![number])?;
    let op = if shape.is_empty() { Op::Reshape } else { Op::Broadcast };
    e.node("", op, &[one], shape)
}

impl Way {
    /// Whether integers stay as they are.
    pub(super) fn keeps(self) -> bool {
        !matches!(self, Way::Fill(None) | Way::CumSum | Way::OfOne(_))
    }

    pub(super) fn emit(self, e: &mut Emit<'_>, b: &Bound<'_>, x: ValueId) -> Result<ValueId> {
        let shape = e.shape(x);
        let axes = |e: &Emit<'_>, list: Vec<i64>| list.into_iter().map(|a| axis_of(e, a, shape.len())).collect::<Result<Vec<_>>>();
        let missing = |e: &Emit<'_>, what: &str| e.unsupported(format!("no `{what}`"), "give it as numbers");
        match self {
            Way::Roll => {
                let mut by = b.integers(e, &["shift"], 1)?.ok_or_else(|| missing(e, "shift"))?;
                let axes = match b.integers(e, &["axis"], 2)? {
                    Some(list) => axes(e, list)?,
                    // Through all of the elements, as if there were one axis.
                    None => {
                        let (row, len, _) = flat(e, x, None, None)?;
                        let by = by.iter().fold(0, |sum: i64, n| sum.wrapping_add(n % len[0].max(1) as i64));
                        let y = slicing::roll(e, "rolled", row, 0, by)?;
                        return if y == x { Ok(x) } else { e.node("", Op::Reshape, &[y], &shape) };
                    }
                };
                if by.len() == 1 && axes.len() <= MAX_PIECES {
                    by = vec![by[0]; axes.len()];
                }
                if axes.len() != by.len() || by.len() > MAX_PIECES {
                    return Err(e.invalid(format!("{} shifts along {} axes", by.len(), axes.len())));
                }
                let mut y = x;
                for (i, (axis, by)) in axes.into_iter().zip(by).enumerate() {
                    y = slicing::roll(e, &i.to_string(), y, axis, by)?;
                }
                Ok(y)
            }
            Way::Triangle { lower } => {
                let diagonal = b.whole(e, &["k"], 1, 0)?;
                let &[.., rows, columns] = &shape[..] else { return Err(e.invalid("takes matrices")) };
                // Of a matrix all of whose elements lie there nothing is made 0.
                let all = if lower { diagonal >= columns as i64 - 1 } else { diagonal <= 1 - rows as i64 };
                if all { Ok(x) } else { Err(e.unsupported("a part of a matrix", "multiply it with a constant of ones and zeros")) }
            }
            Way::Flip(axis) => {
                let named = match axis {
                    Some(axis) => Some(vec![axis]),
                    None => b.integers(e, &["axis"], 1)?,
                };
                let list = named.unwrap_or_else(|| (0..shape.len() as i64).collect());
                let mut parts = whole(&shape);
                for axis in axes(e, list)? {
                    parts[axis] = (shape[axis] as i64 - 1, shape[axis], -1);
                }
                slicing::part(e, "", x, parts)
            }
            Way::Tile => {
                let repeats = b.integers(e, &["repeats", "multiples"], 1)?.ok_or_else(|| missing(e, "repeats"))?;
                let Some(ahead) = shape.len().checked_sub(repeats.len()) else {
                    return Err(e.unsupported(format!("repeats {repeats:?} of {shape:?}"), "use Reshape before"));
                };
                let (mut y, mut dims) = (x, shape.clone());
                for (axis, times) in repeats.into_iter().enumerate().map(|(i, n)| (ahead + i, n)).filter(|(_, n)| *n != 1) {
                    let Some(times) = usize::try_from(times).ok().filter(|n| (1..=MAX_PIECES).contains(n)) else {
                        return Err(e.unsupported(format!("{times} repetitions"), format!("repeat at most {MAX_PIECES} times")));
                    };
                    dims[axis] = dims[axis].saturating_mul(times);
                    y = e.node(&format!("{axis}"), Op::Concat { axis }, &vec![y; times], &dims)?;
                }
                Ok(y)
            }
            Way::SwapAxes => {
                let one = |e: &Emit<'_>, what, i| match b.integers(e, &[what], i)?.as_deref() {
                    Some(&[axis]) => axis_of(e, axis, shape.len()),
                    _ => Err(missing(e, what)),
                };
                let (first, second) = (one(e, "axis1", 1)?, one(e, "axis2", 2)?);
                let mut perm: Vec<usize> = (0..shape.len()).collect();
                perm.swap(first, second);
                transpose(e, x, perm)
            }
            Way::MoveAxis => {
                let from = b.integers(e, &["source"], 1)?.ok_or_else(|| missing(e, "source"))?;
                let to = b.integers(e, &["destination"], 2)?.ok_or_else(|| missing(e, "destination"))?;
                if from.len() != to.len() || from.len() > shape.len() {
                    return Err(e.invalid(format!("{} axes to {} places", from.len(), to.len())));
                }
                let mut places: Vec<(usize, usize)> = axes(e, to)?.into_iter().zip(axes(e, from)?).collect();
                places.sort_unstable();
                if places.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                    return Err(e.invalid("several axes are moved to one place"));
                }
                let mut perm: Vec<usize> = (0..shape.len()).filter(|a| places.iter().all(|(_, from)| from != a)).collect();
                for (to, from) in places {
                    perm.insert(to.min(perm.len()), from);
                }
                transpose(e, x, perm)
            }
            Way::BroadcastTo => {
                let to = b.integers(e, &["shape"], 1)?.ok_or_else(|| missing(e, "shape"))?;
                let dims: Option<Vec<usize>> = to.iter().map(|&d| usize::try_from(d).ok().filter(|&d| d > 0)).collect();
                let fits = |dims: &Vec<usize>| broadcast(&shape, dims).is_ok_and(|both| both == *dims);
                match dims.filter(fits) {
                    Some(dims) if dims == shape => Ok(x),
                    Some(dims) => e.node("", Op::Broadcast, &[x], &dims),
                    None => Err(e.invalid(format!("{shape:?} cannot become {to:?}"))),
                }
            }
            Way::Repeat => {
                let counts = b.integers(e, &["repeats"], 1)?.ok_or_else(|| missing(e, "repeats"))?;
                let (x, shape, axis) = flat(e, x, b.integers(e, &["axis"], 2)?, None)?;
                match counts[..] {
                    [1] => Ok(x),
                    [count] if count > 1 => {
                        let (before, rest) = (&shape[..=axis], &shape[axis + 1..]);
                        let y = e.node("apart", Op::Reshape, &[x], &[before, &[1], rest].concat())?;
                        let y = e.node("repeated", Op::Broadcast, &[y], &[before, &[count as usize], rest].concat())?;
                        let mut to = shape.clone();
                        to[axis] = to[axis].saturating_mul(count as usize);
                        e.node("", Op::Reshape, &[y], &to)
                    }
                    _ if counts.len() == shape[axis] && counts.iter().all(|n| (0..=1 << 16).contains(n)) => {
                        if counts.iter().sum::<i64>() > 1 << 16 {
                            return Err(e.unsupported("so many repetitions", "repeat each element as often"));
                        }
                        let each = counts.iter().enumerate().flat_map(|(i, &n)| std::iter::repeat_n(i as i64, n as usize));
                        slicing::listed(e, x, axis, &each.collect::<Vec<_>>())
                    }
                    _ => Err(e.invalid(format!("{} repetitions of {shape:?} along axis {axis}", counts.len()))),
                }
            }
            Way::Rot90 => {
                let times = b.integers(e, &["k"], 1)?.map_or(1, |k| k.first().map_or(1, |k| k.rem_euclid(4)));
                let plane = axes(e, b.integers(e, &["axes"], 2)?.unwrap_or_else(|| vec![0, 1]))?;
                let [first, second] = plane[..] else { return Err(e.invalid("a turn takes two axes")) };
                if first == second {
                    return Err(e.invalid("a turn takes two axes"));
                }
                match times {
                    0 => Ok(x),
                    1 => {
                        let mut parts = whole(&shape);
                        parts[second] = (shape[second] as i64 - 1, shape[second], -1);
                        let y = slicing::part(e, "flipped", x, parts)?;
                        let mut perm: Vec<usize> = (0..shape.len()).collect();
                        perm.swap(first, second);
                        transpose(e, y, perm)
                    }
                    // TensorFlow's backend gives something else than the others.
                    _ => Err(e.unsupported(format!("{times} quarters of a turn"), "use flip and transpose")),
                }
            }
            Way::Cut => {
                let starts = b.integers(e, &["start_indices", "begin", "start"], 1)?.ok_or_else(|| missing(e, "start_indices"))?;
                let sizes = b.integers(e, &["shape", "size"], 2)?.ok_or_else(|| missing(e, "shape"))?;
                let wrong = || e.invalid(format!("{sizes:?} elements from {starts:?} on, of {shape:?}"));
                if starts.len() != shape.len() || sizes.len() != shape.len() {
                    return Err(wrong());
                }
                let part = |((&start, &size), &extent): ((&i64, &i64), &usize)| {
                    let rest = extent.checked_sub(usize::try_from(start).ok()?)?;
                    // TensorFlow's word for all that is left.
                    let size = if size == -1 && old(e) { rest } else { usize::try_from(size).ok()? };
                    (size > 0 && size <= rest).then_some((start, size, 1))
                };
                let parts: Option<Vec<Part>> = starts.iter().zip(&sizes).zip(&shape).map(part).collect();
                let parts = parts.ok_or_else(wrong)?;
                slicing::part(e, "", x, parts)
            }
            Way::Fill(number) => {
                let given = if number.is_none() { b.number(e, &["fill_value"], 1)? } else { number };
                let number = given.ok_or_else(|| missing(e, "fill_value"))?;
                b.floats(e, usize::MAX)?;
                filled(e, number, &shape)
            }
            Way::CumSum => {
                let (x, _, axis) = flat(e, x, b.integers(e, &["axis"], 1)?, old(e).then_some(0))?;
                b.floats(e, usize::MAX)?;
                let (exclusive, reverse) = (b.flag(e, &["exclusive"], 2)?, b.flag(e, &["reverse"], 3)?);
                slicing::running_sum(e, x, axis, exclusive, reverse)
            }
            Way::OfOne(gives) => {
                // Of all elements, along the first axis, or along the last.
                let default = match gives {
                    Gives::Place | Gives::Product => old(e).then_some(0),
                    Gives::Element | Gives::Places => (!b.is_null("axis")).then_some(-1),
                };
                let rank = shape.len();
                let list = b.integers(e, &["axis", "dimension"], 1)?;
                let (x, shape, axis) = flat(e, x, list, default)?;
                b.ignore(&["direction", "stable", "output_type"]);
                b.floats(e, usize::MAX)?;
                if b.flag(e, &["exclusive"], usize::MAX)? || shape[axis] != 1 {
                    let what = format!("its {} elements along axis {axis}, which it would compare or multiply", shape[axis]);
                    return Err(e.unsupported(what, "cut the graph before it with `--outputs`"));
                }
                match gives {
                    Gives::Element | Gives::Product => Ok(x),
                    Gives::Places => filled(e, 0.0, &shape),
                    Gives::Place => {
                        let mut to = shape;
                        match b.flag(e, &["keepdims"], 2)? {
                            true => to.resize(rank, 1),
                            false => _ = to.remove(axis),
                        }
                        filled(e, 0.0, &to)
                    }
                }
            }
        }
    }
}

/// Whether a function is one of TensorFlow, called in Keras 2.
fn old(e: &Emit<'_>) -> bool {
    matches!(e.kind, "TFOpLambda" | "TensorFlowOpLayer")
}

/// A tensor with its shape and an axis of it; where there is none, of all its elements in one row.
fn flat(e: &mut Emit<'_>, x: ValueId, axis: Option<Vec<i64>>, default: Option<i64>) -> Result<(ValueId, Vec<usize>, usize)> {
    let shape = e.shape(x);
    match axis.or_else(|| default.map(|axis| vec![axis])).as_deref() {
        Some(&[axis]) => Ok((x, shape.clone(), axis_of(e, axis, shape.len())?)),
        Some(other) => Err(e.invalid(format!("`axis` is {other:?}"))),
        None => {
            let all = e.check(&shape)?;
            let row = if shape.len() == 1 { x } else { e.node("row", Op::Reshape, &[x], &[all])? };
            Ok((row, vec![all], 0))
        }
    }
}

//! Functions that move elements, repeat them, or take nothing but a tensor's shape.

use super::Emit;
use super::activation::axis_of;
use super::function::Bound;
use super::shape::transpose;
use super::slicing;
use crate::error::Result;
use crate::import::parts::{MAX_PIECES, whole};
use crate::ir::{Op, ValueId};
use std::sync::Arc;

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// What leaves an axis at one end comes in at the other.
    Roll,
    /// The last element first.
    Flip,
    Tile,
    SwapAxes,
    MoveAxis,
    BroadcastTo,
    /// As many of a number.
    Fill(f32),
}

/// The function of a name in snake case, without its module.
pub(super) fn named(name: &str) -> Option<Way> {
    Some(match name {
        "roll" => Way::Roll,
        "flip" | "reverse" | "reverse_v2" => Way::Flip,
        "tile" => Way::Tile,
        "swapaxes" => Way::SwapAxes,
        "moveaxis" => Way::MoveAxis,
        "broadcast_to" => Way::BroadcastTo,
        "zeros_like" => Way::Fill(0.0),
        "ones_like" => Way::Fill(1.0),
        _ => return None,
    })
}

impl Way {
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
                    None if by.iter().all(|&n| n == 0) => return Ok(x),
                    None => return Err(missing(e, "axis")),
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
            Way::Flip => {
                let list = b.integers(e, &["axis"], 1)?.unwrap_or_else(|| (0..shape.len() as i64).collect());
                let mut parts = whole(&shape);
                for axis in axes(e, list)? {
                    parts[axis] = (shape[axis] as i64 - 1, shape[axis], -1);
                }
                slicing::part(e, x, parts)
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
                let fits = |dims: &Vec<usize>| {
                    let ahead = dims.len().checked_sub(shape.len());
                    ahead.is_some_and(|ahead| shape.iter().zip(&dims[ahead..]).all(|(&from, &to)| from == to || from == 1))
                };
                match dims.filter(fits) {
                    Some(dims) if dims == shape => Ok(x),
                    Some(dims) => e.node("", Op::Broadcast, &[x], &dims),
                    None => Err(e.invalid(format!("{shape:?} cannot become {to:?}"))),
                }
            }
            Way::Fill(number) => {
                let one = e.graph.constant(format!("{}/{number}", e.path), &[1], Arc::new(vec![number]));
                e.node("", Op::Broadcast, &[one], &shape)
            }
        }
    }
}

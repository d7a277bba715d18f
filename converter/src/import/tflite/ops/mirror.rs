//! MIRROR_PAD: a border that mirrors what lies inside, with or without the outermost element. A mirrored edge is a join of slices
//! of one element each, last first; borders are a few pixels wide.

use super::fail::{Res, bad, unsupported};
use super::gather::take;
use super::pieces::{edges, join};
use super::schema::options::MIRROR_PAD_MODE;
use super::{Ctx, Values};
use crate::import::parts::{MAX_PIECES, cut};
use crate::ir::ValueId;

pub(super) fn mirror_pad(cx: &mut Ctx<'_, '_>) -> Values {
    let mut x = cx.value(0)?;
    // In REFLECT mode (0) the outermost element is the mirror, in SYMMETRIC mode (1) it is mirrored too.
    let offset = match cx.choice(MIRROR_PAD_MODE)? {
        0 => 1,
        1 => 0,
        other => return bad(format!("mode is {other}")),
    };
    let rank = cx.shape(x).len();
    let edges = edges(cx, rank)?;
    let last = edges.iter().rposition(|&e| e != (0, 0));
    for (axis, (before, after)) in edges.into_iter().enumerate().filter(|(_, e)| *e != (0, 0)) {
        let extent = cx.shape(x)[axis];
        if before.max(after) + offset > extent {
            return bad(format!("a border of {before} and {after} around {extent}"));
        }
        if before + after > MAX_PIECES && cx.b.graph.data(x).is_none() {
            return unsupported(format!("a border of {before} and {after}"), format!("pad at most {MAX_PIECES} pixels"));
        }
        if cx.b.graph.data(x).is_some() {
            let mirrored =
                (0..before).rev().map(|i| i + offset).chain(0..extent).chain((0..after).map(|i| extent - 1 - offset - i));
            cx.b.budget.pay(before + extent + after)?;
            x = take(cx, "", x, axis, &mirrored.map(|i| i as i64).collect::<Vec<_>>())?;
            continue;
        }
        let mut parts = vec![];
        for i in (0..before).rev() {
            parts.push(element(cx, x, axis, i + offset, parts.len())?);
        }
        parts.push(x);
        for i in 0..after {
            parts.push(element(cx, x, axis, extent - 1 - offset - i, parts.len())?);
        }
        let suffix = if Some(axis) == last { String::new() } else { format!("axis{axis}") };
        x = join(cx, &suffix, &parts, axis)?;
    }
    Ok(vec![x])
}

/// One index of an axis.
fn element(cx: &mut Ctx<'_, '_>, x: ValueId, axis: usize, index: usize, number: usize) -> Res<ValueId> {
    let mut part: Vec<_> = cx.shape(x).iter().map(|&d| (0, d, 1)).collect();
    part[axis] = (index as i64, 1, 1);
    cut(cx, &format!("axis{axis}/{number}"), x, &part)
}

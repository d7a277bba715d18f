//! MaxPool and AveragePool.

use super::super::fail::{Res, unsupported};
use super::super::node::Ctx;
use super::Values;
use super::window::{from_nhwc, geometry, image, kernel, span, spatial, to_nhwc};
use crate::ir::{Op, Pads, PoolKind};

/// Only the first output; the order of the indices in the second does not matter then.
pub(super) fn max(cx: &mut Ctx<'_, '_, '_>) -> Values {
    cx.ignore(&["storage_order"]);
    pool(cx, |_, _| Ok(PoolKind::Max))
}

pub(super) fn average(cx: &mut Ctx<'_, '_, '_>) -> Values {
    pool(cx, |cx, counted| {
        let padded = counted != Pads::default();
        Ok(if cx.flag("count_include_pad", false)? && padded { PoolKind::AverageWithPad { counted } } else { PoolKind::Average })
    })
}

fn pool(cx: &mut Ctx<'_, '_, '_>, kind: fn(&Ctx<'_, '_, '_>, Pads) -> Res<PoolKind>) -> Values {
    let x = cx.runtime(0)?;
    let (n, c, hw, axes) = image(&cx.shape(x))?;
    let k = kernel(cx, axes, None)?;
    let s = spatial(cx, axes)?;
    let ceil = cx.flag("ceil_mode", false)?;
    let g = geometry(&s, hw, k, ceil)?;
    for i in 0..2 {
        let span = span(k[i], s.dilation[i]);
        let (before, after) = ([g.explicit.top, g.explicit.left][i], [g.explicit.bottom, g.explicit.right][i]);
        if before >= span || after >= span {
            return unsupported(format!("pads {before} and {after} of a window of {span}"), "pad less than the window is wide");
        }
    }
    let kind = kind(cx, g.explicit)?;
    let nhwc = to_nhwc(cx, x)?;
    let op = Op::Pool { kind, window: g.window, residual: false };
    let y = cx.emit("", op, &[nhwc], &[n, g.out[0], g.out[1], c])?;
    Ok(vec![from_nhwc(cx, y, axes)?])
}

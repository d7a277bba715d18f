//! Einsum of one or two tensors.

use super::super::fail::Res;
use super::super::node::Ctx;
use super::Values;
use crate::import::einsum;

pub(super) fn einsum(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let values = (0..cx.inputs.len()).map(|i| cx.runtime(i)).collect::<Res<Vec<_>>>()?;
    let text = cx.string("equation", "")?.to_string();
    Ok(vec![einsum::einsum(cx, &text, values)?])
}

//! Sums of products along axes, as products of matrices: Einsum of one or two tensors, and running sums.

use super::super::consts::sums::{Equation, equation};
use super::super::fail::{Res, unsupported};
use super::super::node::Ctx;
use super::Values;
use crate::ir::{Op, ReduceKind, ValueId};

const REMEDY: &str = "write it as transposes and a MatMul";

/// The axes in another order, if it is another.
fn turned(cx: &mut Ctx<'_, '_, '_>, suffix: &str, x: ValueId, perm: Vec<usize>) -> Res<ValueId> {
    if perm.iter().copied().eq(0..perm.len()) {
        return Ok(x);
    }
    let xs = cx.shape(x);
    let dims: Vec<usize> = perm.iter().map(|&p| xs[p]).collect();
    cx.emit(suffix, Op::Transpose { perm }, &[x], &dims)
}

fn formed(cx: &mut Ctx<'_, '_, '_>, suffix: &str, x: ValueId, dims: &[usize]) -> Res<ValueId> {
    if cx.shape(x) == dims { Ok(x) } else { cx.emit(suffix, Op::Reshape, &[x], dims) }
}

/// An operand with its letters.
struct Term {
    value: ValueId,
    letters: Vec<char>,
}

impl Term {
    fn has(&self, c: char) -> bool {
        self.letters.contains(&c)
    }

    /// The axes that these letters name, then those of others.
    fn order(&self, groups: [&[char]; 3]) -> Vec<usize> {
        groups.concat().iter().filter_map(|c| self.letters.iter().position(|l| l == c)).collect()
    }

    fn extents(&self, cx: &Ctx<'_, '_, '_>, letters: &[char]) -> Vec<usize> {
        let dims = cx.shape(self.value);
        letters.iter().filter_map(|c| self.letters.iter().position(|l| l == c)).map(|a| dims[a]).collect()
    }
}

pub(super) fn einsum(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let values = (0..cx.inputs.len()).map(|i| cx.runtime(i)).collect::<Res<Vec<_>>>()?;
    let ranks: Vec<usize> = values.iter().map(|&v| cx.b.graph.shape(v).len()).collect();
    let text = cx.string("equation", "")?.to_string();
    let Equation { inputs, output } = equation(&text, &ranks)?;
    let mut terms = vec![];
    for (value, letters) in values.into_iter().zip(inputs) {
        if letters.iter().enumerate().any(|(i, c)| letters[..i].contains(c)) {
            return unsupported(format!("equation {text:?}, with a diagonal"), REMEDY);
        }
        terms.push(Term { value, letters });
    }
    // What only one of them has and nobody wants is summed up at once.
    for i in 0..terms.len() {
        let alone = |c: &char| !output.contains(c) && terms.iter().enumerate().all(|(j, t)| j == i || !t.has(*c));
        let gone: Vec<char> = terms[i].letters.iter().copied().filter(alone).collect();
        if gone.is_empty() {
            continue;
        }
        let term = &terms[i];
        let axes: Vec<usize> = (0..term.letters.len()).filter(|&a| gone.contains(&term.letters[a])).collect();
        let dims = cx.shape(term.value);
        let rest: Vec<usize> = (0..dims.len()).filter(|a| !axes.contains(a)).map(|a| dims[a]).collect();
        let op = Op::Reduce { kind: ReduceKind::Sum, axes, keep_dims: false };
        let value = cx.emit(&format!("sum {i}"), op, &[term.value], &rest)?;
        let letters = term.letters.iter().copied().filter(|c| !gone.contains(c)).collect();
        terms[i] = Term { value, letters };
    }
    match &terms[..] {
        [x] => {
            let perm = x.order([&output, &[], &[]]);
            Ok(vec![turned(cx, "", x.value, perm)?])
        }
        [a, b] => product(cx, a, b, &output).map(|y| vec![y]),
        _ => unsupported(format!("equation {text:?} of {} tensors", terms.len()), REMEDY),
    }
}

fn product(cx: &mut Ctx<'_, '_, '_>, a: &Term, b: &Term, output: &[char]) -> Res<ValueId> {
    let pick = |f: &dyn Fn(char) -> bool| output.iter().copied().filter(|&c| f(c)).collect::<Vec<char>>();
    let batch = pick(&|c| a.has(c) && b.has(c));
    let rows = pick(&|c| a.has(c) && !b.has(c));
    let columns = pick(&|c| !a.has(c) && b.has(c));
    let summed: Vec<char> = a.letters.iter().copied().filter(|c| !output.contains(c)).collect();
    for c in batch.iter().chain(&summed) {
        let (x, y) = (a.extents(cx, &[*c]), b.extents(cx, &[*c]));
        if x != y {
            return unsupported(format!("extents {x:?} and {y:?} of one letter"), "expand the tensors before");
        }
    }
    let size = |cx: &Ctx<'_, '_, '_>, t: &Term, letters: &[char]| t.extents(cx, letters).iter().product::<usize>();
    let lead = if batch.is_empty() { vec![] } else { vec![size(cx, a, &batch)] };
    let (m, k, n) = (size(cx, a, &rows), size(cx, a, &summed), size(cx, b, &columns));
    let left = turned(cx, "a", a.value, a.order([&batch, &rows, &summed]))?;
    let left = formed(cx, "a matrix", left, &[&lead[..], &[m, k]].concat())?;
    let right = turned(cx, "b", b.value, b.order([&batch, &summed, &columns]))?;
    let right = formed(cx, "b matrix", right, &[&lead[..], &[k, n]].concat())?;
    let y = cx.emit("product", Op::Matmul, &[left, right], &[&lead[..], &[m, n]].concat())?;
    let letters = [&batch[..], &rows, &columns].concat();
    let dims = [a.extents(cx, &batch), a.extents(cx, &rows), b.extents(cx, &columns)].concat();
    let y = formed(cx, "axes", y, &dims)?;
    let y = Term { value: y, letters };
    let perm = y.order([output, &[], &[]]);
    turned(cx, "", y.value, perm)
}

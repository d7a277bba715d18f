//! Sums of products along axes, as products of matrices.

use super::fail::{Res, bad, unsupported};
use super::parts::Emit;
use crate::ir::{Op, ReduceKind, ValueId};

const REMEDY: &str = "write it as transposes and a MatMul";

/// Letters of the axes of each input and of the result.
pub(super) struct Equation {
    pub inputs: Vec<Vec<char>>,
    pub output: Vec<char>,
}

/// Reads an equation; an ellipsis becomes letters that no equation has, the last axis the first of them.
pub(super) fn equation(text: &str, ranks: &[usize]) -> Res<Equation> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((l, r)) => (l, Some(r)),
        None => (&*text, None),
    };
    let wrong = || bad(format!("equation {text:?} for {} inputs", ranks.len()));
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != ranks.len() {
        return wrong();
    }
    let rest = |n: usize| (0..n as u32).rev().filter_map(|i| char::from_u32(0xE000 + i)).collect::<Vec<_>>();
    let letters = |term: &str, hidden: usize| -> Option<Vec<char>> {
        let (before, after) = term.split_once("...").map_or((term, None), |(b, a)| (b, Some(a)));
        let named = before.chars().chain(after.unwrap_or("").chars());
        if !named.clone().all(|c| c.is_ascii_alphabetic()) {
            return None;
        }
        let middle = if after.is_some() { rest(hidden) } else { vec![] };
        Some(before.chars().chain(middle).chain(after.unwrap_or("").chars()).collect())
    };
    let (mut inputs, mut most) = (vec![], 0);
    for (term, &rank) in terms.iter().zip(ranks) {
        let named = term.chars().filter(|c| *c != '.').count();
        let Some(hidden) = rank.checked_sub(named) else { return wrong() };
        match letters(term, hidden) {
            Some(l) if l.len() == rank => inputs.push(l),
            _ => return wrong(),
        }
        most = most.max(hidden);
    }
    let output = match right {
        Some(r) => match letters(r, most) {
            Some(l) => l,
            None => return wrong(),
        },
        // What appears once, in the order of the alphabet.
        None => {
            let all: Vec<char> = inputs.iter().flatten().copied().collect();
            let mut times = [0usize; 128];
            all.iter().filter(|c| c.is_ascii_alphabetic()).for_each(|&c| times[c as usize] += 1);
            let once: Vec<char> = (0..128u8).map(char::from).filter(|&c| times[c as usize] == 1).collect();
            rest(most).into_iter().chain(once).collect()
        }
    };
    let twice = output.iter().enumerate().any(|(i, c)| output[..i].contains(c));
    if twice || output.iter().any(|c| !inputs.iter().flatten().any(|d| d == c)) {
        return wrong();
    }
    Ok(Equation { inputs, output })
}

/// The axes in another order, if it is another.
pub(super) fn turned(cx: &mut impl Emit, suffix: &str, x: ValueId, perm: Vec<usize>) -> Res<ValueId> {
    if perm.iter().copied().eq(0..perm.len()) {
        return Ok(x);
    }
    let xs = cx.shape(x);
    let dims: Vec<usize> = perm.iter().map(|&p| xs[p]).collect();
    cx.emit(suffix, Op::Transpose { perm }, &[x], &dims)
}

/// The same elements in another shape, if it is another.
pub(super) fn formed(cx: &mut impl Emit, suffix: &str, x: ValueId, dims: &[usize]) -> Res<ValueId> {
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

    fn extents(&self, cx: &impl Emit, letters: &[char]) -> Vec<usize> {
        let dims = cx.shape(self.value);
        letters.iter().filter_map(|c| self.letters.iter().position(|l| l == c)).map(|a| dims[a]).collect()
    }
}

/// Appends what an equation makes of one or two tensors.
pub(super) fn einsum(cx: &mut impl Emit, text: &str, values: Vec<ValueId>) -> Res<ValueId> {
    let ranks: Vec<usize> = values.iter().map(|&v| cx.shape(v).len()).collect();
    let Equation { inputs, output } = equation(text, &ranks)?;
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
            turned(cx, "", x.value, perm)
        }
        [a, b] => product(cx, a, b, &output),
        _ => unsupported(format!("equation {text:?} of {} tensors", terms.len()), REMEDY),
    }
}

fn product(cx: &mut impl Emit, a: &Term, b: &Term, output: &[char]) -> Res<ValueId> {
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
    let size = |extents: Vec<usize>| extents.iter().product::<usize>();
    let lead = if batch.is_empty() { vec![] } else { vec![size(a.extents(cx, &batch))] };
    let (m, k, n) = (size(a.extents(cx, &rows)), size(a.extents(cx, &summed)), size(b.extents(cx, &columns)));
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

//! The executable specification of a well-formed graph. It recomputes the shape of every node, in arithmetic that cannot
//! overflow, and never loops over more than a graph holds.
use super::{Act, Graph, Node, Op, Pads, PoolKind, Value, ValueId, Window};

type Check<T = ()> = Result<T, String>;

/// Number of elements of a shape, `None` on overflow.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// The shape that numpy broadcasting gives two shapes, `None` if they do not go together.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// Largest stride and dilation of a window: products of them stay far from any overflow.
const MOST_STEPS: usize = 1 << 24;

/// Rows or columns that a window gives on `extent` pixels with `pad` more around them; `None` if it does not fit once.
pub(crate) fn windowed(extent: usize, kernel: usize, stride: usize, dilation: usize, pad: (usize, usize)) -> Option<usize> {
    let span = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    let padded = extent.checked_add(pad.0)?.checked_add(pad.1)?;
    Some(padded.checked_sub(span)?.checked_div(stride)? + 1)
}

pub(super) fn verify(g: &Graph) -> Check {
    if g.outputs.is_empty() {
        return Err("the graph has no outputs".into());
    }
    if g.output_names.len() != g.outputs.len() {
        return Err(format!("{} outputs have {} names", g.outputs.len(), g.output_names.len()));
    }
    for v in &g.values {
        value(v).map_err(|e| format!("value '{}': {e}", v.name))?;
    }
    let mut defined: Vec<bool> = g.values.iter().map(|v| v.data.is_some()).collect();
    let known = |v: &ValueId| if v.0 < g.values.len() { Ok(v.0) } else { Err(format!("value number {} does not exist", v.0)) };
    for v in &g.inputs {
        let i = known(v)?;
        if std::mem::replace(&mut defined[i], true) {
            return Err(format!("input '{}' is given twice, or a constant", g.values[i].name));
        }
    }
    for n in &g.nodes {
        let at = |e: String| format!("node '{}' ({}): {e}", n.name, n.kind);
        for v in &n.inputs {
            let i = known(v).map_err(at)?;
            if !defined[i] {
                return Err(at(format!("reads '{}' before it is computed", g.values[i].name)));
            }
        }
        let o = known(&n.output).map_err(at)?;
        if std::mem::replace(&mut defined[o], true) {
            return Err(at(format!("writes '{}', which something else defines", g.values[o].name)));
        }
        node(g, n).map_err(at)?;
    }
    for v in &g.outputs {
        let i = known(v)?;
        if !defined[i] {
            return Err(format!("output '{}' is not computed", g.values[i].name));
        }
    }
    Ok(())
}

fn value(v: &Value) -> Check {
    let n = elements(&v.shape).ok_or_else(|| format!("shape {:?} overflows", v.shape))?;
    match &v.data {
        Some(d) if d.len() != n => Err(format!("{} elements for shape {:?}", d.len(), v.shape)),
        None if n == 0 => Err(format!("shape {:?} has no elements", v.shape)),
        _ => Ok(()),
    }
}

/// Checks one node: inputs, attributes, and its output's shape.
pub(super) fn node(g: &Graph, n: &Node) -> Check {
    let c = Checker { g, n };
    let out = c.out();
    if out.contains(&0) {
        return Err(format!("an output of shape {out:?}"));
    }
    if let Some(v) = n.inputs.iter().find(|&&v| g.shape(v).contains(&0)) {
        return Err(format!("reads '{}', which has no elements", g.values[v.0].name));
    }
    match &n.op {
        Op::Conv { window, groups, bias, residual, act, .. } => {
            c.count(2 + usize::from(*bias) + usize::from(*residual))?;
            c.act(*act)?;
            let (x, w) = (c.rank4(0)?, c.weights4(*window)?);
            if *groups == 0 || x[3] % groups != 0 || w[3] % groups != 0 || w[2] != x[3] / groups || w[3] == 0 {
                return Err(format!("weights {w:?} in {groups} groups do not fit {} channels", x[3]));
            }
            if *bias {
                c.vector(2, w[3], "bias")?;
            }
            c.shape(&[x[0], c.extent(x, window, 0)?, c.extent(x, window, 1)?, w[3]])?;
            if *residual { c.same(n.inputs.len() - 1, "residual") } else { Ok(()) }
        }
        Op::ConvTranspose { window, groups, bias, act } => {
            c.count(2 + usize::from(*bias))?;
            c.act(*act)?;
            let (x, w) = (c.rank4(0)?, c.weights4(*window)?);
            if *groups == 0 || w[3] != x[3] || x[3] % groups != 0 {
                return Err(format!("weights {w:?} in {groups} groups do not fit {} channels", x[3]));
            }
            let o = w[2].checked_mul(*groups).ok_or("too many channels")?;
            if *bias {
                c.vector(2, o, "bias")?;
            }
            if out.len() != 4 || out[0] != x[0] || out[3] != o {
                return Err(format!("output {out:?} should be [{}, .., .., {o}]", x[0]));
            }
            for (i, pad) in [window.pads.top, window.pads.left].into_iter().enumerate() {
                let (stride, dilation) = (window.stride[i], window.dilation[i]);
                let span = (window.kernel[i] - 1).checked_mul(dilation).and_then(|s| s.checked_add(1));
                let full = span.and_then(|s| (x[1 + i] - 1).checked_mul(stride)?.checked_add(s)).ok_or("extent overflows")?;
                // Output padding stays below the stride or the dilation; more would be rows that nothing reaches.
                let most = full.saturating_add(stride.max(dilation));
                if out[1 + i].saturating_add(pad) > most {
                    return Err(format!("output {out:?} is larger than the window can give ({most} less {pad})"));
                }
            }
            Ok(())
        }
        Op::Dense { bias, act } => {
            c.count(2 + usize::from(*bias))?;
            c.act(*act)?;
            let (x, w) = (c.of(0), c.constant(1, "weights")?);
            let [k, o] = *w else { return Err(format!("weights {w:?} are not a matrix")) };
            if x.last() != Some(&k) {
                return Err(format!("weights {w:?} do not fit {x:?}"));
            }
            if *bias {
                c.vector(2, o, "bias")?;
            }
            let mut s = x.to_vec();
            s[x.len() - 1] = o;
            c.shape(&s)
        }
        Op::BatchNorm { axis, epsilon } => {
            c.count(5)?;
            if !epsilon.is_finite() || *epsilon < 0.0 {
                return Err(format!("epsilon {epsilon}"));
            }
            let channels = c.axis(*axis)?;
            for (i, what) in ["gamma", "beta", "mean", "variance"].into_iter().enumerate() {
                c.vector(i + 1, channels, what)?;
            }
            c.same(0, "input")
        }
        Op::ScaleShift { act } => {
            c.count(3)?;
            c.act(*act)?;
            let channels = *c.of(0).last().ok_or("input without axes")?;
            c.vector(1, channels, "scale")?;
            c.vector(2, channels, "shift")?;
            c.same(0, "input")
        }
        Op::Act(act) => {
            c.count(1)?;
            c.act(*act)?;
            c.same(0, "input")
        }
        Op::Unary(function) => {
            c.count(1)?;
            if function.record().unary().is_none() {
                return Err(format!("function {function:?}"));
            }
            c.same(0, "input")
        }
        Op::LayerNorm { epsilon, .. } => {
            c.count(3)?;
            if !epsilon.is_finite() || *epsilon < 0.0 {
                return Err(format!("epsilon {epsilon}"));
            }
            let channels = *c.of(0).last().ok_or("input without axes")?;
            c.vector(1, channels, "scale")?;
            c.vector(2, channels, "shift")?;
            c.same(0, "input")
        }
        Op::Matmul => {
            c.count(2)?;
            let (a, b) = (c.of(0), c.of(1));
            let ([lead_a @ .., m, k], [lead_b @ .., k_b, n_b]) = (a, b) else {
                return Err(format!("{a:?} and {b:?} are not matrices"));
            };
            if lead_a != lead_b || k != k_b {
                return Err(format!("{a:?} and {b:?} cannot be multiplied"));
            }
            c.shape(&[lead_a, &[*m, *n_b]].concat())
        }
        Op::PRelu => {
            c.count(2)?;
            let slope = c.constant(1, "slope")?;
            if broadcast(c.of(0), slope).as_deref() != Some(c.of(0)) {
                return Err(format!("slope {slope:?} does not broadcast to {:?}", c.of(0)));
            }
            c.same(0, "input")
        }
        Op::Softmax { axis, .. } => {
            c.count(1)?;
            c.axis(*axis)?;
            c.same(0, "input")
        }
        Op::Binary { act, .. } => {
            c.count(2)?;
            c.act(*act)?;
            let (a, b) = (c.of(0), c.of(1));
            c.shape(&broadcast(a, b).ok_or_else(|| format!("{a:?} and {b:?} do not broadcast"))?)
        }
        Op::Concat { axis } => {
            if n.inputs.is_empty() {
                return Err("nothing to concatenate".into());
            }
            let mut s = c.of(0).to_vec();
            c.axis(*axis)?;
            for i in 1..n.inputs.len() {
                let x = c.of(i);
                let fits = x.len() == s.len() && x.iter().zip(&s).enumerate().all(|(d, (a, b))| d == *axis || a == b);
                if !fits {
                    return Err(format!("input {i} of shape {x:?} does not fit {s:?} along axis {axis}"));
                }
                s[*axis] = s[*axis].checked_add(x[*axis]).ok_or("extent overflows")?;
            }
            c.shape(&s)
        }
        Op::Pool { kind, window, residual } => {
            c.count(1 + usize::from(*residual))?;
            c.window(*window)?;
            let x = c.rank4(0)?;
            c.shape(&[x[0], c.extent(x, window, 0)?, c.extent(x, window, 1)?, x[3]])?;
            c.windows_meet_input(x, window)?;
            if let PoolKind::AverageWithPad { counted } = kind {
                let Pads { top, left, bottom, right } = *counted;
                let p = window.pads;
                if top > p.top || left > p.left || bottom > p.bottom || right > p.right {
                    return Err(format!("counts padding {counted:?} that {p:?} does not have"));
                }
            }
            if *residual { c.same(1, "residual") } else { Ok(()) }
        }
        Op::Reduce { axes, keep_dims, .. } => {
            c.count(1)?;
            let x = c.of(0);
            if axes.windows(2).any(|w| w[0] >= w[1]) || axes.last().is_some_and(|&a| a >= x.len()) {
                return Err(format!("axes {axes:?} of {x:?}"));
            }
            let kept = |(i, &d): (usize, &usize)| match (axes.contains(&i), keep_dims) {
                (false, _) => Some(d),
                (true, true) => Some(1),
                (true, false) => None,
            };
            c.shape(&x.iter().enumerate().filter_map(kept).collect::<Vec<_>>())
        }
        Op::Pad { pads, value } => {
            c.count(1)?;
            let x = c.of(0);
            if value.is_nan() || pads.len() != x.len() {
                return Err(format!("pads {pads:?} with {value} around {x:?}"));
            }
            let s = x.iter().zip(pads).map(|(d, p)| d.checked_add(p.0)?.checked_add(p.1)).collect::<Option<Vec<_>>>();
            c.shape(&s.ok_or("extent overflows")?)
        }
        Op::Reshape => {
            c.count(1)?;
            let x = c.of(0);
            if elements(x) == elements(out) { Ok(()) } else { Err(format!("{x:?} cannot become {out:?}")) }
        }
        Op::Transpose { perm } => {
            c.count(1)?;
            let x = c.of(0);
            let mut seen = vec![false; x.len()];
            if perm.len() != x.len() || perm.iter().any(|&p| p >= x.len() || std::mem::replace(&mut seen[p], true)) {
                return Err(format!("{perm:?} is no permutation of the axes of {x:?}"));
            }
            c.shape(&perm.iter().map(|&p| x[p]).collect::<Vec<_>>())
        }
        Op::Slice { start, step } => {
            c.count(1)?;
            let x = c.of(0);
            if start.len() != x.len() || step.len() != x.len() || out.len() != x.len() {
                return Err(format!("start {start:?} and step {step:?} of {x:?} to {out:?}"));
            }
            for i in 0..x.len() {
                let last = (out[i] - 1).checked_mul(step[i]).and_then(|l| l.checked_add(start[i]));
                if step[i] == 0 || last.is_none_or(|l| l >= x[i]) {
                    return Err(format!("axis {i}: {} from {} by {} of {}", out[i], start[i], step[i], x[i]));
                }
            }
            Ok(())
        }
        Op::Broadcast => {
            c.count(1)?;
            let x = c.of(0);
            if broadcast(x, out).as_deref() == Some(out) { Ok(()) } else { Err(format!("{x:?} does not broadcast to {out:?}")) }
        }
        Op::Upsample { factor } => {
            c.count(1)?;
            let x = c.rank4(0)?;
            let by = |d: usize, f: usize| d.checked_mul(f).filter(|&n| n > 0).ok_or_else(|| format!("factor {f} of {d}"));
            c.shape(&[x[0], by(x[1], factor[0])?, by(x[2], factor[1])?, x[3]])
        }
        Op::Resize { .. } => {
            c.count(1)?;
            let x = c.rank4(0)?;
            let [_, h, w, _] = *out else { return Err(format!("output of shape {out:?} is not [N, H, W, C]")) };
            c.shape(&[x[0], h, w, x[3]])
        }
    }
}

struct Checker<'a> {
    g: &'a Graph,
    n: &'a Node,
}

impl<'a> Checker<'a> {
    fn out(&self) -> &'a [usize] {
        self.g.shape(self.n.output)
    }

    fn of(&self, i: usize) -> &'a [usize] {
        self.g.shape(self.n.inputs[i])
    }

    fn count(&self, n: usize) -> Check {
        let has = self.n.inputs.len();
        if has == n { Ok(()) } else { Err(format!("{has} inputs instead of {n}")) }
    }

    fn shape(&self, expected: &[usize]) -> Check {
        let out = self.out();
        if out == expected { Ok(()) } else { Err(format!("output of shape {out:?} should be {expected:?}")) }
    }

    fn same(&self, i: usize, what: &str) -> Check {
        let (x, out) = (self.of(i), self.out());
        if x == out { Ok(()) } else { Err(format!("{what} of shape {x:?}, output {out:?}")) }
    }

    fn axis(&self, axis: usize) -> Check<usize> {
        let x = self.of(0);
        x.get(axis).copied().ok_or_else(|| format!("axis {axis} of {x:?}"))
    }

    fn constant(&self, i: usize, what: &str) -> Check<&'a [usize]> {
        let v = &self.g.values[self.n.inputs[i].0];
        if v.data.is_some() { Ok(&v.shape) } else { Err(format!("{what} '{}' not constant", v.name)) }
    }

    fn vector(&self, i: usize, len: usize, what: &str) -> Check {
        let s = self.constant(i, what)?;
        if s == [len] { Ok(()) } else { Err(format!("{what} of shape {s:?} should be [{len}]")) }
    }

    fn rank4(&self, i: usize) -> Check<[usize; 4]> {
        let x = self.of(i);
        x.try_into().map_err(|_| format!("input of shape {x:?} is not [N, H, W, C]"))
    }

    fn weights4(&self, window: Window) -> Check<[usize; 4]> {
        self.window(window)?;
        let s = self.constant(1, "weights")?;
        let w: [usize; 4] = s.try_into().map_err(|_| format!("weights of shape {s:?} are not [kh, kw, .., ..]"))?;
        if w[..2] == window.kernel { Ok(w) } else { Err(format!("weights {w:?} for a kernel of {:?}", window.kernel)) }
    }

    fn window(&self, w: Window) -> Check {
        let positive = [w.kernel, w.stride, w.dilation].concat().iter().all(|&n| n > 0);
        if !positive {
            return Err(format!("window {w:?}"));
        }
        match [w.stride, w.dilation].concat().into_iter().find(|&n| n > MOST_STEPS) {
            Some(n) => Err(format!("a stride or dilation of {n}; at most {MOST_STEPS} is possible")),
            None => Ok(()),
        }
    }

    fn extent(&self, x: [usize; 4], w: &Window, i: usize) -> Check<usize> {
        self.window(*w)?;
        let pad = [(w.pads.top, w.pads.bottom), (w.pads.left, w.pads.right)][i];
        windowed(x[1 + i], w.kernel[i], w.stride[i], w.dilation[i], pad).ok_or_else(|| format!("window {w:?} does not fit {x:?}"))
    }

    /// A pooling window without a pixel has no mean.
    fn windows_meet_input(&self, x: [usize; 4], w: &Window) -> Check {
        let out = self.out();
        for (i, pad) in [w.pads.top, w.pads.left].into_iter().enumerate() {
            let last = (out[1 + i] - 1) * w.stride[i];
            if pad > (w.kernel[i] - 1) * w.dilation[i] || last >= x[1 + i].saturating_add(pad) {
                return Err(format!("a window of {w:?} lies outside of {x:?}"));
            }
        }
        Ok(())
    }

    fn act(&self, act: Act) -> Check {
        let good = match act {
            Act::Clamp { lo, hi } => lo <= hi,
            Act::Leaky(a) | Act::Elu(a) => a.is_finite(),
            Act::HardSigmoid { alpha, beta } => alpha.is_finite() && beta.is_finite(),
            _ => true,
        };
        if good { Ok(()) } else { Err(format!("activation {act:?}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn conv() -> Graph {
        let mut g = Graph::default();
        let x = g.input("x", &[1, 5, 6, 4]);
        let w = g.constant("w", &[3, 3, 2, 8], Arc::new(vec![0.0; 144]));
        let window =
            Window { kernel: [3, 3], stride: [2, 1], dilation: [1, 2], pads: Pads { top: 1, left: 2, bottom: 1, right: 2 } };
        let op = Op::Conv { window, groups: 2, bias: false, residual: false, pre_relu: false, act: Act::None };
        let y = g.node("c", "Conv", op, &[x, w], &[1, 3, 6, 8]);
        g.outputs.push(y);
        g.output_names.push("y".into());
        g
    }

    #[test]
    fn accepts_and_prints() {
        let g = conv();
        g.verify().unwrap();
        let text = g.to_string();
        assert_eq!(
            text,
            "graph \"\"\n%0 \"x\" [1, 5, 6, 4] = input\n%1 \"w\" [3, 3, 2, 8] = constant\n\
             %2 \"c\" [1, 3, 6, 8] = conv(%0, %1) kernel=3x3 stride=2x1 dilation=1x2 pads=1,2,1,2 groups=2\noutput %2 \"y\"\n"
        );
    }

    #[test]
    fn refuses_what_breaks_a_rule() {
        type Breaker = fn(&mut Graph);
        let breakers: [(&str, Breaker); 10] = [
            ("should be", |g| g.values[2].shape = vec![1, 3, 5, 8]),
            ("groups", |g| g.values[0].shape = vec![1, 5, 6, 3]),
            ("not constant", |g| g.values[1].data = None),
            ("elements for shape", |g| g.values[1].shape = vec![3, 3, 2, 9]),
            ("overflows", |g| g.values[0].shape = vec![usize::MAX, 2, 2, 2]),
            ("before it is computed", |g| g.inputs.clear()),
            ("something else defines", |g| g.nodes.push(g.nodes[0].clone())),
            ("does not exist", |g| g.nodes[0].inputs[0] = ValueId(99)),
            ("names", |g| g.output_names.clear()),
            ("inputs instead of", |g| g.nodes[0].inputs.truncate(1)),
        ];
        for (what, f) in breakers {
            let mut g = conv();
            f(&mut g);
            if what == "not constant" {
                g.inputs.push(ValueId(1));
            }
            let e = g.verify().expect_err(what);
            assert!(e.contains(what), "{what}: {e}");
        }
    }

    #[test]
    fn huge_windows_do_not_overflow() {
        let mut g = conv();
        let Op::Conv { window, .. } = &mut g.nodes[0].op else { unreachable!() };
        window.dilation = [usize::MAX, 1];
        assert!(g.verify().is_err());
        let Op::Conv { window, .. } = &mut g.nodes[0].op else { unreachable!() };
        *window = Window { kernel: [3, 3], stride: [0, 1], dilation: [1, 1], pads: Pads::default() };
        assert!(g.verify().is_err());
        let Op::Conv { window, .. } = &mut g.nodes[0].op else { unreachable!() };
        window.stride = [1, 1 << 31];
        assert!(g.verify().is_err_and(|e| e.contains("a stride or dilation of 2147483648")));
    }

    #[test]
    fn broadcasting() {
        assert_eq!(broadcast(&[2, 1, 3], &[4, 1]), Some(vec![2, 4, 3]));
        assert_eq!(broadcast(&[2, 3], &[2]), None);
        assert_eq!(broadcast(&[], &[2]), Some(vec![2]));
    }
}

//! Operators that move elements: all but two are a walk over the output with one stride per axis into the input.

/// Distance between neighbours along each axis, in C order.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut all = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        all[i - 1] = all[i] * shape[i];
    }
    all
}

/// Calls `f` with `start + sum of index[d] * strides[d]` for every index of `shape`, in C order.
fn walk(shape: &[usize], start: usize, strides: &[usize], f: &mut impl FnMut(usize)) {
    // To go along an axis of one element takes as long as along others.
    let (shape, strides): (Vec<usize>, Vec<usize>) = shape.iter().zip(strides).filter(|(d, _)| **d != 1).unzip();
    along(&shape, start, &strides, f);
}

fn along(shape: &[usize], start: usize, strides: &[usize], f: &mut impl FnMut(usize)) {
    match shape {
        [] => f(start),
        &[n] => (0..n).for_each(|i| f(start + i * strides[0])),
        [n, rest @ ..] => (0..*n).for_each(|i| along(rest, start + i * strides[0], &strides[1..], f)),
    }
}

fn gather<T: Copy>(x: &[T], start: usize, strides: &[usize], out: &[usize]) -> Vec<T> {
    let mut y = Vec::with_capacity(out.iter().product());
    walk(out, start, strides, &mut |i| y.push(x[i]));
    y
}

/// `y.shape[i] = x.shape[perm[i]]`.
pub(crate) fn transpose<T: Copy>(x: &[T], shape: &[usize], perm: &[usize]) -> Vec<T> {
    let of = strides(shape);
    let out: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
    gather(x, 0, &perm.iter().map(|&p| of[p]).collect::<Vec<_>>(), &out)
}

/// Numpy broadcasting to `out`.
pub(super) fn broadcast(x: &[f64], shape: &[usize], out: &[usize]) -> Vec<f64> {
    let own = strides(shape).into_iter().zip(shape).map(|(s, &d)| if d == 1 { 0 } else { s });
    let all: Vec<usize> = std::iter::repeat_n(0, out.len() - shape.len()).chain(own).collect();
    gather(x, 0, &all, out)
}

/// `x[start .. by step]`.
pub(super) fn slice(x: &[f64], shape: &[usize], start: &[usize], step: &[usize], out: &[usize]) -> Vec<f64> {
    let of = strides(shape);
    let first = of.iter().zip(start).map(|(a, b)| a * b).sum();
    gather(x, first, &of.iter().zip(step).map(|(a, b)| a * b).collect::<Vec<_>>(), out)
}

/// A border of a constant.
pub(super) fn pad(x: &[f64], shape: &[usize], pads: &[(usize, usize)], value: f32, out: &[usize]) -> Vec<f64> {
    let of = strides(out);
    let first = of.iter().zip(pads).map(|(a, p)| a * p.0).sum();
    let mut y = vec![f64::from(value); out.iter().product()];
    let mut from = x.iter();
    walk(shape, first, &of, &mut |i| {
        if let Some(&x) = from.next() {
            y[i] = x;
        }
    });
    y
}

/// Nearest-neighbour enlargement of [N, H, W, C].
pub(super) fn upsample(x: &[f64], [n, h, w, c]: [usize; 4], [fy, fx]: [usize; 2]) -> Vec<f64> {
    let mut y = Vec::with_capacity(n * h * fy * w * fx * c);
    for row in 0..n * h * fy {
        let (image, i) = (row / (h * fy), row % (h * fy) / fy);
        for j in 0..w * fx {
            let pixel = ((image * h + i) * w + j / fx) * c;
            y.extend_from_slice(&x[pixel..pixel + c]);
        }
    }
    y
}

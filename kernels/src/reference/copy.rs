//! Moving elements without arithmetic.

use crate::ops::copy::{Copy, DIMS};

/// [`crate::ops::copy::copy`].
pub fn copy(args: &Copy, input: &[f32], out: &mut [f32]) {
    if let Some(value) = args.fill {
        out.fill(value);
    }
    let count: usize = args.dims.iter().product();
    for i in 0..count {
        let (mut rest, mut from, mut to) = (i, 0, 0);
        for d in (0..DIMS).rev() {
            let index = rest % args.dims[d];
            rest /= args.dims[d];
            from += index * args.in_strides[d];
            to += index * args.out_strides[d];
        }
        out[to] = input[from];
    }
}

//! Whether two rows of scores name the same classes.

/// Over all samples: in how many the largest element is the same one, and the five largest are the same ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Samples.
    pub samples: usize,
    /// With the same largest element.
    pub top1: usize,
    /// With the same five largest elements, in any order; as many as there are samples where there are no more than five.
    pub top5: usize,
    /// Smallest distance between the source's largest two elements.
    pub margin: f64,
}

impl Agreement {
    pub(super) fn add(&mut self, got: &[f32], want: &[f64]) {
        let got: Vec<f64> = got.iter().map(|&v| f64::from(v)).collect();
        let (a, b) = (largest(&got), largest(want));
        self.top1 += usize::from(a[0] == b[0]);
        let five = |order: &[usize]| {
            let mut five = order[..order.len().min(5)].to_vec();
            five.sort_unstable();
            five
        };
        self.top5 += usize::from(five(&a) == five(&b));
        let margin = want[b[0]] - want[b[1]];
        self.margin = if self.samples == 0 { margin } else { self.margin.min(margin) };
        self.samples += 1;
    }
}

/// Indices from the largest element on; not-numbers last, of equal ones the first.
fn largest(values: &[f64]) -> Vec<usize> {
    let key = |i: usize| if values[i].is_nan() { f64::NEG_INFINITY } else { values[i] };
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_agrees() {
        let mut a = Agreement::default();
        a.add(&[0.1, 0.7, 0.2, 0.0, 0.0, 0.0], &[0.1, 0.7, 0.2, 0.0, 0.0, 0.0]);
        a.add(&[0.5, 0.3, 0.2, 0.15, 0.1, 0.0], &[0.3, 0.5, 0.2, 0.15, 0.1, 0.0]);
        a.add(&[0.5, 0.3, 0.2, 0.15, 0.1, 0.0], &[0.5, 0.3, 0.2, 0.15, 0.0, 0.1]);
        assert_eq!((a.samples, a.top1, a.top5), (3, 2, 2));
        assert!((a.margin - 0.2).abs() < 1e-12);
    }
}

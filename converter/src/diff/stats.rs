//! How far f32 values are from what they should be.

/// Distances below this are counted one by one.
const EXACT: u64 = 16;
/// Parts of each doubling beyond that.
const PARTS: u64 = 4;

/// Distances in units of the last place, counted in buckets: each number up to 15, then quarters of each doubling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulps {
    counts: Vec<u64>,
    max: u64,
}

impl Default for Ulps {
    fn default() -> Self {
        Ulps { counts: vec![0; Self::bucket(u64::from(u32::MAX)) + 1], max: 0 }
    }
}

impl Ulps {
    fn bucket(distance: u64) -> usize {
        if distance < EXACT {
            return distance as usize;
        }
        let exponent = u64::from(distance.ilog2());
        (EXACT + (exponent - 4) * PARTS + ((distance >> (exponent - 2)) & (PARTS - 1))) as usize
    }

    /// The largest distance of a bucket.
    fn upper(bucket: usize) -> u64 {
        let b = bucket as u64;
        if b < EXACT {
            return b;
        }
        let (exponent, part) = (4 + (b - EXACT) / PARTS, (b - EXACT) % PARTS);
        ((PARTS + part + 1) << (exponent - 2)) - 1
    }

    fn add(&mut self, distance: u64) {
        self.counts[Self::bucket(distance)] += 1;
        self.max = self.max.max(distance);
    }

    /// The distance that a share of all values does not exceed, rounded up to its bucket.
    pub fn quantile(&self, share: f64) -> u64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (share * all as f64).ceil() as u64;
        let mut below = 0;
        for (bucket, &n) in self.counts.iter().enumerate() {
            below += n;
            if n > 0 && below >= wanted {
                return Self::upper(bucket).min(self.max);
            }
        }
        self.max
    }

    /// The largest.
    pub fn max(&self) -> u64 {
        self.max
    }
}

/// One place where two tensors differ most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Of the samples.
    pub sample: usize,
    /// Of the tensor's elements, in C order of the source.
    pub element: usize,
    /// What the file gives.
    pub got: f32,
    /// What the source gives.
    pub want: f64,
}

/// A tensor of the file against one of the source, over all samples.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// How many elements were compared.
    pub elements: u64,
    /// Largest difference.
    pub max_abs: f64,
    /// Largest finite magnitude that the source gives.
    pub range: f64,
    /// Mean of the differences' magnitudes is this by `elements`.
    sum_abs: f64,
    /// Elements of which one is infinite or not a number, and the other is not the same.
    pub mismatched: u64,
    /// Distances in units of the last place.
    pub ulps: Ulps,
    /// Where the largest difference is; a mismatch counts as larger than any.
    pub worst: Option<Worst>,
    dot: f64,
    got_square: f64,
    want_square: f64,
}

impl Stats {
    /// Takes a tensor of a sample.
    pub fn add(&mut self, sample: usize, got: &[f32], want: impl Iterator<Item = f64>) {
        for (element, (&got, want)) in got.iter().zip(want).enumerate() {
            self.elements += 1;
            // What overflows f32 is infinite in the file and finite in the interpreter.
            let want = if want.abs() > f64::from(f32::MAX) { f64::INFINITY.copysign(want) } else { want };
            let g = f64::from(got);
            let worst = Worst { sample, element, got, want };
            if !(g.is_finite() && want.is_finite()) {
                if g != want && !(g.is_nan() && want.is_nan()) {
                    if self.mismatched == 0 {
                        self.worst = Some(worst);
                    }
                    self.mismatched += 1;
                }
                continue;
            }
            let off = (g - want).abs();
            if off > self.max_abs || self.worst.is_none() {
                self.max_abs = off;
                if self.mismatched == 0 {
                    self.worst = Some(worst);
                }
            }
            self.range = self.range.max(want.abs());
            self.sum_abs += off;
            self.dot += g * want;
            self.got_square += g * g;
            self.want_square += want * want;
            self.ulps.add(ordered(got).abs_diff(ordered(want as f32)));
        }
    }

    /// The largest difference as a share of the largest magnitude; infinite where numbers and not-numbers do not match.
    pub fn relative(&self) -> f64 {
        match (self.mismatched, self.max_abs) {
            (0, 0.0) => 0.0,
            (0, off) => off / self.range.max(f64::from(f32::MIN_POSITIVE)),
            _ => f64::INFINITY,
        }
    }

    /// The mean difference as a share of the largest magnitude.
    pub fn mean_relative(&self) -> f64 {
        if self.sum_abs == 0.0 {
            return 0.0;
        }
        self.sum_abs / self.elements.max(1) as f64 / self.range.max(f64::from(f32::MIN_POSITIVE))
    }

    /// The cosine of the angle between the two; 1 where both are zero.
    pub fn cosine(&self) -> f64 {
        let lengths = self.got_square.sqrt() * self.want_square.sqrt();
        match (self.got_square == 0.0, self.want_square == 0.0) {
            (true, true) => 1.0,
            (false, false) => self.dot / lengths,
            _ => 0.0,
        }
    }
}

/// The place of a float among all floats: neighbours differ by one, and both zeros are the same.
fn ordered(x: f32) -> i64 {
    let bits = i64::from(x.to_bits() & 0x7fff_ffff);
    if x.is_sign_negative() { -bits } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_apart() {
        assert_eq!(ordered(1.0).abs_diff(ordered(1.0 + f32::EPSILON)), 1);
        assert_eq!(ordered(0.0).abs_diff(ordered(-0.0)), 0);
        assert_eq!(ordered(f32::from_bits(1)).abs_diff(ordered(-f32::from_bits(1))), 2);
        assert_eq!(ordered(f32::MAX).abs_diff(ordered(f32::MIN)), 2 * 0x7f7f_ffff);
    }

    #[test]
    fn buckets_follow_each_other() {
        for bucket in 1..100 {
            assert_eq!(Ulps::bucket(Ulps::upper(bucket)), bucket);
            assert_eq!(Ulps::bucket(Ulps::upper(bucket - 1) + 1), bucket);
        }
        assert!(Ulps::bucket(2 * 0x7f7f_ffff) < Ulps::default().counts.len());
    }

    #[test]
    fn quantiles() {
        let mut u = Ulps::default();
        for d in [0, 0, 0, 1, 1, 1, 2, 2, 3, 1000] {
            u.add(d);
        }
        assert_eq!((u.quantile(0.3), u.quantile(0.5), u.quantile(0.9), u.quantile(1.0)), (0, 1, 3, 1000));
    }

    #[test]
    fn figures_of_two_tensors() {
        let mut s = Stats::default();
        s.add(0, &[1.0, -2.0, 0.0], [1.0, -2.5, 0.0].into_iter());
        assert_eq!((s.max_abs, s.range, s.relative(), s.mismatched), (0.5, 2.5, 0.2, 0));
        assert_eq!(s.worst, Some(Worst { sample: 0, element: 1, got: -2.0, want: -2.5 }));
        assert!((s.cosine() - 6.0 / (5f64.sqrt() * 7.25f64.sqrt())).abs() < 1e-15);
        s.add(1, &[f32::NAN], [0.0].into_iter());
        assert!(s.relative().is_infinite());
        assert_eq!(s.worst.map(|w| w.sample), Some(1));
    }

    #[test]
    fn the_same_infinities_and_not_numbers_are_no_difference() {
        let mut s = Stats::default();
        s.add(0, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY], [f64::NAN, 1e300, f64::NEG_INFINITY].into_iter());
        assert_eq!((s.mismatched, s.relative()), (0, 0.0));
        s.add(0, &[f32::INFINITY], [f64::NEG_INFINITY].into_iter());
        assert_eq!(s.mismatched, 1);
    }
}

//! Tensor and I/O records.

use super::{File, Result, ensure_at};
use crate::error::FormatErrorKind;
use crate::layout::{ALIGN, lanes, span};
use crate::limits::PIPELINE_ROWS;
use crate::record::*;

/// A tensor in the arithmetic of the checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub n: u64,
    pub h: u64,
    pub w: u64,
    pub c: u64,
    /// Floats between neighbouring pixels.
    pub pixel: u64,
}

impl Extent {
    pub fn of(t: &Tensor) -> Self {
        let [n, h, w, c] = t.dims.map(u64::from);
        Extent { n, h, w, c, pixel: t.pixel.into() }
    }
    pub fn dims(&self) -> [u64; 4] {
        [self.n, self.h, self.w, self.c]
    }
    pub fn pixels(&self) -> Option<u64> {
        self.n.checked_mul(self.h)?.checked_mul(self.w)
    }
    /// Floats from the first to the last.
    pub fn span(&self) -> Option<u64> {
        span(self.pixels()?, self.c, self.pixel)
    }
    /// Whether pixels are made of whole blocks.
    pub fn padded(&self) -> bool {
        self.pixel.is_multiple_of(crate::layout::BLOCK as u64)
    }
}

/// Memory in the arena, in floats, as a tensor or a step uses it: `lanes` floats every `pixel` floats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub start: u64,
    pub end: u64,
    pub pixel: u64,
    pub lanes: u64,
}

impl Memory {
    /// That of a verified tensor; `None` for what does not lie in the arena.
    pub fn of(t: &Tensor) -> Option<Memory> {
        let e = Extent::of(t);
        let start = t.offset / 4;
        (t.place == place::ARENA).then_some(())?;
        Some(Memory { start, end: start.checked_add(e.span()?)?, pixel: e.pixel, lanes: lanes(e.c, e.pixel) })
    }

    /// Whether the two, from first float to last, have a float in common.
    pub fn spans_meet(&self, other: &Memory) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether the two have a float in common. Different channels of one buffer have none.
    pub fn meets(&self, other: &Memory) -> bool {
        if !self.spans_meet(other) {
            return false;
        }
        if self.pixel != other.pixel || self.pixel == 0 {
            return true;
        }
        // How far the channels of the other begin after these, counted around the pixel.
        let after = if other.start >= self.start {
            (other.start - self.start) % self.pixel
        } else {
            (self.pixel - (self.start - other.start) % self.pixel) % self.pixel
        };
        after < self.lanes || after + other.lanes > self.pixel
    }
}

pub(super) fn check(file: &File) -> Result<()> {
    for (i, t) in file.tensors.iter().enumerate() {
        ensure_at(tensor(file, t) == Some(true), FormatErrorKind::Tensor, i)?;
    }
    Ok(())
}

fn tensor(file: &File, t: &Tensor) -> Option<bool> {
    let room = match t.place {
        place::ARENA => file.plan.tensor_bytes,
        place::WEIGHTS => file.weights_len,
        place::ROWS => file.plan.scratch_bytes,
        _ => return None,
    };
    let e = Extent::of(t);
    let shape = e.dims().iter().all(|&d| d > 0) && e.pixel >= e.c;
    // All pixels with their gaps: what index arithmetic over the tensor can reach.
    let whole = e.pixels()?.checked_mul(e.pixel)?.checked_mul(4)?;
    let held = match t.place {
        // Some rows of one image, their gaps included.
        place::ROWS => e.w.checked_mul(e.pixel)?.checked_mul(t.rows.into())?,
        _ => e.span()?,
    };
    let end = held.checked_mul(4)?.checked_add(t.offset)?;
    let lies = t.offset.is_multiple_of(ALIGN as u64) && end <= room && whole <= isize::MAX as u64;
    let plain = t.dtype == dtype::F32 && t.zero_point == 0 && t.scale.to_bits() == 0 && t.reserved == [0; 2];
    let rows = if t.place == place::ROWS { t.rows > 0 && t.rows <= PIPELINE_ROWS && e.padded() } else { t.rows == 0 };
    let life = t.first <= t.last && t.last as usize <= file.steps.len();
    Some(shape && lies && plain && rows && life)
}

/// Checks the I/O records and returns how many of them are inputs.
pub(super) fn check_io(file: &File) -> Result<usize> {
    let inputs = file.io.iter().take_while(|io| io.role == role::INPUT).count();
    // A network without outputs does nothing.
    ensure_at(inputs < file.io.len(), FormatErrorKind::Io, inputs)?;
    for (i, io) in file.io.iter().enumerate() {
        let role = if i < inputs { role::INPUT } else { role::OUTPUT };
        ensure_at(io.role == role && record(file, io) == Some(true), FormatErrorKind::Io, i)?;
        ensure_at(file.has_name(io.name, io.name_len), FormatErrorKind::Name, i)?;
        let disjoint = |other: &Io| match (memory(file, io), memory(file, other)) {
            (Some(a), Some(b)) => !a.meets(&b),
            _ => false,
        };
        ensure_at(i >= inputs || file.io.iter().take(i).all(disjoint), FormatErrorKind::Io, i)?;
    }
    Ok(inputs)
}

fn memory(file: &File, io: &Io) -> Option<Memory> {
    Memory::of(file.tensors.get(io.tensor as usize)?)
}

fn record(file: &File, io: &Io) -> Option<bool> {
    let t = file.tensors.get(io.tensor as usize)?;
    let e = Extent::of(t);
    let dense = t.place == place::ARENA && (e.pixel == e.c || e.pixels()? == 1);
    let (used, rest) = io.dims.split_at_checked(io.rank as usize)?;
    let count = used.iter().try_fold(1u64, |a, &d| a.checked_mul(d.into()))?;
    let same = count == e.pixels()?.checked_mul(e.c)? && rest.iter().all(|&d| d == 0);
    let plain = io.dtype == dtype::F32 && io.layout <= 2 && io.reserved == 0;
    let begins = io.role != role::INPUT || t.first == 0;
    Some(dense && same && plain && begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Floats of a tensor with so many pixels, one by one.
    fn floats(m: &Memory, pixels: u64) -> impl Iterator<Item = u64> {
        let m = *m;
        (0..pixels).flat_map(move |p| (0..m.lanes).map(move |l| m.start + p * m.pixel + l))
    }

    #[test]
    fn memory_meets_as_its_floats_do() {
        let mut apart = 0;
        for pixel in [16, 48, 64] {
            for (start_a, start_b) in [0, 16, 32, 48, 80, 112].into_iter().flat_map(|a| [0, 16, 32, 64, 96].map(|b| (a, b))) {
                for (lanes_a, lanes_b) in [16, 32, 48].into_iter().flat_map(|a| [16, 32].map(|b| (a, b))) {
                    if lanes_a > pixel || lanes_b > pixel {
                        continue;
                    }
                    let make = |start, lanes, pixels| Memory { start, end: start + (pixels - 1) * pixel + lanes, pixel, lanes };
                    for (pixels_a, pixels_b) in [(1, 1), (3, 3), (2, 5)] {
                        let (a, b) = (make(start_a, lanes_a, pixels_a), make(start_b, lanes_b, pixels_b));
                        let meets = floats(&a, pixels_a).any(|f| floats(&b, pixels_b).any(|g| f == g));
                        // May say that two meet that do not, never the other way round.
                        assert!(a.meets(&b) || !meets, "{a:?} {b:?}");
                        assert_eq!(a.meets(&b), b.meets(&a));
                        if pixels_a == pixels_b && start_a / pixel == start_b / pixel && (start_a % pixel) + lanes_a <= pixel {
                            let inside = (start_b % pixel) + lanes_b <= pixel;
                            assert!(!inside || a.meets(&b) == meets, "{a:?} {b:?}");
                        }
                        apart += u32::from(!a.meets(&b) && a.spans_meet(&b));
                    }
                }
            }
        }
        assert!(apart > 20);
        // Another pixel stride: no telling.
        let (a, b) = (Memory { start: 0, end: 40, pixel: 32, lanes: 8 }, Memory { start: 16, end: 40, pixel: 16, lanes: 8 });
        assert!(a.meets(&b));
    }
}

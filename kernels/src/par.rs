//! How the work of one step is shared among threads.
//!
//! Work is cut along outputs only (pixels, rows or channel blocks), never along a sum, so the number of threads cannot
//! change a bit of the result.

use core::ops::Range;

/// Most parts that a step is cut into.
pub const MAX_PARTS: usize = 64;

/// What one thread gets of a step.
#[derive(Debug, Default)]
pub struct Part<'a> {
    /// The pixels, rows or blocks of the output that it covers.
    pub units: Range<usize>,
    /// Their memory.
    pub out: &'a mut [f32],
    /// For intermediate results.
    pub scratch: &'a mut [f32],
    /// Memory of the output that lies between that of others: see [`split_tiles`].
    pub pieces: &'a mut [&'a mut [f32]],
}

/// What is done with a part.
pub type Job<'a> = dyn Fn(&mut Part) + Sync + 'a;

/// Somebody who runs the parts of a step: [`Serial`], or a pool of threads.
pub trait Parallel: Sync {
    /// Into how many parts a step should be cut; at least 1, at most [`MAX_PARTS`].
    fn parts(&self) -> usize;
    /// Calls `job` with each of `parts` once, on any threads, and returns when all have returned.
    fn run(&self, parts: &mut [Part], job: &Job);
}

/// Everything on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn parts(&self) -> usize {
        1
    }
    fn run(&self, parts: &mut [Part], job: &Job) {
        parts.iter_mut().for_each(job);
    }
}

/// The `i`-th of `parts` nearly equal ranges of `0..len`, each but the last a multiple of `grain`.
pub fn range(len: usize, grain: usize, parts: usize, i: usize) -> Range<usize> {
    let units = len.div_ceil(grain);
    let at = |i: usize| (units * i / parts * grain).min(len);
    at(i)..at(i + 1)
}

/// Whether the largest of so many nearly equal parts has a sixteenth more units than a part has on average.
pub fn uneven(units: usize, parts: usize) -> bool {
    units.div_ceil(parts.max(1)) * parts * 16 > units * 17
}

/// Cuts `out` at multiples of `stride * grain` floats and `scratch` into equal chunks, and calls
/// `job(units, part of out, chunk of scratch)` for each part: `units` is the range of strides (pixels, rows) it covers.
///
/// `out` holds `units` strides, of which the last may be short. `scratch_len` floats of `scratch` go to each part.
pub fn split(
    par: &dyn Parallel,
    out: &mut [f32],
    units: usize,
    stride: usize,
    grain: usize,
    scratch: &mut [f32],
    scratch_len: usize,
    job: &(dyn Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync),
) {
    let parts = par.parts().clamp(1, MAX_PARTS).min(units.div_ceil(grain).max(1));
    if parts == 1 {
        return job(0..units, out, &mut scratch[..scratch_len]);
    }
    let (mut out, mut scratch) = (out, scratch);
    let mut all: [Part; MAX_PARTS] = core::array::from_fn(|i| {
        if i >= parts {
            return Part::default();
        }
        let units = range(units, grain, parts, i);
        let rest = core::mem::take(&mut out);
        let n = if i + 1 == parts { rest.len() } else { (units.len() * stride).min(rest.len()) };
        let (mine, rest) = rest.split_at_mut(n);
        out = rest;
        let (s, rest) = core::mem::take(&mut scratch).split_at_mut(scratch_len);
        scratch = rest;
        Part { units, out: mine, scratch: s, pieces: &mut [] }
    });
    par.run(&mut all[..parts], &|part| job(part.units.clone(), part.out, part.scratch));
}

/// Most lines of a tile.
pub const MAX_LINES: usize = 4;

/// An image that is made by tiles, which are counted row by row.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Lines and columns of the image.
    pub size: [usize; 2],
    /// Those of a tile; at most [`MAX_LINES`] lines.
    pub tile: [usize; 2],
    /// Floats from one column to the next.
    pub pixel: usize,
}

/// Some tiles, and their memory: rows of tiles that are all theirs are one slice; of the first and of the last row, which they may
/// share with other parts, they have a piece of each line.
#[derive(Debug)]
pub struct Tiles<'t, 'a> {
    grid: &'t Grid,
    /// Which tiles.
    pub range: Range<usize>,
    rows: &'t mut [f32],
    /// [`MAX_LINES`] of either row, or none.
    pieces: &'t mut [&'a mut [f32]],
}

impl Grid {
    /// Tiles down and across.
    pub fn tiles(&self) -> [usize; 2] {
        [0, 1].map(|d| self.size[d].div_ceil(self.tile[d]))
    }

    /// Floats of a line.
    fn line(&self) -> usize {
        self.size[1] * self.pixel
    }

    /// The rows of tiles all of which are in a range.
    fn whole_rows(&self, tiles: &Range<usize>) -> Range<usize> {
        let across = self.tiles()[1];
        tiles.start.div_ceil(across)..tiles.end / across
    }
}

impl Tiles<'_, '_> {
    /// The lines of tile `[y, x]` from its first column on; those below the image are empty.
    #[inline(always)]
    pub fn lines<const N: usize>(&mut self, [y, x]: [usize; 2]) -> [&mut [f32]; N] {
        let Grid { tile, pixel, .. } = *self.grid;
        let (rows, line, at) = (self.grid.whole_rows(&self.range), self.grid.line(), x * tile[1] * pixel);
        if rows.contains(&y) {
            let mut lines = self.rows[(y - rows.start) * tile[0] * line + at..].chunks_mut(line);
            return core::array::from_fn(|_| lines.next().unwrap_or_default());
        }
        let (first, last) = self.pieces.split_at_mut(MAX_LINES);
        let across = self.grid.tiles()[1];
        let (pieces, before) = if y < rows.start { (first, self.range.start % across * tile[1] * pixel) } else { (last, 0) };
        let mut lines = pieces.iter_mut();
        core::array::from_fn(|_| lines.next().and_then(|l| l.get_mut(at - before..)).unwrap_or_default())
    }
}

/// Cuts the tiles of an image into parts, by rows of tiles where that gives even parts and anywhere in a row otherwise, and calls
/// `job(tiles, chunk of scratch)` for each. The last line of `out` may be short.
pub fn split_tiles(
    par: &dyn Parallel,
    grid: &Grid,
    out: &mut [f32],
    scratch: &mut [f32],
    scratch_len: usize,
    job: &(dyn Fn(&mut Tiles, &mut [f32]) + Sync),
) {
    let [down, across] = grid.tiles();
    let parts = par.parts().clamp(1, MAX_PARTS).min(down * across);
    if parts <= 1 || !uneven(down, parts) {
        return split(par, out, down, grid.tile[0] * grid.line(), 1, scratch, scratch_len, &|rows, out, scratch| {
            let range = rows.start * across..rows.end * across;
            job(&mut Tiles { grid, range, rows: out, pieces: &mut [] }, scratch);
        });
    }
    let ranges: [Range<usize>; MAX_PARTS] = core::array::from_fn(|i| range(down * across, 1, parts, i.min(parts - 1)));
    let mut pieces: [[&mut [f32]; 2 * MAX_LINES]; MAX_PARTS] = core::array::from_fn(|_| Default::default());
    let mut wholes: [&mut [f32]; MAX_PARTS] = core::array::from_fn(|_| Default::default());
    let mut rest = out;
    let mut take = |floats: usize| {
        let all = core::mem::take(&mut rest);
        let (taken, after) = all.split_at_mut(floats.min(all.len()));
        rest = after;
        taken
    };
    let (mut part, mut y) = (0, 0);
    while y < down {
        let rows = grid.whole_rows(&ranges[part]);
        let lines = |rows: Range<usize>| (rows.end * grid.tile[0]).min(grid.size[0]) - rows.start * grid.tile[0];
        if rows.contains(&y) {
            wholes[part] = take(lines(rows.clone()) * grid.line());
            y = rows.end;
        } else {
            let (start, end) = (y * across, (y + 1) * across);
            let last = (part..parts).find(|&i| ranges[i].end >= end).unwrap_or(part);
            for line in 0..lines(y..y + 1) {
                for i in part..=last {
                    let Range { start: a, end: b } = ranges[i];
                    let columns = ((b.min(end) - start) * grid.tile[1]).min(grid.size[1]) - (a.max(start) - start) * grid.tile[1];
                    pieces[i][if a > start { line } else { MAX_LINES + line }] = take(columns * grid.pixel);
                }
            }
            (part, y) = (last, y + 1);
        }
        if ranges[part].end <= y * across {
            part += 1;
        }
    }
    let mut scratch = scratch;
    let (mut wholes, mut pieces, mut next) = (wholes.into_iter(), pieces.iter_mut(), ranges.into_iter());
    let mut all: [Part; MAX_PARTS] = core::array::from_fn(|i| {
        if i >= parts {
            return Part::default();
        }
        let (s, left) = core::mem::take(&mut scratch).split_at_mut(scratch_len);
        scratch = left;
        Part {
            units: next.next().unwrap_or_default(),
            out: wholes.next().unwrap_or_default(),
            scratch: s,
            pieces: pieces.next().map_or(&mut [], |p| &mut p[..]),
        }
    });
    par.run(&mut all[..parts], &|part| {
        let Part { units, out, scratch, pieces } = part;
        job(&mut Tiles { grid, range: units.clone(), rows: out, pieces }, scratch);
    });
}

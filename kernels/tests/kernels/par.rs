use sepal_kernels::par::{Grid, range, split_tiles};
use sepal_testing::Threads;

#[test]
fn ranges_cover_once() {
    for (len, grain, parts) in [(10, 1, 3), (7, 4, 2), (1, 1, 1), (64, 16, 5), (3, 2, 8)] {
        let mut next = 0;
        for i in 0..parts {
            let r = range(len, grain, parts, i);
            assert_eq!(r.start, next);
            next = r.end;
        }
        assert_eq!(next, len);
    }
}

#[test]
fn tiles_cover_once() {
    for (size, tile) in [
        ([14, 14], [2, 2]),
        ([28, 28], [4, 4]),
        ([7, 7], [2, 2]),
        ([1, 30], [1, 4]),
        ([3, 5], [4, 4]),
        ([17, 17], [1, 4]),
        ([17, 1], [4, 1]),
    ] {
        for (pixel, parts) in [1, 2, 3, 4, 5, 7, 64].into_iter().flat_map(|parts| [(1, parts), (5, parts)]) {
            let grid = Grid { size, tile, pixel };
            let [h, w] = size;
            // The last pixel has no gap behind it.
            let mut out = vec![-1.0f32; h * w * pixel - (pixel - 1)];
            let mut scratch = vec![0.0; parts];
            split_tiles(&Threads(parts), &grid, &mut out, &mut scratch, 1, &|tiles, scratch| {
                scratch[0] += 1.0;
                let across = grid.tiles()[1];
                for t in tiles.range.clone() {
                    let at = [t / across, t % across];
                    let width = tile[1].min(w - at[1] * tile[1]);
                    let height = tile[0].min(h - at[0] * tile[0]);
                    for line in tiles.lines::<4>(at).into_iter().take(height) {
                        for x in 0..width {
                            assert_eq!(line[x * pixel], -1.0, "written twice");
                            line[x * pixel] = t as f32;
                        }
                    }
                }
            });
            let across = grid.tiles()[1];
            for (i, v) in out.iter().enumerate() {
                let (y, x) = (i / pixel / w, i / pixel % w);
                let tile = y / tile[0] * across + x / tile[1];
                assert_eq!(*v, if i % pixel == 0 { tile as f32 } else { -1.0 }, "{grid:?} in {parts} parts: line {y}, column {x}");
            }
            assert!(scratch.iter().all(|&n| n <= 1.0));
        }
    }
}

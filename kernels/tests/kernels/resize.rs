use sepal_kernels::ops::resize::{Places, ResizeKind, resize};
use sepal_kernels::reference;
use sepal_testing::{Image, Threads, assert_same, each_isa};

const ALL: [Places; 3] = [Places::Edges, Places::Middles, Places::Corners];

#[test]
fn places() {
    let nearest = |p: Places, n: usize, m: usize| (0..m).map(|i| p.nearest(i, n, m)).collect::<Vec<_>>();
    assert_eq!(nearest(Places::Edges, 2, 5), [0, 0, 0, 1, 1]);
    assert_eq!(nearest(Places::Middles, 2, 5), [0, 0, 1, 1, 1]);
    assert_eq!(nearest(Places::Corners, 2, 5), [0, 0, 1, 1, 1]);
    assert_eq!(nearest(Places::Corners, 3, 4), [0, 1, 1, 2]);
    let between = |p: Places, n: usize, m: usize| (0..m).map(|i| p.between(i, n, m)).collect::<Vec<_>>();
    assert_eq!(between(Places::Edges, 2, 4), [(0, 0, 0.0), (0, 1, 0.5), (1, 1, 0.0), (1, 1, 0.0)]);
    assert_eq!(between(Places::Middles, 2, 4), [(0, 0, 0.0), (0, 1, 0.25), (0, 1, 0.75), (1, 1, 0.0)]);
    assert_eq!(between(Places::Corners, 2, 3), [(0, 0, 0.0), (0, 1, 0.5), (1, 1, 0.0)]);
    for p in ALL {
        for (n, m) in [(1, 1), (1, 9), (9, 1), (7, 3), (3, 7), (64, 1 << 20)] {
            assert!((0..m).all(|i| p.nearest(i, n, m) < n && p.between(i, n, m).1 < n), "{p:?} {n} {m}");
        }
    }
}

#[test]
fn every_isa_agrees_with_the_reference() {
    for (n, [h, w], to, c) in [(1, [6, 6], [12, 12], 20), (2, [5, 3], [7, 11], 16), (1, [9, 8], [4, 3], 33), (1, [1, 1], [3, 2], 1)]
    {
        let x = Image::random(n, h, w, c, 16, 7);
        for (kind, places) in ALL.iter().flat_map(|&p| [(ResizeKind::Nearest, p), (ResizeKind::Bilinear, p)]) {
            let mut want = Image::new(n, to[0], to[1], c, 0);
            reference::resize::resize(kind, places, x.view(), want.view_mut());
            each_isa(|isa| {
                for parts in [1, 3] {
                    let mut got = Image::new(n, to[0], to[1], c, 16);
                    resize(isa, &Threads(parts), kind, places, x.view(), got.view_mut());
                    assert_same(&got, &want, (isa, parts, kind, places));
                    got.assert_gaps_untouched();
                }
            });
        }
    }
}

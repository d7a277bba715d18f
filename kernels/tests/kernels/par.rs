use sepal_kernels::par::range;

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

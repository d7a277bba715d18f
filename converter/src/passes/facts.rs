//! What there is to say of constants, found once for each: a small file may have one that thousands of nodes read.
use std::collections::HashMap;
use std::sync::Arc;

/// A fact about each constant that was asked for.
pub(super) struct Facts<T>(HashMap<*const Vec<f32>, (Arc<Vec<f32>>, T)>);

impl<T> Default for Facts<T> {
    fn default() -> Self {
        Facts(HashMap::new())
    }
}

impl<T: Copy> Facts<T> {
    /// The fact about a constant, which is kept, so that no other takes its place in memory.
    pub(super) fn of(&mut self, data: &Arc<Vec<f32>>, find: impl FnOnce(&[f32]) -> T) -> T {
        self.0.entry(Arc::as_ptr(data)).or_insert_with(|| (data.clone(), find(data))).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_looked_at_once() {
        let (mut facts, mut looks) = (Facts::default(), 0);
        let (a, b) = (Arc::new(vec![1.0]), Arc::new(vec![1.0]));
        for data in [&a, &b, &a, &b] {
            let first = facts.of(data, |d| {
                looks += 1;
                d[0]
            });
            assert_eq!(first, 1.0);
        }
        assert_eq!(looks, 2);
    }
}
